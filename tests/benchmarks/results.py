"""One section of RESULTS.md per benchmark, replaced by its next run."""

from __future__ import annotations

import re
from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"
_TITLE = """# Benchmarks

Written by `python -m tests.benchmarks.<name>`. Ratios hold elsewhere; absolutes are this machine's.
"""


def write_section(title: str, text: str) -> None:
    """Replace or append the section `title`."""
    document = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else _TITLE
    section = f"## {title}\n\n{text.strip()}\n"
    found = re.search(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", document, re.DOTALL | re.MULTILINE)
    if found:
        document = document[: found.start()] + section + "\n" + document[found.end() :]
    else:
        document = f"{document.rstrip()}\n\n{section}"
    RESULTS.write_text(document.rstrip() + "\n", encoding="utf-8")
