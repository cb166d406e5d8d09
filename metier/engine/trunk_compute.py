"""Boundary states computed with the trunk in place: over a token tree, or text by text where that does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import PreTrainedModel

from metier.engine.attention import TreeUnsupportedError, attend_to_trees
from metier.engine.attention_layout import TreeLayout
from metier.engine.network import boundary_states
from metier.engine.tree import TokenSequence, TokenTree, with_sibling
from metier.events import Notice, Observer, tell

TOLERANCE = {torch.float32: 1e-3}
"""Largest median difference of a state between tree and plain run, as a share of the median state."""
LOOSE = 0.25
"""The same in every coarser type."""


@dataclass(eq=False)
class BoundaryStates:
    """Computes what leaves the lowest `depth` blocks of a network."""

    depth: int
    causal: bool
    observers: Sequence[Observer] = ()
    _fits: bool | None = field(default=None, init=False, repr=False)
    """Whether the family fits the tree; None until it was found out."""

    def of_tree(self, network: PreTrainedModel, tree: TokenTree, group: Sequence[TokenSequence]) -> Tensor:
        """States of all nodes of the tree of `group`, shape (T, hidden)."""
        if self._fits is None:
            self._fits = self._check(network, group)
        if self._fits:
            return self._shared(network, tree)
        parts = self.of_texts(network, group)
        states = parts[0].new_empty(len(tree), parts[0].shape[1])
        for path, part in zip(tree.paths, parts, strict=True):
            states[torch.from_numpy(path).to(states.device)] = part
        return states

    def of_texts(self, network: PreTrainedModel, group: Sequence[TokenSequence]) -> list[Tensor]:
        """States of whole texts, one text after the other, each of shape (L, hidden)."""
        options = {"use_cache": False} if self.causal else {}
        parts = []
        for sequence in group:
            ids = torch.from_numpy(sequence.inputs)[None].to(network.device)
            inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **options}
            parts.append(boundary_states(network, self.depth, **inputs)[0])
        return parts

    def _check(self, network: PreTrainedModel, group: Sequence[TokenSequence]) -> bool:
        """Whether states of a tree equal those of its texts alone, found out on a few; said when they do not."""
        some = with_sibling(group[:2])
        tree = TokenTree.build(some)
        name = type(network).__name__
        try:
            together = self._shared(network, tree).float()
        except (TreeUnsupportedError, TypeError, ValueError) as fault:
            why = f"{type(fault).__name__}: {fault}"
        else:
            off = 0.0
            for path, alone in zip(tree.paths, self.of_texts(network, some), strict=True):
                mine = together[torch.from_numpy(path).to(together.device)]
                # Medians: a few hidden units of some families are a thousand times larger than the rest.
                size = alone.float().abs().median(dim=1).values.clamp_min(1e-6)
                off = max(off, float(((mine - alone.float()).abs().median(dim=1).values / size).max()))
            if off <= TOLERANCE.get(network.dtype, LOOSE):
                return True
            why = f"states differ by {off:.2g}"
        message = f"The trunk of {name} is computed text by text, without shared prefixes: {why}."
        tell(self.observers, Notice(topic="engine", message=message))
        return False

    def _shared(self, network: PreTrainedModel, tree: TokenTree) -> Tensor:
        device = network.device
        with attend_to_trees(network):
            states = boundary_states(
                network,
                self.depth,
                input_ids=torch.from_numpy(tree.ids)[None].to(device),
                position_ids=torch.from_numpy(tree.positions)[None].to(device),
                use_cache=False,
                tree_layout=TreeLayout.of(tree, 0, device),
            )
        return states[0]
