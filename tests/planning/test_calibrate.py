"""What passes cost, measured on few blocks: shortened models, counted bytes, paces that a whole model keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from metier.device import Hardware
from metier.engine.tree import TokenSequence
from metier.model.adapt import adapt_model
from metier.model.base import BaseModel
from metier.model.blocks import blocks_of
from metier.planning.allocations import most_bytes
from metier.planning.calibrate import Calibrated, calibrate, known_rates
from metier.planning.probes import Probes, Short, read, score, train_words, write
from metier.planning.rates import Pace, Rates
from metier.planning.resident import fullest
from metier.planning.shorten import shorten
from metier.planning.speed import Shape
from metier.recipe.sections import AdaptationSection, Recipe

CPU = Hardware(device="cpu", dtype="float32", threads=1, reason="test")
TEXTS = [TokenSequence.of([1, 5, 6, 7 + number, 9], [20 + number, 3]) for number in range(6)]
RECIPE = Recipe.model_validate(
    {"data": {"train": "a.csv"}, "adaptation": {"method": "lora", "layers": "all", "r": 4}, "training": {}}
)


def _after_the_first_block(base: BaseModel) -> torch.Tensor:
    found: list[torch.Tensor] = []

    def keep(_module: Any, _args: Any, output: Any) -> None:
        found.append(output[0] if isinstance(output, tuple) else output)

    handle = blocks_of(base.network).modules[0].register_forward_hook(keep)
    with torch.no_grad():
        base.network.base_model(input_ids=torch.tensor([[1, 5, 6, 7]]))
    handle.remove()
    return found[0]


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bert", "qwen3"])
def test_a_short_model_is_the_beginning_of_the_whole_one(kind: str, tiny_base: Callable[..., BaseModel]) -> None:
    base = tiny_base(kind)
    before = {name: p.clone() for name, p in base.network.named_parameters()}
    layers = base.layers
    short = shorten(base, layers - 1)
    assert short.layers == short.network.config.num_hidden_layers == layers - 1
    assert base.network.config.num_hidden_layers == base.layers == layers
    assert torch.equal(_after_the_first_block(short), _after_the_first_block(base))
    shared = {p.data_ptr() for p in base.network.parameters()}
    assert all(p.data_ptr() in shared for p in short.network.parameters()), "no weight is copied"
    adapt_model(AdaptationSection(method="lora", layers="all", r=2), shorten(base, 1), seed=1, labels=("a", "b"))
    after = dict(base.network.named_parameters())
    assert list(after) == list(before) and all(torch.equal(before[name], p) for name, p in after.items())
    assert not any(p.requires_grad for p in base.network.parameters())


def test_weights_that_will_change_are_copied(tiny_base: Callable[..., BaseModel]) -> None:
    base = tiny_base("llama")
    short = shorten(base, 2, own=True)
    shared = {p.data_ptr() for p in base.network.parameters()}
    assert not any(p.data_ptr() in shared for p in short.network.parameters())


def test_bytes_are_those_at_the_fullest_moment() -> None:
    def work() -> None:
        first = torch.ones(1000)  # 4,000 bytes
        second = first + 1  # 8,000 in all
        del first
        third = second[10:]  # a view takes nothing
        fourth = third.double()  # 4,000 and 7,920
        del second, third, fourth
        torch.ones(100)

    assert most_bytes(work, torch.device("cpu")) == 4000 + 7920


def test_what_autograd_keeps_is_counted() -> None:
    weight = torch.ones(50, 50, requires_grad=True)
    weight.grad = torch.zeros(50, 50)
    states = torch.ones(20, 50)

    def work(layers: int) -> Callable[[], None]:
        def run() -> None:
            reached = states
            for _ in range(layers):
                reached = torch.sin(reached @ weight)
            reached.sum().backward()  # type: ignore[no-untyped-call]

        return run

    two, six = (most_bytes(work(layers), torch.device("cpu")) for layers in (2, 6))
    # The product and its sine are kept of every layer: two tensors of 20 x 50 numbers.
    assert six - two == 4 * 2 * 20 * 50 * 4


def _probes() -> Probes:
    prompts = [text.ids[~text.targets] for text in TEXTS]
    labels = [text.ids[text.targets] for text in TEXTS]
    kinds = {
        "train": train_words([(text,) for text in TEXTS], RECIPE.training), "score": score(prompts, labels, 512),
        "read": read(TEXTS, 512, 30), "prompt": write(prompts, 1, 512, 25), "write": write(prompts, 4, 512, 25),
    }  # fmt: skip
    return Probes(by_kind=kinds, lengths=dict.fromkeys(kinds, 7.0), about=["test"])


def _use(base: BaseModel, method: str = "lora", **changes: Any) -> Calibrated:
    section = AdaptationSection.model_validate({"method": method, "layers": "all"})
    recipe = RECIPE.model_copy(update={"adaptation": section, **changes})
    shape = Shape.of(base.network, vocabulary=320, number_bytes=4)
    return Calibrated(
        base=base, recipe=recipe, labels=("a", "b"), shape=shape, hardware=CPU, flops_per_second=1e9, learns=True
    )


@pytest.mark.parametrize("method", ["lora", "full"])
def test_every_pass_is_measured_once(
    method: str, tiny_base: Callable[..., BaseModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny_base("llama")
    assert known_rates(_use(base, method), _probes()) is None
    rates = calibrate(_use(base, method), _probes())
    assert set(rates.paces) == {"train", "score", "read", "prompt", "write"} and rates.measured
    assert all(pace.block >= 0 and pace.rest >= 0 and pace.block + pace.rest > 0 for pace in rates.paces.values())
    assert all(pace.low <= 1 <= pace.high for pace in rates.paces.values())
    assert rates.paces["train"].block_bytes > rates.paces["score"].block_bytes, "autograd keeps what it needs"
    assert rates.step > 0
    monkeypatch.setattr("metier.planning.calibrate._measure", lambda *_: pytest.fail("measured again"))
    assert calibrate(_use(base, method), _probes()) == rates == known_rates(_use(base, method), _probes())


def test_another_batch_is_another_measurement(tiny_base: Callable[..., BaseModel]) -> None:
    base = tiny_base("llama")
    calibrate(_use(base), _probes())
    training = RECIPE.training.model_copy(update={"tokens_per_microbatch": 64})
    assert known_rates(_use(base, training=training), _probes()) is None
    assert known_rates(_use(base), replace(_probes(), about=["other texts"])) is None


def test_memory_from_few_blocks_is_that_of_the_whole_model(tiny_base: Callable[..., BaseModel]) -> None:
    """Two blocks and three predict what three hold; the bytes are exact, so the difference method is too."""
    base = tiny_base("llama")
    probe = _probes().by_kind["train"]

    def held(blocks: int) -> int:
        model = adapt_model(RECIPE.adaptation, shorten(base, blocks), seed=1, labels=("a", "b"))
        work = probe(Short(model.base, model))
        work()
        return most_bytes(work, torch.device("cpu"))

    one, two, three = held(1), held(2), held(3)
    assert three == pytest.approx(one + 2 * (two - one), rel=0.02)


def test_bytes_of_a_pass_grow_with_tokens_and_blocks() -> None:
    pace = Pace(block=1.0, rest=1.0, block_bytes=10.0, rest_bytes=1000.0, tokens=100)
    assert pace.bytes(100, 2) == 100 * 2 * 10 + 1000
    assert pace.bytes(50, 2) == 50 * 2 * 10 + 500
    assert replace(pace, gaps=1.5).bytes(100, 2) == 1.5 * 3000


def test_what_was_not_measured_takes_the_nearest_pace() -> None:
    score_pace, other = Pace(block=1.0, rest=0.0), Pace(block=2.0, rest=0.0)
    rates = Rates(paces={"train": other, "score": score_pace}, flops_per_second=1.0)
    assert rates.pace("features") is score_pace and rates.pace("train") is other


def test_growth_of_the_process_is_seen() -> None:
    with fullest() as found:
        held = bytearray(60_000_000)
        held[::4096] = b"x" * len(held[::4096])
    assert found.grown > 50_000_000
