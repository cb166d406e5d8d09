"""A metric as a mean over items: exact for shares, the jackknife for the rest, against leaving out one by one."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from metier.evaluation.evaluate import About, evaluate_items
from metier.evaluation.evidence import SeedStatement
from metier.evaluation.metrics import point_metrics
from metier.evaluation.results import Evaluation, Item
from metier.evaluation.significance.item_scores import item_scores
from metier.evaluation.significance.seeds import state_seeds

LABELS = ("a", "b", "c")


def _items(answers: list[str | None], seed: int = 5, groups: int = 0) -> list[Item]:
    golds = [LABELS[number % 3] for number in range(len(answers))]
    return [
        Item(
            id=str(number), group=str(number % groups) if groups else None, gold=gold, answer=said, label_logprobs=None,
            prompt_hash=None, source="", row=number,
        )
        for number, (gold, said) in enumerate(zip(golds, answers, strict=True))
    ]  # fmt: skip


def _answers(seed: int, n: int = 60, right: float = 0.7) -> list[str | None]:
    rng = np.random.default_rng(seed)
    said: list[str | None] = [
        LABELS[number % 3] if rng.random() < right else LABELS[int(rng.integers(3))] for number in range(n)
    ]
    said[4] = None
    return said


def test_scores_of_accuracy_are_right_and_wrong() -> None:
    items = _items(_answers(1))
    scores = item_scores(items, "classification", "accuracy")
    assert scores is not None
    assert scores == pytest.approx([float(item.gold == item.answer) for item in items])


def test_scores_of_macro_f1_are_those_of_leaving_one_out() -> None:
    answers = _answers(2)
    items = _items(answers)
    scores = item_scores(items, "classification", "macro_f1")
    assert scores is not None
    golds, said = [item.gold for item in items], [item.answer or "none" for item in items]
    whole = point_metrics(golds, answers)["macro_f1"]
    assert whole == pytest.approx(f1_score(golds, said, labels=LABELS, average="macro", zero_division=0))
    n = len(items)
    by_hand = []
    for left in range(n):
        rest = [place for place in range(n) if place != left]
        value = point_metrics([golds[place] for place in rest], [answers[place] for place in rest])["macro_f1"]
        by_hand.append(n * (whole or 0) - (n - 1) * (value or 0))
    assert scores.mean() == pytest.approx(whole)
    assert scores - scores.mean() == pytest.approx(np.array(by_hand) - np.mean(by_hand))


def test_scores_of_text_come_from_the_counts_of_items() -> None:
    items = [
        Item(
            id=str(n), group=None, gold="x", answer="y", label_logprobs=None, prompt_hash=None, source="", row=n,
            counts={"token_f1": (0.1 * n, 1.0)},
        )
        for n in range(8)
    ]  # fmt: skip
    scores = item_scores(items, "generation", "token_f1")
    assert scores == pytest.approx([0.1 * n for n in range(8)])


def test_one_item_has_no_scores() -> None:
    assert item_scores(_items(["a"]), "classification", "macro_f1") is None


def _evaluation(name: str, answers: list[str | None], groups: int = 0) -> Evaluation:
    items = _items(answers, groups=groups)
    about = About(system=name)
    return evaluate_items(items, about=about, set_name="test", labels=LABELS, resamples=200, seed=3)


def _stated(count: int, metric: str = "macro_f1", groups: int = 0) -> SeedStatement:
    found = [_evaluation(f"seed-{n}", _answers(n, right=0.85), groups) for n in range(1, count + 1)]
    against = _evaluation("tfidf", _answers(99, right=0.2), groups)
    return state_seeds(found, metric=metric, seeds=range(17, 17 + count), against=against, candidates=2)


def test_five_seeds_make_a_statement_about_the_recipe() -> None:
    found = _stated(6)
    assert found.seeds == (17, 18, 19, 20, 21, 22) and found.against == "tfidf"
    assert found.components is not None and found.components.rest > 0
    low, high = found.new_items.low, found.new_items.high
    assert low is not None and high is not None and low < found.mean < high
    same = found.same_items
    assert same.low is not None and same.high is not None
    assert high - low > same.high - same.low  # new items vary too
    assert found.gain is not None and found.gain.low is not None and found.gain.low > 0
    assert "Over tfidf it gains " in found.sentence and found.sentence.startswith("Over 6 seeds the recipe gives")
    notes = " ".join(found.notes)
    assert "jackknife" in notes and "Validation chose" in notes


def test_groups_widen_the_interval_for_new_items() -> None:
    alone, grouped = _stated(5, "accuracy"), _stated(5, "accuracy", groups=6)
    assert grouped.new_items.method == "student over 5 seeds and 6 items or groups"
    assert alone.new_items.method == "student over 5 seeds and 60 items or groups"


def test_equal_answers_are_said_to_be_equal() -> None:
    found = state_seeds([_evaluation(f"seed-{n}", _answers(1)) for n in (1, 2)], metric="accuracy", seeds=(1, 2))
    assert found.gain is None and any(note.startswith("All seeds gave the same answers") for note in found.notes)
