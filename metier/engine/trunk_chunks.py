"""Chunks of boundary states on disk: the index is read when a folder is opened, states when they are used.

A chunk is a safetensors file: `states` of shape (R, hidden), `tokens` of shape (R,), and in its metadata the
table of its segments and two checksums. Its name is the hash of table, checksums, shape and type. Table and
tokens are checked when the folder is opened, states when they are first used in a process; a damaged chunk is
removed, reported, and no longer known, so that whoever needs it computes it again.

States are mapped, not read: the system fetches the pages that are touched, and maps that were not used for
longest are closed beyond a limit, so that a trunk larger than memory works.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from metier.device import available_memory_bytes
from metier.engine.tree import Ints
from metier.events import Notice, Observer, tell
from metier.store.files import write_bytes

MEMORY = 0.25
"""Share of the free memory that mapped states may take."""
LEAST_MEMORY, MOST_MEMORY = 64_000_000, 512_000_000
"""Bytes of mapped states that are allowed however little is free, and however much: mapping again costs little."""
_TYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


@dataclass(frozen=True, eq=False)
class Segment:
    """Tokens in a context, and where their states are: a chunk and the first row in it."""

    context: str
    """Hash of what comes before; for an encoder, of the whole text."""
    tokens: Ints
    chunk: str
    row: int


@dataclass(frozen=True, eq=False)
class Chunk:
    """One chunk as its head describes it."""

    path: Path
    table: tuple[Segment, ...]
    tokens: Ints
    states_sha256: str
    dtype: torch.dtype
    shape: tuple[int, int]
    start: int
    """Where the states begin in the file."""

    @property
    def bytes(self) -> int:
        """Size of the states."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize


@dataclass(eq=False)
class ChunkFolder:
    """All chunks of one identity: found by tokens, mapped when used."""

    folder: Path
    observers: Sequence[Observer] = ()
    memory: int | None = None
    """Bytes of states that may be mapped at a time; None: a quarter of what is free, within limits."""
    segments: dict[tuple[str, int], list[Segment]] = field(default_factory=dict, init=False)
    """By context and first token."""
    used: set[str] = field(default_factory=set, init=False)
    """Names of the chunks whose states this process used."""
    lost: bool = field(default=False, init=False)
    """Whether a chunk that was known is gone: damaged, or removed by another process."""
    _chunks: dict[str, Chunk] = field(default_factory=dict, init=False, repr=False)
    _maps: OrderedDict[str, Tensor] = field(default_factory=OrderedDict, init=False, repr=False)
    _mapped: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        """Make the folder, for its owner alone, and index what is in it."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.memory is None:
            self.memory = min(MOST_MEMORY, max(LEAST_MEMORY, int(MEMORY * available_memory_bytes())))
        self.refresh()

    def refresh(self) -> None:
        """Take up what other processes wrote or removed since."""
        there = {path.name for path in self.folder.glob("[!.]*.safetensors")}
        for name in sorted(set(self._chunks) - there):
            self._drop(name)
        for name in sorted(there - set(self._chunks)):
            self._index(self.folder / name)

    def chunks(self) -> list[Chunk]:
        """All that are known, in the order of their names."""
        return [self._chunks[name] for name in sorted(self._chunks)]

    def intact(self, name: str) -> bool:
        """Whether a chunk's states are as they were written; looked at once in a process, and marked as used."""
        if name in self.used:
            return True
        chunk = self._chunks.get(name)
        if chunk is None:
            return False
        try:
            states = self._map(chunk)
        except (OSError, ValueError):  # gone, or shorter than its head says
            self._lose(chunk)
            return False
        if _digest(states) != chunk.states_sha256:
            del states
            self._lose(chunk)
            return False
        self.used.add(name)
        with suppress(OSError):
            os.utime(chunk.path)  # the time of last use: what eviction goes by
        return True

    def rows(self, segment: Segment, length: int) -> Tensor | None:
        """The first `length` states of a segment, a view of the file; None when another process removed it."""
        try:
            states = self._map(self._chunks[segment.chunk])
        except (KeyError, OSError, ValueError):
            if segment.chunk in self._chunks:
                self._drop(segment.chunk)
            return None
        return states[segment.row : segment.row + length]

    def write(self, states: Tensor, parts: Sequence[tuple[str, Ints]]) -> str:
        """Write a chunk, whole or not at all, and index it.

        Args:
            states: Shape (R, hidden).
            parts: Context and tokens of each segment, R tokens in all.

        Returns:
            Its name.
        """
        name, data = encode_chunk(states, parts)
        write_bytes(self.folder / name, data)
        if name not in self._chunks:
            self._index(self.folder / name)
        self.used.add(name)
        return name

    def remove(self, name: str) -> None:
        """Delete a chunk, here and on disk."""
        if name in self._chunks:
            self._drop(name)
        (self.folder / name).unlink(missing_ok=True)

    def read(self, chunk: Chunk) -> Tensor:
        """A copy of a chunk's states, shape (R, hidden)."""
        return self._map(chunk).clone()

    def _index(self, path: Path) -> None:
        try:
            chunk = read_chunk(path)
        except FileNotFoundError:  # purged by another process
            return
        except (struct.error, ValueError, KeyError, TypeError):
            self._report(path)
            return
        self._chunks[path.name] = chunk
        for segment in chunk.table:
            self.segments.setdefault((segment.context, int(segment.tokens[0])), []).append(segment)

    def _lose(self, chunk: Chunk) -> None:
        self._drop(chunk.path.name)
        if chunk.path.exists():
            self._report(chunk.path)

    def _report(self, path: Path) -> None:
        message = f"{path.name}: damaged entry of the trunk cache, removed; it will be computed again."
        tell(self.observers, Notice(topic="cache", message=message))
        path.unlink(missing_ok=True)

    def _drop(self, name: str) -> None:
        """Forget a chunk that is gone."""
        chunk = self._chunks.pop(name)
        self.used.discard(name)
        self.lost = True
        self._unmap(name)
        for segment in chunk.table:
            place = (segment.context, int(segment.tokens[0]))
            left = [each for each in self.segments.get(place, []) if each.chunk != name]
            if left:
                self.segments[place] = left
            else:
                self.segments.pop(place, None)

    def _map(self, chunk: Chunk) -> Tensor:
        """The states as a view of the file; maps that were not used for longest are closed beyond the limit."""
        name = chunk.path.name
        if name in self._maps:
            self._maps.move_to_end(name)
            return self._maps[name]
        # Copy on write, never written: torch wants memory that it could write to.
        raw = np.memmap(chunk.path, dtype=np.uint8, mode="c", offset=chunk.start, shape=(chunk.bytes,))
        states = torch.from_numpy(raw).view(chunk.dtype).view(chunk.shape)
        assert self.memory is not None
        while self._maps and self._mapped + chunk.bytes > self.memory:
            self._unmap(next(iter(self._maps)))
        self._maps[name] = states
        self._mapped += chunk.bytes
        return states

    def _unmap(self, name: str) -> None:
        states = self._maps.pop(name, None)
        if states is not None:
            self._mapped -= states.numel() * states.element_size()


