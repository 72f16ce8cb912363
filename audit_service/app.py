"""The audit service's app."""

from audit_service import routes
from audit_service.config import Settings
from common.factory import create_service

app = create_service("audit", [routes.api], Settings)
