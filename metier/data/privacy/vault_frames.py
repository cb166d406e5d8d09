r"""The bytes of a vault: a header, then frames, each encrypted for itself and tied to all before it.

    header   b"METIERVAULT\n", length of what follows (uint32, little endian), then JSON: version, cipher, ids
    frame    length of `sealed` (uint32), mark of the place (16), mark of the content (16), nonce (12), sealed

`sealed` is AES-256-GCM (NIST SP 800-38D) of an entry's JSON and its 16 bytes of authentication. What is
authenticated with it is the chain so far: SHA-256 of the chain before and the whole last frame, beginning with the
header. So a frame that was changed, moved, left out or brought from another vault does not open. Nonces are random;
each vault has its own key, so that two frames share a nonce with a chance below 2**-33 even at 2**32 frames.

The only file that imports cryptography: `pip install "metier[pii]"`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from metier.data.privacy.vault_key import VaultKey
from metier.errors import DataError, MissingPackage

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = b"METIERVAULT\n"
VERSION, CIPHER = 1, "AES-256-GCM"
_LENGTH = struct.Struct("<I")
_MARK, _NONCE, _TAG = 16, 12, 16
_LEAD = _LENGTH.size + 2 * _MARK + _NONCE
LONGEST = 1 << 30
"""Bytes of one entry; more is taken for damage."""
_LONGEST_HEADER = 4096


@dataclass(frozen=True)
class Position:
    """How far a vault goes."""

    entries: int
    size: int
    """Bytes of the file."""
    chain: bytes
    """SHA-256 of all that stands before, 32 bytes."""

    @classmethod
    def after_header(cls, header: bytes) -> Position:
        """Of a vault without entries."""
        return cls(0, len(header), hashlib.sha256(header).digest())


@dataclass(frozen=True)
class Frame:
    """One encrypted entry, as it stands in the file."""

    before: Position
    place: bytes
    """Mark of file and row."""
    content: bytes
    """Mark of the row's hash."""
    nonce: bytes
    sealed: bytes

    @property
    def number(self) -> int:
        """Counted from 1."""
        return self.before.entries + 1

    @property
    def lead(self) -> bytes:
        """What stands before the nonce, in the clear."""
        return _LENGTH.pack(len(self.sealed)) + self.place + self.content

    def encoded(self) -> bytes:
        """Its bytes."""
        return self.lead + self.nonce + self.sealed

    @property
    def after(self) -> Position:
        """How far the vault goes with this frame."""
        data = self.encoded()
        chain = hashlib.sha256(self.before.chain + data).digest()
        return Position(self.number, self.before.size + len(data), chain)


class Seal:
    """Encrypts and decrypts the frames of one vault."""

    def __init__(self, key: VaultKey, vault: str, path: str) -> None:
        """Take the key for one vault.

        Args:
            key: The user's.
            vault: The vault's own id.
            path: The file, for messages.

        Raises:
            MissingPackage: cryptography is not installed.
        """
        salt = bytes.fromhex(vault)
        self._cipher = _aes_gcm(key.derive("entries", salt))
        self._marks = key.derive("marks of entries", salt)
        self._path = path

    def place(self, source: str, row: int) -> bytes:
        """The mark of a row by file and number."""
        return self._mark(f"place\0{source}\0{row}")

    def content(self, row_hash: str) -> bytes:
        """The mark of a row by its hash."""
        return self._mark(f"content\0{row_hash}")

    def close(self, plain: bytes, *, place: bytes, content: bytes, before: Position) -> Frame:
        """Encrypt one entry as the next frame.

        Args:
            plain: The entry.
            place: As `place` gives it.
            content: As `content` gives it.
            before: How far the vault goes.
        """
        nonce = secrets.token_bytes(_NONCE)
        lead = _LENGTH.pack(len(plain) + _TAG) + place + content
        return Frame(before, place, content, nonce, self._cipher.encrypt(nonce, plain, before.chain + lead))

    def open(self, frame: Frame) -> bytes:
        """Decrypt one entry.

        Raises:
            DataError: It is not as it was written.
        """
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(frame.nonce, frame.sealed, frame.before.chain + frame.lead)
        except InvalidTag as error:
            raise damaged(self._path, frame.number) from error

    def _mark(self, what: str) -> bytes:
        return hmac.digest(self._marks, what.encode("utf-8", "surrogatepass"), "sha256")[:_MARK]


