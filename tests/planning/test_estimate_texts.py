"""A plan for writing and reading on: counted against the engine's own trees, growing with what grows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from metier.engine.tree import TokenSequence, TokenTree
from metier.model.plan import plan_learning
from metier.planning.author import Author
from metier.planning.cost import Seconds
from metier.planning.count import count_training
from metier.planning.estimate_texts import plan_reading, plan_writing
from metier.planning.nominal import nominal_rates
from metier.planning.outlook import Plan
from metier.planning.results import LearnedTokens
from metier.planning.speed import Shape
from metier.planning.taught import Taught, draw_within
from metier.planning.whole import Ground
from metier.recipe.sections import Recipe

START = [5, 6, 7, 8, 9, 10]
NOTHING = Seconds(data=0.0, loading=0.0, tfidf=0.0)


def _talk(number: int) -> tuple[TokenSequence, ...]:
    """A conversation of two learned turns: the second prompt begins with the first and its answer."""
    first, answer = [*START, 20 + number], [40, 41, 2]
    return TokenSequence.of(first, answer), TokenSequence.of([*first, *answer, 50 + number], [42, 43, 44, 2])


def _taught(examples: int, *, answer: float, most: int | None) -> Taught:
    about = LearnedTokens(
        records=examples, encoded=examples, used=examples, sequences=2 * examples, learned=7 * examples,
        read=8 * examples, ends=2 * examples, looked_at=2 * examples, end_token="end", left_out=(),
        max_new_tokens=most,
    )  # fmt: skip
    return Taught(
        about=about, sample=tuple(_talk(number) for number in range(16)), examples=examples,
        asked=dict.fromkeys(("train", "validation", "test"), 11.0), answer=answer, shared=len(START), pieces=(),
        lengths=(), trained_part="", faults=(), notices=(),
    )  # fmt: skip


def _recipe(task: str, training: dict[str, Any], **sections: Any) -> Recipe:
    values = {"task": task, "data": {"train": "a.jsonl"}, "adaptation": {"method": "lora", "layers": "top 1"}}
    return Recipe.model_validate({**values, "training": training, **sections})


@pytest.fixture
def plan(tiny_base: Callable[..., Any]) -> Callable[..., Plan]:
    """`plan(task, examples=…, test=…, answer=…, sections=…, **training)`."""
    network = tiny_base("llama").network

    def make(
        task: str = "generation", *, examples: int = 32, test: int = 20, answer: float = 5.0,
        sections: dict[str, Any] | None = None, packed: int = 0, **training: Any,
    ) -> Plan:  # fmt: skip
        recipe = _recipe(task, training, **(sections or {}))
        shape = Shape.of(network, vocabulary=320, number_bytes=4)
        rates = nominal_rates(shape, 1e9, weights_learn=False)
        slow = replace(rates.paces["write"], block=2 * rates.paces["write"].block)
        author = Author(
            name="tuned", recipe=recipe, shape=shape, base_bytes=shape.weight_bytes,
            rates=replace(rates, paces={**rates.paces, "write": slow}), plan=plan_learning(recipe.adaptation, network),
            trainable=1000, base="x", records={"train": examples, "validation": 10, "test": test},
            taught=_taught(examples, answer=answer, most=None if task == "text" else 24), packed=packed,
        )  # fmt: skip
        ask = plan_reading if task == "text" else plan_writing
        return ask(recipe, [author], author, NOTHING, Ground())

    return make


def _seconds(plan: Plan, part: str) -> float:
    return sum(stage.seconds for stage in plan.stages if part in f"{stage.stage}: {stage.what}")


def test_training_tokens_are_those_of_the_trees() -> None:
    sample = [_talk(number) for number in range(16)]
    section = _recipe("chat", {"per_device_train_batch_size": 4}).training
    trees = [TokenTree.build([s for each in sample[at : at + 4] for s in each]) for at in range(0, 16, 4)]
    counted = count_training(sample, section, 48)
    assert counted.computed == 3 * sum(map(len, trees))
    assert counted.logical == 3 * sum(tree.logical_tokens for tree in trees)
    assert counted.targets == 3 * 16 * 7
    assert counted.computed < counted.logical / 2
    assert count_training([], section, 48).computed == 0


def test_more_of_anything_takes_longer(plan: Callable[..., Plan]) -> None:
    small = plan()
    assert plan(examples=64).seconds > small.seconds
    assert plan(num_train_epochs=9).seconds > small.seconds
    assert plan(sections={"adaptation": {"method": "lora", "layers": "all"}}).seconds > small.seconds
    assert _seconds(plan(test=40), "test: zero_shot") > 1.9 * _seconds(small, "test: zero_shot")
    assert _seconds(plan(answer=50.0), "test: tuned") > 2 * _seconds(small, "test: tuned")


def test_examples_in_the_prompt_and_ways_to_choose_them_cost(plan: Callable[..., Plan]) -> None:
    small = plan(sections={"evaluation": {"few_shot": {"k": [2]}}})
    assert _seconds(small, "baselines: few_shot") > _seconds(small, "baselines: zero_shot")
    three = plan(sections={"evaluation": {"few_shot": {"k": [2], "seeds": 3}}})
    assert "few_shot: 10 answers of validation, 3 ways" in [stage.what for stage in three.stages]
    assert _seconds(three, "few_shot: 10") == pytest.approx(3 * _seconds(small, "few_shot: 10"))


def test_nearest_examples_are_read_for_each_input_and_tried_on_a_part_first(plan: Callable[..., Plan]) -> None:
    def asked(few: dict[str, Any]) -> Plan:
        return plan(sections={"evaluation": {"few_shot": few}})

    alike, near = (asked({"k": [2], "selection": [name]}) for name in ("random", "nearest"))
    both = asked({"k": [2], "selection": ["random", "nearest"]})
    assert _seconds(near, "few_shot with the nearest") > _seconds(alike, "baselines: few_shot") > 0
    assert _seconds(near, "few_shot: ") == _seconds(near, "test: few_shot") > _seconds(alike, "test: few_shot")
    assert _seconds(both, "baselines: few") == pytest.approx(
        _seconds(alike, "baselines: few") + _seconds(near, "baselines: few")
    )
    three = asked({"k": [2, 3, 4], "selection": ["nearest"]})
    # Ten selection records: all three on the first eight, one on the other two.
    assert "few_shot with the nearest examples: 26 answers of validation" in [stage.what for stage in three.stages]


def test_the_first_part_is_that_of_the_baselines() -> None:
    from metier.evaluation.answering import shots
    from metier.planning import cost, estimate

    assert [cost.first_part(n, ways) for n in (5, 20, 100) for ways in (1, 3)] == [
        shots.first_part(n, ways) for n in (5, 20, 100) for ways in (1, 3)
    ]
    assert (estimate.LONGEST_SHOT, estimate.TURN_TOKENS) == (shots.SHOT_TOKENS, shots.TURN_TOKENS)


def test_writing_is_as_slow_as_few_rows_are(plan: Callable[..., Plan]) -> None:
    """An answer's token costs what it costs at the slower speed, and the loss of the right answer beside it."""
    stage = next(stage for stage in plan().stages if stage.what == "zero_shot: 10 answers of validation")
    own, shared, new = 5.0, 6.0, 5.0
    assert stage.tokens == round(shared + 10 * own) + round(shared + 10 * (own + new)) + 10 * new


