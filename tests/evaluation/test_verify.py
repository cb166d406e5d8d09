"""Every reported number is what the item rows give, and a changed one is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metier.errors import MetierError
from metier.evaluation.compare import compare
from metier.evaluation.files import write_comparison, write_evaluation, write_overfitting
from metier.evaluation.overfitting import judge_overfitting
from metier.evaluation.results import Evaluation
from metier.evaluation.verify import verify_evaluations
from metier.recipe.sections import EvaluationSection, GatesSection

Paired = Callable[..., tuple[Evaluation, Evaluation]]


@pytest.fixture
def root(make_paired: Paired, tmp_path: Path) -> Path:
    """A whole evaluation folder: three sets, a comparison with gates, the sets side by side."""
    tuned, tfidf = make_paired(60, 20, 5, 15)
    sets = {"train": replace(tuned, set="train"), "validation": replace(tuned, set="validation"), "test": tuned}
    for name, evaluation in sets.items():
        write_evaluation(evaluation, tmp_path / name)
    write_evaluation(tfidf, tmp_path / "test")
    section = EvaluationSection(resamples=300, not_worse_margin=0.01)
    gates = GatesSection(verdict="improved", minimum={"macro_f1": 0.7})
    write_comparison(compare(tuned, [tfidf], section=section, gates=gates, openings=2, seed=5), tmp_path / "test")
    write_overfitting(judge_overfitting(sets, "macro_f1"), tmp_path / "overfitting.json")
    return tmp_path


def _change(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_an_untouched_folder_has_no_difference(root: Path) -> None:
    assert verify_evaluations(root) == ()


def test_a_prettier_score_is_found(root: Path) -> None:
    def prettier(results: dict[str, Any]) -> None:
        results["systems"]["tuned"]["metrics"]["macro_f1"]["value"] += 0.01

    _change(root / "test" / "results.json", prettier)
    (found,) = verify_evaluations(root)
    assert found.where == "test/results.json: tuned.metrics.macro_f1.value"
    assert float(found.reported) == pytest.approx(float(found.recomputed) + 0.01)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        pytest.param(lambda c: c.update(verdict="regressed"), "comparison.json.verdict", id="verdict"),
        pytest.param(
            lambda c: c["differences"][0].update(gained=21), "comparison.json.differences[0].gained", id="gained"
        ),
        pytest.param(lambda c: c["gates"][1].update(passed=False), "comparison.json.gates[1].passed", id="gate"),
        pytest.param(
            lambda c: c["differences"][0]["difference"].update(low=0.5),
            "comparison.json.differences[0].difference.low",
            id="interval",
        ),
    ],
)
def test_a_changed_comparison_is_found(root: Path, change: Callable[[dict[str, Any]], None], where: str) -> None:
    _change(root / "test" / "comparison.json", change)
    assert [found.where for found in verify_evaluations(root)] == [f"test/{where}"]


def test_a_changed_answer_is_found(root: Path) -> None:
    path = root / "test" / "items-tuned.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    wrong = next(row for row in rows if row["answer"] != row["gold"])
    wrong["answer"] = wrong["gold"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    places = [found.where for found in verify_evaluations(root)]
    assert "test/results.json: tuned.metrics.accuracy.value" in places
    assert any(place.startswith("test/comparison.json") for place in places)
    assert any(place.startswith("overfitting.json") for place in places)


def test_a_changed_side_by_side_is_found(root: Path) -> None:
    _change(root / "overfitting.json", lambda content: content.update(sentence="All is well."))
    assert [found.where for found in verify_evaluations(root)] == ["overfitting.json.sentence"]


def test_a_comparison_of_systems_that_are_not_there_is_refused(root: Path) -> None:
    _change(root / "test" / "comparison.json", lambda content: content.update(candidate="ghost"))
    with pytest.raises(MetierError, match=r"comparison.json: names ghost, whose items are not there"):
        verify_evaluations(root)


def test_a_comparison_from_before_openings_had_intervals_still_holds(root: Path) -> None:
    def older(comparison: dict[str, Any]) -> None:
        for row in (*comparison["differences"], *comparison["accuracy_differences"]):
            del row["after_openings"], row["discordance"]

    _change(root / "test" / "comparison.json", older)
    assert verify_evaluations(root) == ()


def test_results_from_before_there_was_a_metric_still_hold(root: Path) -> None:
    def older(results: dict[str, Any]) -> None:
        for system in results["systems"].values():
            del system["metrics"]["micro_f1"]

    _change(root / "test" / "results.json", older)
    assert verify_evaluations(root) == ()


def test_validations_discordance_is_part_of_what_is_verified(root: Path) -> None:
    def other(comparison: dict[str, Any]) -> None:
        for row in (*comparison["differences"], *comparison["accuracy_differences"]):
            row["discordance"] = 0.4

    _change(root / "test" / "comparison.json", other)
    assert any("smallest_detectable" in found.where for found in verify_evaluations(root))
