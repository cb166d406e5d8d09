"""Planted wrong labels and answers that words do not give away, and what a model's features and losses add."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from metier.data.cleaning.apply import Cleaned
from metier.data.cleaning.look import Aids
from metier.data.cleaning.rows import Row
from metier.data.cleaning.steps import clean_rows
from metier.recipe.sections import Recipe

LABELS = ("calm", "angry", "glad")
WORDS = ["parcel", "order", "street", "door", "box", "late", "again", "phone", "bill", "shop", "card", "refund"]


def rows_of(count: int, answers: Sequence[str], *, labelled: bool) -> list[Row]:
    rng = np.random.default_rng(5)
    return [
        Row(
            key=key, split="test" if key % 5 == 4 else "train", text=" ".join(rng.choice(WORDS, 12)) + f" {key}",
            answer=answers[key], labelled=labelled, group=None, source="f.csv", row=key + 1,
        )
        for key in range(count)
    ]  # fmt: skip


def cleaned(rows: list[Row], task: str, aids: Aids, **fields: Any) -> Cleaned:
    section = Recipe.model_validate({"task": task, "data": {"train": "d.csv", **fields}}).data
    return clean_rows(rows, rows, section, task=task, seed=17, aids=aids)


def doubted(result: Cleaned, step: str) -> set[int]:
    return {doubt.key for finding in result.findings if finding.step == step for doubt in finding.doubts}


def test_features_find_wrong_labels_that_words_do_not_tell() -> None:
    """Words say nothing here, and still have half a vote."""
    rng = np.random.default_rng(7)
    count = 600
    truth = rng.integers(0, 3, count)
    wrong = set(rng.choice(count, 60, replace=False).tolist())
    given = [LABELS[(true + 1) % 3] if key in wrong else LABELS[true] for key, true in enumerate(truth.tolist())]
    features = rng.normal(size=(count, 16)) + 4 * np.eye(16)[truth]
    rows = rows_of(count, given, labelled=True)
    planted = {key for key in wrong if rows[key].split == "train"}
    by_words = doubted(cleaned(rows, "classification", Aids()), "wrong_labels")
    by_model = doubted(cleaned(rows, "classification", Aids(features=features)), "wrong_labels")
    assert len(by_model & planted) / len(planted) >= 0.8 > len(by_words & planted) / len(planted) + 0.2
    assert len(by_model & planted) / len(by_model) >= 0.6 > len(by_words & planted) / max(1, len(by_words)) + 0.2
    assert all(rows[key].split == "train" for key in by_model)


def test_features_find_outliers_that_words_do_not_tell() -> None:
    rng = np.random.default_rng(8)
    count, odd = 400, {3, 50, 101, 222}
    features = rng.normal(size=(count, 16))
    features[list(odd)] += 12
    rows = rows_of(count, ["calm", "angry"] * (count // 2), labelled=True)
    assert doubted(cleaned(rows, "classification", Aids(features=features)), "outliers") == odd
    assert not odd & doubted(cleaned(rows, "classification", Aids()), "outliers")


def test_losses_find_answers_that_belong_to_other_questions() -> None:
    rng = np.random.default_rng(9)
    count = 300
    wrong = set(rng.choice(count, 15, replace=False).tolist())
    alone = {key: float(value) for key, value in enumerate(rng.normal(3.0, 0.2, count))}
    losses = {key: alone[key] * (1.02 if key in wrong else float(rng.uniform(0.4, 0.7))) for key in range(count)}
    rows = rows_of(count, [f"answer {key} of its own" for key in range(count)], labelled=False)
    planted = {key for key in wrong if rows[key].split == "train"}
    assert not doubted(cleaned(rows, "generation", Aids()), "wrong_answers")
    result = cleaned(rows, "generation", Aids(losses=losses, alone=alone), wrong_answers="drop")
    assert doubted(result, "wrong_answers") == planted == set(result.drops)
