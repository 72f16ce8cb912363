"""The ward of the alert service's tests."""

from __future__ import annotations

import pytest

from tests.alert_service.alert_ward import Ward


@pytest.fixture
def ward(service, clinician) -> Ward:
    """A patient in an organisation of their own."""
    return Ward(service("alert"), clinician)
