"""A language model over token trees: logits where a target is, and nowhere else.

`TreeRunner` is the one way in which training and scoring run a decoder. On its first tree it also
runs a few sequences plainly and compares; a family that the tree does not fit runs plainly from then
on, with one notice.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from metier.device import tidy_memory
from metier.engine.attention import TreeUnsupportedError, attend_to_trees
from metier.engine.attention_choice import choose_attention
from metier.engine.attention_layout import TreeLayout
from metier.engine.loss import OutputLayer, target_log_probabilities, target_loss
from metier.engine.network import stored_trunk, without_dropout
from metier.engine.top_block import answered_only
from metier.engine.tree import Ints, TokenSequence, TokenTree, with_sibling
from metier.engine.trunk import TrunkCache
from metier.engine.trunk_memory import bring_back
from metier.events import Notice, Observer, tell

PROBE_SEQUENCES = 3
"""Sequences that are also run plainly on the first tree."""
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.15, torch.float16: 0.05}
"""Largest allowed difference between tree and plain, root mean square in spreads of the logits: far above rounding
(the largest of millions of rounding errors is no measure: it grows with their number), far below a wrong mask."""


Floats32 = npt.NDArray[np.float32]
KeysValues = tuple[tuple[int, Tensor, Tensor], ...]
"""Layer number, keys and values of every computed layer, shape (1, G, tokens, D)."""


@dataclass(frozen=True, eq=False)
class Prefix:
    """Tokens that all sequences begin with, and their key-value state, computed once."""

    ids: Ints
    keys_values: KeysValues

    def cache(self) -> DynamicCache:
        """The state in the form that transformers wants; the stored tensors are not changed by its use."""
        cache = DynamicCache()
        for layer, keys, values in self.keys_values:
            cache.update(keys, values, layer)
        return cache


@dataclass(eq=False)
class TreeRunner:
    """Runs one decoder. `trunk`, where given, holds the states of the lower blocks."""

    network: PreTrainedModel
    trunk: TrunkCache | None = None
    observers: Sequence[Observer] = ()
    plain: bool = False
    """True once the tree was found not to fit this family."""
    autocast: bool = False
    """Compute products of float32 weights in bfloat16."""
    checked: bool = False
    """Whether the comparison with the plain forward was made; a copy for the same network need not repeat it."""
    writes: bool | None = None
    """Whether answers can be written row by row over key-value state; None until it was found out."""
    output: OutputLayer | None = None
    """The output layer, where its logits can be made a few at a time; None until that was found out."""
    token_bytes: int = 0
    """Bytes of one token's key-value state in a slot, as far as it is known."""

    def logits(self, tree: TokenTree, sequences: Sequence[TokenSequence], prefix: Prefix | None = None) -> Tensor:
        """Logits that predict the targets, in the order of `tree.target_nodes`.

        Args:
            tree: Built from `sequences` (with the prefix cut off and `offset=len(prefix.ids)`).
            sequences: The whole sequences, prefix included.
            prefix: Key-value state of the shared beginning.

        Returns:
            Float32, shape (M, vocabulary). Equal (node, prefix) pairs are computed once and gathered.
        """
        if not self.checked:
            self._check(sequences)
        if self.plain:
            with self.cast():
                return plain_logits(self.network, sequences)
        return self._tree_logits(tree, sequences, prefix)

    def log_probabilities(
        self, tree: TokenTree, sequences: Sequence[TokenSequence], prefix: Prefix | None = None
    ) -> Tensor:
        """Log-probability of each target, float32, shape (M,), without gradients; arguments as `logits`.

        A node that predicts many targets is normalised over the vocabulary once.
        """
        with torch.no_grad():
            return self.learning_log_probabilities(tree, sequences, prefix)

    def learning_log_probabilities(
        self, tree: TokenTree, sequences: Sequence[TokenSequence], prefix: Prefix | None = None
    ) -> Tensor:
        """As `log_probabilities`, with gradients."""
        wanted = torch.from_numpy(tree.target_ids).to(self.network.device)
        if not self.checked:
            self._check(sequences)
        if self.output is None:
            logits = self.logits(tree, sequences, prefix)
            return torch.log_softmax(logits, dim=1).gather(1, wanted[:, None])[:, 0]
        states, rows = self._node_states(tree, sequences, prefix)
        with self.cast():
            return target_log_probabilities(self.output, states, rows, wanted)

    def loss(self, tree: TokenTree, sequences: Sequence[TokenSequence], weights: Ints | Floats32) -> Tensor:
        """Cross-entropy of all targets, each times its weight, summed: a float32 scalar with gradients.

        Args:
            tree: Built from `sequences`.
            sequences: The sequences.
            weights: Weight of each target, in the order of `tree.target_nodes`, shape (M,).
        """
        device = self.network.device
        wanted, scale = torch.from_numpy(tree.target_ids).to(device), torch.from_numpy(weights).float().to(device)
        if not self.checked:
            self._check(sequences)
        if self.output is None:
            losses = torch.nn.functional.cross_entropy(self.logits(tree, sequences), wanted, reduction="none")
            return (losses * scale).sum()
        states, rows = self._node_states(tree, sequences, None)
        with self.cast():
            return target_loss(self.output, states, rows, wanted, scale)

    def probe(self, sequences: Sequence[TokenSequence]) -> bool:
        """Whether this family fits the tree, found out on a few of `sequences`; said once when it does not."""
        if not self.checked:
            self._check(sequences)
        return not self.plain

    def prefill(self, ids: Ints) -> Prefix | None:
        """Compute the shared beginning `ids` once. None: nothing to share, or the plain path is in force."""
        if len(ids) == 0 or self.plain:
            return None
        sequence = TokenSequence(ids, np.zeros(len(ids), dtype=np.bool_))
        tree = TokenTree.build([sequence])
        with torch.no_grad():
            _, state = self.read(tree, [sequence], None, tree.paths[0][-1:])
        return Prefix(ids, state)

    def read(
        self, tree: TokenTree, sequences: Sequence[TokenSequence], prefix: Prefix | None, nodes: Ints
    ) -> tuple[Tensor, KeysValues]:
        """Run a tree and keep its key-value state.

        Args:
            tree: As for `logits`.
            sequences: As for `logits`.
            prefix: As for `logits`.
            nodes: The nodes after which logits are wanted.

        Returns:
            Logits of shape (len(nodes), vocabulary) in the network's dtype, and the state of prefix and tree.
        """
        cache = DynamicCache() if prefix is None else prefix.cache()
        keep = torch.from_numpy(nodes).to(self.network.device)
        logits = self._run(
            tree, sequences, prefix, {"past_key_values": cache, "use_cache": True, "logits_to_keep": keep}
        )
        kept = []
        for number, layer in enumerate(cache.layers):
            keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
            if keys is not None and values is not None and keys.numel():  # none below a stored trunk
                kept.append((number, keys, values))
        return logits[0], tuple(kept)

    def _tree_logits(self, tree: TokenTree, sequences: Sequence[TokenSequence], prefix: Prefix | None) -> Tensor:
        """Logits of all targets, float32, shape (M, vocabulary)."""
        logits, rows = self._node_logits(tree, sequences, prefix)
        return logits.float()[rows]

    def _node_logits(
        self, tree: TokenTree, sequences: Sequence[TokenSequence], prefix: Prefix | None
    ) -> tuple[Tensor, Tensor]:
        """Logits of each node that predicts something, in the network's dtype, and the row of each target in them."""
        nodes, back = np.unique(tree.target_nodes, return_inverse=True)
        options: dict[str, Any] = {"logits_to_keep": torch.from_numpy(nodes).to(self.network.device)}
        if prefix is None:
            options["use_cache"] = False
        else:
            options |= {"past_key_values": prefix.cache(), "use_cache": True}
        output = self._run(tree, sequences, prefix, options)
        return output[0], torch.from_numpy(back).to(output.device)

    def _node_states(
        self, tree: TokenTree, sequences: Sequence[TokenSequence], prefix: Prefix | None
    ) -> tuple[Tensor, Tensor]:
        """What reaches the output layer at each node that predicts something, and the row of each target in it."""
        assert self.output is not None
        with self.output.inputs() as reached:
            _, rows = self._node_logits(tree, sequences, prefix)
        return reached[0][0], rows

    def _run(
        self, tree: TokenTree, sequences: Sequence[TokenSequence], prefix: Prefix | None, options: dict[str, Any]
    ) -> Tensor:
        tidy_memory()
        device = self.network.device
        length = len(prefix.ids) if prefix is not None else 0
        inputs = {
            "input_ids": torch.from_numpy(tree.ids)[None].to(device),
            "position_ids": torch.from_numpy(tree.positions)[None].to(device),
            "tree_layout": TreeLayout.of(tree, length, device),
            **options,
        }
        trunk: AbstractContextManager[None] = nullcontext()
        if self.trunk is None:
            bring_back(self.network)
        else:
            states = self.trunk.states(tree, sequences, skip=length).to(device)
            trunk = stored_trunk(self.network, self.trunk.identity.depth, states[None])
        top = answered_only(self.network, options["logits_to_keep"], len(tree))
        with trunk, self.cast(), attend_to_trees(self.network), top:
            return self.network(**inputs).logits  # type: ignore[no-any-return]

    def _check(self, sequences: Sequence[TokenSequence]) -> None:
        """Compare the tree with plain runs of a few sequences; fall back to plain where they differ.

        Without a branch every family would pass, so one is made. The trunk is left out: nothing may be
        stored yet.
        """
        self.checked = True
        missing = choose_attention(self.network.device.type).notice
        if missing is not None:
            tell(self.observers, Notice(topic="engine", message=missing))
        some = with_sibling(sequences[:PROBE_SEQUENCES])
        trunk, self.trunk = self.trunk, None
        with torch.no_grad(), self.cast(), without_dropout(self.network):
            reference = plain_logits(self.network, some)
            try:
                mine = self._tree_logits(TokenTree.build(some), some, None)
            except (TreeUnsupportedError, TypeError, ValueError) as fault:
                self.fall_back(f"{type(fault).__name__}: {fault}")
                return
        difference = distance(mine, reference)
        dtype = torch.bfloat16 if self.autocast else self.network.dtype
        if not difference <= TOLERANCE[dtype]:
            self.fall_back(f"logits differ by {difference:.2g} of their spread")
        else:
            self._check_output(some, reference, TOLERANCE[dtype])
            self.trunk = trunk

    def _check_output(self, sequences: Sequence[TokenSequence], reference: Tensor, tolerance: float) -> None:
        """Find out whether logits can be made from what reaches the output layer, a few nodes at a time."""
        self.output = OutputLayer.of(self.network)
        if self.output is None:
            return
        with torch.no_grad(), self.cast(), without_dropout(self.network):
            states, rows = self._node_states(TokenTree.build(sequences), sequences, None)
            mine = self.output.logits(states)[rows]
        if not distance(mine, reference) <= tolerance:
            self.output = None
            name = type(self.network).__name__
            message = f"{name} does more to its logits than a linear layer does: all of them are made at once."
            tell(self.observers, Notice(topic="engine", message=message))

    def cast(self) -> torch.autocast:
        """The precision in which the network runs, as a context."""
        return torch.autocast(self.network.device.type, torch.bfloat16, enabled=self.autocast)

    def fall_back(self, why: str) -> None:
        """Run plainly from now on, and say why, once."""
        self.plain, self.trunk = True, None
        name = type(self.network).__name__
        tell(self.observers, Notice(topic="engine", message=f"{name} runs plainly, without shared prefixes: {why}."))


def distance(mine: Tensor, reference: Tensor) -> float:
    """Root mean square difference of two sets of logits, in spreads of the reference: see `TOLERANCE`."""
    return float((mine - reference).square().mean().sqrt() / reference.std())


def plain_logits(network: PreTrainedModel, sequences: Sequence[TokenSequence]) -> Tensor:
    """Logits of all targets by transformers' plain forward, one sequence at a time, shape (M, vocabulary)."""
    rows = []
    for sequence in sequences:
        inputs = torch.from_numpy(sequence.inputs)[None].to(network.device)
        where = torch.from_numpy(np.flatnonzero(sequence.targets) - 1).to(network.device)
        rows.append(network(input_ids=inputs, use_cache=False, logits_to_keep=where).logits[0].float())
    return torch.cat(rows)
