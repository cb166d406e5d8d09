"""Counted tokens against the engine's own trees, and a plan that grows with what grows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metier.data.records import Choice
from metier.engine.score import label_sequences
from metier.engine.tree import TokenSequence, TokenTree, cut_into_groups
from metier.model.encode import Encoder
from metier.model.plan import plan_learning
from metier.model.prompt import make_prompt_format
from metier.planning.cost import Seconds
from metier.planning.count import Counter, distinct_tokens, largest_batch, largest_pass
from metier.planning.estimate import Subject, plan_run
from metier.planning.nominal import nominal_rates
from metier.planning.outlook import MemoryEstimate, Plan
from metier.planning.speed import Shape, measure_speed
from metier.planning.tokens import Asking
from metier.planning.whole import Ground
from metier.recipe.sections import AdaptationSection, PromptSection, Recipe

LABELS = ("card declined", "login", "refund")


@pytest.fixture
def records() -> list[Choice]:
    texts = [f"where is my order {'please ' * (number % 5)}{number}" for number in range(24)]
    return [Choice(id=str(n), text=text, label=LABELS[n % 3], row=n + 1) for n, text in enumerate(texts)]


@pytest.fixture
def asking(tiny_base: Callable[..., Any]) -> Asking:
    base = tiny_base("llama")
    prompt = make_prompt_format(PromptSection(), LABELS, "intent")
    return Asking(base, Encoder(base.tokenizer, 200), prompt, LABELS)


def test_distinct_tokens_are_the_nodes_of_the_trees(asking: Asking, records: list[Choice]) -> None:
    sequences = [asking.sequence(record) for record in records]
    for budget in (50, 200, 5000):
        groups = [[sequences[number] for number in group] for group in cut_into_groups(sequences, budget)]
        assert distinct_tokens(sequences, budget) == sum(len(TokenTree.build(group)) for group in groups)


def test_label_tokens_are_those_of_scoring(asking: Asking, records: list[Choice]) -> None:
    prompts = [asking.prompt_ids(record.text) for record in records]
    assert asking.prompt is not None
    sequences = label_sequences(prompts, asking.encoder.answers(asking.prompt))
    tokens = Counter(asking, records).labels([len(prompt) for prompt in prompts])
    assert tokens.logical == sum(len(sequence.inputs) for sequence in sequences)
    # Prompts that share more than their common beginning make the whole tree a little smaller.
    whole = len(TokenTree.build(sequences))
    assert whole <= tokens.computed <= 1.4 * whole


def test_training_counts_batches_as_the_objective_cuts_them(asking: Asking, records: list[Choice]) -> None:
    section = _recipe().training
    tokens = Counter(asking, records).training(section, 48)
    sequences = [asking.sequence(record) for record in records]
    batches = [sequences[start : start + 16] for start in (0, 16)]
    assert tokens.computed == 2 * sum(len(TokenTree.build(batch)) for batch in batches)
    assert tokens.logical == 2 * sum(len(sequence.inputs) for sequence in sequences)


def test_the_fullest_pass_is_the_largest_and_not_the_mean(asking: Asking, records: list[Choice]) -> None:
    section = _recipe(per_device_train_batch_size=4).training
    sequences = [asking.sequence(record) for record in records]
    trees = [len(TokenTree.build(sequences[start : start + 4])) for start in range(0, 24, 4)]
    assert largest_pass([(each,) for each in sequences], section) == max(trees) > sum(trees) / len(trees)
    texts = [each.ids for each in sequences]
    sums = [sum(map(len, texts[start : start + 4])) for start in range(0, 24, 4)]
    assert largest_batch(texts, section) == max(sums)
    narrow = _recipe(per_device_train_batch_size=4, tokens_per_microbatch=64).training
    assert largest_pass([(each,) for each in sequences], narrow) < max(trees)


def test_shape_of_a_network(tiny_base: Callable[..., Any]) -> None:
    shape = Shape.of(tiny_base("llama").network, vocabulary=320, number_bytes=4)
    assert shape.block_weights == 32 * 32 * 2 + 32 * 16 * 2 + 32 * 48 * 3
    assert shape.block_flops(0) == 2 * shape.block_weights
    assert shape.layers == 3


@pytest.mark.parametrize("kind", ["llama", "bert", "gpt2"])
def test_speed_is_measured_on_the_models_own_products(kind: str, tiny_base: Callable[..., Any]) -> None:
    import torch

    assert measure_speed(tiny_base(kind).network, torch.float32) > 1e6


def _recipe(**training: Any) -> Recipe:
    values = {"data": {"train": "a.csv"}, "training": training, "adaptation": {"method": "lora", "layers": "top 1"}}
    return Recipe.model_validate({**values, "evaluation": {"systems": ["majority"]}})


@pytest.fixture
def plan(asking: Asking, records: list[Choice]) -> Callable[..., Plan]:
    """`plan(times, method, layers, **training)`: the plan for so many times the records."""

    def make(
        times: int = 1, method: str = "lora", layers: str = "top 1", ablation: bool = False, **training: Any
    ) -> Plan:
        section = AdaptationSection.model_validate({"method": method, "layers": layers})
        recipe = _recipe(**training)
        data = recipe.data.model_copy(update={"ablation": ablation})
        recipe = recipe.model_copy(update={"adaptation": section, "data": data})
        lengths = [len(asking.prompt_ids(record.text)) for record in records] * times
        network = asking.base.network
        shape = Shape.of(network, vocabulary=320, number_bytes=4)
        subject = Subject(
            name="tuned", recipe=recipe, counter=Counter(asking, records),
            shape=shape, base="x", base_bytes=shape.weight_bytes,
            rates=nominal_rates(shape, 1e9, weights_learn=method == "full"),
            lengths={"train": lengths, "validation": lengths[:8], "test": lengths[:8]},
            plan=plan_learning(section, network), trainable=10_000 if method == "lora" else asking.base.parameters,
        )  # fmt: skip
        return plan_run(recipe, [subject], {}, Seconds(data=0.0, loading=0.0, tfidf=0.0), Ground())

    return make


def test_more_of_anything_takes_longer(plan: Callable[..., Plan]) -> None:
    small = plan()
    assert plan(times=4).seconds > small.seconds
    assert plan(num_train_epochs=9).seconds > small.seconds
    assert plan(layers="all").seconds > small.seconds
    assert plan(method="full", layers="all").seconds > plan(layers="all").seconds


def test_an_ablation_trains_once_more(plan: Callable[..., Plan]) -> None:
    without, with_it = plan(), plan(ablation=True)
    assert not any(stage.stage == "ablation" for stage in without.stages)
    parts = with_it.parts
    again = sum(stage.seconds for stage in without.stages if stage.stage.startswith("attempt "))
    tuned = sum(stage.seconds for stage in without.stages if stage.what == "tuned, on test and a sample of train")
    assert tuned > 0
    assert parts["ablation"] == pytest.approx(again + tuned)
    assert with_it.seconds == pytest.approx(without.seconds + again + tuned)
    assert any("data.ablation" in said for said in with_it.assumptions)
    lowest = [stage.low for stage in with_it.stages if stage.stage == "ablation" and "computed once" in stage.what]
    assert lowest and set(lowest) == {0.0}


def test_more_of_anything_takes_more_room(plan: Callable[..., Plan]) -> None:
    small = plan()
    assert _moment(plan(layers="all")).activations > _moment(small).activations
    assert _moment(plan(method="full", layers="all")).learning > _moment(small).learning
    assert _moment(plan(tokens_per_microbatch=100)).activations < _moment(small).activations
    assert plan(times=4).cache_bytes > small.cache_bytes
    assert plan(save_total_limit=9).disk_bytes > small.disk_bytes
    assert small.memory_bytes == small.memory.total == max(moment.total for moment in small.moments)


def _moment(plan: Plan, name: str = "training") -> MemoryEstimate:
    return next(moment for moment in plan.moments if moment.moment == name)


def test_what_is_frozen_below_is_computed_once(plan: Callable[..., Plan]) -> None:
    works = [stage.what for stage in plan().stages if stage.stage == "attempt tuned"]
    assert works[0] == "lower 2 blocks, computed once"
    assert not any("computed once" in stage.what for stage in plan(layers="all").stages)


def test_operations_are_counted_as_forward_and_backward(plan: Callable[..., Plan]) -> None:
    def training(**settings: Any) -> float:
        return next(stage.flops for stage in plan(**settings).stages if stage.what.startswith("training"))

    lora, full = training(layers="all"), training(method="full", layers="all")
    # Backward costs as much as forward where gradients only pass, twice as much where weights learn.
    assert 1.3 < full / lora < 1.5


def test_one_sequence_is_one_group() -> None:
    assert distinct_tokens([TokenSequence.of([1, 2, 3], [4, 5])], 100) == 4


def test_subject_knows_when_a_head_is_solved(asking: Asking, records: list[Choice]) -> None:
    recipe = _recipe()
    shape = Shape.of(asking.base.network, vocabulary=0, number_bytes=4)
    head = recipe.model_copy(update={"adaptation": AdaptationSection(method="head")})
    subject = Subject(
        name="x", recipe=head, counter=Counter(replace(asking, prompt=None), records),
        shape=shape, base="x", base_bytes=0, rates=nominal_rates(shape, 1e9, weights_learn=False),
        lengths={"train": [1], "validation": [1], "test": [1]},
    )  # fmt: skip
    assert subject.solved and not replace(subject, recipe=recipe).solved


def test_gpt2_has_products_too(tiny_base: Callable[..., Any], tmp_path: Path) -> None:
    assert Shape.of(tiny_base("gpt2").network, vocabulary=320, number_bytes=4).block_weights == 32 * 32 * 12
