"""The vault: rejected and changed text under `privacy: strict`, encrypted, in one file that only grows.

It lies outside the run folder and outlives it. Beside it lie its mark, which says how far it goes (so that a cut is
noticed and a killed append does no harm), and a lock, so that writers wait for each other. Who has the key can read
one row or all of them; who has not sees how many entries there are, how long each is, and which are of one row.

What it cannot tell: that file and mark together were put back to an earlier state. A run writes the state that it
left into its card.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from metier.data.privacy.vault_frames import Frame, Position, Seal, frames, new_header, read_header
from metier.data.privacy.vault_key import VaultKey, refuse_in_run
from metier.data.privacy.vault_mark import MarkFile
from metier.errors import DataError, RunFolderError
from metier.store.files import SpeakingErrors

PATIENCE = 600.0
"""Seconds for which a writer waits for another one."""
_AT_ONCE = 1 << 20
"""Bytes that are written in one go."""
_OWNER_ONLY, _OWNER_ONLY_FOLDER = 0o600, 0o700


@dataclass(frozen=True, kw_only=True)
class VaultEntry:
    """One row of which a run kept no text: rejected, or changed."""

    run: str
    """Which run: the hash of its recipe."""
    source: str
    """Name of the file that it came from."""
    row: int
    """Data row in that file, 1-based, header not counted."""
    row_hash: str
    """What stands for its text elsewhere, as `VaultKey.mark` gives it."""
    step: str
    """What rejected or changed it."""
    version: int
    """Of that step's rules."""
    reason: str
    before: str
    """The row as it was read, or the text before the change."""
    after: str | None = None
    """The text after the change; None: the row was rejected."""


@dataclass(frozen=True, kw_only=True)
class VaultState:
    """How far a vault goes: what a run writes down of it."""

    entries: int
    bytes: int
    head: str
    """Hash of all of it, 64 hex digits: another vault, or an earlier state of this one, has another."""
    torn_bytes: int = 0
    """Bytes after the last entry, left by an append that was killed; the next append removes them."""


