"""The age of a queue's oldest message, from what its consumer takes and how many wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from common.measuring import QueueAge


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def test_nothing_waits():
    age = QueueAge(f"test-{uuid4()}")
    age.seen(0)
    assert age.seconds() == 0


def test_a_message_that_is_held_grows_old_though_the_broker_counts_none():
    age = QueueAge(f"test-{uuid4()}")
    age.seen(0)
    age.handling(ago(100))
    assert 100 <= age.seconds() < 110
    age.handled()
    assert age.seconds() == 0


def test_after_an_idle_night_a_new_message_is_not_as_old_as_the_last_one():
    age = QueueAge(f"test-{uuid4()}")
    age.handling(ago(30_000))
    age.handled()
    age.seen(0)
    age.seen(3)
    assert age.seconds() < 10


def test_a_backlog_is_as_old_as_the_message_last_taken():
    age = QueueAge(f"test-{uuid4()}")
    age._taken = age._empty = ago(500).timestamp()
    age.handling(ago(200))
    age.handled()
    age.seen(1000)
    assert 200 <= age.seconds() < 210
    age.handling(ago(400))
    age.handled()
    assert 200 <= age.seconds() < 210, "a message that came back from a retry makes no other older"
