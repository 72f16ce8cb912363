"""People with real accounts: registered, logged in, and able to administer."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import pytest

from common.tokens import AUDIENCE, TokenVerifier
from tests.support.services import Person, ServiceUnderTest

PASSWORD = "tres gatos en el tejado"


@dataclass
class Account:
    """An account, and what its client keeps."""

    auth: ServiceUnderTest
    email: str = field(default_factory=lambda: f"{uuid4().hex}@clinic.test")
    password: str = PASSWORD
    id: UUID | None = None
    org_id: UUID | None = None
    access_token: str = ""
    refresh_token: str = ""
    device_token: str | None = None

    def try_login(self, **changes):
        """The answer to a login with this account's credentials, changed as asked."""
        return self.auth.call("POST", "/auth/login", json={"email": self.email, "password": self.password} | changes)

    def login(self, **changes) -> Account:
        """Log in and keep the tokens."""
        return self._keep(self.try_login(**changes))

    def try_refresh(self, token: str | None = None):
        """The answer to a refresh with a token, by default the newest."""
        return self.auth.call("POST", "/auth/refresh", json={"refresh_token": token or self.refresh_token})

    def refresh(self) -> Account:
        """Refresh and keep the new tokens."""
        return self._keep(self.try_refresh())

    def _keep(self, answer) -> Account:
        assert answer.status_code == 200, answer.text
        data = answer.json["data"]
        self.access_token, self.refresh_token = data["access_token"], data["refresh_token"]
        self.device_token = data.get("device_token") or self.device_token
        self.id = UUID(data["user"]["id"])
        return self

    def call(self, method: str, path: str, json=None, **options):
        """One request with the account's access token."""
        return self.auth.call(method, path, self.access_token, json=json, **options)

    @property
    def claims(self):
        """What the access token says."""
        return TokenVerifier(self.auth.service.settings).verify(self.access_token, AUDIENCE)

    @property
    def is_let_in(self) -> bool:
        """True when the access token still opens a door, once revocations have gone round."""
        mirror(self.auth)
        return self.call("GET", "/auth/me").status_code == 200


def mirror(auth: ServiceUnderTest) -> None:
    """What the worker does when it is woken."""
    tasks = importlib.import_module("auth_service.tasks")
    while tasks.mirror_revocations(auth.database, auth.service.revocations):
        pass


@pytest.fixture
def auth(service) -> ServiceUnderTest:
    return service("auth")


@pytest.fixture
def admin(auth) -> Person:
    """An administrator of an organisation, who holds what org_admin holds."""
    roles = importlib.import_module("auth_service.roles").ROLES
    return Person(roles=("org_admin",), permissions=frozenset(map(str, roles["org_admin"][1])))


@pytest.fixture
def superadmin(auth) -> Person:
    """Somebody who may name any organisation."""
    return Person(org_id=None, roles=("superadmin",))


@pytest.fixture
def account(auth, admin):
    """`account("clinician")`: an account in the administrator's organisation."""

    def make(*roles: str, **changes) -> Account:
        made = Account(auth)
        body = {"name": "Luz Mora", "email": made.email, "password": made.password, "roles": list(roles)} | changes
        answer = auth.call("POST", "/auth/users", admin, json=body)
        assert answer.status_code == 201, answer.text
        made.id, made.org_id = UUID(answer.json["data"]["id"]), admin.org_id
        return made

    return make


@pytest.fixture
def registered(auth) -> Account:
    """Somebody who registered by themselves."""
    made = Account(auth)
    body = {"name": "Luz Mora", "email": made.email, "password": made.password}
    assert auth.call("POST", "/auth/register", json=body).status_code == 201
    return made
