"""The way of a window: claim a stream, read its samples, judge them, and write what came of it in one transaction.

A crash anywhere leaves the stream as it was claimed; the lease ends and the same windows are judged again, with the
same outcome. Whoever lost the lease meanwhile writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from common.auth import Caller, service_caller
from common.database import Database
from common.errors import ApiError
from common.http import InternalClient
from inference_service import monitors, outcomes, queries, samples
from inference_service.catalogue import RunningVersion, running_versions
from inference_service.config import Settings
from inference_service.errors import NoSamples
from inference_service.models import PatientProfile

log = structlog.get_logger()

MAX_WINDOWS = 30  # a claim: about 0.3 s of work, so that a stream that catches up holds up nobody
MAX_READINGS = 300
MAX_SAMPLES = 150_000  # a read
MAX_GAPS = 50
LOOK_AHEAD = timedelta(seconds=60)
SILENCE_GROWS = timedelta(minutes=10)  # when a lost signal becomes worse, as in limits.SIGNAL_LIMITS
LATE_CONTEXT = timedelta(seconds=60)  # what is judged around late samples, for conditions that must persist
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Work:
    """What a claim came to: outcomes to write, in order, and the monitor's new values."""

    judged: Sequence[Any] = ()
    readings: Sequence[samples.Reading] = ()
    values: dict[str, Any] = field(default_factory=dict)
    late: tuple[datetime, datetime] | None = None
    news: tuple[datetime, datetime] | None = None
    silent: bool = False
    ended: bool = False


@dataclass(frozen=True)
class Look:
    """What a stretch of a stream held: outcomes, where there were samples, a vital sign's steadied readings.

    `cut_at` is the last reading, where there were more than one look takes.
    """

    judged: Sequence[Any]
    spans: Sequence[tuple[datetime, datetime]]
    readings: Sequence[samples.Reading] = ()
    cut_at: datetime | None = None


def judge_next(database: Database, client: InternalClient, settings: Settings) -> bool:
    """Do the work of one claim; False when no stream has any."""
    claimed = monitors.claim(database)
    if claimed is None:
        return False
    monitor, stale_after = claimed.monitor, timedelta(seconds=settings.stale_after_s)
    caller = service_caller("inference", monitor.org_id, monitor.request_id)
    try:
        versions = running_versions(database)
        with database.transaction(monitor.org_id) as session:
            context = _context(session, monitor.patient_id)
        work = _look(client, caller, monitor, context)
        with database.transaction(monitor.org_id, technical=True) as session:
            monitors.hold(session, claimed)
            settling = outcomes.Settling(session, caller, monitor, versions, stale_after, live=work.silent)
            settling.write(work.judged, late=work.late)
            if work.readings:
                settling.write_risk(work.readings, context)
            if work.news is not None:
                monitors.note_written(session, caller, monitor.stream_id, *work.news)
            if work.ended:
                settling.close_signal_lost()
            monitors.finish(session, claimed, **work.values)
    except (ApiError, DBAPIError) as error:
        log.warning("windows.postponed", stream_id=str(monitor.stream_id), reason=type(error).__name__)
        monitors.postpone(database, claimed)
    except monitors.LeaseLost:
        log.warning("windows.lease_lost", stream_id=str(monitor.stream_id))
    return True


def _context(session: Session, patient_id: UUID) -> Any:
    from inference_service import judging

    return judging.context_of(session.scalar(select(PatientProfile).where(PatientProfile.patient_id == patient_id)))


def _look(client: InternalClient, caller: Caller, monitor: Any, context: Any) -> Work:
    """The most urgent work of a claimed monitor: live samples, then late ones, then silence."""
    reached = monitor.cursor or monitor.written_from
    if reached is not None and monitor.written_until >= reached + monitors.pause(monitor.step_s):
        return _judge_live(client, caller, monitor, context, reached)
    if monitor.cursor is not None and monitor.news_from is not None and monitor.news_from < monitor.cursor:
        return _judge_late(client, caller, monitor, context)
    return _look_for_news(client, caller, monitor, context)


