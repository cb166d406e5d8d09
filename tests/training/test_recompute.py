"""Gradient checkpointing: the gradients that there are without it, and chosen only where memory asks for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metier.engine import top_block
from metier.engine.forward import TreeRunner
from metier.engine.tree import TokenSequence
from metier.engine.trunk import TrunkCache, TrunkIdentity
from metier.events import Notice
from metier.model.adapt import AdaptedModel, adapt_model
from metier.recipe.sections import AdaptationSection, TrainingSection
from metier.training import recompute
from metier.training.checkpoint import checkpoints, load_checkpoint
from metier.training.objective import HeadObjective, LanguageObjective
from metier.training.recompute import activation_bytes, decide_recomputing, recomputed

BUDGET = 64
ADAPTATIONS = {"lora": {"method": "lora", "r": 4}, "top 1": {"method": "lora", "r": 4, "layers": "top 1"},
               "full": {"method": "full"}}  # fmt: skip


def adapted(load: Callable[..., Any], kind: str, section: dict[str, Any]) -> AdaptedModel:
    model = adapt_model(AdaptationSection(**section), load(kind), seed=3)
    with torch.no_grad():
        for name, parameter in model.trainable().items():
            if ".lora_B" in name:  # zero at the start, which would hide the gradient of A
                parameter.copy_(torch.linspace(-0.1, 0.1, parameter.numel()).view_as(parameter))
    return model


def language(
    model: AdaptedModel, sequences: Sequence[TokenSequence], trunk: TrunkCache | None = None
) -> LanguageObjective:
    return LanguageObjective(TreeRunner(model.network, trunk), [(each,) for each in sequences], [1.0] * len(sequences))


def gradients(model: AdaptedModel, objective: Any, *, again: bool) -> tuple[float, dict[str, torch.Tensor]]:
    for parameter in model.trainable().values():
        parameter.grad = None
    loss = 0.0
    with recomputed(model) if again else nullcontext():
        for part in objective.parts(range(len(objective)), BUDGET):
            part.loss.backward()
            loss += float(part.loss.detach())
    return loss, {name: p.grad.clone() for name, p in model.trainable().items() if p.grad is not None}


@pytest.mark.parametrize("adaptation", ADAPTATIONS)
@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma3_text", "mistral"])
def test_gradients_over_trees_are_the_same(
    tiny_base: Callable[..., Any], sequences: list[TokenSequence], kind: str, adaptation: str
) -> None:
    model = adapted(tiny_base, kind, ADAPTATIONS[adaptation])
    objective = language(model, sequences)
    loss, plain = gradients(model, objective, again=False)
    other, again = gradients(model, objective, again=True)
    assert loss == pytest.approx(other, rel=1e-6) and set(plain) == set(again) == set(model.trainable())
    for name, gradient in plain.items():
        torch.testing.assert_close(again[name], gradient, rtol=1e-6, atol=1e-6 * float(gradient.abs().max()))
    assert model.network.config._attn_implementation == "sdpa"


def test_gradients_over_a_stored_trunk_are_the_same(
    tiny_base: Callable[..., Any], sequences: list[TokenSequence], tmp_path: Path
) -> None:
    model = adapted(tiny_base, "llama", ADAPTATIONS["top 1"])
    depth = model.plan.trunk_layers
    assert depth == 2
    trunk = TrunkCache(tmp_path, TrunkIdentity(weights_sha256="a", depth=depth, dtype="float32"))
    trunk.build(model.network, sequences)
    _, plain = gradients(model, language(model, sequences), again=False)
    _, stored = gradients(model, language(model, sequences, trunk), again=True)
    for name, gradient in plain.items():
        torch.testing.assert_close(stored[name], gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max()))


def test_an_encoder_with_a_head(tiny_base: Callable[..., Any]) -> None:
    model = adapt_model(AdaptationSection(method="full"), tiny_base("bert"), seed=3, labels=("a", "b"))
    assert model.head is not None
    with torch.no_grad():
        model.head.weight.copy_(torch.linspace(-1, 1, model.head.weight.numel()).view_as(model.head.weight))
    texts = [np.arange(4, 4 + length) for length in (3, 7, 5)]
    objective = HeadObjective(model.network, "encoder", model.head, texts, [0, 1, 0], [1.0] * 3)
    _, plain = gradients(model, objective, again=False)
    _, again = gradients(model, objective, again=True)
    for name, gradient in plain.items():
        torch.testing.assert_close(again[name], gradient, rtol=1e-6, atol=1e-7)


def test_less_is_kept(tiny_base: Callable[..., Any], sequences: list[TokenSequence]) -> None:
    model = adapted(tiny_base, "llama", ADAPTATIONS["lora"])
    objective = language(model, sequences)

    def kept(*, again: bool) -> int:
        seen: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
        with recomputed(model) if again else nullcontext(), hooks:
            part = next(iter(objective.parts(range(10), 1000)))
        del part
        return sum(seen.values())

    weights = sum(p.numel() * p.element_size() for p in model.network.parameters())
    assert kept(again=True) - weights < 0.4 * (kept(again=False) - weights)


def test_measured_activations_are_what_the_blocks_keep(
    tiny_base: Callable[..., Any], sequences: list[TokenSequence]
) -> None:
    model = adapted(tiny_base, "llama", ADAPTATIONS["full"])
    objective = language(model, sequences)
    next(iter(objective.parts([0], BUDGET)))  # the first tree is also run plainly
    known = {t.untyped_storage().data_ptr() for t in (*model.network.parameters(), *model.network.buffers())}
    seen: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        part = next(iter(objective.parts(range(10), 1000)))
    whole = sum(size for place, size in seen.items() if place not in known)
    del part
    logits = sum(int(each.targets.sum()) for each in sequences) * model.base.vocabulary * 4
    measured = activation_bytes(model, objective, range(10), 1000)
    assert 0.6 * (whole - 3 * logits) < measured < whole
    assert recompute._at_most(model, objective, range(10), 1000) > measured


def test_what_an_earlier_pass_was_given_is_not_taken_for_an_input() -> None:
    """A pass without gradients keeps nothing, so its memory may hold something else when the next one is counted."""
    kept, reused = recompute._Kept(set()), torch.ones(1000)
    with torch.no_grad():
        kept.around(torch.exp, reused)
    learning = reused.requires_grad_()  # stands for a new tensor in the same place
    kept.around(lambda: learning.square().sum())
    assert kept.bytes == learning.untyped_storage().nbytes()


def test_measuring_twice_gives_the_same(tiny_base: Callable[..., Any], sequences: list[TokenSequence]) -> None:
    """The first tree is also run plainly, in memory that is free again when the tree is measured."""
    model = adapted(tiny_base, "llama", ADAPTATIONS["lora"])
    objective = language(model, sequences)
    junk = [torch.zeros(size) for size in range(64, 4096, 64)]
    first = activation_bytes(model, objective, range(4), BUDGET)
    del junk
    assert [activation_bytes(model, objective, range(4), BUDGET) for _ in range(5)] == [first] * 5


def section(asked: Any) -> TrainingSection:
    return TrainingSection(gradient_checkpointing=asked, tokens_per_microbatch=BUDGET)


def test_memory_decides(
    tiny_base: Callable[..., Any], sequences: list[TokenSequence], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = adapted(tiny_base, "llama", ADAPTATIONS["lora"])
    objective, told = language(model, sequences), []
    needed = activation_bytes(model, objective, range(4), BUDGET)
    learning = 12 * sum(p.numel() for p in model.trainable().values())

    def decide(asked: Any, free: float) -> bool:
        monkeypatch.setattr(recompute, "free_memory_bytes", lambda device: int(free))
        return decide_recomputing(section(asked), model, objective, range(4), [told.append])

    assert not decide("auto", 1e12) and not decide("auto", learning + 1.3 * needed) and not told
    assert decide("auto", learning + 1.2 * needed)
    assert [event.message for event in told if isinstance(event, Notice)] == [
        "Activations of a micro-batch would take 0.0 GB, and 0.0 GB can be used: they are computed again in the "
        "backward pass (training.gradient_checkpointing: auto), which costs a second forward pass of the blocks that "
        "learn and gives the same gradients."
    ]
    assert decide(True, 1e12) and not decide(False, 0)
    assert len(told) == 1


def test_nothing_is_measured_where_memory_is_plenty(
    tiny_base: Callable[..., Any], sequences: list[TokenSequence], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recompute, "free_memory_bytes", lambda device: 10**13)
    monkeypatch.setattr(recompute, "activation_bytes", None)
    model = adapted(tiny_base, "llama", ADAPTATIONS["lora"])
    assert not decide_recomputing(section("auto"), model, language(model, sequences), range(4))


def test_a_whole_training_is_the_same(setting: Any) -> None:
    plain = setting.train("plain", gradient_checkpointing=False, warmup_steps=0)
    again = setting.train("again", gradient_checkpointing=True, warmup_steps=0)
    np.testing.assert_allclose(again.losses, plain.losses, rtol=1e-5)
    assert again.history.gradient_checkpointing and not plain.history.gradient_checkpointing
    assert load_checkpoint(checkpoints(again.folder)[-1]).progress.gradient_checkpointing


def test_with_dropout_the_same_numbers_are_drawn_again(setting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_block, "WORTH", 0.0)  # a wrapped last block is computed at all tokens: other draws
    dropout = {"lora_dropout": 0.3}
    plain = setting.train("plain", gradient_checkpointing=False, adaptation=dropout)
    again = setting.train("again", gradient_checkpointing=True, adaptation=dropout)
    np.testing.assert_allclose(again.losses, plain.losses, rtol=1e-5)
