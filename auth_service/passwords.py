"""Passwords: how they are hashed, how much of the machine that may take, and which are too weak."""

from __future__ import annotations

import re
import secrets
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import argon2
from argon2.exceptions import VerifyMismatchError

from common.errors import Unavailable, ValidationFailed

MIN_LENGTH, MAX_LENGTH = 12, 128
# OWASP's second choice of argon2id (46 MiB, one pass): 59 ms here. At most two at once, or 46 MiB each add up.
MEMORY_KIB, PASSES, LANES, AT_ONCE = 47_104, 1, 1, 2
WAIT_S = 1.5
_MIN_DISTINCT = 6


class PasswordHasher:
    """argon2id. Every call takes tens of milliseconds: never inside a transaction."""

    def __init__(self) -> None:
        self._argon2 = argon2.PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._nobodys = self._argon2.hash(secrets.token_urlsafe())

    def hash(self, password: str) -> str:
        """The hash to store; raises Unavailable when too many are waiting."""
        with self._slot():
            return self._argon2.hash(_normal(password))

    def verify(self, stored: str | None, password: str) -> bool:
        """True when `password` made the hash `stored`; None (no such user) takes the same time and is False.

        Raises Unavailable when too many are waiting.
        """
        with self._slot():
            try:
                return self._argon2.verify(stored or self._nobodys, _normal(password)) and stored is not None
            except VerifyMismatchError:
                return False

    def is_outdated(self, stored: str) -> bool:
        """True when `stored` was made with other parameters than today's."""
        return self._argon2.check_needs_rehash(stored)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(timeout=WAIT_S):
            raise Unavailable
        try:
            yield
        finally:
            self._slots.release()


def require_strong(password: str, *known: str, field: str = "password") -> None:
    """Refuse a password that is leaked, regular, or made of what is `known` of the user; raises ValidationFailed."""
    folded = _normal(password).casefold()
    if _is_common(folded) or _is_regular(folded) or _is_personal(folded, known):
        raise ValidationFailed(details=[{"field": field, "issue": "weak"}])


def _normal(password: str) -> str:
    """One form for what different keyboards compose differently (NIST SP 800-63B, 5.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


# Written from general knowledge of what leaks contain; it holds no line of a leaked list.
_COMMON = frozenset((Path(__file__).parent / "common_passwords.txt").read_text("utf-8").split())
_LEET = str.maketrans("01345789@$!|", "oleastbgasil")


def _is_common(folded: str) -> bool:
    """A listed password or word, whatever digits and signs surround it or stand for its letters."""
    plain = folded.translate(_LEET)
    forms = {folded, re.sub(r"[\W\d_]+", "", folded), re.sub(r"[\W\d_]+", "", plain)}
    forms |= {re.sub(r"^[\W\d_]+|[\W\d_]+$", "", folded), re.sub(r"^[\W\d_]+|[\W\d_]+$", "", folded).translate(_LEET)}
    return not _COMMON.isdisjoint(forms)


_KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "1234567890", "abcdefghijklmnopqrstuvwxyz", "1qaz2wsx3edc4rfv5tgb")
_WALKS = tuple(walk for row in _KEYBOARD for walk in (row * 2, row[::-1] * 2))
_LONGEST_WALK, _MIN_WALK = max(map(len, _WALKS)), 3


def _is_regular(folded: str) -> bool:
    """Few distinct characters, one piece repeated, or nothing but walks over the keyboard or the alphabet."""
    if len(set(folded)) < _MIN_DISTINCT or folded in (folded + folded)[1:-1]:
        return True
    start = 0
    while start < len(folded):
        step = _longest_walk(folded[start : start + _LONGEST_WALK])
        if step < _MIN_WALK:
            return False
        start += step
    return True


def _longest_walk(text: str) -> int:
    """How many characters at the beginning of `text` follow one of the walks."""
    length = 0
    while length < len(text) and any(text[: length + 1] in walk for walk in _WALKS):
        length += 1
    return length


def _is_personal(folded: str, known: tuple[str, ...]) -> bool:
    """What is left without the user's name and address is not a password any more."""
    rest = folded
    words = {word for text in known for word in re.split(r"[\W_]+", text.casefold()) if len(word) >= 3}
    for word in sorted(words, key=len, reverse=True):
        rest = rest.replace(word, "")
    return rest != folded and len(re.sub(r"[\W_]+", "", rest)) < MIN_LENGTH // 2
