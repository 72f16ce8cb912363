"""What outcomes lead to: episodes step, inferences are kept, events are said; all within the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from uuid6 import uuid7

from common.auth import Caller
from common.outbox import record
from inference_service.builtin.model import Finding, Level, Outcome, Status
from inference_service.catalogue import RunningVersion, stage_of
from inference_service.episodes import State, Transition, advance, initial_state
from inference_service.events import AlertCandidate, InferenceGenerated
from inference_service.models import Episode, Inference, Monitor
from inference_service.samples import Reading

SIGNAL_LOST, GENERAL_RISK = "SIGNAL_LOST", "GENERAL_RISK"
_MOMENT = timedelta(microseconds=1)
_PAST = {"open": "opened", "escalate": "escalated", "close": "closed"}


class Settling:
    """Writes the outcomes of one claimed stream. `live`: they are about now, whatever the data say."""

    def __init__(
        self,
        session: Session,
        caller: Caller,
        monitor: Any,
        versions: dict[str, RunningVersion],
        stale_after: timedelta,
        *,
        live: bool = False,
    ) -> None:
        self._session, self._caller, self._monitor, self._versions = session, caller, monitor, versions
        self._now, self._stale_after, self._live = datetime.now(UTC), stale_after, live
        self._generated: list[InferenceGenerated] = []

    def write(self, judged: Sequence[Any], late: tuple[datetime, datetime] | None = None) -> None:
        """Step the stream's machines through outcomes in the order of time.

        `late` outcomes lie behind the cursor, where the machines have been already: they step machines of their own,
        and only episodes that open after `late`'s first and not after its last moment are told, and closed at the end.
        """
        if not judged:
            return
        model = judged[0].model
        version = self._versions[model.name]
        stage = stage_of(self._session, version.id)
        if stage == "retired":
            return
        stream_id = None if model.events == (GENERAL_RISK,) else self._monitor.stream_id
        found = {finding.event_type for item in judged for finding in item.outcome.findings}
        if any(item.outcome.status is not Status.OK for item in judged):
            found.add(event_of_abstention(model))
        for event_type in sorted(found):
            if late is not None:
                self._step_late(self._new_episode(event_type, stream_id), judged, version, late)
            else:
                self._step(self._episode(event_type, stream_id), judged, version, alarms=stage == "production")
        if self._generated:
            details = {"count": len(self._generated)}
            entity = f"signal_streams:{self._monitor.stream_id}"
            record(self._session, self._caller, "inference.generated", entity, details, publish=self._generated)
            self._generated = []

    def write_risk(self, readings: Iterable[Reading], context: Any) -> None:
        """Score NEWS2 with the patient's other streams, one worker a patient at a time."""
        from inference_service import judging

        key = {"key": f"inference.risk:{self._monitor.patient_id}"}
        self._session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), key)
        others = select(Monitor).where(
            Monitor.patient_id == self._monitor.patient_id,
            Monitor.stream_id != self._monitor.stream_id,
            Monitor.latest_at.is_not(None),
            Monitor.ended_at.is_(None),
        )
        self.write(judging.judge_risk(self._monitor, context, readings, self._session.scalars(others).all()))

    def close_signal_lost(self) -> None:
        """A stream that has ended is not missed any more."""
        from inference_service import judging

        episode = self._episode(SIGNAL_LOST, self._monitor.stream_id)
        if episode.state["episode_id"] is not None:
            version = self._versions[judging.model_of(self._monitor).name]
            at = max(filter(None, (self._monitor.written_until, self._monitor.ended_at)))
            self._close(episode, judging.ended(self._monitor, at), version)
            episode.told_stale = False

    def _episode(self, event_type: str, stream_id: UUID | None) -> Episode:
        """The machine, locked; a new one where there is none. Its stream is held, so nobody else makes it."""
        identity = {"patient_id": self._monitor.patient_id, "event_type": event_type, "stream_id": stream_id}
        episode = self._session.scalar(select(Episode).filter_by(**identity).with_for_update())
        if episode is None:
            episode = self._new_episode(event_type, stream_id)
            self._session.add(episode)
        return episode

    def _new_episode(self, event_type: str, stream_id: UUID | None) -> Episode:
        return Episode(
            org_id=self._monitor.org_id,
            patient_id=self._monitor.patient_id,
            event_type=event_type,
            stream_id=stream_id,
            state=initial_state(),
            told_stale=False,
        )

    def _step(self, episode: Episode, judged: Sequence[Any], version: RunningVersion, *, alarms: bool) -> None:
        for item in judged:
            transitions = self._advance(episode, item) if alarms else ()
            if not transitions and episode.told_stale and not self._is_stale(item.at):
                transitions = (self._once_more(episode, item),)
            if transitions or self._is_sample(episode, item):
                inference_id = self._keep(episode.event_type, item, version)
                for transition in transitions:
                    self._tell(episode, transition, inference_id, version)

    def _step_late(
        self, episode: Episode, judged: Sequence[Any], version: RunningVersion, late: tuple[datetime, datetime]
    ) -> None:
        told = set()
        for item in judged:
            for transition in self._advance(episode, item):
                if transition.kind == "open" and late[0] < item.at <= late[1]:
                    told.add(transition.episode_id)
                if transition.episode_id in told:
                    self._tell(episode, transition, self._keep(episode.event_type, item, version), version)
        if episode.state["episode_id"] in told:
            self._close(episode, judged[-1], version)

    def _advance(self, episode: Episode, item: Any) -> tuple[Transition, ...]:
        """Step a machine. It passes over what is not newer than what it has seen: of a patient's several streams that
        measure at the same moment each is news, so there it is told a moment later."""
        at = item.at
        if episode.stream_id is None:
            at = max([at, *(seen + _MOMENT for seen in _seen(episode.state))])
        episode.state, transitions = advance(
            episode.state,
            episode.event_type,
            item.outcome,
            item.limits,
            ended_at=at,
            now=self._now,
            new_id=lambda: str(uuid7()),
        )
        return transitions

    def _close(self, episode: Episode, item: Any, version: RunningVersion) -> None:
        """End an open episode for another reason than its values."""
        state = episode.state
        identity = state["episode_id"]
        key = f"{identity}:{state['sequence'] + 1}:close"
        level = Level(state["level"])
        closed = Transition("close", episode.event_type, identity, level, item.at, key, None, False)
        self._tell(episode, closed, self._keep(episode.event_type, item, version), version)
        episode.state = initial_state()

    def _once_more(self, episode: Episode, item: Any) -> Transition:
        """The open episode told again, because the data are live now and it was only told as stale."""
        state = episode.state
        key = f"{state['episode_id']}:{state['sequence']}:live"
        return Transition(
            "open", episode.event_type, state["episode_id"], Level(state["level"]), item.at, key, None, False
        )

    def _is_stale(self, at: datetime) -> bool:
        """Too old to alarm as if it were now: counted from the data's time, or from when the data came to us if that
        was earlier (a device's clock may run ahead, and a recording may be replayed into the future)."""
        return not self._live and self._now - min(at, self._monitor.written_at) > self._stale_after

    def _is_sample(self, episode: Episode, item: Any) -> bool:
        """One inference a minute is kept; of a lost signal only what says something."""
        from inference_service.judging import minute_of

        finding = headline(item.outcome, episode.event_type)
        if finding is None and event_of_abstention(item.model) != episode.event_type:
            return False
        if episode.event_type == SIGNAL_LOST and (finding is None or finding.level is None):
            return False
        if episode.sampled_at is not None and minute_of(item.at) <= minute_of(episode.sampled_at):
            return False
        episode.sampled_at = item.at
        return True

    def _keep(self, event_type: str, item: Any, version: RunningVersion) -> UUID:
        finding = headline(item.outcome, event_type)
        inference_id = store(self._session, self._monitor, version, event_type, item)
        self._generated.append(
            InferenceGenerated(
                inference_id=inference_id,
                patient_id=self._monitor.patient_id,
                stream_id=self._monitor.stream_id,
                event_type=event_type,
                model=version.label,
                status=item.outcome.status.value,
                level=wire_level(finding.level) if finding and finding.level else None,
                window_start=item.start,
                window_end=item.end,
            )
        )
        return inference_id

    def _tell(self, episode: Episode, transition: Transition, inference_id: UUID, version: RunningVersion) -> None:
        stale = self._is_stale(transition.at)
        episode.told_stale = stale and transition.kind != "close"
        candidate = AlertCandidate(
            candidate_id=uuid7(),
            episode_id=UUID(transition.episode_id),
            transition=transition.kind,
            inference_id=inference_id,
            patient_id=self._monitor.patient_id,
            stream_id=episode.stream_id,
            device_id=self._monitor.device_id if episode.stream_id else None,
            event_type=episode.event_type,
            level=wire_level(transition.level),
            observed_at=transition.at,
            detected_at=self._now,
            model=version.label,
            dedup_key=transition.key,
            stale=stale,
        )
        details = {"event_type": episode.event_type, "level": candidate.level, "stale": stale}
        entity = f"episodes:{transition.episode_id}"
        action = f"episode.{_PAST[transition.kind]}"
        record(self._session, self._caller, action, entity, details, publish=candidate)


