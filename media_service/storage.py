"""Google Cloud Storage, and the only module that touches it. Its library is large, so it loads at the first use.

Bytes never pass through this service: clients send and fetch them by V4 signed links that live five minutes.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from common.errors import Unavailable
from media_service.config import Settings
from media_service.errors import NoStore

LINK_LIFE = timedelta(minutes=5)
TIMEOUT_S = (1.0, 5.0)


@dataclass(frozen=True, slots=True)
class UploadLink:
    """Where to PUT a file, with exactly these headers, until when."""

    url: str
    headers: dict[str, str]
    expires_at: datetime
    method: str = "PUT"


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store holds under a name."""

    size_bytes: int
    content_type: str


class Storage:
    """One bucket."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def is_configured(self) -> bool:
        """Whether there is a bucket at all."""
        return self._settings.bucket is not None

    def require(self) -> None:
        """Raise NoStore where there is none."""
        if not self.is_configured:
            raise NoStore

    def upload_link(self, name: str, content_type: str, size_bytes: int) -> UploadLink:
        """A link that takes one file of exactly this type and size, once: it never replaces what is there."""
        headers = {
            "Content-Type": content_type,
            "x-goog-content-length-range": f"{size_bytes},{size_bytes}",
            "x-goog-if-generation-match": "0",
        }
        url = self._sign(name, "PUT", headers=dict(headers), content_type=content_type)
        return UploadLink(url, headers, datetime.now(UTC) + LINK_LIFE)

    def download_link(self, name: str, filename: str) -> str:
        """A link that gives one file, as an attachment under its own name (RFC 6266)."""
        disposition = f"attachment; filename*=UTF-8''{urllib.parse.quote(filename, safe='')}"
        return self._sign(name, "GET", response_disposition=disposition)

    def find(self, name: str) -> Stored | None:
        """What is under `name`, None for nothing; raises Unavailable."""
        with _away_is_unavailable():
            blob = self._bucket.get_blob(name, timeout=TIMEOUT_S, retry=None)
        return None if blob is None else Stored(blob.size, blob.content_type)

    def remove(self, name: str) -> None:
        """Remove what is under `name`, if anything; raises Unavailable."""
        from google.cloud.exceptions import NotFound

        try:
            with _away_is_unavailable():
                self._bucket.delete_blob(name, timeout=TIMEOUT_S, retry=None)
        except NotFound:
            return

    def ping(self) -> None:
        """Raise when the store does not answer."""
        with _away_is_unavailable():
            self._bucket.exists(timeout=TIMEOUT_S, retry=None)

    def _sign(self, name: str, method: str, **options: Any) -> str:
        if self._settings.public_endpoint is not None:
            options |= {"api_access_endpoint": self._settings.public_endpoint, "credentials": self._throwaway_key}
        blob = self._bucket.blob(name)
        return str(blob.generate_signed_url(version="v4", expiration=LINK_LIFE, method=method, **options))

    @cached_property
    def _bucket(self) -> Any:
        self.require()
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.storage import Client

        if self._settings.endpoint is None:
            with _away_is_unavailable():
                return Client().bucket(self._settings.bucket)
        client = Client(
            project="heartguard",
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": self._settings.endpoint},
        )
        return self._made(client.bucket(self._settings.bucket))

    def _made(self, bucket: Any) -> Any:
        """A stand-in begins without buckets; Google's are made by operators, with their region and life cycle."""
        with _away_is_unavailable():
            if not bucket.exists(timeout=TIMEOUT_S, retry=None):
                bucket.create(timeout=TIMEOUT_S, retry=None)
        return bucket

    @cached_property
    def _throwaway_key(self) -> Any:
        """A stand-in accepts any signature, but the library wants a key to sign with."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa
        from google.oauth2 import service_account

        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        account = {"client_email": "media@heartguard.local", "private_key": pem.decode(), "token_uri": "http://none"}
        return service_account.Credentials.from_service_account_info(account)


@contextmanager
def _away_is_unavailable() -> Iterator[None]:
    from google.api_core.exceptions import ServerError, TooManyRequests
    from google.auth.exceptions import GoogleAuthError
    from requests import RequestException

    try:
        yield
    except (ServerError, TooManyRequests, GoogleAuthError, RequestException) as error:
        raise Unavailable from error
