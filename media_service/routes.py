"""Endpoints of the media service."""

from common.api import Api, Redirect, page_of
from common.outbox import record
from common.permissions import Permission as P
from media_service import actions, queries, uploads
from media_service.schemas import MediaFilter, MediaOut, TagIn, UploadIn, UploadOut

api = Api("media", care=True)


def sign_upload(storage, settings, caller, body):
    """The link for a file that is about to be announced."""
    return uploads.sign(storage, settings, caller, **body)


@api.post(
    "/media/uploads",
    permission=P.MEDIA_WRITE,
    body=UploadIn,
    returns=UploadOut,
    creates="/media/{id}",
    prepare=sign_upload,
)
def announce_upload(session, caller, prepared, body):
    """Announce a file and get the signed link to send it to."""
    actions.announce_upload(session, caller, id=prepared["id"], **body)
    return prepared


def find_upload(database, storage, caller, media_id):
    """What the store holds of a file that is to be completed."""
    return uploads.find(database, storage, caller, media_id)


@api.post("/media/{media_id}/complete", permission=P.MEDIA_WRITE, returns=MediaOut, prepare=find_upload)
def complete_upload(session, caller, media_id, prepared):
    """Say that the file was sent; it is checked and from then on found."""
    return actions.complete_upload(session, caller, media_id, prepared)


@api.get("/media", permission=P.MEDIA_READ, query=MediaFilter, returns=page_of(MediaOut))
def list_media(session, caller, query):
    """List the files of the organisation, by owner and tag."""
    page = queries.find_assets(session, caller, **query)
    record(session, caller, "media.listed", "media_assets", {"count": len(page.items)})
    return page


@api.get("/media/{media_id}", permission=P.MEDIA_READ, returns=MediaOut)
def get_media(session, caller, media_id):
    """Get what is known of one file."""
    asset = queries.get_asset(session, caller, media_id)
    record(session, caller, "media.read", asset)
    return asset


@api.get("/media/{media_id}/download", permission=P.MEDIA_READ, returns=Redirect)
def download_media(database, storage, caller, media_id):
    """Go to the file itself, by a link that lives five minutes."""
    return Redirect(uploads.link_to(database, storage, caller, media_id))


@api.delete("/media/{media_id}", permission=P.MEDIA_WRITE)
def remove_media(session, caller, media_id):
    """Remove a file."""
    actions.remove_asset(session, caller, media_id)


@api.post("/media/{media_id}/tags", permission=P.MEDIA_WRITE, body=TagIn, returns=MediaOut)
def add_tag(session, caller, media_id, body):
    """Put a tag on a file."""
    return actions.add_tag(session, caller, media_id, **body)


@api.delete("/media/{media_id}/tags/{tag}", permission=P.MEDIA_WRITE)
def remove_tag(session, caller, media_id, tag):
    """Take a tag off a file."""
    actions.remove_tag(session, caller, media_id, tag)
