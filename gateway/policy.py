"""Which requests may pass: the declared routes, the shape of a path, and the permission a route asks for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from common.auth import Claims
from common.errors import Forbidden, MethodNotAllowed, NotFound
from common.permissions import AUTHENTICATED, INTERNAL, PUBLIC

# Granian hands the path over decoded once, so an encoded separator is a separator here, and what still holds a
# percent sign was encoded twice. None of these can stand in a path of ours.
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\%?#]|//|/\.{1,2}(?:/|$)")
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", re.ASCII)
_SHAPES = {"uuid": _UUID, "int": re.compile(r"[0-9]{1,18}", re.ASCII)}
_ANY = re.compile(r".{1,255}", re.DOTALL)
_PARAMETER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint of one service, as the service declared it; without `max_body` the suite's limit holds."""

    service: str
    method: str
    path: str
    permission: str
    rate_class: str
    types: Mapping[str, str]
    max_body: int | None = None
    stream: bool = False
    repeatable: bool = False
    revokes_token: bool = False

    @property
    def is_public(self) -> bool:
        """True when no token is asked for."""
        return self.permission == PUBLIC


@dataclass(slots=True)
class _Node:
    """One path segment; `children` are literal, `parameters` match any segment of their shape."""

    children: dict[str, _Node] = field(default_factory=dict)
    parameters: list[tuple[re.Pattern[str], _Node]] = field(default_factory=list)
    routes: dict[str, Route] = field(default_factory=dict)


class RouteTable:
    """The declared routes as a tree of segments; what is not in it does not pass."""

    def __init__(self, declarations: Iterable[Mapping[str, Any]]) -> None:
        self._root = _Node()
        for declaration in declarations:
            if declaration["permission"] != INTERNAL:
                self._add(Route(**declaration))

    @classmethod
    def load(cls, path: str) -> RouteTable:
        """Read the table that `python -m common.contracts` wrote."""
        return cls(json.loads(Path(path).read_text(encoding="utf-8")))

    def _add(self, route: Route) -> None:
        node = self._root
        for segment in route.path[1:].split("/"):
            parameter = _PARAMETER.fullmatch(segment)
            if parameter is None:
                node = node.children.setdefault(segment, _Node())
                continue
            shape = _SHAPES.get(route.types.get(parameter[1], ""), _ANY)
            known = next((child for pattern, child in node.parameters if pattern is shape), None)
            if known is None:
                known = _Node()
                node.parameters.append((shape, known))
                node.parameters.sort(key=lambda entry: entry[0] is _ANY)
            node = known
        if route.method in node.routes:
            raise ValueError(f"{route.method} {route.path} is declared twice")
        node.routes[route.method] = route

    def match(self, method: str, path: str) -> tuple[Route, str]:
        """The route of a decoded path and the path to ask the service for, rebuilt from quoted segments.

        Raises NotFound for an undeclared or malformed path, MethodNotAllowed with Allow for a wrong method.
        """
        node, target = self._find(path)
        route = node.routes.get(method) or (node.routes.get("GET") if method == "HEAD" else None)
        if route is None:
            raise MethodNotAllowed(headers={"Allow": ", ".join(_allowed(node))})
        return route, target

    def methods(self, path: str) -> list[str]:
        """The methods that a path allows; raises NotFound."""
        return _allowed(self._find(path)[0])

    def _find(self, path: str) -> tuple[_Node, str]:
        if not path.startswith("/") or _FORBIDDEN.search(path):
            raise NotFound
        if not path.isascii():
            try:
                path = path.encode("latin-1").decode("utf-8")  # PEP 3333 hands bytes over as latin-1 text
            except UnicodeError as error:
                raise NotFound from error
        segments = path[1:].split("/")
        node = _descend(self._root, segments, 0)
        if node is None:
            raise NotFound
        return node, "".join([f"/{quote(segment, safe='')}" for segment in segments])


def _descend(node: _Node, segments: list[str], depth: int) -> _Node | None:
    if depth == len(segments):
        return node if node.routes else None
    segment = segments[depth]
    child = node.children.get(segment)
    if child is not None:
        found = _descend(child, segments, depth + 1)
        if found is not None:
            return found
    for shape, child in node.parameters:
        if shape.fullmatch(segment):
            found = _descend(child, segments, depth + 1)
            if found is not None:
                return found
    return None


def _allowed(node: _Node) -> list[str]:
    methods = {*node.routes, "OPTIONS"}
    if "GET" in methods:
        methods.add("HEAD")
    return sorted(methods)


def check_permission(route: Route, claims: Claims) -> None:
    """Raise Forbidden when the caller lacks what the route asks for."""
    if route.permission != AUTHENTICATED and route.permission not in claims.permissions:
        raise Forbidden
