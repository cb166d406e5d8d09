"""Small data: every row answered out of fold, one stored trunk, a model of all rows, and nothing lost by a kill."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from metier.errors import DataError, RecipeError
from metier.evaluation.files import read_comparison, read_evaluations
from metier.evaluation.looks import read_look
from metier.evaluation.results import FoldReport
from metier.evaluation.verify import verify_evaluations
from metier.events import Event, Notice, StageFinished
from metier.store.files import read_json, read_json_lines

Homes = Callable[[], Any]
ROWS = 60


def copied(mails: str) -> str:
    """The mails, and some of them again in other letters: copies that a fold must keep together."""
    rows = mails.splitlines()
    loud = [",".join((f"9{n}", rows[n].split(",")[1].upper(), rows[n].split(",")[2])) for n in range(1, 13)]
    return "\n".join([*rows, *loud]) + "\n"


@pytest.fixture(scope="module")
def small(new_home: Homes, make_mails: Callable[..., str]) -> Any:
    """A user with few rows, some of which repeat others."""
    home = new_home()
    (home.folder / "mails.csv").write_text(copied(make_mails(ROWS)), encoding="utf-8")
    return home


@pytest.fixture(scope="module")
def changes(cheap: dict[str, Any], tiny_model: Callable[..., Path]) -> dict[str, Any]:
    """Three folds of two candidates."""
    encoder = {"model": str(tiny_model("bert")), "adaptation": {"method": "freeze", "layers": "top 1"}}
    return {
        "candidates": {**cheap["candidates"], "top": encoder},
        "evaluation": {"systems": ["majority", "tfidf"], "folds": 3},
        "training": {"num_train_epochs": 1},
    }


@pytest.fixture(scope="module")
def folded(small: Any, changes: dict[str, Any]) -> Any:
    """The run; tests only read it."""
    return small.run("folded", **changes)


def test_every_row_is_a_test_row_once(folded: Any) -> None:
    place = folded.folder.evaluation_of("out_of_fold").path
    systems = read_evaluations(place)
    assert [each.system for each in systems] == ["majority", "tfidf", "tuned"]
    rows = [record.id for name in ("train", "validation", "test") for record in _records(folded, name)]
    for each in systems:
        assert [item.id for item in each.items] == rows and each.set == "out_of_fold"
        assert each.metrics["accuracy"].n == len(rows)
    card = read_json(folded.folder.data_card, format="card")
    assert len(rows) == sum(split["rows"] for split in card["splits"].values())
    assert not folded.folder.evaluation_of("test").results.exists()


def test_no_fold_has_seen_its_rows_their_copies_or_its_choices(folded: Any) -> None:
    items = read_evaluations(folded.folder.evaluation_of("out_of_fold").path)[0].items
    fold_of = {item.id: item.fold for item in items}
    texts: dict[str, set[int | None]] = {}
    for number in range(3):
        fold = folded.folder.path / "folds" / str(number + 1)
        own, train, held = (_records_at(fold / "data" / f"{name}.parquet") for name in ("test", "train", "validation"))
        assert {record.id for record in own} == {key for key, where in fold_of.items() if where == number}
        assert len(own) + len(train) + len(held) == len(items)
        plain = [{record.text.casefold() for record in rows} for rows in (own, train, held)]
        assert not (plain[0] & plain[1] or plain[0] & plain[2] or plain[1] & plain[2])
        assert {record.gold for record in held} <= {record.gold for record in train}
        for record in own:
            texts.setdefault(record.text.casefold(), set()).add(number)
    assert all(len(where) == 1 for where in texts.values())
    sizes = Counter(fold_of.values())
    assert max(sizes.values()) <= 1.5 * min(sizes.values())


def test_intervals_respect_folds_and_the_dependence_is_said(folded: Any) -> None:
    place = folded.folder.evaluation_of("out_of_fold").path
    comparison = read_comparison(place)
    assert comparison.set == "out_of_fold" and comparison.n == comparison.differences[0].difference.n
    known = [row.difference for row in comparison.differences if row.difference.low is not None]
    assert known and all(each.method == "corrected resampled t (3 folds)" for each in known)
    assert "share most of their training rows" in comparison.sentence and "2 in 3 of the rows" in comparison.sentence
    report = read_look(FoldReport, place)
    assert report is not None and sum(report.sizes) == comparison.n
    assert set(report.values) == {"majority", "tfidf", "tuned"} and len(report.values["tuned"]) == 3
    assert len(report.chosen) == 3 and report.shipped in ("head", "top")


def test_the_kept_model_learned_from_all_rows(folded: Any) -> None:
    about = read_json(folded.folder.model / "metier-model.json", format="saved_model")
    rows = read_comparison(folded.folder.evaluation_of("out_of_fold").path).n
    assert about["examples"] == rows
    chosen = read_json(folded.folder.chosen, format="chosen")
    assert f"trained on all {rows} rows" in chosen["why"]
    # What it says to rows that it learned from is no validation.
    assert not (folded.folder.path / "all_rows" / "attempts" / "001" / "evaluation").exists()
    left = list((folded.folder.path / "folds").rglob("*.safetensors"))
    assert left == [] and (folded.folder.model / "metier-model.json").exists()


def test_every_number_is_verified_and_a_changed_one_is_found(folded: Any, tmp_path: Path) -> None:
    import shutil

    assert verify_evaluations(folded.folder.evaluation) == ()
    copy = tmp_path / "evaluation"
    shutil.copytree(folded.folder.evaluation, copy)
    path = copy / "out_of_fold" / "folds.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["values"]["tuned"][1] += 0.01
    path.write_text(json.dumps(content), encoding="utf-8")
    (found,) = verify_evaluations(copy)
    assert found.where == "out_of_fold/folds.json.values.tuned[1]"
    rows = (copy / "out_of_fold" / "items-tuned.jsonl").read_text(encoding="utf-8").splitlines()
    row = json.loads(rows[0])
    row["fold"] = (row["fold"] + 1) % 3
    rows[0] = json.dumps(row)
    (copy / "out_of_fold" / "items-tuned.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    assert any("comparison.json" in each.where for each in verify_evaluations(copy))


def test_a_look_at_all_rows_is_counted(small: Any, folded: Any) -> None:
    ledger = read_json_lines(small.folder / "state" / "openings.jsonl")
    assert len({row["fingerprint"] for row in ledger}) == 2  # all rows, and the test split that is among them
    assert read_comparison(folded.folder.evaluation_of("out_of_fold").path).openings == 1


def test_a_killed_run_goes_on_fold_by_fold(small: Any, changes: dict[str, Any], folded: Any) -> None:
    def kill(event: Event) -> None:
        if isinstance(event, Notice) and event.message.startswith("fold 2 of 3: "):
            raise KeyboardInterrupt

    named = {**changes, "card": {"author": "Grace"}}
    with pytest.raises(KeyboardInterrupt):
        small.run("killed", observer=kill, **named)
    before = (small.folder / "runs" / "killed" / "folds" / "1" / "run.json").stat().st_mtime_ns
    rest = small.run("killed", resume=True, **named)
    assert (rest.folder.path / "folds" / "1" / "run.json").stat().st_mtime_ns == before
    asked = [e.message for e in rest.events if isinstance(e, Notice) and e.topic == "folds"]
    assert [message.split(":")[0] for message in asked] == ["fold 2 of 3", "fold 3 of 3"]
    trained = [e.stage for e in rest.events if isinstance(e, StageFinished) and e.stage.startswith("fold 1")]
    assert trained == []
    one, other = (read_comparison(run.folder.evaluation_of("out_of_fold").path) for run in (folded, rest))
    assert [row.difference for row in one.differences] == [row.difference for row in other.differences]
    # The second run to look at these rows: the interval of another look is told too.
    assert other.openings == 2 and other.differences[0].after_openings is not None
    again = small.run("killed", **named)
    assert again.result.reused


def test_folds_read_one_trunk(small: Any, tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """A later fold finds the lower layers' states of every row that an earlier one has met."""
    from metier.engine.trunk import TrunkCache

    built: list[tuple[str, int]] = []
    original = TrunkCache.build

    def watched(self: Any, network: Any, sequences: Any, label: str = "trunk") -> Any:
        report = original(self, network, sequences, label)
        built.append((label, report.misses))
        return report

    monkeypatch.setattr(TrunkCache, "build", watched)
    llama = {"model": str(tiny_model("llama")), "adaptation": {"method": "lora", "layers": "top 1", "r": 4}}
    evaluation = {"systems": ["majority"], "folds": 3}
    ran = small.run("trunk", candidates={"words": llama}, evaluation=evaluation, training={"num_train_epochs": 1})
    of_train = [misses for label, misses in built if label.endswith("trunk of train")]
    # The run itself, then three folds, then all rows: fold 3 and the training on all rows compute nothing anew.
    assert len(of_train) == 5 and of_train[0] > 0
    assert of_train[3:] == [0, 0]
    assert read_comparison(ran.folder.evaluation_of("out_of_fold").path).n > 60


