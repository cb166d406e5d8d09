"""Preference pairs from one tree give the sums of separate runs, and their gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from metier.engine.forward import TreeRunner
from metier.engine.preference import PreferencePair, preference_log_probabilities
from metier.engine.tree import TokenTree
from metier.model.adapt import adapt_model
from metier.recipe.sections import AdaptationSection

PROMPT = [5, 9, 11, 40, 41, 42]
PAIRS = [
    PreferencePair.of(PROMPT, [7, 8, 2], [7, 9, 30, 2]),
    PreferencePair.of([*PROMPT, 43], [12], [13, 14, 15]),
    PreferencePair.of(PROMPT, [7, 8], [7, 8, 9]),  # one answer begins like the other
    PreferencePair.of([80, 81], [3, 4], [3, 4]),
]


def separately(network: Any, prompt: list[int], answer: list[int]) -> Tensor:
    """Sum of log-probabilities of an answer by nothing but transformers."""
    logits = network(input_ids=torch.tensor([[*prompt, *answer]]), use_cache=False).logits[0].float()
    rows = torch.log_softmax(logits[len(prompt) - 1 : -1], dim=1)
    return rows[torch.arange(len(answer)), torch.tensor(answer)].sum()


@pytest.mark.parametrize("family", ["llama", "mistral", "mamba"])
def test_sums_and_gradients_of_separate_runs(tiny_base: Callable[..., Any], family: str) -> None:
    layers = {} if family != "mamba" else {"method": "full"}
    model = adapt_model(AdaptationSection(**{"method": "lora", "r": 4, **layers}), tiny_base(family), seed=3)
    learning = list(model.trainable().values())
    chosen, rejected = preference_log_probabilities(TreeRunner(model.network), PAIRS)
    wanted = []
    for pair in PAIRS:
        for each in (pair.chosen, pair.rejected):
            start = int(each.targets.argmax())
            wanted.append(separately(model.network, each.ids[:start].tolist(), each.ids[start:].tolist()))
    torch.testing.assert_close(chosen, torch.stack(wanted[0::2]), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(rejected, torch.stack(wanted[1::2]), rtol=1e-5, atol=1e-5)
    # The loss of DPO without a reference model: its gradient tells the two answers apart.
    mine = torch.autograd.grad(-torch.nn.functional.logsigmoid(chosen - rejected).sum(), learning)
    apart = torch.stack(wanted[0::2]) - torch.stack(wanted[1::2])
    reference = torch.autograd.grad(-torch.nn.functional.logsigmoid(apart).sum(), learning)
    for own, right in zip(mine, reference, strict=True):
        torch.testing.assert_close(own, right, rtol=1e-4, atol=1e-5 * max(1.0, float(right.abs().max())))


def test_a_prompt_is_stored_once_with_two_children() -> None:
    pair = PreferencePair.of(PROMPT, [7, 8, 2], [9, 30, 2])
    tree = TokenTree.build([pair.chosen, pair.rejected])
    assert len(tree) == len(PROMPT) + 2 + 2, "the last token of an answer is never computed"
    assert tree.target_nodes.tolist().count(len(PROMPT) - 1) == 2
