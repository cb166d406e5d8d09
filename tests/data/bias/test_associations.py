"""Associations of groups with labels and tones: counts, planted gaps, false flags."""

from __future__ import annotations

import numpy as np
import pytest

from metier.data.bias.associations import AssociationSettings, Outcomes, associate
from metier.data.bias.groups import GroupWords, load_group_words
from metier.data.bias.mentions import Coded, gather
from metier.data.bias.screen import BiasSettings, look
from metier.data.cleaning.rows import Row

LABELS = ("approved", "refused", "question", "complaint", "praise", "other")
PEOPLE = ("my {gender} wrote to you", "a letter of {gender}", "I ask for my {gender}")
GENDERS = {"female": ("mother", "sister", "wife"), "male": ("father", "brother", "husband")}
FAITHS = ("Christian", "Muslim", "Jewish")


def simulated(seed: int, *, gap: float, rows: int = 2_000, cluster: int = 1) -> list[Row]:
    """Rows of which 60 % name a man or a woman, half of those each, and 15 % a religion; six labels.

    Texts that name a woman are `refused` more often by `gap`. Rows of a cluster share their text and label.
    """
    random = np.random.default_rng(seed)
    made: list[Row] = []
    for key in range(rows):
        if key % cluster:
            text, label = made[-1].text, made[-1].answer
        else:
            kind = ("female", "male", None)[int(random.choice(3, p=[0.3, 0.3, 0.4]))]
            text = "where is my parcel"
            if kind is not None:
                text = PEOPLE[random.integers(3)].format(gender=GENDERS[kind][random.integers(3)])
            if random.random() < 0.15:
                text += f", and I am {FAITHS[random.integers(3)]}"
            refused = 0.25 + (gap if kind == "female" else 0.0)
            label = "refused" if random.random() < refused else LABELS[random.choice([0, 2, 3, 4, 5])]
        made.append(
            Row(
                key=key, split="train", text=text, answer=label, labelled=True,
                group=f"writer {key // cluster}" if cluster > 1 else None, source="made.csv", row=key + 1,
            )
        )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def two_dimensions() -> BiasSettings:
    return BiasSettings(dimensions=("gender", "religion", "age"))


@pytest.mark.slow
def test_a_planted_gap_of_15_points_is_flagged(two_dimensions: BiasSettings) -> None:
    """DQ-4, the data's half: 2,000 rows, about 600 that name women and 600 men, six labels, three dimensions."""
    found = 0
    for seed in range(100):
        _, _, associations = look(simulated(seed, gap=0.15), two_dimensions)
        flagged = {(one.dimension, one.outcome) for one in associations if one.flagged}
        found += ("gender", "refused") in flagged
    assert found >= 95


@pytest.mark.slow
def test_nothing_is_flagged_where_nothing_is(two_dimensions: BiasSettings) -> None:
    """DQ-4: at most 5 % of 400 data sets. Holm promises that in the long run, and the exact test nearly uses it up."""
    false = 0
    for seed in range(400):
        _, _, associations = look(simulated(50_000 + seed, gap=0.0), two_dimensions)
        assert len(associations) > 5
        false += any(one.flagged for one in associations)
    assert false <= 20


@pytest.mark.slow
def test_copies_of_a_row_do_not_make_it_surer(two_dimensions: BiasSettings) -> None:
    """Eight rows of each writer: without the clusters nearly every one of these data sets is flagged."""
    false = alone = 0
    for seed in range(60):
        rows = simulated(20_000 + seed, gap=0.0, cluster=8)
        false += any(one.flagged for one in look(rows, two_dimensions)[2])
        single = [Row(**{name: getattr(row, name) for name in Row.__slots__} | {"group": None}) for row in rows]
        alone += any(one.flagged for one in look(single, two_dimensions)[2])
    assert false <= 6
    assert alone >= 30


def test_one_planted_gap_in_numbers(words: GroupWords) -> None:
    rows = simulated(4, gap=0.3)
    found = gather(rows, words)
    _, _, associations = look(rows, BiasSettings())
    surest = associations[0]
    assert (surest.dimension, surest.group, surest.outcome, surest.flagged) == ("gender", "female", "refused", True)
    assert surest.others == ("male",)
    codes = found.asked.coded("gender")
    women = codes.codes == codes.values.index("female")
    refused = found.labels.codes == found.labels.values.index("refused")
    assert (surest.rows, surest.count) == (int(women.sum()), int((women & refused).sum()))
    assert surest.low < 0.3 < surest.high
    assert surest.odds_low < surest.odds_ratio < surest.odds_high
    assert surest.adjusted >= surest.p_value
    # Two groups: the second is the mirror of the first, and is not looked at again.
    assert {one.group for one in associations if one.dimension == "gender"} == {"female"}


@pytest.mark.slow
def test_shares_by_group_equal_fairlearns() -> None:
    metrics = pytest.importorskip("fairlearn.metrics")
    random = np.random.default_rng(8)
    groups = random.integers(0, 3, 600).astype(np.int32)
    labels = random.integers(0, 3, 600).astype(np.int32)
    column = Coded(name="region", values=("a", "b", "c"), codes=groups)
    outcome = Outcomes(kind="label", names=("x", "y", "z"), codes=labels)
    everywhere = np.ones(600, np.bool_)
    found = associate([column], [outcome], AssociationSettings(), among=[everywhere])
    assert len(found) == 9
    for one in found:
        hits = (labels == "xyz".index(one.outcome)).astype(int)
        frame = metrics.MetricFrame(metrics=metrics.selection_rate, y_true=hits, y_pred=hits, sensitive_features=groups)
        assert one.share == pytest.approx(float(frame.by_group["abc".index(one.group)]))


def test_too_few_rows_are_not_compared() -> None:
    codes = np.array([0] * 100 + [1] * 29 + [2] * 100, np.int32)
    labels = np.tile(np.array([0, 1], np.int32), 115)[: len(codes)]
    column = Coded(name="region", values=("a", "rare", "c"), codes=codes)
    outcome = Outcomes(kind="label", names=("x", "y"), codes=labels)
    found = associate([column], [outcome], AssociationSettings(), among=[np.ones(len(codes), np.bool_)])
    assert [(one.group, one.others) for one in found] == [("a", ("c",))]  # one of two labels, one of two groups


def test_a_sure_but_small_gap_is_not_flagged() -> None:
    codes = np.repeat(np.array([0, 1], np.int32), 50_000)
    labels = (np.arange(100_000) % 100 < np.where(codes == 0, 52, 50)).astype(np.int32)
    column = Coded(name="region", values=("a", "b"), codes=codes)
    outcome = Outcomes(kind="label", names=("no", "yes"), codes=labels)
    among = [np.ones(len(codes), np.bool_)]
    assert not associate([column], [outcome], AssociationSettings(), among=among)[0].flagged
    assert associate([column], [outcome], AssociationSettings(smallest_gap=0.01), among=among)[0].flagged


def test_nothing_to_compare() -> None:
    assert associate([], [], AssociationSettings(), among=[]) == []


@pytest.fixture(scope="module")
def words() -> GroupWords:
    return load_group_words()
