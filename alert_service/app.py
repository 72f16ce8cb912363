"""The alert service's app."""

from alert_service import routes
from alert_service.config import Settings
from common.factory import create_service

app = create_service("alert", [routes.alerts, routes.policies, routes.catalogues], Settings)
