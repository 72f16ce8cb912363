"""A house for each file of tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operations.house import House
from tests.support.operators import leave_session


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    folder = Path(tempfile.mkdtemp(prefix="hg-"))
    folder.chmod(0o711)
    yield House(folder)
    shutil.rmtree(folder)


@pytest.fixture
def operators_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what an operator's shell holds: the variables of the session's own servers would overrule `.env`."""
    leave_session(monkeypatch)
