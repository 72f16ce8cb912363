"""The organization service's app."""

from common.factory import create_service
from organization_service import joining_routes, routes
from organization_service.config import Settings

app = create_service("organization", [routes.api, joining_routes.api], Settings)
