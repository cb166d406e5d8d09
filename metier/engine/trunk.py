"""The frozen trunk is computed once: boundary states stored by segment of the data set's radix tree.

A segment is a run of tokens in a context. Its key is the hash of weights, depth, dtype, all tokens
before it and its own tokens, so reshuffling, folds, seeds, batch sizes and later runs find the same
entries, and another template, tokenizer, model or dtype never does. Segments are written in chunks,
in canonical order, each chunk whole or not at all, with a checksum: a damaged chunk is left out,
reported and computed again.

Boundary states can be turned back into text: the folder is private (0700) and part of the cache that
`metier cache purge` removes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from transformers import PreTrainedModel

from metier.engine.attention import TreeLayout, TreeUnsupportedError, attend_to_trees
from metier.engine.network import boundary_states
from metier.engine.tree import Ints, TokenSequence, TokenTree, cut_into_groups, shared_length, with_sibling
from metier.events import Notice, Observer, Progress, tell
from metier.store.files import write_bytes

CHUNK_TOKENS = 1536
"""Distinct tokens of one chunk. Fixed: bfloat16 states depend on what is computed beside them."""


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
        """Hash of all fields: the name of the folder."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True, eq=False)
class _Segment:
    """Tokens in a context and the place of their states: a chunk, and the first row in it."""

    tokens: Ints
    chunk: str
    row: int


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
    _segments: dict[tuple[str, int], list[_Segment]] = field(default_factory=dict, init=False, repr=False)
    _chunks: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)
    _fits: bool | None = field(default=None, init=False, repr=False)
    """Whether the family fits the tree; None until it was found out."""

    def __post_init__(self) -> None:
        """Open the folder and index every intact chunk."""
        self.folder = self.folder / self.identity.key
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in sorted(self.folder.glob("*.safetensors")):
            self._open(path)

    def build(self, network: PreTrainedModel, sequences: Sequence[TokenSequence], label: str = "trunk") -> BuildReport:
        """Compute and store what is missing for `sequences`.

        Args:
            network: The model whose trunk it is, with the trunk in place.
            sequences: Token sequences; order and repetition do not matter.
            label: Name of the progress bar.
        """
        known = [self._known(sequence.inputs) for sequence in sequences]
        hits = sum(known)
        missing = {s.inputs.tobytes(): s for s, found in zip(sequences, known, strict=True) if found < len(s.inputs)}
        todo = list(missing.values())
        groups = [[todo[number] for number in group] for group in cut_into_groups(todo, CHUNK_TOKENS)]
        misses = 0
        for done, group in enumerate(groups):
            misses += self._add_chunk(network, group)
            tell(self.observers, Progress(label=label, done=done + 1, total=len(groups), unit="chunks"))
        return BuildReport(hits=hits, misses=misses)

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
        """Boundary states of one sequence of input ids, shape (L, hidden).

        Raises:
            KeyError: the sequence was never built.
        """
        parts = []
        for segment, length in self._walk(ids):
            parts.append(self._chunks[segment.chunk][segment.row : segment.row + length])
        found = sum(len(part) for part in parts)
        if found < len(ids):
            raise KeyError(f"boundary states of {len(ids) - found} of {len(ids)} tokens were never built")
        return torch.cat(parts)

    def _known(self, ids: Ints) -> int:
        return sum(length for _, length in self._walk(ids))

    def _walk(self, ids: Ints) -> Iterable[tuple[_Segment, int]]:
        """Segments along a sequence, each with how many of its tokens are used."""
        depth = 0
        while depth < len(ids):
            best, length = None, 0
            for segment in self._segments.get((self._context(ids, depth), int(ids[depth])), ()):
                shared = shared_length(segment.tokens, ids[depth:])
                if shared > length:
                    best, length = segment, shared
            if best is None or (not self.identity.causal and length < len(ids)):
                return
            yield best, length
            depth += length

    def _context(self, ids: Ints, depth: int) -> str:
        """Hash of what comes before `depth`; for an encoder, of the whole text."""
        before = ids[:depth] if self.identity.causal else ids
        return hashlib.blake2b(before.astype("<u4").tobytes(), digest_size=16).hexdigest()

    def _add_chunk(self, network: PreTrainedModel, group: Sequence[TokenSequence]) -> int:
        """Compute one chunk, write it, index it; returns the tokens that were new."""
        tree = TokenTree.build(group) if self.identity.causal else None
        states = self._tree_states(network, tree, group) if tree else torch.cat(self._text_states(network, group))
        taken: set[int] = set()
        rows: list[Tensor] = []
        table: list[dict[str, Any]] = []
        tokens: list[Ints] = []
        for number, sequence in enumerate(group):
            ids = sequence.inputs
            known = self._known(ids)
            path = tree.paths[number] if tree else np.arange(len(ids)) + _offset(group, number)
            new = [place for place in range(known, len(ids)) if int(path[place]) not in taken]
            if not new:
                continue
            start = new[0]
            taken.update(int(node) for node in path[start:])
            table.append({"context": self._context(ids, start), "length": len(ids) - start})
            tokens.append(ids[start:])
            rows.append(states[torch.from_numpy(path[start:]).to(states.device)].cpu())
        if not rows:
            return 0
        self._write(torch.cat(rows), np.concatenate(tokens), table)
        return sum(entry["length"] for entry in table)

    def _tree_states(self, network: PreTrainedModel, tree: TokenTree, group: Sequence[TokenSequence]) -> Tensor:
        """Boundary states of all nodes: at once, or text by text where the family does not fit the tree."""
        if self._fits is None:
            self._fits = self._check(network, group)
        if self._fits:
            return self._shared_states(network, tree)
        parts = self._text_states(network, group)
        states = parts[0].new_empty(len(tree), parts[0].shape[1])
        for path, part in zip(tree.paths, parts, strict=True):
            states[torch.from_numpy(path).to(states.device)] = part
        return states

    def _check(self, network: PreTrainedModel, group: Sequence[TokenSequence]) -> bool:
        """Whether states of a tree equal those of its texts alone, found out on a few; said when they do not."""
        some = with_sibling(group[:2])
        tree = TokenTree.build(some)
        name = type(network).__name__
        try:
            together = self._shared_states(network, tree).float()
        except (TreeUnsupportedError, TypeError, ValueError) as fault:
            why = f"{type(fault).__name__}: {fault}"
        else:
            off = 0.0
            for path, alone in zip(tree.paths, self._text_states(network, some), strict=True):
                mine = together[torch.from_numpy(path).to(together.device)]
                # Medians: a few hidden units of some families are a thousand times larger than the rest.
                size = alone.float().abs().median(dim=1).values.clamp_min(1e-6)
                off = max(off, float(((mine - alone.float()).abs().median(dim=1).values / size).max()))
            if off <= (1e-3 if network.dtype == torch.float32 else 0.25):
                return True
            why = f"states differ by {off:.2g}"
        message = f"The trunk of {name} is computed text by text, without shared prefixes: {why}."
        tell(self.observers, Notice(topic="engine", message=message))
        return False

    def _shared_states(self, network: PreTrainedModel, tree: TokenTree) -> Tensor:
        device = network.device
        with attend_to_trees(network):
            states = boundary_states(
                network,
                self.identity.depth,
                input_ids=torch.from_numpy(tree.ids)[None].to(device),
                position_ids=torch.from_numpy(tree.positions)[None].to(device),
                use_cache=False,
                tree_layout=TreeLayout.of(tree, 0, device),
            )
        return states[0]

    def _text_states(self, network: PreTrainedModel, group: Sequence[TokenSequence]) -> list[Tensor]:
        """Boundary states of whole texts, one text after the other, each of shape (L, hidden)."""
        options = {"use_cache": False} if self.identity.causal else {}
        parts = []
        for sequence in group:
            ids = torch.from_numpy(sequence.inputs)[None].to(network.device)
            inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **options}
            parts.append(boundary_states(network, self.identity.depth, **inputs)[0])
        return parts

    def _write(self, states: Tensor, tokens: Ints, table: list[dict[str, Any]]) -> None:
        payload = {"states": states.contiguous(), "tokens": torch.from_numpy(tokens.astype(np.int32))}
        about = {"segments": json.dumps(table), "sha256": _digest(states, tokens)}
        data = save(payload, metadata=about)
        path = self.folder / _name(about["segments"], about["sha256"])
        write_bytes(path, data)
        self._open(path)

    def _open(self, path: Path) -> None:
        """Index a chunk; a damaged one is removed and reported."""
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                states, tokens = file.get_tensor("states"), file.get_tensor("tokens").numpy().astype(np.int64)
            if path.name != _name(about["segments"], about["sha256"]) or about["sha256"] != _digest(states, tokens):
                raise ValueError("checksum")
            table = json.loads(about["segments"])
        except FileNotFoundError:  # another process found it damaged, or purged it
            return
        except (SafetensorError, ValueError, KeyError):
            message = f"{path.name}: damaged entry of the trunk cache, removed; it will be computed again."
            tell(self.observers, Notice(topic="cache", message=message))
            path.unlink(missing_ok=True)
            return
        self._chunks[path.name] = states
        row = 0
        for entry in table:
            part = tokens[row : row + entry["length"]]
            place = (entry["context"], int(part[0]))
            self._segments.setdefault(place, []).append(_Segment(part, path.name, row))
            row += entry["length"]


def _offset(group: Sequence[TokenSequence], number: int) -> int:
    return sum(len(sequence.inputs) for sequence in group[:number])


def _name(segments: str, digest: str) -> str:
    """Name of a chunk: a checksum of its table and, through `digest`, of its content."""
    return f"{hashlib.sha256(f'{segments}{digest}'.encode()).hexdigest()[:24]}.safetensors"


def _digest(states: Tensor, tokens: Ints) -> str:
    raw = states.contiguous().view(torch.uint8).numpy().tobytes()
    return hashlib.sha256(raw + tokens.astype("<i4").tobytes()).hexdigest()
