"""A house for each file of tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operations.house import House


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    folder = Path(tempfile.mkdtemp(prefix="hg-"))
    folder.chmod(0o711)
    yield House(folder)
    shutil.rmtree(folder)
