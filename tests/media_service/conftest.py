"""The media service."""

import pytest


@pytest.fixture(scope="session")
def media(service):
    """The media service on the session's store."""
    return service("media")
