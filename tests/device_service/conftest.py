"""Devices and the patients that the patient service knows."""

from __future__ import annotations

from uuid import uuid4

import pytest

from common.errors import NotFound
from tests.device_service.support import assign, at, register


@pytest.fixture
def devices(service):
    return service("device")


@pytest.fixture
def patients(devices, monkeypatch):
    """The patients that the patient service knows; each question that it was asked."""
    known, asked = set(), []

    def answer(client, caller, service, path, query=None, permissions=()):
        asked.append((service, path, caller.org_id))
        if path.removeprefix("/patients/") not in known:
            raise NotFound
        return {}

    monkeypatch.setattr("common.http.InternalClient.get", answer)
    return type("Patients", (), {"known": known, "asked": asked})


@pytest.fixture
def patient_id(patients):
    patients.known.add(patient_id := str(uuid4()))
    return patient_id


@pytest.fixture
def device(devices, clinician):
    return register(devices, clinician)


@pytest.fixture
def assigned(devices, clinician, device, patient_id):
    """A device that has been on the patient for an hour."""
    assert assign(devices, clinician, device, patient_id, starts_at=at(hours=1)).status_code == 201
    return device
