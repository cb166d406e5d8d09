"""A user's own scorer: from the recipe's folder only, its faults in our words."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from metier.errors import ArgumentError
from metier.evaluation.evaluate import recompute
from metier.evaluation.results import Evaluation
from metier.evaluation.written.own_scorer import load_scorer, with_own_scores

GOOD = """
from dataclasses import dataclass

@dataclass
class Weight:
    value: float

def score(answer, gold, text):
    if text == "skip":
        return None
    return Weight(2.0).value * (answer is not None and gold in answer)
"""


def _file(folder: Path, text: str, name: str = "scoring.py") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return folder


def test_scores_become_a_metric_with_an_interval(tmp_path: Path, make_written: Callable[..., Evaluation]) -> None:
    scorer = load_scorer("scoring.score", _file(tmp_path, GOOD))
    found = make_written("one", ["a"] * 4, ["say a", "no", None, "a"])
    items = with_own_scores(found.items, ["x", "x", "x", "skip"], scorer)
    metrics = recompute(replace(found, items=tuple(items))).metrics
    assert metrics["own_score"].value == pytest.approx(2 / 3) and metrics["own_score"].n == 3
    assert len(scorer.sha256) == 64 and scorer.name == "scoring.score"


def test_a_file_in_a_folder_beside_the_recipe(tmp_path: Path) -> None:
    _file(tmp_path, "def f(answer, gold, text):\n    return 1", "checks/own.py")
    assert load_scorer("checks.own.f", tmp_path).function("a", "b", "c") == 1
    assert not list(tmp_path.rglob("__pycache__"))


def test_nothing_outside_of_the_recipes_folder_is_run(tmp_path: Path, make_written: Callable[..., Evaluation]) -> None:
    inside = tmp_path / "recipe"
    _file(tmp_path, "raise SystemExit", "outside.py")
    inside.mkdir()
    (inside / "link.py").symlink_to(tmp_path / "outside.py")
    for dotted in ("outside.score", "link.score", "os.path.join", "json.loads"):
        with pytest.raises(ArgumentError, match=r"there is no .*\.py in the recipe's folder"):
            load_scorer(dotted, inside)
    for dotted in ("..outside.score", "score", "a/b.score", ""):
        with pytest.raises(ArgumentError, match=r"wanted a dotted path such as scoring\.score"):
            load_scorer(dotted, inside)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def score(:", r"scoring\.py fails when it is loaded \(SyntaxError, line 1\)"),
        ("x = 1\nimport no_such_module", r"scoring\.py fails when it is loaded \(ModuleNotFoundError, line 2\)"),
        ("scores = 1", r"scoring\.py has no function `score`, wanted def score\(answer, gold, text\)"),
    ],
)
def test_a_scorer_that_cannot_be_loaded(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        load_scorer("scoring.score", _file(tmp_path, text))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise ValueError(answer)", r"scoring\.py fails on row 1 of a\.jsonl \(ValueError, line 2\)"),
        ("return float('nan')", r"scoring\.score gives a number that is not finite for row 1"),
        ("return 'good'", r"scoring\.score gives a str for row 1 of a\.jsonl, wanted a finite number, or None"),
    ],
)
def test_a_scorer_that_fails_on_an_item_is_told_without_its_text(
    tmp_path: Path, body: str, message: str, make_written: Callable[..., Evaluation]
) -> None:
    scorer = load_scorer("scoring.score", _file(tmp_path, f"def score(answer, gold, text):\n    {body}\n"))
    found = make_written("one", ["secret gold"], ["secret answer"])
    with pytest.raises(ArgumentError, match=message) as told:
        with_own_scores(found.items, ["secret text"], scorer)
    assert "secret" not in str(told.value)


def test_the_path_of_modules_stays_as_it_was(tmp_path: Path) -> None:
    before = list(sys.path)
    load_scorer("scoring.score", _file(tmp_path, GOOD))
    assert sys.path == before and "scoring" not in sys.modules
