"""An emulation of InfluxDB 2's HTTP API: what the engine asks, strictly; the rest is refused like the server does."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from werkzeug.exceptions import HTTPException
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

TOKEN, ORG = "token-of-tests", "heartguard"
ORG_ID = "00000000000000aa"
TYPES = {bool: "boolean", int: "long", float: "double", str: "string"}
FLUX_TYPES = {bool: "bool", int: "int", float: "float", str: "string"}
FOLDS = {
    "mean": lambda values: sum(values) / len(values),
    "min": min,
    "max": max,
    "count": len,
    "last": lambda values: values[-1],
}
Key = tuple[str, tuple[tuple[str, str], ...], str]
# What a query may call: a variable of the same name would hide it, which is a type error.
FUNCTIONS = {"from", "range", "filter", "limit", "last", "map", "drop", "count", "aggregateWindow"}
FUNCTIONS |= {*FOLDS, "time", "int", "duration", "types"}
HOUR, DAY = 3600, 86_400
SYSTEM = [
    {"id": f"{number:016x}", "name": name, "retentionRules": []}
    for number, name in ((10, "_tasks"), (11, "_monitoring"))
]
TIMED = ["map(fn: (r) => ({r with _at: int(v: r._time)}))", 'drop(columns: ["_start", "_stop", "_time"])']
FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class Refused(Exception):
    """An answer of the API that is an error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class Broken(Exception):
    """A query that failed after its answer had begun."""


def invalid(message: str) -> Refused:
    return Refused(400, "invalid", message)


def shard_seconds(retention: int) -> int:
    """How much time the server puts into one shard when it is not told."""
    if retention == 0 or retention >= 180 * DAY:
        return 7 * DAY
    return DAY if retention >= 2 * DAY else HOUR


def split(text: str, separator: str, quoted: bool = False) -> list[str]:
    """Cut at separators that no backslash precedes, and where asked for no quotes enclose."""
    parts, start, inside, index = [], 0, False, 0
    while index < len(text):
        if text[index] == "\\" and index + 1 < len(text) and (not quoted or inside or text[index + 1] in ', ="'):
            if quoted and inside and text[index + 1] not in '"\\':
                index += 1
                continue
            index += 1 if text[index + 1] == "\\" and not inside else 2
            continue
        if quoted and text[index] == '"':
            inside = not inside
        elif text[index] == separator and not inside:
            parts.append(text[start:index])
            start = index + 1
        index += 1
    if inside:
        raise invalid("unbalanced quotes")
    return [*parts, text[start:]]


def unescaped(text: str, characters: str) -> str:
    return re.sub(r"\\([" + re.escape(characters) + "])", r"\1", text)


def parsed_value(text: str) -> Any:
    """A field's value of the line protocol."""
    if text in ("t", "T", "true", "True", "TRUE"):
        return True
    if text in ("f", "F", "false", "False", "FALSE"):
        return False
    if len(text) > 1 and text[0] == text[-1] == '"':
        return unescaped(text[1:-1], '"\\')
    if re.fullmatch(r"-?\d+i", text) and -(2**63) <= int(text[:-1]) < 2**63:
        return int(text[:-1])
    if FLOAT.fullmatch(text):
        return float(text)
    raise invalid(f"unable to parse field value {text!r}")


def parsed_line(line: str) -> tuple[str, tuple[tuple[str, str], ...], dict[str, Any], int]:
    """Measurement, tags, fields and time of a line; raises Refused."""
    series = split(line, " ")[0]  # quotes mean something in the fields alone
    parts = [series, *split(line[len(series) + 1 :], " ", quoted=True)]
    if len(parts) != 3 or not re.fullmatch(r"-?\d+", parts[2]):
        raise invalid("unable to parse: want series, fields and a timestamp")
    measurement, *tags = split(parts[0], ",")
    pairs = [split(tag, "=") for tag in tags]
    fields = [split(field, "=", quoted=True) for field in split(parts[1], ",", quoted=True)]
    if not measurement or any(len(pair) != 2 or "" in pair for pair in [*pairs, *fields]):
        raise invalid("unable to parse: missing or superfluous tag or field")
    names = tuple(sorted((unescaped(key, ", ="), unescaped(value, ", =")) for key, value in pairs))
    if len({key for key, _ in names}) != len(names):
        raise invalid("duplicate tags")
    values = {unescaped(key, ", ="): parsed_value(value) for key, value in fields}
    return unescaped(measurement, ", "), names, values, int(parts[2])


