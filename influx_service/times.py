"""Between the wire's times, which have microseconds, and the engine's nanoseconds."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_ns(moment: datetime) -> int:
    """Nanoseconds since 1970, exact."""
    return (moment - EPOCH) // _MICROSECOND * 1000


def from_ns(time: int) -> datetime:
    """A moment in UTC, to the nearest microsecond."""
    return EPOCH + timedelta(microseconds=(time + 500) // 1000)
