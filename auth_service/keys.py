"""`python -m auth_service.keys rotate|finish`: a new key for access tokens in `.env`, which logs nobody out.

`rotate` takes one step at a time. A new key comes behind the others, where it is accepted and signs nothing; once every
process knows it, the next step puts it in front. `finish` forgets the others when no token of theirs can live.
`python -m ops.rotate jwt` takes these very steps and reloads the running suite between them.

With `JWT_ALGORITHM` EdDSA or RS256 the new key is a pair of files beside those of the key in force.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from common.config import ROOT
from common.env_file import EnvFile, EnvFileError
from common.tokens import ACCESS_SECONDS

VARIABLE = "JWT_SIGNING_KEYS"
RSA_BITS = 3072
MADE_AT = re.compile(r"k(\d{10})")


class RingError(ValueError):
    """The next step would refuse a live token, or cannot be taken: the message says why."""


def ring_of(entries: str) -> list[str]:
    """The keys `kid:key` of a setting; the first signs, all are accepted."""
    return [entry.strip() for entry in entries.split(",") if entry.strip()]


def kid_of(key: str) -> str:
    """The name of a key."""
    return key.partition(":")[0]


def _made_at(key: str) -> int:
    match = MADE_AT.fullmatch(kid_of(key))
    return int(match[1]) if match else 0


def waits(ring: list[str]) -> bool:
    """True when the last key is newer than the one in front: it signs nothing yet."""
    return len(ring) > 1 and _made_at(ring[-1]) > _made_at(ring[0])


def lengthened(ring: list[str], algorithm: str, now: float, folder: Path | None = None) -> list[str]:
    """The ring with a new key behind, where it is accepted only."""
    kid = f"k{max([int(now), *(_made_at(key) + 1 for key in ring)])}"
    if algorithm == "HS256":
        return [*ring, f"{kid}:{secrets.token_urlsafe(32)}"]
    return [*ring, f"{kid}:{_new_pair(kid, algorithm, folder or Path(ring[0].partition(':')[2]).parent)}"]


def turned(ring: list[str]) -> list[str]:
    """The ring with the key that waits in front: it signs. The others stay, however old: see `shortened`."""
    return [ring[-1], *ring[:-1]]


def shortened(ring: list[str], changed_at: float, life: float, now: float) -> list[str]:
    """The ring without what `turned` left behind; raises RingError while a token of those may live.

    `changed_at` is when `.env` was last written; who reloads the suite after `turned` touches it then.
    """
    if len(ring) > 1 and (waits(ring) or not _made_at(ring[0])):
        raise RingError("no new key signs yet: rotate first")
    if len(ring) > 1 and (left := changed_at + life - now) > 0:
        raise RingError(f"tokens of the old key may live for {left / 60:.0f} min more: come again then")
    return ring[:1]


def _new_pair(name: str, algorithm: str, folder: Path) -> Path:
    """The path of a private key whose public half stands beside it."""
    pair = Ed25519PrivateKey.generate() if algorithm == "EdDSA" else generate_private_key(65537, RSA_BITS)
    private, public = folder.absolute() / f"{name}.pem", folder.absolute() / f"{name}.pub.pem"
    _write(private, pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    _write(public, pair.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)
    return private


def _write(path: Path, content: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)


def main(arguments: list[str]) -> int:
    """Run the command line; returns its exit status."""
    if arguments[:1] not in (["rotate"], ["finish"]) or len(arguments) > (2 if arguments[0] == "rotate" else 1):
        print("usage: python -m auth_service.keys rotate [FOLDER_OF_KEY_PAIRS] | finish", file=sys.stderr)
        return 64
    env = EnvFile(Path(os.environ.get("HEARTGUARD_ENV_FILE", ROOT / ".env")))
    try:
        values = env.values()
        ring = ring_of(values.get(VARIABLE, ""))
        if not ring:
            raise RingError(f"{env.path} has no {VARIABLE}")
        if arguments[0] == "finish":
            ring = shortened(ring, env.changed_at(), ACCESS_SECONDS, time.time())
            told = "is the only one from the next reload on."
        elif waits(ring):
            ring = turned(ring)
            told = "signs from the next reload on. 15 minutes after that: finish."
        else:
            folder = Path(arguments[1]) if arguments[1:] else None
            ring = lengthened(ring, values.get("JWT_ALGORITHM", "HS256"), time.time(), folder)
            told = "is accepted from the next reload on. After that: rotate again, and it signs."
        env.set(**{VARIABLE: ",".join(ring)})
    except (RingError, EnvFileError, OSError) as error:
        print(f"keys: {error}", file=sys.stderr)
        return 1
    newest = max(ring, key=_made_at)
    print(f"{VARIABLE}: {kid_of(newest)} {told}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