def _judge_live(client: InternalClient, caller: Caller, monitor: Any, context: Any, reached: datetime) -> Work:
    from inference_service import judging

    gaps = _gaps(monitor)
    if monitor.cursor is None and monitor.started_at < reached:
        gaps.append((monitor.started_at, reached))
    until = _bound(monitor, reached, monitor.written_until)
    if monitor.step_s:
        until = judging.floor_to(until + judging.TOLERANCE, monitor.step_s)
    look = _judge(client, caller, monitor, context, reached, until)
    if look.cut_at is not None:
        until = look.cut_at + (judging.SECOND if monitor.step_s else MICROSECOND)
    elif not look.spans and until < monitor.written_until:
        until = _find_next(client, caller, monitor, until)
    gaps += judging.gaps_between(look.spans, reached, until, _tolerance(monitor))
    values = {"cursor": until, "gaps": _as_json(gaps)}
    if look.readings:
        values |= {"latest_value": look.readings[-1].value, "latest_at": look.readings[-1].at}
    return Work(look.judged, look.readings, values)


def _judge_late(client: InternalClient, caller: Caller, monitor: Any, context: Any) -> Work:
    """What was written into a gap behind the cursor; samples written again where there were some are no news."""
    from inference_service import judging

    gaps = _gaps(monitor)
    stop = min(monitor.news_until, monitor.cursor)
    filled = [(max(start, monitor.news_from), min(end, stop)) for start, end in gaps]
    filled = [(start, end) for start, end in filled if end - start > _tolerance(monitor)]
    if not filled:
        return Work()
    start = filled[0][0]
    end = _bound(monitor, start, filled[0][1])
    effect = end + timedelta(seconds=monitor.step_s and judging.ecg_rhythm.MODEL.window_s)
    around = max(monitor.written_from, start - LATE_CONTEXT), min(monitor.cursor, effect + LATE_CONTEXT)
    look = _judge(client, caller, monitor, context, *around)
    if look.cut_at is not None:
        end = min(end, look.cut_at)
    left = [part for gap in gaps for part in judging.gaps_between([(start, end)], *gap, _tolerance(monitor))]
    left += judging.gaps_between(look.spans, start, end, _tolerance(monitor))
    more = len(filled) > 1 or end < filled[0][1]
    return Work(look.judged, values={"gaps": _as_json(left), "keep_news": more}, late=(start, effect))


def _look_for_news(client: InternalClient, caller: Caller, monitor: Any, context: Any) -> Work:
    """Samples of which nobody told; without any, the end of a stream that has ended, or the loss of the signal."""
    from inference_service import judging

    known = monitor.written_until or monitor.started_at
    found = _find_samples(client, caller, monitor, known)
    if found:
        return Work(news=(found[0][0], found[-1][1]))
    now = datetime.now(UTC)
    if monitor.ended_at is not None:
        return Work(values={"check_at": None}, ended=True)
    if monitor.written_at is None:
        return Work(values={"check_at": now + LOOK_AHEAD})
    elapsed = now - monitor.written_at
    moments = (known + MICROSECOND, known + elapsed)
    check_at = max(monitor.written_at + SILENCE_GROWS, now + LOOK_AHEAD)
    return Work(judging.judge_silence(monitor, context, moments), values={"check_at": check_at}, silent=True)


# --- reading -------------------------------------------------------------------------------------------------------


def _judge(client: InternalClient, caller: Caller, monitor: Any, context: Any, start: datetime, stop: datetime) -> Look:
    """Read and judge [start, stop), with the samples before it that its first windows need."""
    from inference_service import judging

    if judging.is_waveform(monitor):
        before = timedelta(seconds=judging.ecg_rhythm.MODEL.window_s)
        stretches = samples.read_waveform(client, caller, monitor.stream_id, start - before, stop)
        spans = [(item.started_at, item.ended_at) for item in stretches if item.ended_at > start]
        return Look(judging.judge_waveform(monitor, context, stretches, start, stop), spans)
    every_s, before = monitor.step_s or None, judging.MINUTE
    limit = MAX_READINGS + int(before.total_seconds())  # no more than one reading a second
    found = samples.read_values(client, caller, monitor.stream_id, start - before, stop, limit, every_s)
    readings = [reading for reading in found if reading.at >= start]
    period = timedelta(seconds=max(monitor.step_s, 1 / monitor.sample_rate_hz))
    return Look(
        judging.judge_readings(monitor, context, readings),
        [(reading.at, reading.at + period) for reading in readings],
        judging.steady(found, start),
        cut_at=readings[-1].at if len(found) == limit else None,
    )


