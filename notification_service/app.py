"""The notification service's app."""

from common.factory import create_service
from notification_service import routes
from notification_service.config import Settings

app = create_service("notification", [routes.push_devices, routes.notifications], Settings)
