"""Guards over what the services declare: endpoints, errors, events, generated contracts."""

from __future__ import annotations

import importlib
import re

import msgspec
import pytest

from common import contracts, messaging
from common.api import Api, Tenancy
from common.config import ROOT, SERVICES, package_of
from common.errors import ISSUES, LANGUAGES, ApiError
from common.events import EXCHANGES, AuditLog
from common.permissions import PUBLIC

PUBLIC_ENDPOINTS = {
    "POST /auth/devices/pair",
    "POST /auth/login",
    "POST /auth/password/forgot",
    "POST /auth/password/reset",
    "POST /auth/refresh",
    "POST /auth/register",
}
"""Whoever opens another door writes it here and says why in the review."""

ACROSS_ORGANIZATIONS = {
    # Before anybody is known, and on the caller's own account, which belongs to no organisation for some.
    "POST /auth/register",
    "POST /auth/login",
    "POST /auth/refresh",
    "POST /auth/devices/pair",
    "POST /auth/logout",
    "POST /auth/logout-all",
    "POST /auth/switch-organization",
    "GET /auth/me",
    "GET /auth/sessions",
    "DELETE /auth/sessions/{session_id}",
    "POST /auth/password/change",
    "POST /auth/password/forgot",
    "POST /auth/password/reset",
    "POST /auth/totp/enrol",
    "POST /auth/totp/confirm",
    "POST /auth/totp/disable",
    # Roles and catalogues are one set for all.
    "GET /auth/roles",
    "POST /auth/roles",
    "GET /auth/roles/{code}",
    "PUT /auth/roles/{code}",
    "DELETE /auth/roles/{code}",
    "PUT /auth/roles/{code}/permissions/{permission}",
    "DELETE /auth/roles/{code}/permissions/{permission}",
    "GET /auth/permissions",
    "GET /auth/catalogs/{catalog}",
    # For other services. A letter may go to somebody in no organisation, and a guest's account belongs to another.
    "GET /internal/revocations/{token_id}",
    "GET /internal/account-mails/{account_mail_id}",
    "PUT /internal/users/{user_id}/organization",
    "DELETE /internal/users/{user_id}/organization/roles/{code}",
    "POST /internal/contacts",
    # One's own profile, wishes, memberships and devices, wherever one belongs.
    "GET /users/me",
    "PATCH /users/me",
    "GET /preferences",
    "PATCH /preferences",
    "GET /users/me/memberships",
    "GET /users/me/devices",
    "POST /users/me/devices",
    "GET /users/me/devices/{device_id}",
    "DELETE /users/me/devices/{device_id}",
    # An organisation that is only being made, or joined; and the one chain of all audit rows.
    "POST /organizations",
    "POST /invitations/{token}/accept",
    "GET /audit/verify",
}


@pytest.fixture(scope="module", autouse=True)
def loaded(servers):
    for name in SERVICES:
        for module in ("routes", "consumers", "events", "errors"):
            if (ROOT / package_of(name) / f"{module}.py").exists():
                importlib.import_module(f"{package_of(name)}.{module}")


def endpoints():
    return [
        (service, endpoint) for service in contracts.built_services() for endpoint in contracts.endpoints_of(service)
    ]


def test_an_endpoint_without_a_permission_does_not_import():
    with pytest.raises(TypeError):
        Api("x").get("/x")
    with pytest.raises(TypeError):
        Api("x").get("/x", permission=None)


def test_public_doors_are_the_known_ones():
    public = {f"{item.method} {item.path}" for _, item in endpoints() if item.permission is PUBLIC}
    assert public <= PUBLIC_ENDPOINTS


def test_endpoints_across_organizations_are_the_known_ones():
    wide = {f"{item.method} {item.path}" for _, item in endpoints() if item.tenancy is Tenancy.ALL}
    assert wide <= ACROSS_ORGANIZATIONS


def test_no_path_is_declared_twice():
    seen: dict[tuple[str, str], str] = {}
    for service, item in endpoints():
        key = (item.method, re.sub(r"\{\w+\}", "{}", item.path))
        assert key not in seen, f"{key} in {service} and {seen[key]}"
        seen[key] = service


def test_what_is_created_can_be_read_where_location_says():
    def anonymous(path):
        return re.sub(r"\{\w+\}", "{}", path)

    read = {anonymous(item.path) for _, item in endpoints() if item.method == "GET"}
    made = {item.creates for _, item in endpoints() if item.creates is not None}
    assert {path for path in made if anonymous(path) not in read} == set()


def test_error_ids_are_unique_and_speak_both_languages():
    contracts.error_catalogue()
    seen: dict[str, str] = {}
    for kind in [ApiError, *ApiError.registry]:
        name = f"{kind.__module__}.{kind.__name__}"
        assert re.fullmatch(r"HG-[A-Z]+-\d{3}", kind.id), name
        assert seen.setdefault(kind.id, name) == name, f"{kind.id}: {name} and {seen[kind.id]}"
        assert set(kind.messages) == set(LANGUAGES), name
    assert all(set(texts) == set(LANGUAGES) for texts in ISSUES.values())


def test_every_published_event_has_a_consumer_or_says_why_not():
    consumed = {item.type for item in messaging.registry}
    for service in contracts.built_services():
        for event in contracts.events_of(service):
            assert event.exchange in EXCHANGES, event
            assert event.type in consumed or not event.mandatory, f"{service}: nobody consumes {event.type}"
    assert AuditLog.type in consumed


def test_consumers_read_only_what_is_published():
    published = {AuditLog.type: AuditLog}
    for service in contracts.built_services():
        published |= {event.type: event for event in contracts.events_of(service)}
    for item in messaging.registry:
        assert item.type in published, f"{item.queue}: nobody publishes {item.type}"
        event = published[item.type]
        assert item.exchange == event.exchange
        wanted, sent = msgspec.json.schema(item.payload), msgspec.json.schema(event)
        wanted, sent = (schema["$defs"][schema["$ref"].rsplit("/", 1)[1]] for schema in (wanted, sent))
        for name, kind in wanted["properties"].items():
            if name in wanted.get("required", []):
                assert name in sent["properties"], f"{item.queue}: {item.type} has no {name}"
            if name in sent["properties"] and "$ref" not in str(kind):
                mine, theirs = (
                    {k: v for k, v in x.items() if k != "default"} for x in (kind, sent["properties"][name])
                )
                assert mine == theirs or "anyOf" in mine or not mine, f"{item.queue}: {item.type}.{name}"


def test_queues_belong_to_their_service():
    for item in messaging.registry:
        service = item.handler.__module__.split(".")[0].removesuffix("_service")
        assert item.queue.startswith(f"{service}."), item.queue


def test_generated_contracts_are_not_stale():
    assert contracts.main(["--check"]) == 0