def test_a_test_set_of_its_own_stays_one(small: Any, changes: dict[str, Any], make_mails: Callable[..., str]) -> None:
    (small.folder / "test.csv").write_text(make_mails(15, seed=8), encoding="utf-8")
    with pytest.raises(RecipeError, match=r"data\.test: is a test set of its own, which evaluation\.folds would train"):
        small.run("own", **{**changes, "data": {"test": "test.csv"}})
    folder = small.folder / "official"
    folder.mkdir()
    (folder / "train.csv").write_text(make_mails(60), encoding="utf-8")
    (folder / "test.csv").write_text(make_mails(15, seed=8), encoding="utf-8")
    with pytest.raises(DataError, match=r"the data has a test set of its own, which would then be trained on"):
        small.run("official", **{**changes, "data": {"train": "official"}})


def test_more_folds_than_groups_are_refused(
    small: Any, changes: dict[str, Any], make_mails: Callable[..., str]
) -> None:
    rows = make_mails(60).splitlines()
    grouped = [f"{row},{'team' if place == 0 else place % 6}" for place, row in enumerate(rows)]
    (small.folder / "grouped.csv").write_text("\n".join(grouped) + "\n", encoding="utf-8")
    evaluation = {**changes["evaluation"], "folds": 10}
    with pytest.raises(DataError, match=r"is 10, but the data has 6 groups of rows to keep together"):
        small.run("grouped", **{**changes, "data": {"train": "grouped.csv", "group": "team"}, "evaluation": evaluation})


