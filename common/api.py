"""How an endpoint is declared; `common/handling.py` is the way of its requests.

    api = Api("patients")

    @api.post("/patients", permission=P.PATIENT_WRITE, body=PatientIn, returns=PatientOut, creates="/patients/{id}")
    def register_patient(session, caller, body):
        "Register a patient in the caller's organisation."
        return actions.register_patient(session, caller, **body)

A view names what it wants: `session`, `caller`, `body`, `query`, its path parameters, and the service's resources.
What must come before the transaction, because it takes long (a hash) or asks elsewhere, is another function of this
kind, `prepare=`; what it returns is the view's `prepared`. A view whose refusal leaves a trace returns the error.

A POST has one effect under one Idempotency-Key: it takes the `session` of its transaction, in which the key is kept.
Any other is declared `reads=True` (it changes nothing) or `repeatable=True` (twice is once, without any key).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, cached_property
from typing import Any

from common.fields import Schema
from common.permissions import Door, Permission


class Tenancy(StrEnum):
    """Whose rows an endpoint works on."""

    ORGANIZATION = "organization"
    """The caller's organisation, which a superadmin names with `?org_id=`."""
    ALL = "all"
    """Every organisation: catalogues, login. Each use is listed in tests/architecture."""
    ORGANIZATION_OR_ALL = "organization_or_all"
    """The caller's organisation; for a superadmin who names none, every one."""


@dataclass(frozen=True)
class PageOf:
    """A list answer: items of one schema, and `meta`."""

    item: type[Schema]


def page_of(item: type[Schema]) -> PageOf:
    """Declare that an endpoint returns one page of `item`."""
    return PageOf(item)


@dataclass(frozen=True)
class Raw:
    """An answer that is not data but a document: its body, type, and optional headers."""

    body: bytes
    content_type: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Redirect:
    """An answer that sends the client to another address, this once (302)."""

    location: str


@cache
def names_of(function: Callable[..., Any] | None) -> frozenset[str]:
    """The names of a function's parameters: what it wants to be given."""
    return frozenset(inspect.signature(function).parameters) if function is not None else frozenset()


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One declaration: where, who may, what goes in and out."""

    method: str
    path: str
    view: Callable[..., Any]
    permission: Permission | Door
    rate_class: str
    body: type[Schema] | None = None
    query: type[Schema] | None = None
    returns: type[Schema] | PageOf | type[Raw] | type[Redirect] | None = None
    creates: str | None = None
    tenancy: Tenancy = Tenancy.ORGANIZATION
    max_body: int | None = None
    stream: bool = False
    """The gateway passes bodies on as they come, and waits as long as a transfer may take."""
    proxied: bool = True
    """False where the service answers itself but the gateway does not let through."""
    prepare: Callable[..., Any] | None = None
    """What must come before the transaction; not called for an answer that is known already."""
    enrolment: bool = False
    """Open to whoever still owes their organisation a second factor."""
    reads: bool = False
    """A POST that changes nothing: its body asks."""
    care: bool = False
    """The view needs to know whom the caller may see: `caller.patients`."""
    repeatable: bool = False
    """Doing it twice is doing it once, without any key."""
    revokes_token: bool = False
    """The first attempt ends the token that it came with, which still gets the kept answer."""

    def __post_init__(self) -> None:
        """Raise TypeError for a POST that could have two effects under one key, or any effect for a revoked token."""
        if self.method == "POST" and not (self.reads or self.repeatable) and "session" not in self.wants:
            raise TypeError(f"{self.name}: take `session` (and `prepare=`), or declare `reads` or `repeatable`")
        if self.revokes_token and not self.keeps_answer:
            raise TypeError(f"{self.name}: only a kept answer may be given for a token that is revoked")

    @property
    def keeps_answer(self) -> bool:
        """True where an Idempotency-Key is honoured, in the transaction of the effect."""
        return self.method == "POST" and not (self.reads or self.repeatable)

    @property
    def may_be_repeated(self) -> bool:
        """True where the gateway may send a request again whose answer got lost (a POST only with its key)."""
        return self.method in ("GET", "POST")

    @property
    def reads_one(self) -> bool:
        """True where one resource is read, which has an ETag. What a query chooses is an answer, not a resource."""
        one = self.item_schema is not None and not isinstance(self.returns, PageOf)
        return self.method == "GET" and one and self.query is None

    @property
    def name(self) -> str:
        """The view's name: unique in a service."""
        return self.view.__name__

    @property
    def summary(self) -> str:
        """The first line of the view's docstring."""
        return (inspect.getdoc(self.view) or "").partition("\n")[0]

    @property
    def rule(self) -> str:
        """The path as Werkzeug writes it: `{x_id}` is a UUID, any other parameter a text."""
        return re.sub(r"\{(\w+)\}", lambda m: f"<{self.parameters[m[1]]}:{m[1]}>", self.path)

    @property
    def parameters(self) -> dict[str, str]:
        """The path's parameters and their types, `uuid` or `string`."""
        names = re.findall(r"\{(\w+)\}", self.path)
        return {name: "uuid" if name.endswith("_id") else "string" for name in names}

    @cached_property
    def status(self) -> int:
        """The status of success."""
        if self.creates is not None:
            return 201
        if self.returns is Redirect:
            return 302
        return 204 if self.returns is None else 200

    @cached_property
    def body_schema(self) -> Schema | None:
        """The body's schema, made once."""
        return self.body() if self.body else None

    @cached_property
    def query_schema(self) -> Schema | None:
        """The query's schema, made once."""
        return self.query() if self.query else None

    @cached_property
    def item_schema(self) -> Schema | None:
        """The schema of the answer or of its items, made once."""
        if isinstance(self.returns, PageOf):
            return self.returns.item()
        return self.returns() if isinstance(self.returns, type) and issubclass(self.returns, Schema) else None

    @cached_property
    def prepares_with(self) -> frozenset[str]:
        """The names of the parameters of `prepare`."""
        return names_of(self.prepare)

    @cached_property
    def wants(self) -> frozenset[str]:
        """The names of the view's parameters."""
        return names_of(self.view)


class Api:
    """A group of endpoints, collected by the factory."""

    def __init__(self, name: str, *, care: bool = False) -> None:
        self.name, self.care = name, care
        self.endpoints: list[Endpoint] = []

    def _declare(
        self, method: str, path: str, *, permission: Permission | Door, **declaration: Any
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        if not isinstance(permission, Permission | Door):
            raise TypeError(f"{method} {path}: permission must be a Permission, PUBLIC, AUTHENTICATED or INTERNAL")
        declaration.setdefault("rate_class", "read" if method == "GET" else "write")
        declaration.setdefault("care", self.care)

        def declare(view: Callable[..., Any]) -> Callable[..., Any]:
            if not view.__doc__:
                raise TypeError(f"{view.__name__}: the docstring is the operation's summary; write one")
            self.endpoints.append(Endpoint(method=method, path=path, view=view, permission=permission, **declaration))
            return view

        return declare

    def get(self, path: str, **declaration: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare a read."""
        return self._declare("GET", path, **declaration)

    def post(self, path: str, **declaration: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare a creation (`creates=` its path) or a command."""
        return self._declare("POST", path, **declaration)

    def put(self, path: str, **declaration: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare a replacement."""
        return self._declare("PUT", path, **declaration)

    def patch(self, path: str, **declaration: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare a partial change."""
        return self._declare("PATCH", path, **declaration)

    def delete(self, path: str, **declaration: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Declare a removal."""
        return self._declare("DELETE", path, **declaration)