class Vault:
    """An encrypted file of entries."""

    def __init__(self, path: Path, key: VaultKey, *, run_folder: Path | None = None) -> None:
        """Take a vault, which `add` makes when it does not exist.

        Args:
            path: The file.
            key: Encrypts it.
            run_folder: A run folder, in which the vault may not lie.

        Raises:
            ArgumentError: It lies in a run folder.
        """
        refuse_in_run(path, "the vault", run_folder)
        self.path, self._key = path, key
        self._mark = MarkFile(path.with_name(f"{path.name}.mark.json"), key)

    @property
    def mark_path(self) -> Path:
        """The file that says how far the vault goes; whoever moves the vault takes it along."""
        return self._mark.path

    @property
    def lock_path(self) -> Path:
        """The file by which writers wait for each other."""
        return self.path.with_name(f"{self.path.name}.lock")

    def add(self, entries: Iterable[VaultEntry]) -> VaultState:
        """Append entries: all of them, or, when something stops it, none.

        Args:
            entries: Read one by one, so that a generator over many rows needs little memory.

        Returns:
            How far the vault goes now.

        Raises:
            DataError: The vault has another key, is cut or damaged.
            RunFolderError: Another process writes for too long, or the file cannot be written.
            DiskFull: No space is left; the vault is as it was.
        """
        with self._alone(), SpeakingErrors(self.path):
            if not self._exists():
                self._create()
            with self.path.open("r+b", buffering=0) as file:
                seal, position, _ = self._opened(file)
                file.truncate(position.size)  # what a killed append left
                file.seek(position.size)
                with _all_or_nothing(file.fileno(), position.size):
                    after = self._append(file.fileno(), seal, position, entries)
            self._mark.write(after)
        return _state(after)

    def entries(self) -> Iterator[VaultEntry]:
        """All entries, in the order in which they were added.

        Raises:
            DataError: It does not exist, has another key, is cut or damaged.
        """
        yield from self._chosen(lambda seal: lambda frame: True)

    def row(self, source: str, row: int) -> tuple[VaultEntry, ...]:
        """The entries of one row, the earliest first; empty where there is none.

        Args:
            source: Name of its file.
            row: Its number there.

        Raises:
            DataError: As `entries`; the whole file is looked at.
        """

        def of_the_row(seal: Seal) -> Callable[[Frame], bool]:
            wanted = seal.place(source, row)
            return lambda frame: frame.place == wanted

        return tuple(self._chosen(of_the_row))

    def with_hash(self, row_hash: str) -> tuple[VaultEntry, ...]:
        """The entries of rows with this hash, the earliest first.

        Args:
            row_hash: As it stands in a report, whole.

        Raises:
            DataError: As `entries`; the whole file is looked at.
        """

        def of_the_hash(seal: Seal) -> Callable[[Frame], bool]:
            wanted = seal.content(row_hash)
            return lambda frame: frame.content == wanted

        return tuple(self._chosen(of_the_hash))

    def check(self, expected: VaultState | None = None) -> VaultState:
        """Decrypt everything, keep nothing, and say how far the vault goes.

        Args:
            expected: What a run wrote down: the vault must go at least as far, with the same entries before.

        Raises:
            DataError: As `entries`, or the vault is at an earlier state than the expected one, or another.
        """
        with self._reading() as (file, seal, position, header):
            wanted = None if expected is None else expected.head
            known = wanted in (None, _state(Position.after_header(header)).head)
            for frame in frames(file, header, position.size, str(self.path)):
                seal.open(frame)
                known |= wanted is not None and _state(frame.after).head == wanted
            if expected is not None and not known:
                found = f"is another vault than the run's, or an earlier state of it ({position.entries} entries)"
                raise DataError(str(self.path), found, f"{expected.entries} entries or more, the run's among them")
            torn = self.path.stat().st_size - position.size
        return _state(position, torn)

    def forget(self, row_hashes: Collection[str]) -> int:
        """Write the vault anew without some rows, as somebody may ask who is in them.

        What a run wrote down of the vault's state no longer fits it. The old file is removed, not overwritten. A kill
        between the two renames at the end leaves the new file with the old mark: `repair_mark` settles that.

        Args:
            row_hashes: Of the rows, whole.

        Returns:
            Entries that were removed.

        Raises:
            DataError: As `entries`; the vault is as it was.
        """
        other = Vault(self.path.with_name(f".{self.path.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}"), self._key)
        parts = ((other.path, self.path), (other.mark_path, self.mark_path))
        try:
            with self._alone():
                kept = other.add(each for each in self.entries() if each.row_hash not in row_hashes)
                removed = self.check().entries - kept.entries
                if removed:
                    for made, place in parts:
                        made.replace(place)
        finally:
            for made, _ in parts:
                made.unlink(missing_ok=True)
            other.lock_path.unlink(missing_ok=True)
        return removed

    def repair_mark(self) -> VaultState:
        """Write the mark anew, up to the first entry that does not decrypt; what is behind it is not removed yet.

        For a vault whose mark was lost, or that was damaged. The next `add` removes what is behind.

        Returns:
            What is left; `torn_bytes` says how much is not.

        Raises:
            DataError: It is no vault, or has another key.
        """
        if not self.path.exists():
            raise DataError(str(self.path), "does not exist", "a vault")
        with self._alone(), self.path.open("rb") as file:
            header, vault = read_header(file, self._key, str(self.path))
            seal, size = Seal(self._key, vault, str(self.path)), self.path.stat().st_size
            position = Position.after_header(header)
            try:
                for frame in frames(file, header, size, str(self.path)):
                    seal.open(frame)
                    position = frame.after
            except DataError:  # that is the place that is looked for
                pass
            self._mark.write(position)
        return _state(position, size - position.size)

    def _append(self, descriptor: int, seal: Seal, at: Position, entries: Iterable[VaultEntry]) -> Position:
        waiting = bytearray()
        for entry in entries:
            place, content = seal.place(entry.source, entry.row), seal.content(entry.row_hash)
            frame = seal.close(_encoded(entry), place=place, content=content, before=at)
            waiting += frame.encoded()
            at = frame.after
            if len(waiting) > _AT_ONCE:
                _write(descriptor, waiting)
                waiting.clear()
        _write(descriptor, waiting)
        os.fsync(descriptor)
        return at

    def _chosen(self, choice: Callable[[Seal], Callable[[Frame], bool]]) -> Iterator[VaultEntry]:
        """The wanted entries; that the others are whole is known from the chain."""
        with self._reading() as (file, seal, position, header):
            last, wanted = Position.after_header(header), choice(seal)
            for frame in frames(file, header, position.size, str(self.path)):
                if wanted(frame):
                    yield _decoded(seal.open(frame))
                last = frame.after
            if last != position:
                raise DataError(str(self.path), "is not as it was written", "", "Take a copy of it.")

    @contextmanager
    def _reading(self) -> Iterator[tuple[BinaryIO, Seal, Position, bytes]]:
        if not self._exists():
            raise DataError(str(self.path), "does not exist", "a vault")
        with self.path.open("rb") as file:
            seal, position, header = self._opened(file)
            yield cast(BinaryIO, file), seal, position, header

    def _opened(self, file: Any) -> tuple[Seal, Position, bytes]:
        """Read header and mark, and hold them against each other and the file's length."""
        header, vault = read_header(file, self._key, str(self.path))
        position = self._mark.read(header)
        size = os.fstat(file.fileno()).st_size
        if size < position.size:
            found = f"is cut: {size:,} of {position.size:,} bytes are left of {position.entries:,} entries"
            fix = "Take a copy of it; `repair_mark` keeps the entries that are left."
            raise DataError(str(self.path), found, "", fix)
        return Seal(self._key, vault, str(self.path)), position, header

    def _exists(self) -> bool:
        """Whether there is a vault; the remains of a creation that was killed are none."""
        if not self.path.exists():
            return False
        header_only = 200  # a header is shorter; one frame more is not
        return self.mark_path.exists() or self.path.stat().st_size > header_only

    def _create(self) -> None:
        if self.mark_path.exists():
            fix = "Put it back; if it is lost for good, remove the mark too."
            raise DataError(str(self.path), "is missing, while its mark is there", "a vault", fix)
        header = new_header(self._key)
        _begin(self.path, header)
        self._mark.write(Position.after_header(header))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        from filelock import FileLock, Timeout

        with SpeakingErrors(self.path):
            self.path.parent.mkdir(mode=_OWNER_ONLY_FOLDER, parents=True, exist_ok=True)
        lock = FileLock(self.lock_path, timeout=PATIENCE)
        try:
            lock.acquire()
        except Timeout as error:
            found = f"has been written by another process for {PATIENCE:.0f} seconds"
            raise RunFolderError(str(self.path), found, "", "Wait for it to end.") from error
        try:
            yield
        finally:
            lock.release()


