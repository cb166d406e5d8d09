"""`metier compare RECIPE` where answers are lists: a run, a spreadsheet and an endpoint in one table, and verified."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from metier.evaluation.answering.listing import NO_LIST
from metier.evaluation.files import read_evaluations
from metier.evaluation.verify import verify_evaluations
from metier.events import Event, Notice, StageFinished
from metier.recipe.load import recipe_from_values
from metier.run import run_recipe
from metier.stages.judging import Judged, judge_recipe
from metier.store.files import read_json_lines

WORDS = {"late": "waiting", "rude": "shouted", "bill": "invoice"}
NAMES = ("ada", "bob", "eve")


class Service(ThreadingHTTPServer):
    """An endpoint that answers as `said` does, from the text that it is asked about."""

    daemon_threads = True

    def __init__(self, said: Callable[[str], str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.said, self.asked = said, list[str]()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def log_message(self, *_: Any) -> None:
        """Silence."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"][-1]["content"]
        self.server.asked.append(asked)
        choice = {"message": {"content": self.server.said(asked.rsplit("\n\n", 1)[-1])}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 100, "completion_tokens": 10}
        data = json.dumps({"model": "stub", "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def service() -> Iterator[Callable[[Callable[[str], str]], Service]]:
    running: list[Service] = []

    def start(said: Callable[[str], str]) -> Service:
        running.append(Service(said))
        threading.Thread(target=running[-1].serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return running[-1]

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def desk(new_home: Callable[..., Any], tiny_model: Callable[..., Path]) -> Any:
    """A user with letters of several labels, and texts with names in them."""
    home = new_home()
    rows = [
        {"id": f"n{n}", "note": " ".join([*(WORDS[label] for label in labels), f"please {n}"]), "labels": labels}
        for n in range(60)
        if (labels := [label for place, label in enumerate(WORDS) if (n + 1) & (1 << place)])
    ]
    _write(home.folder / "letters.jsonl", rows)
    texts = [
        {"id": f"t{n}", "text": f"{NAMES[n % 3]} is at home {n}",
         "spans": [{"start": 0, "end": 3, "label": "person"}]} for n in range(48)
    ]  # fmt: skip
    _write(home.folder / "texts.jsonl", texts)
    home.values = {
        "name": "lists", "task": "multilabel", "model": str(tiny_model("bert")),
        "data": {"train": "letters.jsonl", "near_duplicates": "off", "leaks": "allow", "id": "id"},
        "adaptation": {"method": "head"}, "evaluation": {"resamples": 200, "systems": ["majority"], "robustness": []},
        "hardware": {"device": "cpu", "dtype": "float32", "threads": 1},
    }  # fmt: skip
    return home


@pytest.fixture(scope="module")
def letters_run(desk: Any) -> Path:
    """A run that learned the letters."""
    found: Path = desk.run("letters").folder.path
    return found


@pytest.fixture(scope="module")
def texts_run(desk: Any, tiny_model: Callable[..., Path]) -> Path:
    """A run that was to learn the pieces, and did not: what it writes is no list."""
    ran = desk.run(
        "texts", task="extraction", model=str(tiny_model("llama")), data={"train": "texts.jsonl", "answer": "spans"},
        adaptation={"method": "full"}, prompt={"instruction": "who?"}, generation={"max_new_tokens": 4},
        training={"max_steps": 1, "max_length": 128, "validation_examples": 2},
        evaluation={
            "systems": ["dictionary"], "primary_metric": "span_f1", "selection_examples": 4, "train_examples": 4,
        },
    )  # fmt: skip
    found: Path = ran.folder.path
    return found


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _compare(desk: Any, output: Path, systems: dict[str, Any], seen: list[Event], **changes: Any) -> Judged:
    data = {**desk.values["data"], **changes.pop("data", {})}
    values = {
        "name": "lists", "training": "none", "task": "multilabel", "data": data, "systems": systems,
        "hardware": desk.values["hardware"], "evaluation": {"resamples": 200, "primary_metric": "exact_match"},
        **changes,
    }  # fmt: skip
    recipe = recipe_from_values(values, base=desk.folder, where="compare.yaml")
    with mock.patch.dict(os.environ, desk.environment):
        return judge_recipe(recipe, run_recipe, output=output, observers=[seen.append])


def _number(text: str) -> int:
    return int(text.split()[-1])


def _labels_said(text: str) -> str:
    """Right, in words around a list; of every fifth letter no list at all."""
    if _number(text) % 5 == 0:
        return "I would rather not say."
    return f"These fit: {json.dumps([label.upper() for label, word in WORDS.items() if word in text])}."


def _pieces_said(text: str) -> str:
    if _number(text) % 5 == 0:
        return "There is a person in it."
    return f'<think>[a name?]</think>```json\n[["{text.split()[0]}", "person"]]\n```'


def _check(judged: Judged, seen: list[Event], ours: Path, server: Service) -> dict[str, Any]:
    """What holds of both tasks; the evaluations by system."""
    found = {each.system: each for each in read_evaluations(judged.folder.evaluation_of("test").path)}
    assert list(found) == ["rules", "ours", "hosted"] and verify_evaluations(judged.folder.evaluation) == ()
    (run,) = read_evaluations(ours / "evaluation" / "test", systems={"tuned"})
    assert [(i.id, i.gold, i.answer) for i in found["ours"].items] == [(i.id, i.gold, i.answer) for i in run.items]
    assert found["ours"].settings["answers"] == "recorded by the run"
    # The endpoint is right wherever it gave a list; where it gave none, that is counted as invalid and told.
    unread = [item for item in found["hosted"].items if (item.reason or "").startswith(NO_LIST)]
    assert unread and len(server.asked) == found["hosted"].n
    assert found["hosted"].metrics["invalid"].value == pytest.approx(len(unread) / found["hosted"].n)
    assert found["hosted"].metrics["exact_match"].value == pytest.approx(1 - len(unread) / found["hosted"].n)
    assert found["rules"].metrics["exact_match"].value == 1.0 and found["rules"].settings["matched_by"] == "data.id"
    rows = {row.system: row for row in judged.judgement.standings}
    assert rows["hosted"].unanswered == len(unread) and rows["rules"].unanswered == 0
    said = [event.message for event in seen if isinstance(event, Notice) and event.topic == "answers"]
    assert any(f"hosted: {len(unread)} answer" in each and "without a list that can be read" in each for each in said)
    # One edited answer is found.
    path = judged.folder.items("test", "rules")
    before = path.read_text(encoding="utf-8")
    lines = read_json_lines(path)
    lines[0]["answer"] = "[]"
    _write(path, lines)
    assert any("rules" in each.where for each in verify_evaluations(judged.folder.evaluation))
    path.write_text(before, encoding="utf-8")
    return found


def test_labels_of_a_run_a_spreadsheet_and_an_endpoint(
    desk: Any, letters_run: Path, service: Any, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in (desk.folder / "letters.jsonl").read_text(encoding="utf-8").splitlines()]
    lines = ["id,answer", *(f"{row['id']},{'; '.join(row['labels'])}" for row in rows)]
    (desk.folder / "rules.csv").write_text("\n".join(lines), encoding="utf-8")
    server, seen = service(_labels_said), list[Event]()
    systems = {
        "rules": {"answers": "rules.csv"}, "ours": {"run": str(letters_run)},
        "hosted": {"endpoint": server.url, "model": "m", "price_in": 2.0, "price_out": 10.0},
    }  # fmt: skip
    judged = _compare(desk, tmp_path / "out", systems, seen)
    found = _check(judged, seen, letters_run, server)
    assert found["hosted"].metrics["price"].value == pytest.approx(0.0003)
    assert "which of these labels" in server.asked[0].lower() and "bill, late, rude" in server.asked[0]
    # Nobody is asked again, and what was recorded is judged the same from its file.
    recorded = next((judged.folder.path / "recorded").glob("hosted-*.jsonl"))
    again, asked = list[Event](), len(server.asked)
    columns = ["id,late,rude,bill", *(",".join([row["id"], *(str(int(label in row["labels"])) for label in WORDS)])
                                      for row in rows)]  # fmt: skip
    (desk.folder / "columns.csv").write_text("\n".join(columns), encoding="utf-8")
    more = {**systems, "file": {"answers": str(recorded)}, "columns": {"answers": "columns.csv"}}
    second = _compare(desk, tmp_path / "out", more, again)
    assert {e.stage for e in again if isinstance(e, StageFinished) and e.reused} >= {
        "system rules", "system ours", "system hosted",
    } and len(server.asked) == asked  # fmt: skip
    by_name = {row.system: row for row in second.judgement.standings}
    assert (
        by_name["file"].value == by_name["hosted"].value and by_name["file"].unanswered == by_name["hosted"].unanswered
    )
    assert by_name["columns"].value == by_name["rules"].value


def test_pieces_of_a_run_a_spreadsheet_and_an_endpoint(
    desk: Any, texts_run: Path, service: Any, metier: Callable[..., Any], tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in (desk.folder / "texts.jsonl").read_text(encoding="utf-8").splitlines()]
    lines = ["id,start,end,label", *(f"{row['id']},0,3,person" for row in rows)]
    (desk.folder / "pieces.csv").write_text("\n".join(lines), encoding="utf-8")
    server, seen = service(_pieces_said), list[Event]()
    systems = {
        "rules": {"answers": "pieces.csv"}, "ours": {"run": str(texts_run)},
        "hosted": {"endpoint": server.url, "model": "m", "max_new_tokens": 200},
    }  # fmt: skip
    changes: dict[str, Any] = {"task": "extraction", "data": {"train": "texts.jsonl", "answer": "spans"}}
    judged = _compare(desk, tmp_path / "out", systems, seen, **changes)
    found = _check(judged, seen, texts_run, server)
    assert found["hosted"].metrics["span_precision"].value == 1.0 and found["rules"].metrics["span_f1"].value == 1.0
    again, asked = list[Event](), len(server.asked)
    _compare(desk, tmp_path / "out", systems, again, **changes)
    assert sum(isinstance(event, StageFinished) and event.reused for event in again) >= 3 and len(server.asked) == asked
    # A run and a file of answers, without a recipe.
    with mock.patch.dict(os.environ, desk.environment):
        pair = metier("compare", texts_run, desk.folder / "pieces.csv", "--json")
        assert metier("verify", tmp_path / "out").code == 0
    assert pair.code == 0 and json.loads(pair.out)["n"] == judged.judgement.n


@pytest.mark.slow
def test_a_run_and_a_model_made_elsewhere_are_asked_for_lists(
    desk: Any, texts_run: Path, tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    """Nothing is recorded of these records: the run's model writes, and so does a base model that is named."""
    texts = [{"text": f"eve was away {n}", "spans": [{"start": 0, "end": 3, "label": "person"}]} for n in range(60, 84)]
    _write(desk.folder / "others.jsonl", texts)
    systems = {"ours": {"run": str(texts_run)}, "theirs": {"model": str(tiny_model("llama"))}}
    data = {"train": "others.jsonl", "answer": "spans", "id": None}
    seen = list[Event]()
    judged = _compare(desk, tmp_path / "out", systems, seen, task="extraction", data=data,
                      generation={"max_new_tokens": 4})  # fmt: skip
    found = {each.system: each for each in read_evaluations(judged.folder.evaluation_of("test").path)}
    assert found["ours"].settings["answers"] == "asked again" and found["ours"].kind.startswith("metier run texts")
    # What random models write is no list, and is read as such.
    assert all(item.answer == "" and NO_LIST in str(item.reason) for item in found["theirs"].items)
    assert verify_evaluations(judged.folder.evaluation) == ()


def test_a_row_that_is_forgotten_leaves_the_recordings(
    desk: Any, service: Any, metier: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person's row: what endpoints said of it goes, in the folder and where the recipe put it, and is told."""
    for name, value in desk.environment.items():
        monkeypatch.setenv(name, value)
    server = service(_labels_said)
    systems = {
        "hosted": {"endpoint": server.url, "model": "m"},
        "other": {"endpoint": server.url, "model": "n", "journal": str(tmp_path / "elsewhere.jsonl")},
    }
    judged = _compare(desk, tmp_path / "out", systems, [])
    item = read_evaluations(judged.folder.evaluation_of("test").path)[0].items[3]
    files = [next((tmp_path / "out" / "recorded").glob("hosted-*.jsonl")), tmp_path / "elsewhere.jsonl"]
    assert all(item.id in path.read_text(encoding="utf-8") for path in files)
    done = metier("cache", "forget", tmp_path / "out", "--row", item.row)
    assert done.code == 0, done.err
    for path in files:
        assert item.id not in path.read_text(encoding="utf-8")
        assert f"Forgotten in {path}: 1 answers of endpoints, which would be asked again." in done.out
    assert "The run folder and the data files hold the records too" in done.out
    assert "Forgotten in /" not in metier("cache", "forget", tmp_path / "out", "--row", item.row).out
