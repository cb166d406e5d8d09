"""The frozen trunk is computed once: boundary states stored by segment of the data set's radix tree.

A segment is a run of tokens in a context. Its key is the hash of weights, depth, dtype, all tokens
before it and its own tokens, so reshuffling, folds, seeds, batch sizes and later runs find the same
entries, and another template, tokenizer, model or dtype never does. Segments are written in chunks,
in canonical order, each chunk whole or not at all, with a checksum: a damaged chunk is left out,
reported and computed again. Processes that build the same at once share the work, chunk by chunk.

Boundary states can be turned back into text: the folder is private (0700), `metier cache purge` removes it,
`metier cache forget` removes what belongs to one record (`trunk_forget.py`), and what was not used for longest
goes when the cache grows beyond its limit.
"""

from __future__ import annotations

import hashlib
import json
import weakref
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from metier.engine.texts import Stored, TextBatch
from metier.engine.tree import Ints, TokenSequence, TokenTree, cut_into_groups, shared_length
from metier.engine.trunk_chunks import ChunkFolder, Segment
from metier.engine.trunk_compute import BoundaryStates
from metier.events import Notice, Observer, Progress, tell
from metier.store.leases import claimed, lease
from metier.store.limit import VARIABLE, cache_limit, evict
from metier.team import Team, current_team

if TYPE_CHECKING:
    from filelock import BaseFileLock

CHUNK_TOKENS = 1536
"""Distinct tokens of one chunk. Fixed: bfloat16 states depend on what is computed beside them."""
FORMAT = 2
"""Version of the chunk files."""


@dataclass(frozen=True, kw_only=True)
class TrunkIdentity:
    """What the states depend on besides the tokens."""

    weights_sha256: str
    depth: int
    """Number of frozen blocks below the boundary."""
    dtype: str
    causal: bool = True
    """False for encoders: a state depends on the whole text, which is then one segment."""

    @property
    def key(self) -> str:
        """Hash of all fields and of the format: the name of the folder."""
        about = {**asdict(self), "format": FORMAT}
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """How many tokens were found and how many had to be computed."""

    hits: int
    misses: int


