"""Power is planned from validation's discordance."""

from __future__ import annotations

import numpy as np
import pytest

from metier.errors import ArgumentError
from metier.evaluation.significance.power import design_effect, discordance_of, plan_power
from metier.evaluation.statistics import (
    items_needed,
    mcnemar_mid_p,
    mcnemar_power,
    smallest_detectable,
    wilson_interval,
)


def _pair(both: int, gained: int, lost: int, neither: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    first = np.array([True] * (both + gained) + [False] * (lost + neither))
    second = np.array([True] * both + [False] * gained + [True] * lost + [False] * neither)
    return first, second


def test_the_plan_is_the_exact_binomial_at_validations_discordance() -> None:
    found = plan_power(*_pair(70, 12, 8, 10), test_size=400, gain=0.02)
    assert found.discordance.value == pytest.approx(0.2)
    assert (found.discordance.low, found.discordance.high) == pytest.approx(wilson_interval(20, 100))
    assert found.smallest_detectable == smallest_detectable(400, 0.2)
    assert found.items_needed == items_needed(0.02, 0.2)
    assert found.items_needed is not None and found.missing == found.items_needed - 400
    assert found.smallest_low is not None and found.smallest_high is not None
    assert found.smallest_low < (found.smallest_detectable or 0) < found.smallest_high
    assert mcnemar_power(400, found.smallest_detectable or 0, 0.2) == pytest.approx(0.8, abs=0.01)


def test_the_sentence_says_what_is_missing() -> None:
    few = plan_power(*_pair(70, 12, 8, 10), test_size=400, gain=0.02)
    assert few.sentence.startswith("400 test items show a gain of 0.06 or more in 4 of 5 cases; for 0.02, the smallest")
    assert few.sentence.endswith("more are needed.")
    many = plan_power(*_pair(70, 12, 8, 10), test_size=400, gain=0.1)
    assert many.missing == 0 and "so the smallest useful gain of 0.10 would be seen" in many.sentence
    none = plan_power(*_pair(70, 12, 8, 10), test_size=4, gain=0.1)
    assert none.smallest_detectable is None and none.sentence == "4 test items cannot show any gain."


def test_no_gain_needs_no_number_of_items() -> None:
    found = plan_power(*_pair(70, 12, 8, 10), test_size=400, gain=0.0)
    assert found.items_needed is None and found.missing is None


def test_groups_make_a_test_set_smaller() -> None:
    first = np.repeat([True, True, False, True, False] * 8, 5)
    second = np.repeat([True, False, False, True, True] * 8, 5)
    groups = np.repeat(np.arange(40), 5)
    found = plan_power(first, second, test_size=400, gain=0.02, groups=groups)
    assert found.design_effect == pytest.approx(5.1, abs=0.2)
    alone = plan_power(first, second, test_size=400, gain=0.02)
    assert alone.items_needed is not None and found.items_needed is not None
    assert found.items_needed > 4 * alone.items_needed


def test_the_design_effect_of_items_alone_is_one() -> None:
    assert design_effect([1.0, 0.0, 1.0], None) == 1.0
    # Nothing varies: groups may be all that there is.
    assert design_effect(np.zeros(20), np.repeat(np.arange(4), 5)) == 5.0
    assert design_effect(np.arange(20) % 2, np.tile(np.arange(10), 2)) >= 1.0


def test_no_items_are_refused() -> None:
    with pytest.raises(ArgumentError, match="found 0 and 0 items"):
        discordance_of(np.zeros(0, dtype=bool), np.zeros(0, dtype=bool))


@pytest.mark.slow
@pytest.mark.parametrize("n", [100, 400, 1500, 4000])
@pytest.mark.parametrize("share", [0.1, 0.3])
def test_the_smallest_detectable_gain_is_found_in_four_of_five_simulations(n: int, share: float) -> None:
    gain = smallest_detectable(n, share)
    assert gain is not None
    share = max(share, gain)
    chances = [(share + gain) / 2, (share - gain) / 2, 1 - share]
    draws = np.random.default_rng(n).multinomial(n, chances, size=8000)
    kinds, counts = np.unique(draws[:, :2], axis=0, return_counts=True)
    found = [win > loss and mcnemar_mid_p(win, loss) <= 0.05 for win, loss in kinds.tolist()]
    assert float(np.average(found, weights=counts)) == pytest.approx(0.8, abs=0.03)
