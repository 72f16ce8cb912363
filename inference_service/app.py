"""The inference service's app."""

from common.factory import create_service
from inference_service import routes
from inference_service.config import Settings

app = create_service("inference", [routes.api, routes.patients], Settings)
