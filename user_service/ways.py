"""How a person is told of an alarm: in which language, through which channels, and from when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any, Self
from zoneinfo import ZoneInfo

from user_service.models import OrganizationRules, UserPreferences

URGENT = ("high", "critical")
"""Nothing silences or delays an alarm of these levels."""
_MINUTE = timedelta(minutes=1)
_DAY_MINUTES = 24 * 60


@dataclass(frozen=True)
class QuietHours:
    """From one time of the day to another, in a time zone, perhaps over midnight; none where they are the same."""

    zone: ZoneInfo
    start: time
    end: time

    @classmethod
    def of(cls, wishes: UserPreferences | OrganizationRules) -> Self | None:
        """What a person or an organisation has set."""
        if wishes.quiet_from is None or wishes.quiet_until is None:
            return None
        start, end = time.fromisoformat(wishes.quiet_from), time.fromisoformat(wishes.quiet_until)
        return cls(ZoneInfo(wishes.timezone), start, end)

    def hold(self, at: datetime) -> bool:
        """Whether it is quiet at a moment."""
        clock = at.astimezone(self.zone).time()
        if self.start <= self.end:
            return self.start <= clock < self.end
        return clock >= self.start or clock < self.end

    def end_after(self, at: datetime) -> datetime:
        """The first full minute after a quiet moment at which it is quiet no more, at most a day later.

        Minute by minute, because the wall clock jumps: a computed end may not exist, or come twice.
        """
        moment = at.replace(second=0, microsecond=0)
        for _ in range(_DAY_MINUTES):
            moment += _MINUTE
            if not self.hold(moment):
                break
        return moment


def way_for(preferences: UserPreferences, rules: OrganizationRules | None, level: str, at: datetime) -> dict[str, Any]:
    """How to tell a person of an alarm of `level` at the moment `at`; their own quiet hours replace the organisation's.

    So whoever works at night is not silenced by a house that sleeps.
    """
    quiet = QuietHours.of(preferences) or (QuietHours.of(rules) if rules is not None else None)
    waits = level not in URGENT and quiet is not None and quiet.hold(at)
    return {
        "user_id": preferences.id,
        "language": preferences.language,
        "channels": preferences.channels,
        "wait_until": quiet.end_after(at) if waits and quiet is not None else None,
    }
