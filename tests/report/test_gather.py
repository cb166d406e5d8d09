"""A run folder becomes a summary; what is missing or damaged is named."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from metier.errors import RunFolderError
from metier.report.card import render_card
from metier.report.gather import gather_summary
from metier.report.write import write_report
from metier.store.run_folder import RunFolder


def test_everything_is_read(make_run: Callable[..., RunFolder]) -> None:
    found = gather_summary(make_run())
    assert found.name == "support-tickets"
    assert found.run_id == "5b1f" * 16
    assert [attempt.name for attempt in found.attempts] == ["llm", "encoder", "probe"]
    assert [attempt.promoted for attempt in found.attempts] == [False, True, False]
    assert found.attempts[1].validation.n == 99
    assert found.test[-1].system == "tuned"
    assert {system.system for system in found.test} == {"majority", "tfidf", "probe", "zero_shot", "few_shot", "tuned"}
    assert found.overfitting is not None
    assert found.data.rejected["duplicate"] == 14
    assert found.peak_memory_bytes == 123_000_000
    assert "format" not in found.lock


def test_time_counts_nested_stages_once_and_rests_not_at_all(make_run: Callable[..., RunFolder]) -> None:
    found = gather_summary(make_run())
    assert found.seconds == pytest.approx(50)
    assert found.stage_seconds == {"attempt llm": 20.0, "train": 40.0, "test": 10.0}


def test_examples_are_those_where_the_best_baseline_differs_first(make_run: Callable[..., RunFolder]) -> None:
    found = gather_summary(make_run(most=2))
    assert [example.id for example in found.examples] == ["id4-0", "id5-0", "id3-0", "id0-0"]
    assert found.examples[0].text == "secret text 4"
    assert set(found.examples[0].answers) == {system.system for system in found.test}


def test_texts_are_not_even_read_when_the_recipe_forbids_them(make_run: Callable[..., RunFolder]) -> None:
    folder = make_run(examples=False)
    folder.split("test").unlink()
    found = gather_summary(folder)
    assert found.examples
    assert all(example.text is None for example in found.examples)
    page = write_report(found, folder.report).read_text(encoding="utf-8")
    assert "secret text" not in page + render_card(found)


def test_report_of_a_run_folder_is_written_where_the_folder_says(make_run: Callable[..., RunFolder]) -> None:
    folder = make_run()
    assert write_report(gather_summary(folder), folder.report) == folder.report_page
    assert {path.suffix for path in folder.figures.iterdir()} == {".svg"}


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("recipe.yaml", "recipe.yaml: is missing, wanted a run that reached its comparison"),
        ("lock.json", "lock.json: is missing"),
        ("data/card.json", "card.json: is missing"),
        ("data/test.parquet", "test.parquet: is missing"),
        ("evaluation/test/results.json", "results.json: is missing"),
        ("evaluation/test/comparison.json", "comparison.json: is missing"),
        ("model/chosen.json", "chosen.json: is missing"),
        ("attempts/002/model/summary.json", "summary.json: is missing"),
        ("attempts/001/training/history.json", "history.json: is missing"),
        ("attempts/003/evaluation/validation/results.json", "results.json: is missing"),
    ],
)
def test_a_missing_file_is_named(make_run: Callable[..., RunFolder], place: str, message: str) -> None:
    folder = make_run()
    (folder.path / place).unlink()
    with pytest.raises(RunFolderError, match=message):
        gather_summary(folder)


@pytest.mark.parametrize(
    ("place", "content", "message"),
    [
        ("recipe.yaml", "a: [", "recipe.yaml: is damaged: no readable YAML"),
        ("recipe.yaml", "- a", "recipe.yaml: holds no recipe"),
        ("data/test.parquet", "no parquet", "test.parquet: is damaged: no readable Parquet"),
        ("model/chosen.json", '{"format": "metier.chosen", "version": 1}', "chosen.json: number: is missing"),
    ],
    ids=["no yaml", "no mapping", "no parquet", "no number"],
)
def test_a_damaged_file_is_named(make_run: Callable[..., RunFolder], place: str, content: str, message: str) -> None:
    folder = make_run()
    (folder.path / place).write_text(content, encoding="utf-8")
    with pytest.raises(RunFolderError, match=message):
        gather_summary(folder)


def test_an_attempt_that_was_given_up_is_left_out(make_run: Callable[..., RunFolder]) -> None:
    folder = make_run()
    folder.attempt(1).summary.unlink()
    assert [attempt.name for attempt in gather_summary(folder).attempts] == ["encoder", "probe"]


def test_the_room_loads_no_torch() -> None:
    code = (
        "import sys, metier.report.gather, metier.report.write, metier.report.card;"
        "print([name for name in ('torch', 'matplotlib', 'pyarrow', 'scipy', 'sklearn') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
