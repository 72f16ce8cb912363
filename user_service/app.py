"""The user service's app."""

from common.factory import create_service
from user_service import routes
from user_service.config import Settings

app = create_service("user", [routes.api], Settings)
