"""Wire shapes of the media service."""

from common import fields
from common.pagination import PageFilter
from media_service.models import CONTENT_TYPES, OWNER_KINDS, STATUSES

TAG = r"^[a-z0-9][a-z0-9_-]*\Z"
FILENAME = r"^[^\x00-\x1f\x7f/\\]+\Z"


class UploadIn(fields.Schema):
    """A file that is to come, and whose it is."""

    filename = fields.Text(max_length=200, pattern=FILENAME, required=True)
    content_type = fields.Choice(CONTENT_TYPES, required=True)
    size_bytes = fields.Integer(1, 2**40, required=True)
    owner_kind = fields.Choice(OWNER_KINDS, required=True)
    owner_id = fields.Uuid(required=True)
    tags = fields.ListOf(fields.Text(max_length=60, pattern=TAG), max_items=20, load_default=list)


class UploadOut(fields.Schema):
    """Where to send the file: `method` to `url` with exactly these headers, until `expires_at`."""

    id = fields.Uuid()
    method = fields.Text()
    url = fields.Url()
    headers = fields.Mapping(fields.Text())
    expires_at = fields.DateTime()


class MediaOut(fields.Schema):
    """A file."""

    id = fields.Uuid()
    org_id = fields.Uuid()
    owner_kind = fields.Choice(OWNER_KINDS)
    owner_id = fields.Uuid()
    filename = fields.Text()
    content_type = fields.Choice(CONTENT_TYPES)
    size_bytes = fields.Integer()
    status = fields.Choice(STATUSES)
    tags = fields.ListOf(fields.Text(), attribute="words")
    uploaded_by = fields.Uuid(allow_none=True)
    created_at = fields.DateTime()
    completed_at = fields.DateTime(allow_none=True)


class MediaFilter(PageFilter):
    """Search by owner and by tag."""

    owner_kind = fields.Choice(OWNER_KINDS, load_default=None)
    owner_id = fields.Uuid(load_default=None)
    tag = fields.Text(max_length=60, pattern=TAG, load_default=None)


class TagIn(fields.Schema):
    """A tag to put on a file."""

    tag = fields.Text(max_length=60, pattern=TAG, required=True)
