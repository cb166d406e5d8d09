"""Agreement beyond chance: scikit-learn, Krippendorff's own worked example, simulated coverage."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from metier.errors import DataError
from metier.evaluation.elsewhere.agreement import WEIGHTS, cohen_kappa, krippendorff_alpha

# Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, section C to E: four observers, twelve units.
OBSERVERS = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
    (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
)
UNITS = list(zip(*OBSERVERS, strict=True))


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("seed", range(5))
def test_kappa_equals_scikit_learn(weights: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = ["a", "b", "c", "d"]
    first = [str(label) for label in generator.choice(labels, size=40)]
    second = [label if generator.random() < 0.6 else str(generator.choice(labels)) for label in first]
    found = cohen_kappa(first, second, labels=labels, weights=weights, resamples=200)
    expected = cohen_kappa_score(first, second, labels=labels, weights=None if weights == "none" else weights)
    assert found.value == pytest.approx(expected, abs=1e-12) and found.n == 40
    assert found.low is not None and found.high is not None and found.low < expected < found.high


def test_kappa_is_unknown_where_nothing_could_disagree() -> None:
    found = cohen_kappa(["a"] * 5, ["a"] * 5)
    assert found.value is None and found.reason == "both raters say the same one thing"
    assert cohen_kappa([], []).reason == "no item was rated twice"


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_equals_the_published_example(level: str, published: float) -> None:
    found = krippendorff_alpha(UNITS, level=level, resamples=300)
    assert found.value == pytest.approx(published, abs=5e-4)
    assert found.n == 11  # one unit has one rating
    assert found.low is not None and found.low < published


def test_alpha_of_two_raters_is_the_binary_example() -> None:
    # Krippendorff (2011), section A: ten units, two observers, 0.095.
    first = (0, 1, 0, 0, 0, 0, 0, 0, 1, 0)
    second = (1, 1, 1, 0, 0, 1, 0, 0, 0, 0)
    assert krippendorff_alpha(list(zip(first, second, strict=True)), resamples=200).value == pytest.approx(
        0.095, abs=5e-4
    )


def test_alpha_of_ordered_words() -> None:
    words = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", None: None}
    rows = [[words[value] for value in unit] for unit in UNITS]
    order = ("one", "two", "three", "four", "five")
    assert krippendorff_alpha(rows, level="ordinal", order=order, resamples=200).value == pytest.approx(0.815, abs=5e-4)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(DataError, match="2 and 1 ratings, wanted as many of both raters"):
        cohen_kappa(["a", "b"], ["a"])
    with pytest.raises(DataError, match="1 labels are not in the order of labels"):
        cohen_kappa(["a", "b"], ["a", "a"], labels=["a"])
    with pytest.raises(DataError, match="found the level 'ratio', wanted one of nominal, ordinal, interval"):
        krippendorff_alpha(UNITS, level="ratio")
    with pytest.raises(DataError, match="an interval level of ratings that are no numbers"):
        krippendorff_alpha([["a", "b"]], level="interval")
    with pytest.raises(DataError, match="a rating is not in the order of values"):
        krippendorff_alpha([["a", "b"]], level="ordinal", order=["a"])


@pytest.mark.slow
def test_the_interval_of_kappa_covers_the_truth() -> None:
    """Two raters who agree by 0.8 and else draw evenly among two labels: kappa is 0.8 by construction."""
    generator = np.random.default_rng(11)
    covered, runs = 0, 300
    for run in range(runs):
        first = generator.integers(2, size=150)
        second = np.where(generator.random(150) < 0.8, first, generator.integers(2, size=150))
        found = cohen_kappa([str(v) for v in first], [str(v) for v in second], resamples=600, seed=run)
        covered += found.low is not None and found.high is not None and found.low <= 0.8 <= found.high
    assert 0.91 <= covered / runs <= 0.985
