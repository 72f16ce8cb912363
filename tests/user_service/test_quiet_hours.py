"""Quiet hours in every time zone, over midnight and on the days when clocks are put forward or back."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from user_service.models import OrganizationRules, UserPreferences
from user_service.ways import URGENT, QuietHours, way_for

MINUTE = timedelta(minutes=1)
ZONES = (
    "UTC",
    "Europe/Madrid",
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour of summer time
    "Asia/Kathmandu",  # +05:45
    "Pacific/Apia",
    "Africa/Casablanca",
    "America/St_Johns",
)
CLOCKS = st.builds(time, st.integers(0, 23), st.integers(0, 59))
# Around the changes of clocks, and anywhere.
CHANGES = [datetime(2026, 3, 29, 1), datetime(2026, 10, 25, 1), datetime(2026, 3, 8, 7), datetime(2026, 4, 4, 15)]
MOMENTS = st.one_of(
    st.datetimes(datetime(2024, 1, 1), datetime(2032, 1, 1)),
    st.builds(lambda change, by: change + by, st.sampled_from(CHANGES), st.timedeltas(-timedelta(1), timedelta(1))),
).map(lambda moment: moment.replace(tzinfo=UTC))
HOURS = st.builds(QuietHours, st.sampled_from(ZONES).map(ZoneInfo), CLOCKS, CLOCKS)


@given(HOURS, MOMENTS)
def test_it_is_quiet_when_the_wall_clock_says_so(hours, at):
    clock = at.astimezone(hours.zone)
    start, end = (60 * point.hour + point.minute for point in (hours.start, hours.end))
    since = (60 * clock.hour + clock.minute - start) % 1440
    assert hours.hold(at) == (since < (end - start) % 1440)


@given(HOURS, MOMENTS)
def test_it_is_over_at_the_first_minute_that_is_not_quiet(hours, at):
    assume(hours.hold(at))
    end = hours.end_after(at)
    assert at < end <= at + timedelta(days=1)
    assert not hours.hold(end) or end > at + timedelta(days=1) - MINUTE
    moment = at
    while moment < end:
        assert hours.hold(moment)
        moment = moment.replace(second=0, microsecond=0) + MINUTE
    assert moment == end


def nights(until="02:30"):
    return UserPreferences(
        channels=["EMAIL"], timezone="Europe/Madrid", quiet_from="22:00", quiet_until=until, language=None
    )


@pytest.mark.parametrize(
    ("at", "end"),
    [
        ("2026-01-10T21:00", "2026-01-11T01:30"),  # winter, +1
        ("2026-07-10T20:00", "2026-07-11T00:30"),  # summer, +2
        ("2026-03-28T23:30", "2026-03-29T01:00"),  # 02:30 does not exist: it is 03:00 at once
        ("2026-10-24T23:00", "2026-10-25T00:30"),  # 02:30 for the first time
        ("2026-10-25T01:10", "2026-10-25T01:30"),  # and for the second
    ],
)
def test_the_end_of_a_night(at, end):
    moment = datetime.fromisoformat(f"{at}:17+00:00")
    assert way_for(nights(), None, "medium", moment)["wait_until"] == datetime.fromisoformat(f"{end}:00+00:00")


@given(HOURS, MOMENTS, st.sampled_from(URGENT))
def test_nothing_delays_an_urgent_alarm(hours, at, level):
    own = nights()
    own.timezone, own.quiet_from, own.quiet_until = hours.zone.key, f"{hours.start:%H:%M}", f"{hours.end:%H:%M}"
    house = OrganizationRules(timezone=hours.zone.key, quiet_from="00:00", quiet_until="23:59")
    assert way_for(own, house, level, at)["wait_until"] is None


def test_the_organisations_hours_hold_for_whoever_set_none():
    house = OrganizationRules(timezone="America/New_York", quiet_from="21:00", quiet_until="06:00")
    silent = UserPreferences(channels=["EMAIL"], timezone="UTC")
    at = datetime(2026, 1, 10, 3, tzinfo=UTC)  # 22:00 in New York
    assert way_for(silent, house, "medium", at)["wait_until"] == datetime(2026, 1, 10, 11, tzinfo=UTC)
    assert way_for(nights("07:00"), house, "medium", at)["wait_until"] == datetime(2026, 1, 10, 6, tzinfo=UTC)
    awake = nights("22:00")  # from and until the same: none, and not the organisation's
    assert way_for(awake, house, "medium", at)["wait_until"] is None
