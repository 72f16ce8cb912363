"""Wire shapes of the user service."""

from common import fields
from common.pagination import PageFilter
from user_service.models import CHANNELS, LANGUAGES, LEVELS, PLATFORMS

PHONE = r"^\+?[0-9][0-9 ()-]*\Z"
CLOCK = r"^([01][0-9]|2[0-3]):[0-5][0-9]\Z"
ROLE = r"^[a-z][a-z0-9_]*\Z"


class ProfileChange(fields.Schema):
    """What to change of a profile; absent fields stay."""

    display_name = fields.Text(max_length=100, allow_none=True)
    job_title = fields.Text(max_length=100, allow_none=True)
    phone = fields.Text(max_length=30, pattern=PHONE, allow_none=True)


class ProfileOut(fields.Schema):
    """A person; `id` is the account's."""

    id = fields.Uuid()
    display_name = fields.Text(allow_none=True)
    job_title = fields.Text(allow_none=True)
    phone = fields.Text(allow_none=True)
    updated_at = fields.DateTime(allow_none=True)


class ProfileFilter(PageFilter):
    """Search by part of the displayed name."""

    q = fields.Text(max_length=100, load_default=None)


class PreferencesChange(fields.Schema):
    """What to change of one's preferences; absent fields stay. Quiet hours never delay a high or critical alarm.

    Without a language the account's holds. Quiet hours replace the organisation's; from and until the same: none.
    """

    language = fields.Choice(LANGUAGES, allow_none=True)
    channels = fields.ListOf(fields.Choice(CHANNELS), min_items=1, max_items=10)
    timezone = fields.Text(max_length=64, pattern=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*\Z")
    quiet_from = fields.Text(max_length=5, pattern=CLOCK, allow_none=True)
    quiet_until = fields.Text(max_length=5, pattern=CLOCK, allow_none=True)


class PreferencesOut(fields.Schema):
    """How a person wants to be told."""

    language = fields.Choice(LANGUAGES, allow_none=True)
    channels = fields.ListOf(fields.Choice(CHANNELS))
    timezone = fields.Text()
    quiet_from = fields.Text(allow_none=True)
    quiet_until = fields.Text(allow_none=True)


class AlarmIn(fields.Schema):
    """An alarm of which people are to be told at a moment."""

    user_ids = fields.ListOf(fields.Uuid(), min_items=1, max_items=200, required=True)
    level = fields.Choice(LEVELS, required=True)
    at = fields.DateTime(required=True)


class WayOut(fields.Schema):
    """How to tell one person; `wait_until` is the end of their quiet hours where the alarm has to wait for it."""

    user_id = fields.Uuid()
    language = fields.Choice(LANGUAGES, allow_none=True)
    channels = fields.ListOf(fields.Choice(CHANNELS))
    wait_until = fields.DateTime(allow_none=True)


class WaysOut(fields.Schema):
    """How to tell each person, in the order asked for."""

    ways = fields.ListOf(fields.Nested(WayOut))


class MembershipIn(fields.Schema):
    """A role to give to somebody of the organisation."""

    user_id = fields.Uuid(required=True)
    role = fields.Text(max_length=40, pattern=ROLE, required=True)


class MembershipOut(fields.Schema):
    """A role that a person has in an organisation."""

    id = fields.Uuid()
    org_id = fields.Uuid()
    user_id = fields.Uuid()
    role = fields.Text()
    created_at = fields.DateTime()


class JoinedOut(fields.Schema):
    """Whether the role is new."""

    joined = fields.Boolean()


class MembershipFilter(PageFilter):
    """Search by person."""

    user_id = fields.Uuid(load_default=None)


class DeviceIn(fields.Schema):
    """A phone or browser; `fingerprint` is the app's own id of the installation."""

    platform = fields.Choice(PLATFORMS, required=True)
    name = fields.Text(max_length=100, required=True)
    fingerprint = fields.Text(max_length=200, min_length=8, required=True)


class DeviceOut(fields.Schema):
    """A phone or browser."""

    id = fields.Uuid()
    platform = fields.Choice(PLATFORMS)
    name = fields.Text()
    fingerprint = fields.Text()
    created_at = fields.DateTime()
