"""The auth service's app."""

from auth_service import administration_routes, internal_routes, routes
from auth_service.config import Settings
from common.factory import create_service

app = create_service("auth", [routes.api, administration_routes.api, internal_routes.api], Settings)
