"""Texts through a model without padding, one vector for each: pooled last-layer states.

Texts of a batch are computed as one sequence. An encoder's token sees its own text; a decoder's texts are a
token tree, so that what they begin with is computed once. On the first batch of a network a few texts are
also run alone and compared; a family that does not fit runs over padded batches from then on, and says so.

Shape letters: B texts, L tokens of the longest, T tokens computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from metier.device import tidy_memory
from metier.engine.attention import TreeUnsupportedError, attend_to_trees
from metier.engine.attention_layout import TreeLayout
from metier.engine.network import stored_trunk, without_dropout
from metier.engine.tree import Ints, TokenSequence, TokenTree
from metier.events import Notice, Observer, tell

Stored = tuple[int, Sequence[Tensor]]
"""Depth of a trunk, and the boundary states of each text of a batch, shape (tokens, hidden)."""
CHECKED_TEXTS = 3
TOLERANCE = {torch.float32: 1e-4, torch.float16: 0.05}
LOOSE = 0.15
"""As for logits in `forward.py`: root mean square differences in spreads of the states; `LOOSE` for bfloat16."""


@dataclass(frozen=True)
class TextBatch:
    """Texts of similar length that are computed together."""

    numbers: tuple[int, ...]
    """Which texts, by number."""
    texts: tuple[Ints, ...]

    @property
    def tokens(self) -> int:
        """Tokens of all texts."""
        return sum(len(text) for text in self.texts)

    def padded(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Ids padded on the right with 0, and 1 where there is a token, each of shape (B, L)."""
        rows = [torch.from_numpy(text) for text in self.texts]
        ones = [torch.ones_like(row) for row in rows]
        pad = torch.nn.utils.rnn.pad_sequence
        return pad(rows, batch_first=True).to(device), pad(ones, batch_first=True).to(device)

    @cached_property
    def tree(self) -> TokenTree:
        """The texts as a tree, for decoders."""
        return TokenTree.build([TokenSequence(text, np.zeros(len(text), dtype=np.bool_)) for text in self.texts])


_FITS: WeakKeyDictionary[PreTrainedModel, dict[bool, int | None]] = WeakKeyDictionary()
"""Position of a text's first token (some families count from above their padding token), or None: texts cannot be
computed side by side. Found out with the lower blocks computed (False) and with their stored states (True)."""


def text_batches(texts: Sequence[Ints], budget: int) -> list[TextBatch]:
    """Length-sorted batches of at most `budget` tokens; a longer text is alone."""
    groups: list[list[int]] = []
    size = 0
    for number in sorted(range(len(texts)), key=lambda number: len(texts[number])):
        length = len(texts[number])
        if groups and size + length <= budget:
            groups[-1].append(number)
            size += length
        else:
            groups.append([number])
            size = length
    return [TextBatch(tuple(group), tuple(texts[number] for number in group)) for group in groups]


def pooled(
    network: PreTrainedModel,
    batch: TextBatch,
    kind: str,
    stored: Stored | None = None,
    observers: Sequence[Observer] = (),
) -> Tensor:
    """One float32 vector for each text of a batch.

    Args:
        network: Encoder or decoder; a decoder's head is not computed.
        batch: The texts.
        kind: `encoder` (mean over tokens) or `decoder` (last token).
        stored: Boundary states in place of the lower blocks.
        observers: Told once for a network that computes padding.

    Returns:
        Shape (B, hidden).
    """
    tidy_memory()
    if len(batch.texts) == 1:  # a text alone has neither padding nor neighbours
        return _pool(_padded_states(network, batch, kind, stored), kind)
    fits = _FITS.setdefault(network, {})
    if (stored is not None) not in fits:
        fits[stored is not None] = _find_out(network, batch, kind, stored, observers)
    first = fits[stored is not None]
    if first is None:
        return _pool(_padded_states(network, batch, kind, stored), kind)
    return _pool(_flat_states(network, batch, kind, stored, first), kind)


def computed_tokens(network: PreTrainedModel, batch: TextBatch, kind: str) -> int:
    """Tokens that `pooled` computes, once it was found out whether the network fits."""
    if None in _FITS.get(network, {}).values():
        return len(batch.texts) * max(len(text) for text in batch.texts)
    return batch.tokens if kind == "encoder" else len(batch.tree)


