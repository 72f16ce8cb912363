"""Background work of the inference service: judge what is written."""

from __future__ import annotations

from common.database import Database
from common.http import InternalClient
from common.tasks import task
from inference_service import monitors, windows
from inference_service.config import Settings


@task(monitors.WAKE, every=5)
def judge_windows(database: Database, client: InternalClient, settings: Settings) -> int:
    """Judge the next windows of one stream; called again at once while there are any."""
    return int(windows.judge_next(database, client, settings))