def _seen(state: State) -> list[datetime]:
    """When a machine saw its conditions last."""
    return [datetime.fromisoformat(latch["seen"]) for latch in state["latches"].values() if latch["seen"]]


def headline(outcome: Outcome, event_type: str) -> Finding | None:
    """The most severe finding of an event type."""
    return next((finding for finding in outcome.headlines() if finding.event_type == event_type), None)


def event_of_abstention(model: Any) -> str:
    """What a window that cannot be judged is stored as: the event that the model looks for, if it is one."""
    clinical = [event for event in model.events if event != SIGNAL_LOST]
    return clinical[0] if len(clinical) == 1 else SIGNAL_LOST


def wire_level(level: Level) -> str:
    """A level as the wire and the tables write it."""
    return level.name.lower()


def store(session: Session, monitor: Any, version: RunningVersion, event_type: str, item: Any) -> UUID:
    """Keep one event type of a window; returns the id of the row, also when it was kept before."""
    finding, outcome = headline(item.outcome, event_type), item.outcome
    values = {
        "id": uuid7(),
        "org_id": monitor.org_id,
        "patient_id": monitor.patient_id,
        "stream_id": monitor.stream_id,
        "device_id": monitor.device_id,
        "model_version_id": version.id,
        "event_type": event_type,
        "window_start": item.start,
        "window_end": item.end,
        "status": outcome.status.value,
        "reason": outcome.reason[:200],
        "level": wire_level(finding.level) if finding and finding.level else None,
        "score": _decimal(finding.score if finding else None),
        "threshold": _decimal(finding.threshold if finding else None),
        "quality": _decimal(outcome.quality),
        "explanation": finding.explanation if finding else None,
        "version": 1,
    }
    statement = insert(Inference).values(values)
    window = ["stream_id", "window_start", "window_end", "event_type"]
    statement = statement.on_conflict_do_update(index_elements=window, set_={"updated_at": func.now()})
    return session.execute(statement.returning(Inference.id)).scalar_one()


def store_now(
    session: Session, caller: Caller, monitor: Any, versions: dict[str, RunningVersion], item: Any
) -> list[Inference]:
    """Keep what a window says about each event type, at somebody's request."""
    version = versions[item.model.name]
    event_types = {finding.event_type for finding in item.outcome.findings} or {event_of_abstention(item.model)}
    ids = [store(session, monitor, version, event_type, item) for event_type in sorted(event_types)]
    record(session, caller, "inference.run", f"signal_streams:{monitor.stream_id}", {"model": version.label})
    return list(session.scalars(select(Inference).where(Inference.id.in_(ids)).order_by(Inference.event_type)))


def _decimal(value: float | None) -> Decimal | None:
    return None if value is None else Decimal(f"{value:.4f}")
