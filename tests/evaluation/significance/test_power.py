"""What a test set of some size can show: simulated; and what groups take from it."""

from __future__ import annotations

import numpy as np
import pytest

from metier.evaluation.significance.design_effect import design_effect
from metier.evaluation.statistics import mcnemar_mid_p, smallest_detectable


def test_groups_that_agree_tell_as_much_as_one_item() -> None:
    differences = np.repeat([0.0, 1.0, -1.0, 0.0, -1.0] * 8, 5)
    assert design_effect(differences, np.repeat(np.arange(40), 5)) == pytest.approx(5.1, abs=0.2)


def test_the_design_effect_of_items_alone_is_one() -> None:
    assert design_effect([1.0, 0.0, 1.0], None) == 1.0
    # Nothing varies: groups may be all that there is.
    assert design_effect(np.zeros(20), np.repeat(np.arange(4), 5)) == 5.0
    assert design_effect(np.arange(20) % 2, np.tile(np.arange(10), 2)) >= 1.0


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