def _find_samples(
    client: InternalClient, caller: Caller, monitor: Any, start: datetime
) -> list[tuple[datetime, datetime]]:
    """Where there are samples from `start` on, the first stretch of them."""
    stop = datetime.now(UTC) + samples.AHEAD
    first = samples.read_values(client, caller, monitor.stream_id, start, stop, 1) if start < stop else []
    if not first:
        return []
    begun = first[0].at
    if monitor.signal_type == "ECG":
        stretches = samples.read_waveform(client, caller, monitor.stream_id, begun, begun + LOOK_AHEAD)
        return [(item.started_at, item.ended_at) for item in stretches]
    readings = samples.read_values(client, caller, monitor.stream_id, begun, stop, MAX_READINGS)
    return [(reading.at, reading.at + MICROSECOND) for reading in readings]


def _find_next(client: InternalClient, caller: Caller, monitor: Any, start: datetime) -> datetime:
    """Where samples go on after a stretch without any: nothing is judged in between."""
    from inference_service import judging

    found = samples.read_values(client, caller, monitor.stream_id, start, monitor.written_until, 1)
    reached = found[0].at if found else monitor.written_until
    return max(start, judging.floor_to(reached, monitor.step_s)) if monitor.step_s else reached


def _bound(monitor: Any, start: datetime, stop: datetime) -> datetime:
    """How far to go in one claim."""
    if not monitor.step_s:
        return stop
    seconds = min(MAX_WINDOWS * monitor.step_s, MAX_SAMPLES / monitor.sample_rate_hz)
    return min(stop, start + timedelta(seconds=seconds))


def _tolerance(monitor: Any) -> timedelta:
    return timedelta(seconds=0.5 / monitor.sample_rate_hz)


def _gaps(monitor: Any) -> list[tuple[datetime, datetime]]:
    return [(datetime.fromisoformat(start), datetime.fromisoformat(end)) for start, end in monitor.gaps]


def _as_json(gaps: list[tuple[datetime, datetime]]) -> str:
    newest = sorted(gaps)[-MAX_GAPS:]
    return msgspec.json.encode([[start.isoformat(), end.isoformat()] for start, end in newest]).decode()


# --- on demand -----------------------------------------------------------------------------------------------------


def judge_once(
    database: Database, client: InternalClient, caller: Caller, stream_id: UUID, at: datetime | None
) -> tuple[Any, dict[str, RunningVersion], Any]:
    """Judge the window of a stream that ends at `at`: the monitor, the versions that run, and what came of it.

    Raises NotFound, NoSamples, Unavailable, UpstreamTimeout.
    """
    from inference_service import judging

    with database.transaction(caller.org_id) as session:
        monitor = queries.get_monitor(session, caller, stream_id)
        assert monitor.patient_id is not None  # since it was bound
        context = _context(session, monitor.patient_id)
    end = at or monitor.written_until
    if end is None or monitor.step_s is None:
        raise NoSamples
    if monitor.step_s:
        end = judging.floor_to(end + judging.TOLERANCE, monitor.step_s)
    start = end - (timedelta(seconds=monitor.step_s) or LOOK_AHEAD)
    judged = _judge(client, caller, monitor, context, start, end).judged
    if not judged:
        raise NoSamples
    return monitor, running_versions(database), judged[-1]


def store_once(
    session: Session, caller: Caller, monitor: Any, versions: dict[str, RunningVersion], item: Any
) -> dict[str, Any]:
    """Keep what `judge_once` found, alarm nobody."""
    stored = outcomes.store_now(session, caller, monitor, versions, item)
    outcome = item.outcome
    return {"status": outcome.status, "reason": outcome.reason, "quality": outcome.quality, "inferences": stored}