def new_header(key: VaultKey) -> bytes:
    """The first bytes of a new vault."""
    about = {"version": VERSION, "cipher": CIPHER, "key": key.id, "vault": secrets.token_hex(16)}
    data = json.dumps(about).encode("ascii")
    return MAGIC + _LENGTH.pack(len(data)) + data


def read_header(file: BinaryIO, key: VaultKey, path: str) -> tuple[bytes, str]:
    """Read the first bytes of a vault.

    Args:
        file: At its beginning; afterwards at the first frame.
        key: The one that the vault should have.
        path: The file, for messages.

    Returns:
        The header's bytes and the vault's id.

    Raises:
        DataError: It is no vault, of a newer version, or has another key.
    """
    start = file.read(len(MAGIC) + _LENGTH.size)
    length = _LENGTH.unpack(start[len(MAGIC) :])[0] if len(start) == len(MAGIC) + _LENGTH.size else 0
    data = file.read(length) if start.startswith(MAGIC) and 0 < length <= _LONGEST_HEADER else b""
    try:
        about = json.loads(data)
        version, cipher, vault = about["version"], about["cipher"], str(about["vault"])
        wrong_key = about["key"] != key.id
        bytes.fromhex(vault)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(path, "is no vault, or its first bytes are damaged", "", "Take a copy of it.") from error
    if version != VERSION or cipher != CIPHER:
        fix = "Use the metier version that wrote it."
        raise DataError(path, f"is a vault of version {version} ({cipher})", f"version {VERSION} ({CIPHER})", fix)
    if wrong_key:
        found = f"is encrypted with another key (its key has the id {about['key']}, the one given {key.id})"
        raise DataError(path, found, "", "Give the key with which it was made.")
    return start + data, vault


def frames(file: BinaryIO, header: bytes, end: int, path: str) -> Iterator[Frame]:
    """Walk over the frames without decrypting them.

    Args:
        file: After the header.
        header: Its bytes.
        end: Where the last frame ends.
        path: The file, for messages.

    Raises:
        DataError: A frame does not end where it should.
    """
    at = Position.after_header(header)
    while at.size < end:
        lead = file.read(_LEAD)
        length = _LENGTH.unpack(lead[: _LENGTH.size])[0] if len(lead) == _LEAD else 0
        if not _TAG <= length <= min(LONGEST, end - at.size - _LEAD):
            raise damaged(path, at.entries + 1)
        place, content = lead[_LENGTH.size :][:_MARK], lead[_LENGTH.size + _MARK :][:_MARK]
        frame = Frame(at, place, content, lead[-_NONCE:], file.read(length))
        if len(frame.sealed) < length:
            raise damaged(path, frame.number)
        yield frame
        at = frame.after


def damaged(path: str, number: int) -> DataError:
    """The error for an entry that is not as it was written."""
    fix = "Take a copy of the vault; `repair_mark` keeps the entries before it."
    return DataError(path, f"entry {number} is not as it was written", "", fix)


def refuse_without_cryptography() -> None:
    """Say early that nothing here can encrypt.

    Raises:
        MissingPackage: cryptography is not installed.
    """
    _aes_gcm(bytes(32))


def _aes_gcm(key: bytes) -> AESGCM:
    try:
        from cryptography.hazmat.primitives.ciphers import aead
    except ImportError as error:
        fix = 'Install it: pip install "metier[pii]"'
        raise MissingPackage("privacy: strict", "needs cryptography, which is not installed", "", fix) from error
    return aead.AESGCM(key)