@dataclass(eq=False)
class TrunkCache:
    """Boundary states on disk, and the index that finds them by tokens."""

    folder: Path
    identity: TrunkIdentity
    observers: Sequence[Observer] = ()
    _chunks: ChunkFolder = field(init=False, repr=False)
    _compute: BoundaryStates = field(init=False, repr=False)
    _lease: BaseFileLock = field(init=False, repr=False)
    _network: weakref.ref[PreTrainedModel] | None = field(default=None, init=False, repr=False)
    """What the states were last built with: states that are lost later are computed again with it."""
    _told: bool = field(default=False, init=False, repr=False)
    """Whether it was said that more is in use than the limit allows."""

    def __post_init__(self) -> None:
        """Open the folder and index its chunks; their states are read when they are used."""
        self.folder = self.folder / self.identity.key
        self._lease = lease(self.folder)
        self._chunks = ChunkFolder(self.folder, self.observers)
        self._compute = BoundaryStates(self.identity.depth, self.identity.causal, self.observers)

    def build(self, network: PreTrainedModel, sequences: Sequence[TokenSequence], label: str = "trunk") -> BuildReport:
        """Compute and store what is missing for `sequences`.

        All processes of a team call it with the same arguments; each computes its share of the chunks, and reads
        those of the others from the folder.

        Args:
            network: The model whose trunk it is, with the trunk in place.
            sequences: Token sequences; order and repetition do not matter.
            label: Name of the progress bar.
        """
        return self._build(network, sequences, label, current_team())

    def _build(
        self, network: PreTrainedModel, sequences: Sequence[TokenSequence], label: str, team: Team
    ) -> BuildReport:
        self._network = weakref.ref(network)
        self._chunks.refresh()
        known = [self._known(sequence.inputs) for sequence in sequences]
        # Only what is used from now on and is not there is lost.
        self._chunks.lost = False
        lacking = team.any_of([found < len(s.inputs) for s, found in zip(sequences, known, strict=True)])
        missing = {s.inputs.tobytes(): s for s, lacks in zip(sequences, lacking, strict=True) if lacks}
        todo = list(missing.values())
        groups = [[todo[number] for number in group] for group in cut_into_groups(todo, CHUNK_TOKENS)]
        misses = self._build_groups(network, [groups[number] for number in team.share(len(groups))], label)
        if team.size > 1:
            misses = int(team.add(misses)[0])
            self._chunks.refresh()
        if misses:
            self._evict()
        return BuildReport(hits=sum(known), misses=misses)

    def states(self, tree: TokenTree, sequences: Sequence[TokenSequence], skip: int = 0) -> Tensor:
        """Boundary states of all nodes of a tree.

        Args:
            tree: The tree, without the first `skip` tokens of each sequence.
            sequences: Its sequences, with those tokens.
            skip: Length of a prefix that is kept as key-value state.

        Returns:
            Shape (T, hidden).

        Raises:
            KeyError: a sequence was never built.
        """
        filled = np.zeros(len(tree), dtype=np.bool_)
        gathered: Tensor | None = None
        for sequence, path in zip(sequences, tree.paths, strict=True):
            new = path[~filled[path]]
            if len(new) == 0:
                continue
            states = self.sequence_states(sequence.inputs)[skip:][len(path) - len(new) :]
            if gathered is None:
                gathered = states.new_empty(len(tree), states.shape[1])
            gathered[torch.from_numpy(new)] = states
            filled[new] = True
        if gathered is None:
            raise KeyError("an empty tree has no boundary states")
        return gathered

    def sequence_states(self, ids: Ints) -> Tensor:
        """Boundary states of one sequence of input ids, shape (L, hidden), a copy.

        Raises:
            KeyError: the sequence was never built.
        """
        parts, found = self._gather(ids)
        network = self._network() if self._network is not None else None
        if found < len(ids) and self._chunks.lost and network is not None:
            message = "Entries of the trunk cache were removed while they were used; they are computed again."
            tell(self.observers, Notice(topic="cache", message=message))
            self._build(network, [TokenSequence(ids, np.zeros(len(ids), dtype=np.bool_))], "trunk", Team())
            parts, found = self._gather(ids)
        if found < len(ids):
            raise KeyError(f"boundary states of {len(ids) - found} of {len(ids)} tokens were never built")
        return torch.cat(parts)

    def _gather(self, ids: Ints) -> tuple[list[Tensor], int]:
        """Stored states along a sequence, and for how many tokens there are any."""
        parts = []
        for segment, length in self._walk(ids):
            rows = self._chunks.rows(segment, length)
            if rows is None:
                break
            parts.append(rows)
        return parts, sum(len(part) for part in parts)

    def _known(self, ids: Ints) -> int:
        return sum(length for _, length in self._walk(ids))

    def _walk(self, ids: Ints) -> list[tuple[Segment, int]]:
        """Intact segments along a sequence, each with how many of its tokens are used."""
        path, depth = [], 0
        while depth < len(ids):
            best, length = self._longest(ids, depth, context_hash(ids, depth if self.identity.causal else len(ids)))
            if not self.identity.causal and length < len(ids):
                return []
            if best is None:
                return self._search(ids)
            path.append((best, length))
            depth += length
        return path

    def _longest(self, ids: Ints, depth: int, context: str) -> tuple[Segment | None, int]:
        """The intact segment that goes on longest from `depth`, and how far."""
        best, length = None, 0
        for segment in tuple(self._chunks.segments.get((context, int(ids[depth])), ())):
            shared = shared_length(segment.tokens, ids[depth:])
            if shared > length and self._chunks.intact(segment.chunk):
                best, length = segment, shared
        return best, length

    def _search(self, ids: Ints) -> list[tuple[Segment, int]]:
        """The same where the longest step leads nowhere: two processes that wrote at once branched at other places.

        A segment may be left after any of its tokens, so every place before the furthest one can be reached.
        """
        starts: list[tuple[int, Segment]] = []
        context, depth, reach = hashlib.blake2b(digest_size=16), 0, 0
        while depth <= reach and depth < len(ids):
            best, length = self._longest(ids, depth, context.copy().hexdigest())
            if best is not None and depth + length > reach:
                starts.append((depth, best))
                reach = depth + length
            context.update(int(ids[depth]).to_bytes(4, "little"))
            depth += 1
        ends = [*(start for start, _ in starts[1:]), reach]
        return [(segment, end - start) for (start, segment), end in zip(starts, ends, strict=False)]

    def _build_groups(self, network: PreTrainedModel, groups: Sequence[Sequence[TokenSequence]], label: str) -> int:
        """Compute groups of sequences as chunks; what another process is at comes last, and mostly is there then."""
        misses, done, later = 0, 0, []
        for group in groups:
            with claimed(self.folder, _group_key(group)) as mine:
                if not mine:
                    later.append(group)
                    continue
                misses += self._add_chunk(network, group)
            done += 1
            tell(self.observers, Progress(label=label, done=done, total=len(groups), unit="chunks"))
        for group in later:
            misses += self._add_chunk(network, group)
            done += 1
            tell(self.observers, Progress(label=label, done=done, total=len(groups), unit="chunks"))
        return misses

    def _add_chunk(self, network: PreTrainedModel, whole_group: Sequence[TokenSequence]) -> int:
        """Compute one chunk, write it, index it; returns the tokens that were new."""
        self._chunks.refresh()
        group = [sequence for sequence in whole_group if self._known(sequence.inputs) < len(sequence.inputs)]
        if not group:
            return 0
        tree = TokenTree.build(group) if self.identity.causal else None
        if tree is None:
            states = torch.cat(self._compute.of_texts(network, group))
        else:
            states = self._compute.of_tree(network, tree, group)
        taken: set[int] = set()
        rows: list[Tensor] = []
        parts: list[tuple[str, Ints]] = []
        for number, sequence in enumerate(group):
            ids = sequence.inputs
            known = self._known(ids)
            path = tree.paths[number] if tree else np.arange(len(ids)) + _offset(group, number)
            new = [place for place in range(known, len(ids)) if int(path[place]) not in taken]
            if not new:
                continue
            start = new[0]
            taken.update(int(node) for node in path[start:])
            parts.append((context_hash(ids, start if self.identity.causal else len(ids)), ids[start:]))
            rows.append(states[torch.from_numpy(path[start:]).to(states.device)].cpu())
        if not rows:
            return 0
        self._chunks.write(torch.cat(rows), parts)
        return sum(len(part) for _, part in parts)

    def _evict(self) -> None:
        """Hold the stored trunk to its limit; what this run or another process uses stays."""
        root = self.folder.parent
        limit = cache_limit(root)
        gone = evict(root, limit, own=self.folder, lease=self._lease, keep=self._chunks.used)
        if gone.files:
            message = (
                f"The stored trunk grew beyond its limit of {limit / 1e9:.3g} GB ({VARIABLE}): {gone.files} files that "
                f"were not used for longest ({gone.bytes / 1e6:,.1f} MB) were removed."
            )
            tell(self.observers, Notice(topic="cache", message=message))
            self._chunks.refresh()
            self._chunks.lost = False
        if gone.left > limit and not self._told:
            self._told = True
            message = (
                f"The stored trunk takes {gone.left / 1e6:,.1f} MB, above its limit of {limit / 1e9:.3g} GB "
                f"({VARIABLE}): this run or another uses it."
            )
            tell(self.observers, Notice(topic="cache", message=message))


def context_hash(ids: Ints, depth: int) -> str:
    """The key of what comes before `depth`."""
    return hashlib.blake2b(ids[:depth].astype("<u4").tobytes(), digest_size=16).hexdigest()


def stored_states(trunk: TrunkCache | None, texts: Sequence[Ints], batch: TextBatch) -> Stored | None:
    """Depth and boundary states of each text of a batch; None without a trunk."""
    if trunk is None:
        return None
    return trunk.identity.depth, [trunk.sequence_states(texts[number]) for number in batch.numbers]


def _group_key(group: Sequence[TokenSequence]) -> str:
    """A name for the work on one chunk."""
    digest = hashlib.blake2b(digest_size=12)
    for sequence in group:
        digest.update(sequence.inputs.astype("<u4").tobytes() + b"|")
    return digest.hexdigest()


def _offset(group: Sequence[TokenSequence], number: int) -> int:
    return sum(len(sequence.inputs) for sequence in group[:number])
