"""What an InfluxDB 2 server keeps of ours as lines of its protocol: out of one server, into another.

A comment before the lines of each bucket names it and its retention. No more than a batch of lines is in memory.
"""

import json
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from . import points as p
from .flux import bucket_query
from .influxdb import PREFIX
from .lines import series_of
from .server import LINES_PER_REQUEST, Server, retention_of

HEAD = "# "
_KEYS = {"", "result", "table"}


def dump(server: Server) -> Iterator[str]:
    """Yield the head of each bucket and a line for each value in it."""
    for bucket in server.buckets(PREFIX):
        yield HEAD + json.dumps({"bucket": bucket.name, "retention": retention_of(bucket)})
        with suppress(p.BucketNotFound):  # deleted meanwhile
            yield from _lines(server.ask_rows(*bucket_query(bucket.name)))


def load(server: Server, lines: Iterable[str], *, aside: bool) -> int:
    """Write what `dump` gave into new buckets and let them take the place of ours; returns how many values they hold.

    Nothing of ours may be there, unless it may be put `aside`, under another name. Raises StoreError.
    """
    there = server.buckets(PREFIX)
    if there and not aside:
        raise p.StoreError("the server has buckets of ours")
    fresh = f"heartguard.restore-{secrets.token_hex(4)}/"
    retentions: dict[str, int | None] = {}
    try:
        name, written = "", 0
        for head, batch in _batches(lines):
            if head is not None:
                name = fresh + head["bucket"].removeprefix(PREFIX)
                retentions[name] = head["retention"]
                server.put_bucket(name, None)  # what has come of age since is the server's to delete later
            else:
                server.write(name, batch)
                written += len(batch)
        values = sum(count(server, made) for made in retentions)
        if values != written:
            raise p.StoreError(f"of {written} values the server holds {values}")
    except BaseException:
        for bucket in server.buckets(fresh):
            server.delete_bucket(bucket)
        raise
    replaced = f"heartguard.replaced-{datetime.now(UTC):%Y%m%d%H%M%S}/"
    for bucket in there:
        server.rename_bucket(bucket, replaced + bucket.name.removeprefix(PREFIX))
    for bucket in server.buckets(fresh):
        made = bucket.name
        server.rename_bucket(bucket, PREFIX + made.removeprefix(fresh))
        server.put_bucket(PREFIX + made.removeprefix(fresh), retentions[made])
    return values


def count(server: Server, bucket: str) -> int:
    """Return how many values a bucket of the server holds."""
    return sum(record["_value"] for record in server.ask(*bucket_query(bucket, "count()")))


def _lines(rows: Iterable[list[str]]) -> Iterator[str]:
    """Turn annotated CSV into a line for each value; its numbers are written as the protocol has them too."""
    kinds: list[str] = []
    names: list[str] = []
    table, before, kind = "", "", ""
    seconds: dict[str, int] = {}
    for row in rows:
        match row:
            case ["#datatype", *_]:
                kinds, names = row, []
                continue
            case ["#group" | "#default", *_]:
                continue
            case _ if not names:
                names, table = row, ""
                kind, at, of = kinds[names.index("_value")], names.index("_time"), names.index("_value")
                continue
        if row[2] != table:
            table = row[2]
            tags = {
                key: text
                for key, text in zip(names, row, strict=True)
                if key not in _KEYS and not key.startswith("_") and text
            }
            cell = dict(zip(names, row, strict=True))
            before = f"{series_of(cell['_measurement'], tags)} {_key(cell['_field'])}="
        yield f"{before}{_value(row[of], kind)} {_nanoseconds(row[at], seconds)}"


def _key(name: str) -> str:
    for character in ",= ":
        name = name.replace(character, f"\\{character}")
    return name


def _value(text: str, kind: str) -> str:
    match kind:
        case "long":
            return f"{text}i"
        case "string":
            return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return text


def _nanoseconds(text: str, seconds: dict[str, int]) -> int:
    """Read an instant of RFC 3339 in UTC; `seconds` remembers the one before up to its second."""
    whole, fraction = text[:19], text[20:-1]
    if whole not in seconds:
        seconds.clear()
        seconds[whole] = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    return seconds[whole] * p.SECOND + int(fraction.ljust(9, "0") or "0")


def _batches(lines: Iterable[str]) -> Iterator[tuple[dict[str, Any] | None, list[str]]]:
    """Yield the heads alone, and the lines of a bucket in batches."""
    batch: list[str] = []
    for line in lines:
        if line.startswith(HEAD) or len(batch) == LINES_PER_REQUEST:
            if batch:
                yield None, batch
            batch = []
        if line.startswith(HEAD):
            yield json.loads(line[len(HEAD) :]), []
        else:
            batch.append(line)
    if batch:
        yield None, batch
