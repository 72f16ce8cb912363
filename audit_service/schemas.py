"""Wire shapes of the audit service."""

from audit_service.exports import FORMATS, MAX_EXPORT
from audit_service.verification import MAX_VERIFY, REASONS
from common import fields
from common.pagination import PageFilter

_ID = r"[A-Za-z0-9._:-]+"


class LogFilter(PageFilter):
    """Search by who, what, which thing, when, and the request it came from."""

    actor = fields.Text(max_length=100, pattern=rf"^{_ID}\Z", load_default=None)
    action = fields.Text(max_length=80, pattern=rf"^{_ID}\Z", load_default=None)
    entity = fields.Text(max_length=80, pattern=rf"^{_ID}\Z", load_default=None)
    entity_id = fields.Text(max_length=200, pattern=rf"^{_ID}\Z", load_default=None)
    request_id = fields.Text(max_length=128, pattern=rf"^{_ID}\Z", load_default=None)
    since = fields.DateTime(data_key="from", load_default=None)
    until = fields.DateTime(data_key="to", load_default=None)


class ExportFilter(LogFilter):
    """The same, in large pages; the answer's `X-Next-Cursor` asks for the next."""

    limit = fields.Integer(1, MAX_EXPORT, load_default=1000)
    format = fields.Choice(FORMATS, load_default="ndjson")


class LogOut(fields.Schema):
    """One action; `hash` is hexadecimal."""

    id = fields.Uuid()
    sequence = fields.Integer()
    org_id = fields.Uuid(allow_none=True)
    ts = fields.DateTime()
    actor = fields.Text()
    action = fields.Text()
    entity = fields.Text()
    entity_id = fields.Text(allow_none=True)
    ip = fields.Text(allow_none=True)
    user_agent = fields.Text(allow_none=True)
    request_id = fields.Text()
    details = fields.Mapping(None)
    hash = fields.Text(attribute="hash_hex")


class VerifyFilter(fields.Schema):
    """Which stretch of the chain to walk: `limit` rows after the one numbered `cursor`."""

    limit = fields.Integer(1, MAX_VERIFY, load_default=5000)
    cursor = fields.Integer(0, load_default=0)


class BreakOut(fields.Schema):
    """Where the chain breaks, and how."""

    sequence = fields.Integer()
    reason = fields.Choice(REASONS)


class VerificationOut(fields.Schema):
    """What a walk found. `signed_sequence` is where the newest head kept outside the database stands."""

    state = fields.Choice(["whole", "broken"])
    checked = fields.Integer()
    last_sequence = fields.Integer()
    signed_sequence = fields.Integer(allow_none=True)
    broken_at = fields.Nested(BreakOut, allow_none=True)
    next_cursor = fields.Integer(allow_none=True)
