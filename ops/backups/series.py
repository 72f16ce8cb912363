"""Packs and unpacks the time series of an InfluxDB 2 server; runs where the time-series service's settings are.

`pack` prints gzipped lines of its protocol; `count` says how many buckets of ours there are; `unpack [--aside]` reads
what `pack` printed. How many values went through goes to the error stream, as JSON.
"""

from __future__ import annotations

import gzip
import io
import json
import sys

from influx_service.config import Settings
from influx_service.stores import StoreError
from influx_service.stores.influxdb import PREFIX
from influx_service.stores.server import Server
from influx_service.stores.transfer import HEAD, dump, load

PATIENCE_S = 300


def main(action: str, *options: str) -> None:
    """Do one of the three."""
    settings = Settings.load("influx")
    server = Server(settings.influxdb_url or "", settings.influxdb_token or "", settings.influxdb_org, PATIENCE_S)
    if action == "count":
        print(len(server.buckets(PREFIX)))
    elif action == "pack":
        values = 0
        with gzip.GzipFile(fileobj=sys.stdout.buffer, mode="wb", compresslevel=3, mtime=0) as file:
            for line in dump(server):
                file.write(f"{line}\n".encode())
                values += not line.startswith(HEAD)
        print(json.dumps({"values": values}), file=sys.stderr)
    else:
        with gzip.GzipFile(fileobj=sys.stdin.buffer, mode="rb") as file:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="\n")
            values = load(server, (line.rstrip("\n") for line in text), aside="--aside" in options)
        print(json.dumps({"values": values}), file=sys.stderr)
    server.close()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except StoreError as error:
        raise SystemExit(f"InfluxDB: {error}") from None