def _records(ran: Any, name: str) -> list[Any]:
    return _records_at(ran.folder.split(name))


def _records_at(path: Path) -> list[Any]:
    from metier.data.splits import Split

    return list(Split(name=path.stem, path=path, fingerprint="").records())


@pytest.mark.slow
def test_two_processes_give_the_folds_of_one(
    small: Any, changes: dict[str, Any], folded: Any, in_processes: Callable[..., Any]
) -> None:
    values = {**small.values, **changes}
    values["evaluation"] = {**small.values["evaluation"], **changes["evaluation"]}
    values["training"] = {**small.values["training"], **changes["training"]}
    (small.folder / "together.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    folder = small.folder / "runs" / "together"
    own = {f"METIER_{name.upper()}": str(small.folder / f"together-{name}") for name in ("cache", "state")}
    arguments = ["run", str(small.folder / "together.yaml"), "--output", str(folder)]
    ended = in_processes(2, arguments, environment=own, limit=400.0)
    assert ended.codes == [0, 0], ended.said
    one, two = (read_comparison(place / "evaluation" / "out_of_fold") for place in (folded.folder.path, folder))
    assert [row.candidate_value for row in two.differences] == pytest.approx(
        [row.candidate_value for row in one.differences], abs=0.05
    )
    assert [row.baseline_value for row in two.differences] == [row.baseline_value for row in one.differences]
    assert verify_evaluations(folder / "evaluation") == ()


@pytest.mark.slow
def test_written_answers_are_folded_too(tiny_model: Callable[..., Path], new_home: Homes) -> None:
    home = new_home()
    asked = ({"question": f"Where is order {n} of {n * 7}?", "answer": f"on its way {n}"} for n in range(45))
    (home.folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked), encoding="utf-8")
    home.values = {
        "task": "generation", "name": "written", "model": str(tiny_model("llama")), "data": {"train": "train.jsonl"},
        "adaptation": {"method": "lora", "layers": "top 1", "r": 4},
        "training": {"max_steps": 4, "max_length": 128, "per_device_train_batch_size": 8},
        "generation": {"max_new_tokens": 8},
        "evaluation": {
            "selection_examples": 4, "train_examples": 4, "resamples": 200, "systems": ["zero_shot"], "folds": 3,
            "primary_metric": "loss",
        },
        "hardware": {"device": "cpu", "dtype": "float32", "threads": 1},
    }  # fmt: skip
    ran = home.run("written")
    zero, tuned = read_evaluations(ran.folder.evaluation_of("out_of_fold").path)
    assert (zero.system, tuned.system, zero.n) == ("zero_shot", "tuned", tuned.n)
    assert tuned.metrics["loss"].method == "corrected resampled t (3 folds)"
    assert verify_evaluations(ran.folder.evaluation) == ()


@pytest.mark.slow
def test_a_strict_run_leaves_no_text_of_its_folds(
    small: Any, changes: dict[str, Any], make_mails: Callable[..., str]
) -> None:
    from metier.data.privacy.vault_key import make_key

    make_key(small.folder / "safe" / "key")
    privacy = {
        "level": "strict",
        "vault": str(small.folder / "safe" / "v"),
        "vault_key_file": str(small.folder / "safe" / "key"),
    }
    ran = small.run("strict", **{**changes, "privacy": privacy})
    assert read_comparison(ran.folder.evaluation_of("out_of_fold").path).n > ROWS
    assert not ran.folder.private.exists() and not (ran.folder.path / "folds").exists()
    texts = [line.split(",")[1] for line in make_mails(ROWS).splitlines()[1:]]
    for path in ran.folder.path.rglob("*"):
        if path.is_file():
            content = path.read_bytes().decode("utf-8", "replace")
            assert not any(text in content for text in texts), path
