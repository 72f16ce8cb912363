"""The device service's app."""

from common.factory import create_service
from device_service import routes
from device_service.config import Settings

app = create_service("device", [routes.api, routes.patients], Settings)
