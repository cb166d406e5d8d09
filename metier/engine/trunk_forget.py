"""Delete what the stored trunk holds of one text, and nothing else.

The states of a text's tokens lie along its path from the root. What other texts begin with too stays, because
they are read through it; from where nobody else goes on, the path and everything that hangs below it go: the
rest of the text, and the answers that were scored under it. Others are known by the branches that they left on the
path, so nobody's text but the one to be deleted has to be known.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from metier.engine.tree import Ints, shared_length
from metier.engine.trunk import context_hash
from metier.engine.trunk_chunks import ChunkFolder, Segment
from metier.store.leases import IN_USE


@dataclass(frozen=True, eq=False)
class StoredPath:
    """One way in which a text stands in the cache."""

    ids: Ints
    """The prompt, or the whole text, as the model reads it."""
    end: int
    """Tokens until the text itself is complete: whatever branches off from there on belongs to it."""


@dataclass(eq=False)
class _Removal:
    """What goes from one folder: how many tokens of each segment stay."""

    chunks: ChunkFolder
    by_context: dict[str, list[Segment]] = field(default_factory=dict)
    stays: dict[int, int] = field(default_factory=dict)
    """By the identity of a segment."""

    def __post_init__(self) -> None:
        for chunk in self.chunks.chunks():
            for segment in chunk.table:
                self.by_context.setdefault(segment.context, []).append(segment)

    def mark(self, path: StoredPath) -> None:
        """Mark what goes with one path."""
        self._mark_whole(path.ids)
        found = [
            (depth, segment, shared_length(segment.tokens, path.ids[depth:]))
            for depth in range(len(path.ids) + 1)
            for segment in self.by_context.get(context_hash(path.ids, depth), ())
        ]
        foreign = [d + k for d, segment, k in found if d + k < path.end and k < len(segment.tokens)]
        cut = max(foreign, default=0)
        for depth, segment, shared in found:
            if depth + shared < path.end and shared < len(segment.tokens):
                continue  # another text's own
            kept = max(0, cut - depth)
            if kept < len(segment.tokens):
                self._mark_below(path.ids[:depth], segment, kept)

    def _mark_whole(self, ids: Ints) -> None:
        """An encoder's text is one segment under the hash of all of it."""
        for segment in self.by_context.get(context_hash(ids, len(ids)), ()):
            if np.array_equal(segment.tokens, ids):
                self.stays[id(segment)] = 0

    def _mark_below(self, before: Ints, segment: Segment, kept: int) -> None:
        """Let a segment go from its token `kept` on, and everything that branches off below."""
        todo = [(before, segment, kept)]
        while todo:
            before, segment, kept = todo.pop()
            if self.stays.get(id(segment), len(segment.tokens)) <= kept:
                continue
            self.stays[id(segment)] = kept
            whole = np.concatenate([before, segment.tokens])
            for depth in range(len(before) + kept + 1, len(whole) + 1):
                todo += [(whole[:depth], child, 0) for child in self.by_context.get(context_hash(whole, depth), ())]

    def apply(self) -> int:
        """Write the chunks that are concerned again without what goes; returns the tokens that went."""
        gone = 0
        for chunk in self.chunks.chunks():
            kept = [self.stays.get(id(segment), len(segment.tokens)) for segment in chunk.table]
            lost = len(chunk.tokens) - sum(kept)
            name = chunk.path.name
            if lost == 0:
                continue
            if sum(kept) and self.chunks.intact(name):
                states = self.chunks.read(chunk)
                rows = [states[s.row : s.row + length] for s, length in zip(chunk.table, kept, strict=True) if length]
                parts = [(s.context, s.tokens[:length]) for s, length in zip(chunk.table, kept, strict=True) if length]
                self.chunks.write(torch.cat(rows), parts)
            self.chunks.remove(name)
            gone += lost
        return gone


def forget_paths(root: Path, paths: list[StoredPath]) -> int:
    """Delete texts from all stored trunks.

    Args:
        root: The cache's folder of trunks.
        paths: Every way in which the texts stand there.

    Returns:
        The tokens whose states were deleted.
    """
    gone = 0
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if folder.name == IN_USE or not folder.is_dir():
            continue
        removal = _Removal(ChunkFolder(folder))
        for path in paths:
            removal.mark(path)
        gone += removal.apply()
    return gone
