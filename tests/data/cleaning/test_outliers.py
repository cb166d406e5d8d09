"""Outliers: planted texts from elsewhere lie far out, a label's own do not."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from metier.data.cleaning.outliers import OutlierSettings, screen_outliers
from metier.data.cleaning.rows import Row
from metier.errors import DataError

RealData = Callable[[str], Path]


def _rows(pairs: Sequence[tuple[str, str]], *, labelled: bool = True, split: str = "train") -> list[Row]:
    return [
        Row(key=at, split=split, text=text, answer=label, labelled=labelled, group=None, source="made.csv", row=at + 1)
        for at, (text, label) in enumerate(pairs)
    ]


def _intents(real_data: RealData) -> list[tuple[str, str]]:
    with (real_data("customer_support/bitext_intents") / "train.csv").open(encoding="utf-8", newline="") as file:
        return [(row["utterance"], row["category"]) for row in csv.DictReader(file)]


def _commands(real_data: RealData, count: int) -> list[str]:
    return (real_data("technical/nl2bash") / "all.nl").read_text("utf-8").splitlines()[:count]


def test_texts_of_another_domain_are_found(real_data: RealData) -> None:
    pairs = _intents(real_data)
    labels = sorted({label for _, label in pairs})
    foreign = [(text, labels[at % len(labels)]) for at, text in enumerate(_commands(real_data, 60))]
    finding = screen_outliers(_rows([*pairs, *foreign]))
    found = {doubt.key for doubt in finding.doubts}
    assert len(found & set(range(len(pairs), len(pairs) + 60))) >= 45
    assert len([key for key in found if key < len(pairs)]) <= 0.01 * len(pairs)
    assert finding.looked_at == len(pairs) + 60
    scores = {doubt.key: doubt.score or 0 for doubt in finding.doubts}
    assert all(0.5 <= score <= 1 for score in scores.values())
    assert foreign[0][0] not in repr(finding)


def test_a_text_with_another_labels_words_is_far_from_its_label() -> None:
    random = np.random.default_rng(1)
    pairs = []
    for at in range(400):
        label = "ab"[at % 2]
        pairs.append((" ".join(f"{label}{word}" for word in random.integers(0, 25, 8)), label))
    finding = screen_outliers(_rows([*pairs, (pairs[0][0], "b"), (pairs[1][0], "a")]))
    assert {400, 401} <= {doubt.key for doubt in finding.doubts}
    assert len(finding.doubts) <= 6
    assert "of `b`" in {doubt.key: doubt.detail for doubt in finding.doubts}[400]


def test_given_features_are_measured_instead() -> None:
    random = np.random.default_rng(2)
    features = random.normal(size=(300, 12))
    features[:150] += 4
    features[7] += 40
    rows = _rows([("same", "a")] * 150 + [("same", "b")] * 150)
    finding = screen_outliers(rows, features=features)
    assert [doubt.key for doubt in finding.doubts] == [7]
    with pytest.raises(DataError, match=r"features: there are 3, wanted one for each of 300 rows"):
        screen_outliers(rows, features=features[:3])


def test_written_answers_are_one_label(real_data: RealData) -> None:
    pairs = [(text, "an answer") for text, _ in _intents(real_data)[:1500]]
    strange = "zxqv wvuy plomk trefil gobnar zxqv kiltam"
    finding = screen_outliers(_rows([*pairs, (strange, "an answer")], labelled=False))
    assert 1500 in {doubt.key for doubt in finding.doubts}
    assert finding.tables["outliers by label"][0]["label"] is None


def test_few_rows_test_rows_and_copies_are_left_alone() -> None:
    few = screen_outliers(_rows([("a b", "x")] * 9))
    assert (few.looked_at, few.doubts) == (0, ())
    assert few.notes == ("9 rows of labels with fewer than 10 rows not measured",)
    in_test = screen_outliers(_rows([("a b", "x")] * 20, split="test"))
    assert in_test.notes == ("20 rows not measured: empty, or in no split of train, validation, unsplit",)
    assert screen_outliers(_rows([("a b c", "x")] * 50)).doubts == ()
    assert screen_outliers([]).doubts == ()


def test_the_farthest_are_given_first() -> None:
    random = np.random.default_rng(3)
    features = random.normal(size=(200, 4))
    features[:6] += np.arange(20, 140, 20)[:, None]
    rows = _rows([("same", "a")] * 200)
    finding = screen_outliers(rows, OutlierSettings(most_doubts=2), features=features)
    assert [doubt.key for doubt in finding.doubts] == [4, 5]
    assert any("beyond the farthest 2 only counted" in note for note in finding.notes)
