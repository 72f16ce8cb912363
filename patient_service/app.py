"""The patient service's app."""

from common.factory import create_service
from patient_service import routes
from patient_service.config import Settings

app = create_service("patient", [routes.api], Settings)