def encode_chunk(states: Tensor, parts: Sequence[tuple[str, Ints]]) -> tuple[str, bytes]:
    """Name and content of a chunk file; arguments as `ChunkFolder.write`."""
    tokens = np.concatenate([part for _, part in parts]).astype(np.int32)
    states = states.contiguous()
    kind = next(name for name, dtype in _TYPES.items() if dtype is states.dtype)
    about = {
        "segments": json.dumps([{"context": context, "length": len(part)} for context, part in parts]),
        "tokens_sha256": hashlib.sha256(tokens.astype("<i4").tobytes()).hexdigest(),
        "states_sha256": _digest(states),
    }
    data = save({"states": states, "tokens": torch.from_numpy(tokens)}, metadata=about)
    return _name(about, kind, list(states.shape)), data


def read_chunk(path: Path) -> Chunk:
    """The head of a chunk file: all but its states.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is damaged; also `struct.error`, `KeyError` and `TypeError`.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        (length,) = struct.unpack("<Q", file.read(8))
        if length > size:
            raise ValueError("the head is longer than the file")
        head = json.loads(file.read(length))
        about, states, tokens = head["__metadata__"], head["states"], head["tokens"]
        base, (begin, end), (first, last) = 8 + length, states["data_offsets"], tokens["data_offsets"]
        rows, hidden = states["shape"]
        dtype = _TYPES[states["dtype"]]
        sizes_fit = end - begin == rows * hidden * dtype.itemsize and last - first == rows * 4
        if not sizes_fit or base + max(end, last) != size or min(begin, first) != 0:
            raise ValueError("the sizes do not fit")
        file.seek(base + first)
        raw = file.read(last - first)
    ids = np.frombuffer(raw, dtype="<i4").astype(np.int64)
    if hashlib.sha256(raw).hexdigest() != about["tokens_sha256"] or path.name != _name(
        about, states["dtype"], states["shape"]
    ):
        raise ValueError("checksum")
    table = _segments(json.loads(about["segments"]), ids, path.name)
    return Chunk(path, table, ids, about["states_sha256"], dtype, (rows, hidden), base + begin)


def _segments(table: Any, ids: Ints, chunk: str) -> tuple[Segment, ...]:
    found, row = [], 0
    for entry in table:
        found.append(Segment(entry["context"], ids[row : row + entry["length"]], chunk, row))
        row += entry["length"]
    return tuple(found)


def _name(about: dict[str, str], kind: str, shape: list[int]) -> str:
    """Name of a chunk: a checksum of its head and, through the digests in it, of its content."""
    parts = [about["segments"], about["tokens_sha256"], about["states_sha256"], kind, *map(str, shape)]
    return f"{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:24]}.safetensors"


def _digest(states: Tensor) -> str:
    return hashlib.sha256(states.reshape(-1).view(torch.uint8).numpy().data).hexdigest()
