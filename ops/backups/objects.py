"""Lists the objects of the media bucket, one JSON line each; runs where the media service's settings are."""

import json
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud.exceptions import NotFound
from google.cloud.storage import Client

from media_service.config import Settings

TIMEOUT_S = 30


def client_of(settings: Settings) -> Any:
    """Google's own client, for Google or for the stand-in that `GCS_ENDPOINT` names."""
    if settings.endpoint is None:
        return Client()
    options = {"api_endpoint": settings.endpoint}
    return Client("heartguard", credentials=AnonymousCredentials(), client_options=options)


def main() -> None:
    """Print name, size and checksums of each object; nothing where no bucket is set or it is not made yet."""
    settings = Settings.load("media")
    if settings.bucket is None:
        return
    try:
        for blob in client_of(settings).list_blobs(settings.bucket, timeout=TIMEOUT_S):
            facts = {"bucket": settings.bucket, "name": blob.name, "size": blob.size}
            print(json.dumps({**facts, "md5": blob.md5_hash, "crc32c": blob.crc32c}))
    except NotFound:
        return


if __name__ == "__main__":
    main()