def nanoseconds(text: str) -> int:
    """An RFC 3339 time."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", text)
    if match is None:
        raise invalid("time must be RFC3339Nano")
    seconds = int(datetime.fromisoformat(match[1]).replace(tzinfo=UTC).timestamp())
    return seconds * 10**9 + int((match[2] or "0").ljust(9, "0"))


def rfc3339(time: int) -> str:
    return f"{datetime.fromtimestamp(time // 10**9, UTC):%Y-%m-%dT%H:%M:%S}.{time % 10**9:09d}Z"


class InfluxServer:
    """The state of an emulated server, and its answers."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.buckets: dict[str, dict[str, Any]] = {}
        self.series: dict[str, dict[Key, dict[int, Any]]] = {}
        self.made = 0
        self.failure: Response | None = None
        self.asked: list[tuple[str, str, str, str]] = []  # method, path, encoding sent, encodings taken
        self.url = ""

    @Request.application
    def __call__(self, request: Request) -> Response:
        try:
            if request.path == "/ping":
                return Response(status=204 if self.failure is None else 503, headers={"X-Influxdb-Version": "v2.7.0"})
            if request.headers.get("Authorization") != f"Token {TOKEN}":
                raise Refused(401, "unauthorized", "unauthorized access")
            if self.failure is not None:
                return self.failure
            headers = request.headers
            encodings = headers.get("Content-Encoding", ""), headers.get("Accept-Encoding", "")
            self.asked.append((request.method, request.path, *encodings))
            body = request.get_data()
            if request.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            with self.lock:
                answer = self.answer(request, body)
            if "gzip" in request.headers.get("Accept-Encoding", "") and answer.status_code == 200:
                answer.set_data(gzip.compress(answer.get_data(), 1))
                answer.headers["Content-Encoding"] = "gzip"
            return answer
        except Refused as error:
            return self.json({"code": error.code, "message": error.message}, error.status)
        except HTTPException as error:
            return self.json({"code": "invalid", "message": str(error)}, error.code)

    @staticmethod
    def json(value: Any, status: int = 200) -> Response:
        return Response(json.dumps(value), status, content_type="application/json; charset=utf-8")

    def answer(self, request: Request, body: bytes) -> Response:
        method, path, args = request.method, request.path.removeprefix("/api/v2/"), request.args
        identity = path.removeprefix("buckets/")
        match method, path:
            case "GET", "orgs":
                return self.json({"orgs": [{"id": ORG_ID, "name": ORG}] if args.get("org") in (None, ORG) else []})
            case "GET", "buckets":
                self.check_org(args)
                if "name" in args:
                    found = self.buckets[self.named(args["name"])]
                    return self.json({"links": {"self": request.full_path}, "buckets": [found]})
                offset, limit = int(args.get("offset", 0)), int(args.get("limit", 20))
                if not 1 <= limit <= 100:
                    raise invalid("limit must be between 1 and 100")
                page = sorted(self.buckets.values(), key=lambda bucket: bucket["name"])[offset : offset + limit]
                links = {"self": request.full_path} | ({"next": request.full_path} if len(page) == limit else {})
                return self.json({"links": links, "buckets": page + SYSTEM})
            case "POST", "buckets":
                bucket = json.loads(body)
                if bucket.get("orgID") != ORG_ID or not bucket.get("name") or bucket["name"].startswith("_"):
                    raise invalid("bucket name is invalid")
                bucket["retentionRules"] = self.ruled(bucket["retentionRules"], HOUR)
                if any(known["name"] == bucket["name"] for known in self.buckets.values()):
                    raise Refused(422, "conflict", "bucket with that name already exists")
                self.made += 1
                bucket["id"] = f"{self.made:016x}"
                self.buckets[bucket["id"]] = bucket
                self.series[bucket["id"]] = {}
                return self.json(bucket, 201)
            case "PATCH", _ if identity in self.buckets:
                change = json.loads(body)
                bucket = self.buckets[identity]
                if change.get("name", bucket["name"]) != bucket["name"]:
                    if any(known["name"] == change["name"] for known in self.buckets.values()):
                        raise Refused(422, "conflict", "bucket name is not unique")
                    bucket["name"] = change["name"]
                shard = bucket["retentionRules"][0]["shardGroupDurationSeconds"]
                bucket["retentionRules"] = self.ruled(change["retentionRules"], shard)
                return self.json(bucket)
            case "DELETE", _ if identity in self.buckets:
                del self.buckets[identity], self.series[identity]
                return Response(status=204)
            case "POST", "write":
                self.check_org(args)
                if args.get("precision") != "ns":
                    raise invalid("the engine writes nanoseconds")
                return self.write(self.named(args.get("bucket")), body)
            case "POST", "delete":
                self.check_org(args)
                return self.delete(self.named(args.get("bucket")), json.loads(body))
            case "POST", "query":
                self.check_org(args)
                query = json.loads(body)
                if "params" in query:
                    raise invalid("params are of InfluxDB Cloud")
                try:
                    return Response(self.query(query), content_type="text/csv; charset=utf-8")
                except Broken as error:
                    annotations = "#datatype,string,string\r\n#group,true,true\r\n#default,,\r\n"
                    table = f"{annotations},error,reference\r\n,{error},\r\n"
                    return Response(table, content_type="text/csv; charset=utf-8")
        raise Refused(404, "not found", "path not found")

    def check_org(self, args: Any) -> None:
        if args.get("org", ORG) != ORG:
            raise Refused(404, "not found", "organization not found")

    def ruled(self, rules: list[dict[str, Any]], shard: int) -> list[dict[str, Any]]:
        """The rules as the server keeps them; a retention below the time of a shard is refused."""
        if len(rules) > 1 or any(rule["type"] != "expire" or rule["everySeconds"] < 0 for rule in rules):
            raise Refused(422, "unprocessable entity", "expiration seconds cannot be negative")
        every = rules[0]["everySeconds"] if rules else 0
        asked = rules[0].get("shardGroupDurationSeconds", shard) if rules else shard
        if 0 < every < HOUR:
            raise Refused(422, "unprocessable entity", "expiration seconds must be at least one hour")
        if 0 < every < asked:
            message = "shard-group duration must also be updated to be smaller than new retention duration"
            raise Refused(422, "unprocessable entity", message)
        return [{"type": "expire", "everySeconds": every, "shardGroupDurationSeconds": asked}]

    def named(self, name: str | None) -> str:
        for identity, bucket in self.buckets.items():
            if bucket["name"] == name:
                return identity
        raise Refused(404, "not found", f'bucket "{name}" not found')

    def write(self, bucket: str, body: bytes) -> Response:
        lines = [parsed_line(line) for line in body.decode("utf-8").split("\n") if line and line[0] != "#"]
        if not lines:
            raise invalid("no data")
        series, conflicts = self.series[bucket], 0
        for measurement, tags, fields, time in lines:
            if "time" in {*fields, *(key for key, _ in tags)}:
                raise Refused(422, "unprocessable entity", 'input field "time" is invalid dropped=1')
            known = {key[2]: type(next(iter(cells.values()))) for key, cells in series.items() if key[0] == measurement}
            if any(known.get(name, type(value)) is not type(value) for name, value in fields.items()):
                conflicts += 1
                continue
            for name, value in fields.items():
                series.setdefault((measurement, tags, name), {})[time] = value
        if conflicts:
            raise Refused(422, "unprocessable entity", f"partial write: field type conflict dropped={conflicts}")
        return Response(status=204)

    def delete(self, bucket: str, body: dict[str, str]) -> Response:
        start, stop = nanoseconds(body["start"]), nanoseconds(body["stop"])
        pair = r'"((?:[^"\\]|\\.)*)"="((?:[^"\\]|\\.)*)"'
        if not re.fullmatch(f"{pair}(?: AND {pair})*", body["predicate"]):
            raise invalid("bad predicate")
        wanted = {unescaped(k, '"\\'): unescaped(v, '"\\') for k, v in re.findall(pair, body["predicate"])}
        for key, cells in list(self.series[bucket].items()):
            if wanted.items() <= {"_measurement": key[0], **dict(key[1])}.items():
                for time in [time for time in cells if start <= time <= stop]:
                    del cells[time]
                if not cells:
                    del self.series[bucket][key]
        return Response(status=204)

    def query(self, body: dict[str, Any]) -> str:
        """Run the stages that the engine uses; anything else is a compile error, as with the server."""
        scope = {}
        for statement in body["extern"]["body"]:
            assignment = statement["assignment"]
            value = assignment["init"]["value"]
            kind = assignment["init"]["type"]
            scope[assignment["id"]["name"]] = int(value) if kind == "IntegerLiteral" else value
        if hidden := FUNCTIONS & scope.keys():
            raise invalid(f"type error: expected a function but found {min(hidden)}")
        source, *stages = body["query"].removeprefix('import "types"\n').split("\n  |> ")
        timed = stages[-2:] == TIMED
        if source != "from(bucket: bucket)":
            raise invalid("compilation failed")
        tables: list[tuple[Key, list[tuple[int, Any]]]] = [
            (key, sorted(cells.items())) for key, cells in sorted(self.series[self.named(scope["bucket"])].items())
        ]
        start = scope["start"]
        for stage in stages[:-2] if timed else stages:
            if stage == "range(start: time(v: start), stop: time(v: stop))":
                if scope["start"] >= scope["stop"]:
                    raise invalid("cannot query an empty range")
                tables = [(key, [cell for cell in cells if start <= cell[0] < scope["stop"]]) for key, cells in tables]
                tables = [table for table in tables if table[1]]
            elif match := re.fullmatch(r"filter\(fn: \(r\) => (.*)\)", stage):
                tables = [table for table in tables if any(self.holds(c, table, scope) for c in match[1].split(" or "))]
            elif stage == 'drop(columns: ["_start", "_stop"])':
                continue
            elif stage == "count()":
                tables = [(key, [(start, len(cells))]) for key, cells in tables]
            elif stage == "limit(n: most)":
                tables = [(key, cells[: scope["most"]]) for key, cells in tables]
            elif stage == "last()":
                tables = [(key, cells[-1:]) for key, cells in tables]
            elif match := re.fullmatch(
                r"aggregateWindow\(every: (inf|duration\(v: every\)), fn: (\w+), createEmpty: false,"
                r' timeSrc: "_start"\)',
                stage,
            ):
                tables = [
                    (key, self.windows(cells, match[2], start, None if match[1] == "inf" else scope["every"]))
                    for key, cells in tables
                ]
            else:
                raise invalid(f"compilation failed: {stage}")
        return self.csv(tables, timed)

    @staticmethod
    def holds(condition: str, table: tuple[Key, list[tuple[int, Any]]], scope: dict[str, Any]) -> bool:
        (measurement, tags, field), cells = table
        if condition == "false":
            return False
        if match := re.fullmatch(r'types\.isType\(v: r\._value, type: "(\w+)"\)', condition):
            return FLUX_TYPES[type(cells[0][1])] == match[1]
        match = re.fullmatch(r'r(?:\.(_measurement|_field)|\["([^"\\]+)"\]) (==|!=) (\w+)', condition)
        if match is None or match[4] not in scope:
            raise invalid(f"compilation failed: {condition}")
        row = {"_measurement": measurement, "_field": field, **dict(tags)}
        return (row.get(match[1] or match[2]) == scope[match[4]]) is (match[3] == "==")

    @staticmethod
    def windows(cells: list[tuple[int, Any]], name: str, start: int, every: int | None) -> list[tuple[int, Any]]:
        if name == "mean" and not isinstance(cells[0][1], (int, float)):
            raise Broken("unsupported input type for mean aggregate: string")
        found: dict[int, list[Any]] = {}
        for time, value in cells:
            found.setdefault(start if every is None else max(start, time // every * every), []).append(value)
        return [(time, FOLDS[name](values)) for time, values in found.items()]

    @staticmethod
    def csv(tables: list[tuple[Key, list[tuple[int, Any]]]], timed: bool) -> str:
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\r\n")
        for number, ((measurement, tags, field), cells) in enumerate(tables):
            keys = ["_field", "_measurement", *(key for key, _ in tags)]
            kind = TYPES[type(cells[0][1])]
            columns = ["result", "table", "_value", *keys, "_at" if timed else "_time"]
            types = ["string", "long", kind, *("string" for _ in keys), "long" if timed else "dateTime:RFC3339"]
            writer.writerow(["#datatype", *types])
            writer.writerow(["#group", *("true" if column in keys else "false" for column in columns)])
            writer.writerow(["#default", "_result", *("" for _ in columns[1:])])
            writer.writerow(["", *columns])
            for time, value in cells:
                shown = str(value).lower() if isinstance(value, bool) else value
                writer.writerow(
                    ["", "", number, shown, field, measurement, *dict(tags).values(), time if timed else rfc3339(time)]
                )
            out.write("\r\n")
        return out.getvalue()


class Quiet(WSGIRequestHandler):
    """Says nothing of each request."""

    protocol_version = "HTTP/1.1"

    def log_request(self, *_: Any, **__: Any) -> None:
        """Say nothing."""


@contextmanager
def emulated_influxdb() -> Iterator[InfluxServer]:
    """Serve an empty server on a free port of loopback."""
    state = InfluxServer()
    server = make_server("127.0.0.1", 0, state, threaded=True, request_handler=Quiet)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        state.url = f"http://127.0.0.1:{server.server_port}"
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
