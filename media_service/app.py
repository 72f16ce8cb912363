"""The media service's app."""

from common.factory import create_service
from media_service import routes
from media_service.config import Settings

app = create_service("media", [routes.api], Settings)
