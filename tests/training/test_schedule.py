"""Learning rates beside those of transformers."""

from __future__ import annotations

import pytest
import torch
from transformers import get_scheduler

from metier.recipe.sections import TrainingSection
from metier.training.schedule import DEFAULT_LEARNING_RATES, SHAPES, learning_rate_at

TOTAL, PEAK = 40, 0.3


def theirs(name: str, warmup: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    scheduler = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=TOTAL)
    rates = []
    for _ in range(TOTAL):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("name", list(SHAPES))
@pytest.mark.parametrize(("setting", "warmup"), [(0, 0), (1, 1), (10, 10), (0.1, 4), (0.06, 3)])
def test_equals_transformers_after_warm_up(name: str, setting: float, warmup: int) -> None:
    section = TrainingSection(lr_scheduler_type=name, warmup_steps=setting)  # type: ignore[arg-type]
    mine = [learning_rate_at(step, TOTAL, section, PEAK) for step in range(TOTAL)]
    start = 0 if name == "constant" else warmup
    assert mine[start:] == pytest.approx(theirs(name, warmup)[start:])


def test_warm_up_differs_on_purpose() -> None:
    """Theirs begins at 0, so that the first step of a training changes nothing; ours begins one step up."""
    section = TrainingSection(lr_scheduler_type="linear", warmup_steps=4)
    mine = [learning_rate_at(step, TOTAL, section, PEAK) for step in range(5)]
    assert mine == pytest.approx([PEAK * share for share in (0.2, 0.4, 0.6, 0.8, 1.0)])
    assert theirs("linear", 4)[:5] == pytest.approx([PEAK * share for share in (0.0, 0.25, 0.5, 0.75, 1.0)])


def test_a_warm_up_longer_than_the_training() -> None:
    section = TrainingSection(warmup_steps=100)
    rates = [learning_rate_at(step, TOTAL, section, PEAK) for step in range(TOTAL)]
    assert rates == sorted(rates) and rates[0] > 0 and rates[-1] < PEAK


def test_every_method_has_a_default_and_every_scheduler_a_shape() -> None:
    from typing import get_args

    from metier.recipe.sections import AdaptationMethod, SchedulerName

    assert set(DEFAULT_LEARNING_RATES) == set(get_args(AdaptationMethod))
    assert set(SHAPES) == set(get_args(SchedulerName))
