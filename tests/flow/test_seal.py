"""The seal, end to end: a test set is known again in another order, validation leaves it closed, replay opens none."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.cli.tables import final_text
from metier.errors import DataError, RunFolderError
from metier.events import Event, StageFinished
from metier.replay import _causes, compare_runs, replay_run
from metier.report.pages import check_pages
from metier.store.files import read_json, read_json_lines
from metier.store.run_folder import RunFolder

Home = Any


@pytest.fixture(scope="module")
def few(cheap: dict[str, Any]) -> dict[str, Any]:
    """The cheapest run that has everything: two baselines, no closer look at wordings."""
    looks = {"robustness": [], "slices": [], "explain_errors": 0}
    return {**cheap, "evaluation": {**cheap["evaluation"], "resamples": 400, **looks}}


@pytest.fixture(scope="module")
def own_test(new_home: Callable[[], Home], make_mails: Callable[..., str]) -> Home:
    """A home whose test set is a file of its own."""
    home = new_home()
    (home.folder / "test.csv").write_text(make_mails(24, seed=5), encoding="utf-8")
    return home


@pytest.fixture(scope="module")
def first(own_test: Home, few: dict[str, Any]) -> Any:
    """The first to open it."""
    return own_test.run("first", **few, data={"test": "test.csv"})


@pytest.fixture(scope="module")
def second(own_test: Home, first: Any, few: dict[str, Any], make_mails: Callable[..., str]) -> Any:
    """The same test rows in another order and another file, beside other training rows."""
    head, *rows = (own_test.folder / "test.csv").read_text(encoding="utf-8").splitlines()
    (own_test.folder / "turned.csv").write_text("\n".join([head, *rows[::-1]]) + "\n", encoding="utf-8")
    (own_test.folder / "more.csv").write_text(make_mails(120, seed=8), encoding="utf-8")
    return own_test.run("second", **few, data={"train": "more.csv", "test": "turned.csv"})


@pytest.fixture(scope="module")
def developing(own_test: Home, second: Any, few: dict[str, Any]) -> Any:
    """A look at validation; the test split is taken away as soon as it is made, so that whoever reads it fails."""
    folder = RunFolder(own_test.folder / "runs" / "developing")

    def take_away(event: Event) -> None:
        if isinstance(event, StageFinished) and event.stage == "data":
            folder.split("test").rename(folder.path / "taken-away")

    section = {**few["evaluation"], "split": "validation"}
    return own_test.run("developing", observer=take_away, **{**few, "evaluation": section}, data={"test": "test.csv"})


def _said(ran: Any) -> str:
    return final_text(ran.result.summary, report="report/index.html", uses=[])


def test_the_same_rows_in_another_order_are_opened_for_the_second_time(first: Any, second: Any) -> None:
    assert [ran.result.summary.comparison.openings for ran in (first, second)] == [1, 2]
    row = second.result.summary.comparison.differences[0]
    assert row.after_openings is not None
    assert first.result.summary.comparison.differences[0].after_openings is None
    assert "this is opening 2 of this test set" in second.notices
    assert "opening" not in first.notices
    for text in (_said(second), second.folder.readme.read_text(), second.folder.report_page.read_text()):
        assert "The test set was opened twice, this run included. Shared by 2 openings" in text
        assert "97.5 %" in text
    assert "opened once, by this run" in _said(first)


def test_a_verdict_on_validation_leaves_the_test_set_closed(own_test: Home, developing: Any) -> None:
    found = developing.result.summary.comparison
    assert (found.set, found.openings, found.n) == ("validation", None, len(developing.result.summary.test[0].items))
    assert found.n > 0
    assert not developing.folder.results("test").exists()
    assert list(developing.result.summary.overfitting.values) == ["train", "validation"]
    assert len(read_json_lines(own_test.folder / "state" / "openings.jsonl")) == 2
    assert "is not counted as an opening" in developing.notices
    for text in (_said(developing), developing.folder.readme.read_text(), developing.folder.report_page.read_text()):
        assert "The test set stayed closed: this verdict is about validation" in text
    assert f"On {found.n} validation records" in _said(developing)
    card = developing.folder.readme.read_text()
    assert "split: validation" in card
    assert f"{found.n} validation records." in card
    assert "its numbers flatter all of them" in card.replace("\n", " ")


def test_check_says_how_often_it_was_opened(
    own_test: Home, developing: Any, few: dict[str, Any], metier: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in own_test.environment.items():
        monkeypatch.setenv(name, value)
    recipe = second_recipe = developing.folder.recipe
    said = metier("check", recipe)
    assert said.code == 0, said.err
    assert "The verdict will be about validation: the test set stays closed" in said.out
    said = metier("check", second_recipe, "--set", "evaluation.split=test")
    assert "The test set was opened twice already: a run opens it for the 3rd time" in " ".join(said.out.split())
    assert len(read_json_lines(own_test.folder / "state" / "openings.jsonl")) == 2


def test_replay_gives_the_same_numbers_and_opens_nothing(
    own_test: Home, second: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in own_test.environment.items():
        monkeypatch.setenv(name, value)
    events: list[Event] = []
    done = replay_run(second.folder, (events.append,))
    assert (done.differences, done.causes) == ((), ())
    assert done.compared > 8
    assert done.sentence == f"The replay gives the same numbers: {done.compared} files agree, answer by answer."
    reused = {event.stage for event in events if isinstance(event, StageFinished) and event.reused}
    assert reused == {"data"}  # once by the replay itself, whose first step it is; nothing of earlier runs
    assert read_json(RunFolder(done.folder).comparison("test"), format="comparison")["openings"] == 2
    assert len(read_json_lines(own_test.folder / "state" / "openings.jsonl")) == 2
    assert not list(second.folder.path.glob("metier-replay-*"))
    again = replay_run(second.folder)
    assert again.reused
    assert again.differences == ()


def test_replay_refuses_other_data_and_says_which_file(
    own_test: Home, first: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in own_test.environment.items():
        monkeypatch.setenv(name, value)
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(first.folder.path, folder.path)
    changed = tmp_path / "test.csv"
    changed.write_text((own_test.folder / "test.csv").read_text().replace("refund", "reimburse", 1), encoding="utf-8")
    text = folder.recipe.read_text(encoding="utf-8")
    folder.recipe.write_text(text.replace(str(own_test.folder / "test.csv"), str(changed)), encoding="utf-8")
    with pytest.raises(DataError, match=r"the data is not what the run was made of: test\.csv changed"):
        replay_run(folder)


def test_replay_wants_a_complete_run(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="cannot be replayed yet, wanted a complete run"):
        replay_run(RunFolder(tmp_path))


def test_a_difference_between_two_runs_is_named_and_texts_are_not(first: Any, tmp_path: Path) -> None:
    other = RunFolder(tmp_path / "other")
    shutil.copytree(first.folder.path, other.path)
    assert compare_runs(first.folder, other)[0] == []
    items = other.items("test", "tuned")
    rows = items.read_text(encoding="utf-8").splitlines()
    gold = first.result.summary.test[-1].items[2].gold
    rows[2] = rows[2].replace(f'"gold": "{gold}"', '"gold": "a secret"')
    items.write_text("\n".join(rows) + "\n", encoding="utf-8")
    results = other.results("test")
    value = first.result.summary.test[-1].metrics["accuracy"].value
    text = results.read_text(encoding="utf-8")
    results.write_text(text.replace(f'"value": {value!r}', '"value": 0.123', 1), encoding="utf-8")
    other.comparison("test").unlink()
    found, _ = compare_runs(first.folder, other)
    places = {each.where for each in found}
    assert "test/items-tuned.jsonl row 3: gold" in places
    assert any(place.startswith("test/results.json.systems.") and place.endswith(".value") for place in places)
    assert "test/comparison.json" in places
    assert "a secret" not in str(found)


def test_what_changed_around_a_run_is_named() -> None:
    lock = {"metier": "0.1.0", "packages": {"torch": "2.4", "numpy": "2.0"}, "machine": {"cores": 2},
            "models": {"tuned": {"name": "minilm", "weights_sha256": "aa"}}}  # fmt: skip
    now = {"metier": "0.1.0", "packages": {"torch": "2.5", "numpy": "2.0"}, "machine": {"cores": 8},
           "models": {"tuned": {"name": "minilm", "weights_sha256": "bb"}}}  # fmt: skip
    assert set(_causes(lock, now)) == {
        "packages.torch was 2.4 and is 2.5", "machine.cores was 2 and is 8", "the weights of minilm are others",
    }  # fmt: skip
    assert list(_causes(lock, lock)) == []


def test_a_changed_digit_in_card_or_page_is_found(first: Any, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "renamed")
    shutil.copytree(first.folder.path, folder.path)
    assert check_pages(folder) == ((), ())
    card, page = (path.read_text(encoding="utf-8") for path in (folder.readme, folder.report_page))
    value = f"{first.result.summary.test[-1].metrics['macro_f1'].value:.3f}"
    folder.readme.write_text(f"{card}\nSome words of the author.\n", encoding="utf-8")
    assert check_pages(folder).changed == ()
    folder.readme.write_text(card.replace(value, "0.999"), encoding="utf-8")
    assert {place.where for place in check_pages(folder).changed} == {"README.md"}
    folder.readme.write_text(card, encoding="utf-8")
    folder.report_page.write_text(page.replace(value, "0.999", 1), encoding="utf-8")
    (found,) = check_pages(folder).changed
    assert found.where.startswith("report/index.html line ")


def test_pages_of_another_build_are_compared_by_their_numbers_for_the_hub(first: Any, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(first.folder.path, folder.path)
    (folder.report / "about.json").unlink()
    checked = check_pages(folder)
    assert checked.changed == ()
    assert "metier of an older version, not " in checked.notes[0]
    card = folder.readme.read_text(encoding="utf-8")
    value = round(first.result.summary.test[-1].metrics["macro_f1"].value, 4)
    folder.readme.write_text(card.replace(f"value: {value}", "value: 0.9999", 1), encoding="utf-8")
    (found,) = check_pages(folder).changed
    assert (found.where, found.recomputed) == ("README.md: model-index: Macro F1.value", str(value))
