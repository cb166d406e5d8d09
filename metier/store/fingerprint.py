"""Fingerprints: SHA-256 of a value's canonical JSON, of a file, of a text.

Equal fingerprints mean equal content on every machine and in every process: keys are sorted, floats
are written as Python's shortest round trip, and nothing depends on `hash()`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from metier.store.values import to_plain


def fingerprint(value: object) -> str:
    """Hex SHA-256 of `value` as canonical JSON (sorted keys, no spaces, ASCII).

    Args:
        value: Anything that `to_plain` accepts. 1 and 1.0 are different values; a list and a tuple are not.
    """
    return hashlib.sha256(_canonical(value)).hexdigest()


def _canonical(value: object) -> bytes:
    plain = to_plain(value)
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


class FingerprintOfList:
    """The fingerprint of a list whose items come one by one and are not kept."""

    def __init__(self) -> None:
        """An empty list."""
        self._digest, self._count = hashlib.sha256(b"["), 0

    def add(self, item: object) -> None:
        """One more item."""
        self._digest.update(b"," * (self._count > 0) + _canonical(item))
        self._count += 1

    def hexdigest(self) -> str:
        """What `fingerprint` says of the list so far."""
        whole = self._digest.copy()
        whole.update(b"]")
        return whole.hexdigest()


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_sha256(text: str) -> str:
    """Hex SHA-256 of `text` as UTF-8; half of a surrogate pair counts as it is."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
