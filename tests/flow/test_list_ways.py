"""Several labels of a text, and pieces of a text, along all ways of a run: folds, seeds, strict, processes, replay."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from metier.data.privacy.vault_key import make_key
from metier.errors import ArgumentError
from metier.evaluation.evidence import SeedStatement, SliceReport
from metier.evaluation.files import read_comparison, read_evaluations
from metier.evaluation.looks import read_look
from metier.evaluation.results import FoldReport
from metier.evaluation.verify import verify_evaluations
from metier.model.saved import ABOUT
from metier.replay import replay_run
from metier.serving.bundle import export_evidence
from metier.serving.bundle_reading import unpacked_evidence, verify_evidence
from metier.store.files import read_json
from metier.store.run_folder import RunFolder

TOPICS = ("late", "rude", "bill")
WHO = ("ada", "grace", "alan", "edsger", "barbara")
SECRETS = ("zanzibar", "quixotic")
"""Words that stand in every text, and in no label."""
DESKS = ("vestibule", "mezzanine")
"""Values of a column that nobody needs to know."""
ROWS = 60


def notes(count: int) -> str:
    """Texts with a list of labels each, some of them none, and a few pieces."""
    rows = []
    for number in range(count):
        name = WHO[number % len(WHO)]
        text = f"{name} is in {SECRETS[number % 2]} with order {number}"
        tags = [topic for place, topic in enumerate(TOPICS) if (number >> place) & 1]
        spans = [{"start": 0, "end": len(name), "label": "person"}] if number % 4 else []
        rows.append(json.dumps({"text": text, "tags": tags, "spans": spans, "desk": DESKS[number % 2]}))
    return "\n".join(rows) + "\n"


@pytest.fixture(scope="module")
def ways(new_home: Callable[[], Any], tiny_model: Callable[..., Path]) -> Any:
    """A user with such texts, and a tiny model that writes."""
    home = new_home()
    (home.folder / "notes.jsonl").write_text(notes(ROWS), encoding="utf-8")
    home.values = {
        "name": "ways", "model": str(tiny_model("llama")),
        "data": {"train": "notes.jsonl", "near_duplicates": "off", "leaks": "allow", "text": "text"},
        "training": {
            "max_steps": 3, "learning_rate": 1e-2, "max_length": 128, "per_device_train_batch_size": 8,
            "validation_examples": 4,
        },
        "prompt": {"instruction": "which?"}, "generation": {"max_new_tokens": 4},
        "evaluation": {"selection_examples": 4, "train_examples": 4, "few_shot": {"k": [1]}, "resamples": 200},
        "hardware": {"device": "cpu", "dtype": "float32", "threads": 1},
    }  # fmt: skip
    return home


def by_head(tiny_model: Callable[..., Path]) -> dict[str, Any]:
    """Labels by a head, which is solved in a moment."""
    return {
        "task": "multilabel", "model": str(tiny_model("bert")), "adaptation": {"method": "head"},
        "data": {"label": "tags"}, "evaluation": {"systems": ["majority", "tfidf"], "primary_metric": "micro_f1"},
    }  # fmt: skip


LORA = {"method": "lora", "layers": "top 1", "r": 4}
IN_WRITING: Mapping[str, Mapping[str, Any]] = {
    "labels": {
        "task": "multilabel", "data": {"label": "tags"}, "adaptation": LORA,
        "evaluation": {"systems": ["majority", "tfidf", "zero_shot"], "primary_metric": "micro_f1"},
    },
    "pieces": {
        "task": "extraction", "data": {"answer": "spans"}, "adaptation": LORA,
        "evaluation": {"systems": ["dictionary", "zero_shot"], "primary_metric": "span_f1"},
    },
}  # fmt: skip


@pytest.fixture
def asked(tiny_model: Callable[..., Path]) -> Callable[..., dict[str, Any]]:
    """`asked(kind, …)`: changes of the recipe for labels by a `head`, for `labels` in writing, for `pieces`."""

    def make(kind: str, **evaluation: Any) -> dict[str, Any]:
        changes = by_head(tiny_model) if kind == "head" else dict(IN_WRITING[kind])
        if kind != "pieces" and "folds" not in evaluation:
            evaluation = {"robustness": ["typos"], "robustness_items": 4, **evaluation}
        return {**changes, "evaluation": {**changes["evaluation"], **evaluation}}

    return make


Asked = Callable[..., dict[str, Any]]


def kinds(*fast: str) -> pytest.MarkDecorator:
    """Every kind of answer; those that are not named are for the slow tests."""
    every = ("head", "labels", "pieces")
    marked = [kind if kind in fast else pytest.param(kind, marks=pytest.mark.slow) for kind in every]
    return pytest.mark.parametrize("kind", marked)


def locked(home: Any, name: str) -> dict[str, str]:
    """The privacy section of a strict run, with a key and a vault of its own."""
    safe = home.folder / f"safe-{name}"
    make_key(safe / "key")
    return {"level": "strict", "vault": str(safe / "v"), "vault_key_file": str(safe / "key")}


def systems_of(ran: Any, name: str) -> dict[str, Any]:
    return {found.system: found for found in read_evaluations(ran.folder.evaluation_of(name).path)}


@kinds("head")
def test_folds(ways: Any, asked: Asked, kind: str) -> None:
    ran = ways.run(f"folds-{kind}", **asked(kind, folds=3))
    found = systems_of(ran, "out_of_fold")
    assert {item.fold for item in found["tuned"].items} == {0, 1, 2} and found["tuned"].n == ROWS
    folds = read_look(FoldReport, ran.folder.evaluation_of("out_of_fold").path)
    assert folds is not None and sum(folds.sizes) == ROWS and set(folds.values) == set(found)
    assert verify_evaluations(ran.folder.evaluation) == ()
    assert f"learned from all {ROWS} rows" in ran.folder.report_page.read_text(encoding="utf-8")
    about = [
        read_json(place / ABOUT, format="saved_model") for place in (ran.folder.attempt(1).model, ran.folder.model)
    ]
    assert about[1]["examples"] == ROWS > about[0]["examples"]
    if kind == "head":  # what was chosen on rows that the model of all rows learned from would be no choice
        assert about[1]["rule"]["tried"] == about[0]["rule"]["tried"]
        assert about[1]["rule"]["threshold"] == about[0]["rule"]["threshold"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", IN_WRITING)
def test_seeds(ways: Any, asked: Asked, kind: str) -> None:
    ran = ways.run(f"seeds-{kind}", **asked(kind, seeds=3))
    statement = read_look(SeedStatement, ran.folder.evaluation_of("test").path)
    assert statement is not None and len(statement.values) == 3
    assert set(systems_of(ran, "seeds")) == {"seed-1", "seed-2", "seed-3"}
    assert verify_evaluations(ran.folder.evaluation) == ()


@kinds("head")
def test_the_test_set_stays_closed(ways: Any, asked: Asked, kind: str) -> None:
    ran = ways.run(f"closed-{kind}", **asked(kind, split="validation"))
    assert read_comparison(ran.folder.evaluation_of("validation").path).openings is None
    assert not ran.folder.evaluation_of("test").path.exists()
    assert verify_evaluations(ran.folder.evaluation) == ()


@kinds("head")
@pytest.mark.parametrize("more", [{}, pytest.param({"folds": 3}, marks=pytest.mark.slow)], ids=["one set", "folds"])
def test_strict(ways: Any, asked: Asked, kind: str, more: dict[str, Any], tmp_path: Path) -> None:
    """No word of a text and no value of a column is in what is left, or in what is handed on; every number is."""
    name = f"strict-{kind}-{len(more)}"
    changes = asked(kind, slice_columns=["desk"], **more)
    changes["data"] = {**changes["data"], **({} if more else {"test_size": 0.5})}
    ran = ways.run(name, **changes, privacy=locked(ways, name))
    assert not ran.folder.private.exists()
    assert verify_evaluations(ran.folder.evaluation) == ()
    slices = read_look(SliceReport, ran.folder.evaluation_of("out_of_fold" if more else "test").path)
    assert slices is not None and len(set(slices.kinds["desk"])) == 2, "columns are looked at, under hashes"
    bundle = export_evidence(ran.folder.path, tmp_path / "evidence.zip").path
    with unpacked_evidence(bundle) as (folder, differing):
        assert differing == () and verify_evidence(folder) == ()
        for root in (ran.folder.path, folder.path):
            for path in root.rglob("*"):
                content = path.read_bytes() if path.is_file() else b""
                assert not [word for word in (*SECRETS, *DESKS) if word.encode() in content], path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "more"), [("head", {"folds": 3}), ("labels", {"seeds": 2}), ("pieces", {"folds": 3})],
    ids=["labels by a head, folds", "labels in writing, seeds", "pieces, folds"],
)  # fmt: skip
def test_replay(ways: Any, asked: Asked, kind: str, more: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ways.environment.items():
        monkeypatch.setenv(name, value)
    ran = ways.run(f"replayed-{kind}", **asked(kind, **more))
    done = replay_run(ran.folder)
    assert done.differences == (), done.differences[:5]
    assert done.compared > 8


@pytest.mark.slow
def test_a_replay_of_a_strict_run_leaves_no_text_either(
    ways: Any, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ways.environment.items():
        monkeypatch.setenv(name, value)
    ran = ways.run("strict-replayed", **asked("head"), privacy=locked(ways, "replayed"))
    vault = ways.folder / "safe-replayed" / "v"
    before = vault.read_bytes() if vault.exists() else b""
    assert replay_run(ran.folder).differences == ()
    for path in ran.folder.path.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not [word for word in SECRETS if word.encode() in content], path
    assert (vault.read_bytes() if vault.exists() else b"") == before, "rejected rows are not stored again"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["head", "labels", "pieces"])
def test_two_processes(
    ways: Any, asked: Asked, kind: str, in_processes: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes leave one whole run, which one process verifies and replays, saying what may differ."""
    for name, value in ways.environment.items():
        monkeypatch.setenv(name, value)
    changes = asked(kind)
    values = {**ways.values, **changes}
    for section in ("data", "evaluation", "generation", "prompt"):
        values[section] = {**ways.values.get(section, {}), **changes.get(section, {})}
    recipe = ways.folder / f"two-{kind}.yaml"
    recipe.write_text(yaml.safe_dump(values), encoding="utf-8")
    place = ways.folder / "runs" / f"two-{kind}"
    ended = in_processes(2, ["run", str(recipe), "--output", str(place)], environment=ways.environment, limit=500.0)
    assert ended.codes == [0, 0], ended.said
    folder = RunFolder(place)
    assert verify_evaluations(folder.evaluation) == ()
    done = replay_run(folder)
    assert "hardware.processes was 2 and is 1" in done.causes
    far = [each for each in done.differences if not _is_near(each.reported, each.recomputed)]
    assert far == [], far[:5]


def _is_near(one: str, other: str) -> bool:
    """Whether two numbers differ by no more than sums in another order do."""
    return float(one) == pytest.approx(float(other), rel=1e-3, abs=1e-4)


def test_a_replay_is_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ArgumentError, match=r"--replay: was given to 2 processes, wanted one"):
        replay_run(RunFolder(tmp_path))
