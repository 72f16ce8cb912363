"""Endpoints of the time-series service."""

from common.api import Api, Raw, page_of
from common.permissions import Permission as P
from influx_service import actions, queries, reads
from influx_service.schemas import (
    BucketChange,
    BucketFilter,
    BucketIn,
    BucketOut,
    PlotFilter,
    QueryIn,
    SeriesOut,
    WriteIn,
    WrittenOut,
)

api = Api("timeseries")

MAX_BODY = 4 * 1024 * 1024
SVG_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
WRITE = {
    "permission": P.TIMESERIES_WRITE,
    "body": WriteIn,
    "returns": WrittenOut,
    "rate_class": "ingest",
    "repeatable": True,
    "max_body": MAX_BODY,
}
READ = {"permission": P.TIMESERIES_READ, "returns": SeriesOut, "rate_class": "read", "care": True}


@api.post("/timeseries/write", **WRITE)
def write_timeseries(database, client, store, caller, body):
    """Keep samples of a stream."""
    return actions.write_timeseries(database, client, store, caller, **body)


@api.get("/timeseries/query", query=QueryIn, **READ)
def query_timeseries(database, client, store, caller, query):
    """Get a window of a stream, as samples or rows."""
    return reads.read_series(database, client, store, caller, **query)


@api.post("/timeseries/query", body=QueryIn, **READ, reads=True)
def query_timeseries_by_body(database, client, store, caller, body):
    """Get a window of a stream; the same as with GET."""
    return reads.read_series(database, client, store, caller, **body)


@api.get("/timeseries/plot", permission=P.TIMESERIES_READ, query=PlotFilter, returns=Raw, care=True)
def plot_timeseries(database, client, store, caller, query):
    """Draw a window of a stream as SVG: an ECG strip to scale, or a trend."""
    svg = reads.draw_series(database, client, store, caller, **query)
    return Raw(svg.encode(), "image/svg+xml; charset=utf-8", SVG_HEADERS)


@api.post(
    "/timeseries/buckets",
    permission=P.ORGANIZATION_WRITE,
    body=BucketIn,
    returns=BucketOut,
    creates="/timeseries/buckets/{id}",
)
def create_bucket(session, caller, body):
    """Create a bucket."""
    return actions.create_bucket(session, caller, **body)


@api.get("/timeseries/buckets", permission=P.TIMESERIES_READ, query=BucketFilter, returns=page_of(BucketOut))
def list_buckets(session, caller, query):
    """List the buckets of the organisation."""
    return queries.find_buckets(session, caller, **query)


@api.get("/timeseries/buckets/{bucket_id}", permission=P.TIMESERIES_READ, returns=BucketOut)
def get_bucket(session, caller, bucket_id):
    """Get one bucket."""
    return queries.get_bucket(session, caller, bucket_id)


@api.patch("/timeseries/buckets/{bucket_id}", permission=P.ORGANIZATION_WRITE, body=BucketChange, returns=BucketOut)
def change_bucket(session, caller, bucket_id, body):
    """Change how long a bucket keeps its samples."""
    return actions.change_bucket(session, caller, bucket_id, **body)


@api.delete("/timeseries/buckets/{bucket_id}", permission=P.ORGANIZATION_WRITE)
def remove_bucket(session, caller, bucket_id):
    """Remove a bucket and its samples."""
    actions.remove_bucket(session, caller, bucket_id)


@api.post("/write", **WRITE, proxied=False)
def write_by_short_path(database, client, store, caller, body):
    """Keep samples of a stream; the same as /timeseries/write."""
    return actions.write_timeseries(database, client, store, caller, **body)


@api.get("/query", query=QueryIn, **READ, proxied=False)
def query_by_short_path(database, client, store, caller, query):
    """Get a window of a stream; the same as /timeseries/query."""
    return reads.read_series(database, client, store, caller, **query)
