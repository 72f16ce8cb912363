"""The watch over streams: what is there to judge, and who judges it. Leases let several workers share the work."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from common.auth import Caller
from common.database import ALL_ORGANIZATIONS, Database, notify
from common.outbox import record

LEASE_S = 15  # many times the longest claim; a killed worker's streams wait that long
POSTPONE_S = 2
SILENCE_S = 60  # an engineering choice, as in limits.SIGNAL_LIMITS; slower signals get three periods
ECG_STEP_S, ECG_RATES_HZ = 5.0, (100.0, 1000.0)
VITAL_SIGNS = ("HR", "SpO2", "BP", "TEMP", "RESP")
WAKE = "windows"

# After news the next look for silence is one silence later.
_PATIENCE = f"make_interval(secs => greatest({SILENCE_S}, 3 / coalesce(monitors.sample_rate_hz, 1)))"

# The wire's times are rounded to microseconds: a window that lacks one of them is complete.
_SLACK_S, _LEAST_S = 0.001, 0.000001
_PAUSE = f"greatest(step_s - {_SLACK_S}, {_LEAST_S})"

_WATCH = text(f"""
    INSERT INTO monitors (stream_id, org_id, patient_id, device_id, signal_type, channel, unit, sample_rate_hz, step_s,
                          started_at, bound_at, check_at)
    VALUES (:stream_id, :org_id, :patient_id, :device_id, :signal_type, :channel, :unit, :sample_rate_hz, :step_s,
            :started_at, now(), now() + make_interval(secs => {SILENCE_S}))
    ON CONFLICT (stream_id) DO UPDATE
    SET patient_id = excluded.patient_id, device_id = excluded.device_id, signal_type = excluded.signal_type,
        channel = excluded.channel, unit = excluded.unit, sample_rate_hz = excluded.sample_rate_hz,
        step_s = excluded.step_s, started_at = excluded.started_at, bound_at = now(),
        check_at = coalesce(monitors.check_at, excluded.check_at)
    WHERE monitors.bound_at IS NULL""")

_END = text("""
    INSERT INTO monitors (stream_id, org_id, ended_at) VALUES (:stream_id, :org_id, :ended_at)
    ON CONFLICT (stream_id) DO UPDATE SET ended_at = excluded.ended_at, check_at = now()""")

_NOTE = text(f"""
    INSERT INTO monitors (stream_id, org_id, written_from, written_until, news_from, news_until, notes, written_at,
                          request_id)
    VALUES (:stream_id, :org_id, :start, :stop, :start, :stop, 1, now(), :request_id)
    ON CONFLICT (stream_id) DO UPDATE
    SET written_from = least(monitors.written_from, excluded.written_from),
        written_until = greatest(monitors.written_until, excluded.written_until),
        news_from = least(monitors.news_from, excluded.news_from),
        news_until = greatest(monitors.news_until, excluded.news_until),
        notes = monitors.notes + 1, written_at = now(), request_id = excluded.request_id,
        check_at = now() + {_PATIENCE}""")

# Whose turn it is goes round, so that a stream with hours to catch up does not hold up the live ones.
_CLAIM = text(f"""
    UPDATE monitors SET lease_owner = :owner, lease_until = now() + make_interval(secs => {LEASE_S}),
                        claimed_at = clock_timestamp()
    WHERE stream_id = (
        SELECT stream_id FROM monitors
        WHERE bound_at IS NOT NULL AND step_s IS NOT NULL AND lease_until <= now()
          AND (written_until >= coalesce(cursor, written_from) + make_interval(secs => {_PAUSE})
               OR news_from < cursor OR check_at <= now())
        ORDER BY claimed_at LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING *""")

_HOLD = text("SELECT 1 FROM monitors WHERE stream_id = :stream_id AND lease_owner = :owner FOR UPDATE")

_POSTPONE = text(f"""
    UPDATE monitors SET lease_owner = NULL, lease_until = now() + make_interval(secs => {POSTPONE_S})
    WHERE stream_id = :stream_id AND lease_owner = :owner""")


class LeaseLost(Exception):
    """Another worker has taken the stream meanwhile: what was worked out is thrown away, it does the same."""


@dataclass(frozen=True)
class Claim:
    """One monitor, ours until the lease ends, as it was when it was claimed."""

    owner: UUID
    monitor: Row[Any]


def pause(step_s: float) -> timedelta:
    """How far samples must reach beyond what is judged before there is something to judge."""
    return timedelta(seconds=max(step_s - _SLACK_S, _LEAST_S))


def watch(session: Session, caller: Caller, stream_id: UUID, signal_type: str, **facts: Any) -> None:
    """Watch a stream from now on; a second time changes nothing."""
    step_s = _step_of(signal_type, facts["sample_rate_hz"])
    values = {"stream_id": stream_id, "org_id": caller.org_id, "signal_type": signal_type, "step_s": step_s, **facts}
    session.connection().execute(_WATCH, values)
    details = {"signal_type": signal_type, "judged": step_s is not None}
    record(session, caller, "stream.watched", f"signal_streams:{stream_id}", details)
    notify(session, WAKE)


def _step_of(signal_type: str, rate_hz: float) -> float | None:
    """How far apart the windows of a stream end; 0 judges each reading, None nothing: no model takes the stream."""
    if signal_type in VITAL_SIGNS:
        return 0.0 if rate_hz <= 1 else 1.0
    least, greatest = ECG_RATES_HZ
    return ECG_STEP_S if signal_type == "ECG" and least <= rate_hz <= greatest else None


def end(session: Session, caller: Caller, stream_id: UUID, ended_at: datetime) -> None:
    """Expect no more samples of a stream; those that are there are still judged."""
    session.connection().execute(_END, {"stream_id": stream_id, "org_id": caller.org_id, "ended_at": ended_at})
    record(session, caller, "stream.watch_ended", f"signal_streams:{stream_id}")
    notify(session, WAKE)


def note_written(session: Session, caller: Caller, stream_id: UUID, start: datetime, stop: datetime) -> None:
    """Note that [start, stop) of a stream is written, also of one whose binding is not known here yet."""
    values = {"stream_id": stream_id, "org_id": caller.org_id, "start": start, "stop": stop}
    session.connection().execute(_NOTE, values | {"request_id": caller.request_id[:128]})
    notify(session, WAKE)


def claim(database: Database) -> Claim | None:
    """Lease the monitor that has waited longest among those with something to do; None when there is none."""
    owner = uuid4()
    with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        row = session.connection().execute(_CLAIM, {"owner": owner}).one_or_none()
    return None if row is None else Claim(owner, row)


def hold(session: Session, claimed: Claim) -> None:
    """Lock a claimed monitor for the rest of the transaction; raises LeaseLost."""
    found = session.connection().execute(_HOLD, {"stream_id": claimed.monitor.stream_id, "owner": claimed.owner})
    if found.one_or_none() is None:
        raise LeaseLost


def finish(session: Session, claimed: Claim, *, keep_news: bool = False, **values: Any) -> None:
    """Write how far a held monitor is judged, and give it back. News that came meanwhile stay for the next look."""
    meanwhile = {"check_at": "CASE WHEN notes > :seen THEN check_at ELSE :check_at END"}
    assignments = "".join(f"{name} = {meanwhile.get(name, f':{name}')}, " for name in values)
    if not keep_news:
        fresh = "CASE WHEN notes > :seen THEN {0} END"
        assignments += "".join(f"{name} = {fresh.format(name)}, " for name in ("news_from", "news_until"))
    statement = text(
        f"UPDATE monitors SET {assignments} lease_owner = NULL, lease_until = now()"
        " WHERE stream_id = :stream_id AND lease_owner = :owner"
    )
    identity = {"stream_id": claimed.monitor.stream_id, "owner": claimed.owner, "seen": claimed.monitor.notes}
    session.connection().execute(statement, values | identity)


def postpone(database: Database, claimed: Claim) -> None:
    """Give a claimed monitor back for a little later, because what it needs is away."""
    with database.transaction(ALL_ORGANIZATIONS, technical=True) as session:
        identity = {"stream_id": claimed.monitor.stream_id, "owner": claimed.owner}
        session.connection().execute(_POSTPONE, identity)
