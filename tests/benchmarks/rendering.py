"""`python -m tests.benchmarks.rendering`: a list of 100 patients as XML and JSON, beside other libraries."""

from __future__ import annotations

import json
import logging
import statistics
import time
from collections.abc import Callable
from typing import Any

import dicttoxml
import xmltodict

from common import serialization
from tests.benchmarks.results import write_section

PATIENT = {f"field_{index}": f"valor {index}" if index % 3 else index * 1.5 for index in range(15)}
DOCUMENT = {"status": "success", "data": [PATIENT] * 100, "meta": {"limit": 100, "next_cursor": None}}
ROUNDS = 7


def microseconds(render: Callable[[Any], Any], repeats: int) -> float:
    """The median time of one rendering over several rounds."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(repeats):
            render(DOCUMENT)
        times.append((time.perf_counter() - started) / repeats)
    return statistics.median(times) * 1e6


def main() -> None:
    """Measure and write the section."""
    logging.getLogger("dicttoxml").setLevel(logging.WARNING)
    rows = {
        "XML, dicttoxml": microseconds(lambda d: dicttoxml.dicttoxml(d, custom_root="response", attr_type=False), 1),
        "XML, xmltodict.unparse": microseconds(lambda d: xmltodict.unparse({"response": d}), 5),
        "XML, common.serialization": microseconds(serialization.render_xml, 100),
        "JSON, json": microseconds(json.dumps, 100),
        "JSON, common.serialization": microseconds(serialization.render_json, 100),
    }
    reference = rows["XML, dicttoxml"]
    lines = [f"| {name} | {value:,.0f} | {reference / value:,.0f} |" for name, value in rows.items()]
    write_section(
        "Rendering a list of 100 patients of 15 fields",
        "\n".join(["| how | us | times as fast as dicttoxml |", "|---|---|---|", *lines]),
    )
    print("\n".join(lines))


if __name__ == "__main__":
    main()
