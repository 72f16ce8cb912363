"""Wire shapes for the other services and the gateway."""

from auth_service.models import LANGUAGES
from auth_service.roles import ROLE_CODE
from common import fields


class RevocationQuery(fields.Schema):
    """What an access token says of itself. `issued_at` in unix seconds."""

    session_id = fields.Text(max_length=60, min_length=0, load_default="")
    subject = fields.Text(max_length=60, required=True)
    issued_at = fields.Number(0, required=True)


class RevocationOut(fields.Schema):
    """Whether a token counts no more."""

    revoked = fields.Boolean()


class JoinIn(fields.Schema):
    """The role to have in the organisation."""

    role = fields.Text(pattern=ROLE_CODE, max_length=40, required=True)


class DevicePairingIn(fields.Schema):
    """The device to issue a code for."""

    device_id = fields.Uuid(required=True)


class DevicePairingOut(fields.Schema):
    """A code for a device; it is shown this once."""

    code = fields.Text()
    expires_at = fields.DateTime()


class ContactsIn(fields.Schema):
    """The users to find."""

    user_ids = fields.ListOf(fields.Uuid(), max_items=1000, required=True)


class ContactOut(fields.Schema):
    """Where and in which language to write to a user."""

    user_id = fields.Uuid(attribute="id")
    email = fields.Email()
    language = fields.Choice(LANGUAGES)


class ContactsOut(fields.Schema):
    """Those of the users asked for who are active in the organisation."""

    contacts = fields.ListOf(fields.Nested(ContactOut))


class LetterOut(fields.Schema):
    """A letter to send. `token` belongs into the link of a `password_reset`."""

    kind = fields.Text()
    email = fields.Email()
    name = fields.Text()
    language = fields.Choice(LANGUAGES)
    token = fields.Text(allow_none=True)
    expires_at = fields.DateTime()
