"""A house for each file of tests."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operations.house import PASSED_ON, House


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    folder = Path(tempfile.mkdtemp(prefix="hg-"))
    folder.chmod(0o711)
    yield House(folder)
    shutil.rmtree(folder)


@pytest.fixture
def operators_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what an operator's shell holds: the variables of the session's own servers would overrule `.env`."""
    for name in list(os.environ):
        if name not in PASSED_ON and not name.startswith("PYTEST"):
            monkeypatch.delenv(name)
