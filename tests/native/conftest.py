"""Temporary places that the servers' own accounts may enter, and ports of this test alone."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="hg-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)