def state_of(vault: Vault) -> VaultState | None:
    """How far a vault goes, as its mark says, without a look at its entries; None where there is none.

    Args:
        vault: With its key.

    Raises:
        DataError: It has another key, or is cut.
    """
    if not vault._exists():
        return None
    with vault._reading() as (_, _, position, _):
        return _state(position, vault.path.stat().st_size - position.size)


@contextmanager
def _all_or_nothing(descriptor: int, size: int) -> Iterator[None]:
    """A block that appends; when it fails, the file has its old size again."""
    done = False
    try:
        yield
        done = True
    finally:
        if not done:
            os.ftruncate(descriptor, size)


def _begin(path: Path, header: bytes) -> None:
    """Make the file, the owner's alone."""
    path.parent.mkdir(mode=_OWNER_ONLY_FOLDER, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, _OWNER_ONLY)
    try:
        os.write(descriptor, header)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: bytearray) -> None:
    written = 0
    while written < len(data):
        written += os.write(descriptor, data[written:])


def _state(position: Position, torn: int = 0) -> VaultState:
    # The chain itself is in the mark; what is given away is a hash of it.
    head = hashlib.sha256(b"head\0" + position.chain).hexdigest()
    return VaultState(entries=position.entries, bytes=position.size, head=head, torn_bytes=torn)


_FIELDS = tuple(VaultEntry.__dataclass_fields__)


def _encoded(entry: VaultEntry) -> bytes:
    # ASCII, because halves of surrogate pairs, as broken input has them, have no UTF-8.
    return json.dumps({name: getattr(entry, name) for name in _FIELDS}, separators=(",", ":")).encode("ascii")


def _decoded(plain: bytes) -> VaultEntry:
    found = json.loads(plain)
    return VaultEntry(**{name: found[name] for name in _FIELDS if name in found})
