"""`python -m auth_service.keys rotate`: a new key for access tokens in `.env`, which logs nobody out.

The new key goes to the front and signs from the next start on; keys stay behind it for as long as tokens that they
signed may live. With `JWT_ALGORITHM` EdDSA or RS256 the new key is a file beside the one in force.
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
from dotenv import dotenv_values

from common.auth import ACCESS_SECONDS
from common.config import ROOT

VARIABLE = "JWT_SIGNING_KEYS"
RSA_BITS = 3072


def rotated(entries: str, algorithm: str, now: int, folder: Path | None = None) -> str:
    """The ring `kid:key[,kid:key]` with a new key in front, without those whose tokens have all run out.

    A key's id tells when it was made (`k` and unix seconds), and so until when the one behind it signed.
    """
    ring = [entry.strip() for entry in entries.split(",") if entry.strip()]
    made = [now, *map(_made_at, ring)]
    alive = [entry for entry, replaced_at in zip(ring, made, strict=False) if replaced_at > now - ACCESS_SECONDS]
    return ",".join([f"k{now}:{_new_key(f'k{now}', algorithm, folder)}", *alive])


def _made_at(entry: str) -> int:
    match = re.match(r"k(\d{10}):", entry)
    return int(match[1]) if match else 0


def _new_key(name: str, algorithm: str, folder: Path | None) -> str:
    """A secret, or the path of a private key whose public half stands beside it."""
    if algorithm == "HS256":
        return secrets.token_urlsafe(32)
    if folder is None:
        raise SystemExit(f"keys: say in which folder to put the {algorithm} key pair: rotate FOLDER")
    pair = Ed25519PrivateKey.generate() if algorithm == "EdDSA" else generate_private_key(65537, RSA_BITS)
    private, public = folder.absolute() / f"{name}.pem", folder.absolute() / f"{name}.pub.pem"
    _write(private, pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    _write(public, pair.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)
    return str(private)


def _write(path: Path, content: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)


def main(arguments: list[str]) -> int:
    """Run the command line; returns its exit status."""
    if arguments[:1] != ["rotate"] or len(arguments) > 2:
        print("usage: python -m auth_service.keys rotate [FOLDER]", file=sys.stderr)
        return 64
    path = Path(os.environ.get("HEARTGUARD_ENV_FILE", ROOT / ".env"))
    values = dotenv_values(path, interpolate=False)
    algorithm, entries = values.get("JWT_ALGORITHM") or "HS256", values.get(VARIABLE)
    if entries is None:
        raise SystemExit(f"keys: {path} has no {VARIABLE}")
    ring = rotated(entries, algorithm, int(time.time()), Path(arguments[1]) if arguments[1:] else None)
    content = re.sub(rf"^{VARIABLE}=.*$", lambda _: f"{VARIABLE}={ring}", path.read_text(), flags=re.MULTILINE)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    _write(draft, content.encode(), 0o600)
    draft.replace(path)
    print(f"{VARIABLE}: {len(ring.split(','))} keys, the first signs from the next start on. Now restart the suite.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