def test_reading_on_has_no_answers(plan: Callable[..., Plan]) -> None:
    works = [(stage.stage, stage.what) for stage in plan("text", answer=0.0).stages]
    assert ("baselines", "zero_shot: 10 validation texts") in works
    assert ("attempt tuned", "the validation texts") in works
    assert ("test", "tuned, on test and a sample of train") in works
    assert not [what for _, what in works if "answers" in what]
    assert plan("text", answer=0.0).memory.keys_values == 0


def test_room_for_what_is_written_counts_while_answers_are_written(plan: Callable[..., Plan]) -> None:
    moments = {moment.moment: moment for moment in plan(sections={"generation": {"batch_size": 512}}).moments}
    assert moments["test"].keys_values == 512 * (11 + 24) * 3 * (2 * 2 * 8) * 4
    assert moments["training"].keys_values == 0


def test_what_is_frozen_below_is_computed_once(plan: Callable[..., Plan]) -> None:
    works = [stage.what for stage in plan().stages if stage.stage == "attempt tuned"]
    assert works[0] == "lower 2 blocks, computed once"
    assert plan(examples=64).cache_bytes > plan().cache_bytes
    every = plan(sections={"adaptation": {"method": "lora", "layers": "all"}})
    assert not any("computed once" in stage.what for stage in every.stages) and every.cache_bytes == 0


@pytest.mark.parametrize(("budget", "wanted"), [(10_000, 100), (700, 70), (0, 64)], ids=["all", "some", "fewest"])
def test_a_sample_is_drawn_within_its_budget(budget: int, wanted: int) -> None:
    drawn = draw_within([10] * 100, budget, 3)
    assert len(drawn) == wanted == len(set(drawn))
    assert drawn == draw_within([10] * 100, budget, 3) and sorted(drawn) != drawn
    assert np.isin(drawn, np.arange(100)).all()


def test_weights_packed_for_writing_are_there_while_answers_are_written(plan: Callable[..., Plan]) -> None:
    moments = {moment.moment: moment for moment in plan(packed=12_345).moments}
    assert {name for name, moment in moments.items() if moment.packed == 12_345} == {"baselines", "validation", "test"}
    assert moments["validation"].learning == moments["training"].learning > 0
    assert not any(moment.packed for moment in plan("text", packed=12_345).moments), "nothing is written"
