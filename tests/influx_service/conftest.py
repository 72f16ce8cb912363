"""The time-series service, and the other services that it asks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from common.errors import NotFound
from tests.influx_service.support import Stream


@pytest.fixture
def influx(service):
    """The service."""
    return service("influx")


@dataclass
class Others:
    """What the other services answer, by path, and what they were asked."""

    answers: dict[tuple[str, str], Any] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture
def others(monkeypatch):
    """Stands for the other services; a path without an answer is not found."""
    others = Others()

    def answer(client, caller, service, path, query=None, permissions=()):
        others.asked.append((service, path))
        if (service, path) not in others.answers:
            raise NotFound
        return others.answers[service, path]

    monkeypatch.setattr("common.http.InternalClient.get", answer)
    return others


@pytest.fixture
def bind(influx, clinician):
    """Make a stream that the service has been told of."""

    def make(person=clinician, **facts):
        stream = Stream(str(person.org_id), **facts)
        assert influx.deliver(stream.bound(), person.org_id) == [True]
        return stream

    return make


@pytest.fixture
def ecg(bind, others):
    """An ECG stream; nobody else is asked about it."""
    return bind()
