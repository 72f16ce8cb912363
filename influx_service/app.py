"""The time-series service's app."""

from common.factory import create_service
from influx_service import routes
from influx_service.config import Settings

app = create_service("influx", [routes.api], Settings)
