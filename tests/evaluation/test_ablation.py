"""What cleaning changed is told with its sign, its interval and its n, never kinder than it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metier.evaluation.ablation import (
    CLEANED,
    RAW,
    Trained,
    as_pair,
    compare_pair,
    nothing_changed,
    signed,
    tell_ablation,
)
from metier.evaluation.files import read_ablation, write_ablation, write_comparison, write_evaluation
from metier.evaluation.results import Ablation, Evaluation
from metier.evaluation.verify import verify_evaluations
from metier.recipe.sections import EvaluationSection

Paired = Callable[..., tuple[Evaluation, Evaluation]]
SECTION = EvaluationSection(primary_metric="accuracy", resamples=300)
TRAINED = Trained(records={CLEANED: 90, RAW: 100}, steps={CLEANED: 12, RAW: 12, "planned": 12}, notes=("One seed.",))


def told(pair: tuple[Evaluation, Evaluation], section: EvaluationSection = SECTION) -> Ablation:
    return tell_ablation(compare_pair(as_pair(*pair), section, openings=1, seed=5), TRAINED)


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ((60, 30, 2, 8), "Cleaning changed accuracy by +0.280 [+0.174, +0.382], n = 100: it helped."),
        ((60, 2, 30, 8), "Cleaning changed accuracy by −0.280 [−0.382, −0.174], n = 100: it hurt."),
        (
            (60, 10, 8, 22),
            "Cleaning changed accuracy by +0.020 [−0.067, +0.106], n = 100: no difference is shown, and a useful one "
            "cannot be ruled out.",
        ),
        (
            (1960, 4, 4, 32),
            "Cleaning changed accuracy by 0.000 [−0.004, +0.004], n = 2000: no difference is shown, and a gain of 0.02 "
            "is ruled out.",
        ),
    ],
    ids=["helped", "hurt", "cannot tell", "ruled out"],
)
def test_the_sentence_says_what_the_interval_shows(make_paired: Paired, counts: tuple[int, ...], sentence: str) -> None:
    found = told(make_paired(*counts))
    head, tail = sentence.split("[")[0], sentence.split("]")[1]
    assert found.sentence.startswith(head) and found.sentence.endswith(tail)
    assert found.change is not None and found.change.low is not None and found.change.high is not None
    assert f"[{signed(found.change.low)}, {signed(found.change.high)}]" in found.sentence
    assert found.change.low <= float(sentence.split("by ")[1].split(" ")[0].replace("−", "-")) <= found.change.high


def test_what_was_trained_is_kept(make_paired: Paired) -> None:
    found = told(make_paired(60, 10, 8, 22))
    assert (found.records, found.steps, found.notes) == (TRAINED.records, TRAINED.steps, TRAINED.notes)
    assert (found.metric, found.verdict) == ("accuracy", "underpowered")


def test_the_pair_has_its_names_and_the_labels_of_both(make_evaluation: Callable[..., Evaluation]) -> None:
    """Train as it was read may know a label that cleaning merged away."""
    golds = ["a", "b"] * 10
    one, other = make_evaluation("tuned", golds, golds), make_evaluation("tuned", golds, ["c", "b"] * 10)
    other = replace(other, labels=("a", "b", "c"))
    cleaned, raw = as_pair(one, other)
    assert (cleaned.system, raw.system) == (CLEANED, RAW)
    assert cleaned.labels == raw.labels == ("a", "b", "c")
    assert raw.confusion["a"] == {"c": 10}


def test_a_loss_that_falls_is_told_as_a_fall(make_written: Callable[..., Evaluation]) -> None:
    section = EvaluationSection(primary_metric="loss", resamples=300)
    better = make_written("tuned", ["yes"] * 40, ["yes"] * 40, losses=[(-1.0 - place / 100, 2) for place in range(40)])
    worse = make_written("tuned", ["yes"] * 40, ["yes"] * 40, losses=[(-2.0 - place / 80, 2) for place in range(40)])
    found = told((better, worse), section)
    assert found.change is not None and found.change.value is not None and found.change.value < -0.4
    assert found.change.low is not None and found.change.high is not None
    assert found.change.low <= found.change.value <= found.change.high < 0
    assert found.sentence.startswith("Cleaning changed loss (lower is better) by −0.")
    assert found.sentence.endswith("it helped.")


def test_where_nothing_changed_nothing_is_claimed() -> None:
    found = nothing_changed("macro_f1", 61)
    assert (found.change, found.verdict, found.records) == (None, "", {CLEANED: 61, RAW: 61})
    assert found.sentence == "Cleaning changed nothing that is learned from, so there is nothing to compare."


@pytest.fixture
def root(make_paired: Paired, tmp_path: Path) -> Path:
    """An evaluation folder with an ablation in it."""
    pair = as_pair(*make_paired(60, 20, 5, 15))
    place = tmp_path / "ablation"
    for evaluation in pair:
        write_evaluation(evaluation, place)
    comparison = compare_pair(pair, SECTION, openings=1, seed=5)
    write_comparison(comparison, place)
    write_ablation(tell_ablation(comparison, TRAINED), place)
    return tmp_path


def test_it_is_read_back_and_verified(root: Path) -> None:
    assert verify_evaluations(root) == ()
    found = read_ablation(root / "ablation")
    assert found is not None and found.sentence.endswith("it helped.")
    assert read_ablation(root) is None


@pytest.mark.parametrize("field", ["sentence", "verdict", "metric"])
def test_a_kinder_word_is_found(root: Path, field: str) -> None:
    path = root / "ablation" / "ablation.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    content[field] = "Cleaning changed everything."
    path.write_text(json.dumps(content), encoding="utf-8")
    assert [found.where for found in verify_evaluations(root)] == [f"ablation/ablation.json.{field}"]


@pytest.mark.parametrize(("value", "text"), [(0.0123, "+0.012"), (-0.0004, "0.000"), (-0.5, "−0.500"), (0.0, "0.000")])
def test_a_change_has_its_sign(value: float, text: str) -> None:
    assert signed(value) == text
