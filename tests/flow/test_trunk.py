"""The stored trunk in a whole run: computed once for everything, and its weights out of memory meanwhile."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.data.prepare import load_prepared
from metier.engine.trunk import BuildReport, TrunkCache
from metier.events import Notice
from metier.store.files import read_json

WORDS = {"method": "lora", "layers": "top 1", "r": 4}
SYSTEMS = {"systems": ["majority", "tfidf"]}


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, BuildReport]]:
    """Every build of a trunk cache: its label and what it found."""
    seen: list[tuple[str, BuildReport]] = []
    build = TrunkCache.build

    def watched(self: TrunkCache, network: Any, sequences: Any, label: str = "trunk") -> BuildReport:
        report = build(self, network, sequences, label)
        seen.append((label, report))
        return report

    monkeypatch.setattr(TrunkCache, "build", watched)
    return seen


def misses(builds: list[tuple[str, BuildReport]], start: str) -> int:
    found = [report.misses for label, report in builds if label.startswith(start)]
    assert found, f"nothing was built for {start!r}"
    return sum(found)


def test_candidates_seeds_batches_and_runs_compute_it_once(
    new_home: Callable[[], Any], tiny_model: Callable[..., Path], builds: list[tuple[str, BuildReport]]
) -> None:
    """Several epochs, another rate, another batch size, another seed, another run: no token is computed again."""
    home, llama = new_home(), str(tiny_model("llama"))
    one = {"model": llama, "adaptation": WORDS}
    candidates = {
        "one": one,
        "batch": {**one, "training": {"per_device_train_batch_size": 4, "learning_rate": 1e-3}},
        "seed": {**one, "seed": 99},
    }
    home.run("run", until="train", candidates=candidates, evaluation=SYSTEMS)
    assert misses(builds, "one: trunk of") > 0
    assert [misses(builds, f"{name}: trunk of") for name in ("batch", "seed")] == [0, 0]
    builds.clear()
    more = {"more": {**one, "training": {"num_train_epochs": 1}}}
    again = home.run("again", until="train", candidates=more, evaluation=SYSTEMS)
    assert "attempt more" in again.done
    assert misses(builds, "more: trunk of") == 0


@pytest.fixture
def writing_home(new_home: Callable[[], Any], tiny_model: Callable[..., Path]) -> Callable[[], Any]:
    """`writing_home()`: a user with questions and answers."""

    def make() -> Any:
        home = new_home()
        rows = [{"question": f"where is order {n} for town {n % 4}", "answer": "on its way"} for n in range(60)]
        (home.folder / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        home.values = {
            "task": "generation", "name": "written", "model": str(tiny_model("llama")), "data": {"train": "q.jsonl"},
            "adaptation": WORDS, "training": {"num_train_epochs": 1, "max_length": 128},
            "generation": {"max_new_tokens": 5},
            "evaluation": {"systems": ["copy_input"], "selection_examples": 4, "train_examples": 4, "resamples": 200},
            "hardware": {"device": "cpu", "dtype": "float32", "threads": 1},
        }  # fmt: skip
        return home

    return make


@pytest.mark.parametrize("task", ["words", "encoder", "writing"])
def test_weights_out_of_memory_change_no_result(
    new_home: Callable[[], Any], writing_home: Callable[[], Any], tiny_model: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch, task: str,
) -> None:  # fmt: skip
    kind = "bert" if task == "encoder" else "llama"
    changes = {"candidates": {"a": {"model": str(tiny_model(kind)), "adaptation": WORDS}}, "evaluation": SYSTEMS}
    found = []
    for released in (True, False):
        if not released:
            monkeypatch.setattr("metier.engine.trunk_memory.release_trunk", lambda base, depth: 0)
        ran = writing_home().run("run") if task == "writing" else new_home().run("run", **changes)
        assert ("are out of memory while the stored trunk is read in their place" in ran.notices) == released
        folder = ran.folder
        history = [json.loads(line) for line in folder.attempt(1).history.read_text().splitlines()]
        results = json.loads(folder.results("test").read_text())["systems"]["tuned"]
        found.append(([row["loss"] for row in history], results["metrics"], folder.items("test", "tuned").read_bytes()))
    assert found[0] == found[1]


def test_layers_auto_says_what_and_why(new_home: Callable[[], Any], tiny_model: Callable[..., Path]) -> None:
    auto = {"model": str(tiny_model("llama")), "adaptation": {"method": "lora", "layers": "auto", "r": 4}}
    encoder = {"model": str(tiny_model("bert")), "adaptation": {"method": "freeze", "layers": "auto"}}
    said = []
    for _ in range(2):
        ran = new_home().run("run", candidates={"words": auto, "encoder": encoder}, evaluation=SYSTEMS)
        said.append([e.message for e in ran.events if isinstance(e, Notice) and e.topic == "layers"])
        locks = [read_json(ran.folder.attempt(number).lock, format="attempt_lock") for number in (1, 2)]
        for lock, message in zip(locks, said[-1], strict=True):
            used = lock["layers"]
            assert used["used"] == used["layers"] and used["used"].startswith("top ")
            assert message.endswith(f"layers: auto -> {used['used']}: {used['why']}.")
            assert "a linear classifier on the states below block" in message
        assert locks[0]["trunk_layers"] == 3 - int(locks[0]["layers"]["used"].split()[1])
    assert said[0] == said[1], "the same data lead to the same choice"


def test_forgetting_a_row_of_a_run(
    new_home: Callable[[], Any], tiny_model: Callable[..., Path], metier: Callable[..., Any],
    builds: list[tuple[str, BuildReport]], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """States, features, scores and stored stages of one row go; another run computes those of this row alone."""
    home = new_home()
    one = {"model": str(tiny_model("llama")), "adaptation": WORDS}
    head = {"model": str(tiny_model("bert")), "adaptation": {"method": "head"}}
    systems = {"systems": ["majority", "tfidf", "zero_shot"]}
    ran = home.run("run", candidates={"one": one, "head": head}, evaluation=systems)
    assert misses(builds, "one: trunk of train") > 0
    record = next(load_prepared(ran.folder.data).train.records())
    for name, value in home.environment.items():
        monkeypatch.setenv(name, value)
    outcome = metier("cache", "forget", ran.folder.path, "--row", record.row)
    assert outcome.code == 0, outcome.err
    found = re.search(
        r"Forgotten in the cache, of 1 records: states of (\d+) tokens, (\d) feature vectors, (\d+) rows of label "
        r"scores, 0 answers, and (\d) stored stages of the run\.\n"
        r"The run folder and the data files hold the records too; they are yours to delete\.",
        outcome.out,
    )
    assert found is not None, outcome.out
    tokens, features, _, stages = map(int, found.groups())
    assert tokens > 5 and features == 1 and stages == 3
    builds.clear()
    again = home.run("again", candidates={"one": one}, evaluation=systems)
    assert "data" in again.done
    assert 0 < misses(builds, "one: trunk of train") <= tokens
    twice = metier("cache", "forget", ran.folder.path, "--row", record.row, "--source", record.source)
    assert "of 1 records: states of" in twice.out
    missing = metier("cache", "forget", ran.folder.path, "--row", 9999)
    assert missing.code == 2
    assert f"the run has no record of row 9999, wanted a row of {record.source}." in missing.err.replace("\n", " ")


def test_layers_auto_of_a_task_that_writes(writing_home: Callable[[], Any]) -> None:
    ran = writing_home().run("run", until="train", adaptation={"method": "lora", "layers": "auto", "r": 4})
    used = read_json(ran.folder.attempt(1).lock, format="attempt_lock")["layers"]
    assert re.fullmatch(
        r"of what a first step on 16 training records gains on 16 others, the blocks from \d on hold \d+%", used["why"]
    )
    assert f"layers: auto -> {used['used']}: {used['why']}." in ran.notices
    assert ("are out of memory while the stored trunk" in ran.notices) == (used["used"] != "top 3")