def _pool(states: Sequence[Tensor], kind: str) -> Tensor:
    """A vector for each text from the states of its tokens, each of shape (tokens, hidden)."""
    if kind == "encoder":
        return torch.stack([each.float().mean(0) for each in states])
    return torch.stack([each[-1].float() for each in states])


def _flat_states(
    network: PreTrainedModel, batch: TextBatch, kind: str, stored: Stored | None, first: int
) -> list[Tensor]:
    """States of each text's tokens, shape (tokens, hidden), all computed as one sequence without padding."""
    device = network.device
    lengths = [len(text) for text in batch.texts]
    if kind == "encoder":
        ids, layout = np.concatenate(batch.texts), TreeLayout.of_texts(lengths, device)
        places = list(torch.split(torch.arange(len(ids), device=device), lengths))
    else:
        ids, layout = batch.tree.ids, TreeLayout.of(batch.tree, 0, device)
        places = [torch.from_numpy(path).to(device) for path in batch.tree.paths]
    inputs = {
        "input_ids": torch.from_numpy(ids)[None].to(device),
        "position_ids": torch.from_numpy(layout.sight.query_positions + first)[None].to(device),
        "tree_layout": layout,
        **({} if kind == "encoder" else {"use_cache": False}),
    }
    trunk: AbstractContextManager[None] = nullcontext()
    if stored is not None:
        flat = stored[1][0].new_empty(1, len(ids), stored[1][0].shape[1]).to(device)
        for place, states in zip(places, stored[1], strict=True):
            flat[0, place] = states.to(device)
        trunk = stored_trunk(network, stored[0], flat)
    with trunk, attend_to_trees(network):
        whole = network.base_model(**inputs).last_hidden_state[0]
    return list(torch.split(whole, lengths)) if kind == "encoder" else [whole[place] for place in places]


def _padded_states(network: PreTrainedModel, batch: TextBatch, kind: str, stored: Stored | None) -> list[Tensor]:
    """States of each text's tokens, shape (tokens, hidden), computed as transformers does: padded on the right."""
    device = network.device
    ids, mask = batch.padded(device)
    options = {} if kind == "encoder" else {"use_cache": False}
    trunk: AbstractContextManager[None] = nullcontext()
    if stored is not None:
        padded = torch.nn.utils.rnn.pad_sequence(list(stored[1]), batch_first=True).to(device)
        trunk = stored_trunk(network, stored[0], padded)
    with trunk:
        states = network.base_model(input_ids=ids, attention_mask=mask, **options).last_hidden_state
    return [row[: len(text)] for row, text in zip(states, batch.texts, strict=True)]


def _find_out(
    network: PreTrainedModel, batch: TextBatch, kind: str, stored: Stored | None, observers: Sequence[Observer]
) -> int | None:
    """The first position with which texts side by side give the states of texts alone; None: there is none."""
    some = batch.texts[-CHECKED_TEXTS:]
    part = None if stored is None else (stored[0], stored[1][-CHECKED_TEXTS:])
    together = TextBatch(tuple(range(len(some))), some)
    device = network.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else network.dtype
    above_padding = (getattr(network.config, "pad_token_id", None) or 0) + 1
    why = ""
    with torch.no_grad(), without_dropout(network):
        alone = torch.cat(_padded_states(network, together, kind, part)).float()
        for first in (0, above_padding) if kind == "encoder" else (0,):
            try:
                mine = torch.cat(_flat_states(network, together, kind, part, first)).float()
            except (TreeUnsupportedError, TypeError, ValueError) as fault:
                why = why or f"{type(fault).__name__}: {fault}"
                continue
            off = float((mine - alone).square().mean().sqrt() / alone.std())
            if off <= TOLERANCE.get(dtype, LOOSE):
                return first
            why = why or f"states differ by {off:.2g} of their spread"
    if None not in _FITS[network].values():
        message = f"{type(network).__name__} computes texts in padded batches: {why}."
        tell(observers, Notice(topic="engine", message=message))
    return None
