"""The house stays in order: who imports whom, what a service is made of, where things are allowed to stand."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.config import ROOT, SERVICES, package_of

PACKAGES = [package_of(name) for name in SERVICES]
BUILT = [name for name in PACKAGES if (ROOT / name / "app.py").exists()]
REQUIRED = {"__init__.py", "app.py", "config.py", "routes.py", "requirements.txt"}


def sources(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT), ast.parse(path.read_text())


def kind_of(module: str) -> str:
    """`administration_routes` are routes."""
    return module.rpartition("_")[2]


def imports_of(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_all_services_are_built():
    assert BUILT == PACKAGES


@pytest.mark.parametrize("package", [*BUILT, "gateway"])
def test_a_service_imports_common_and_itself_only(package):
    others = {*PACKAGES, "gateway", "ops", "tests"} - {package}
    for path, tree in sources(package):
        wrong = {name for name in imports_of(tree) if name.split(".")[0] in others}
        assert not wrong, f"{path} imports {wrong}"


def test_common_imports_no_service():
    for path, tree in sources("common"):
        wrong = {name for name in imports_of(tree) if name.split(".")[0] in {*PACKAGES, "gateway", "ops", "tests"}}
        assert not wrong, f"{path} imports {wrong}"


@pytest.mark.parametrize("package", BUILT)
def test_only_common_touches_flask_pika_and_marshmallow(package):
    for path, tree in sources(package):
        wrong = {name for name in imports_of(tree) if name.split(".")[0] in {"flask", "pika", "marshmallow"}}
        assert not wrong, f"{path} imports {wrong}; common has what it needs"


def test_only_common_touches_pika():
    for path, tree in sources("gateway", "ops"):
        wrong = {name for name in imports_of(tree) if name.split(".")[0] == "pika"}
        assert not wrong, f"{path} imports {wrong}"


@pytest.mark.parametrize("package", BUILT)
def test_inside_a_service_calls_go_one_way(package):
    """routes and consumers -> actions and queries -> models."""
    forbidden = {
        "models": {"actions", "queries", "routes", "consumers", "schemas"},
        "queries": {"actions", "routes", "consumers"},
        "actions": {"routes", "consumers", "schemas"},
        "schemas": {"actions", "queries", "routes", "consumers"},
    }
    for path, tree in sources(package):
        for name in imports_of(tree):
            parts = name.split(".")
            if parts[0] == package and len(parts) > 1:
                assert kind_of(parts[1]) not in forbidden.get(kind_of(path.stem), set()), f"{path} imports {name}"


def test_commit_stands_in_one_place():
    for path, tree in sources("common", "gateway", "ops", *BUILT):
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "commit"]
        allowed = path.as_posix() in {"common/database.py", "common/migrate.py"} or "stores" in path.parts
        assert allowed or not calls, f"{path}:{calls[0].lineno} commits"


@pytest.mark.parametrize("package", BUILT)
def test_routes_only_declare_and_delegate(package):
    for path in sorted((ROOT / package).glob("*routes.py")):
        tree = ast.parse(path.read_text())
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.Try)], f"{path} has a try"
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert not names & {"request", "jsonify"}, f"{path} touches the request"


@pytest.mark.parametrize("package", BUILT)
def test_skeletons_are_alike(package):
    files = {path.name for path in (ROOT / package).iterdir() if path.is_file() and path.suffix in {".py", ".txt"}}
    assert files >= REQUIRED
    tree = ast.parse((ROOT / package / "app.py").read_text())
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert called == {"create_service"}
    assert list((ROOT / package / "migrations").glob("0001_*.py"))


@pytest.mark.parametrize("package", BUILT)
def test_files_keep_their_budgets(package):
    """A smell test: a file far over its budget has found a second duty."""
    budgets = {"routes": 400, "schemas": 320, "actions": 450, "queries": 320, "models": 400, "events": 130, "app": 30}
    for path in (ROOT / package).glob("*.py"):
        lines = len(path.read_text().splitlines())
        assert lines <= budgets.get(kind_of(path.stem), 450), f"{path.name} has {lines} lines: split it by duty"


def test_requirements_obey_the_constraints():
    pinned = {
        re.split(r"[=\[]", line)[0].lower().replace("_", "-")
        for line in (ROOT / "ops/constraints.txt").read_text().splitlines()
        if "==" in line
    }
    for path in [*ROOT.glob("*/requirements*.txt")]:
        lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
        assert lines[0] == "-c ../ops/constraints.txt", f"{path} does not start with the constraints"
        for line in lines[1:]:
            if not line.startswith(("-", "#")):
                name = line.split("[")[0].lower().replace("_", "-")
                assert re.fullmatch(r"[a-z0-9.-]+", name), f"{path}: {line} pins for itself"
                assert name in pinned, f"{path}: {name} is not pinned"


def test_every_public_function_says_what_it_does():
    for path, tree in sources("common", "gateway", "ops", *BUILT):
        for node in tree.body:
            public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
            small = path.stem == "errors" or "migrations" in path.parts
            if public and not small:
                assert ast.get_docstring(node), f"{path}:{node.lineno} {node.name} has no docstring"
