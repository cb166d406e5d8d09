"""Which examples a step sees."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.recipe.sections import TrainingSection
from metier.training.sampler import Sampler


def stream(sampler: Sampler) -> list[int]:
    return [number for step in range(sampler.steps) for number in sampler.draw(step)]


@given(st.integers(1, 30), st.integers(1, 9), st.integers(1, 3), st.integers(0, 2**40))
def test_every_example_once_an_epoch(examples: int, batch: int, epochs: int, seed: int) -> None:
    sampler = Sampler.of(TrainingSection(num_train_epochs=epochs, per_device_train_batch_size=batch), examples, seed)
    drawn = stream(sampler)
    assert len(drawn) == examples * epochs
    for epoch in range(epochs):
        assert sorted(drawn[epoch * examples : (epoch + 1) * examples]) == list(range(examples))
    assert sampler.epoch_at(sampler.steps) == epochs
    assert all(len(sampler.draw(step)) == batch for step in range(sampler.steps - 1))


@given(st.integers(0, 2**40), st.permutations(range(8)))
def test_a_draw_is_a_function_of_seed_and_step_alone(seed: int, order: list[int]) -> None:
    section = TrainingSection(max_steps=8, per_device_train_batch_size=3)
    wanted = {step: Sampler.of(section, 10, seed).draw(step) for step in range(8)}
    sampler = Sampler.of(section, 10, seed)
    assert {step: sampler.draw(step) for step in order} == wanted


def test_another_seed_and_another_epoch_have_another_order() -> None:
    section = TrainingSection(num_train_epochs=2, per_device_train_batch_size=20)
    one, two = Sampler.of(section, 20, 1), Sampler.of(section, 20, 2)
    assert one.draw(0) != one.draw(1) and one.draw(0) != two.draw(0)


@given(st.integers(1, 25), st.integers(1, 4), st.integers(1, 4))
def test_accumulation_draws_what_a_bigger_batch_draws(examples: int, batch: int, accumulation: int) -> None:
    parts = TrainingSection(per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation)
    whole = TrainingSection(per_device_train_batch_size=batch * accumulation)
    assert Sampler.of(parts, examples, 5) == Sampler.of(whole, examples, 5)


@pytest.mark.parametrize(
    ("settings", "examples", "steps"),
    [
        ({"num_train_epochs": 0.5}, 10, 2),
        ({"num_train_epochs": 0.01}, 10, 1),
        ({"num_train_epochs": 2.5}, 10, 7),
        ({"max_steps": 7}, 3, 7),
        ({"max_steps": 7, "num_train_epochs": 100}, 3, 7),
    ],
)
def test_steps(settings: dict[str, float], examples: int, steps: int) -> None:
    section = TrainingSection(per_device_train_batch_size=4, **settings)  # type: ignore[arg-type]
    sampler = Sampler.of(section, examples, 1)
    assert sampler.steps == steps and all(sampler.draw(step) for step in range(steps))
