"""`metier compare RECIPE`: a run, an adapter made elsewhere, an endpoint and a file of rules in one table."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from metier.errors import ArgumentError, DataError, InterruptedRun, RecipeError
from metier.evaluation.evaluate import recompute
from metier.evaluation.files import read_evaluations
from metier.evaluation.looks import look_path, read_look
from metier.evaluation.standings import Judgement, JudgeReport
from metier.evaluation.verify import not_recounted, verify_evaluations
from metier.events import Event, Notice
from metier.recipe.load import load_recipe, recipe_from_values
from metier.run import run_recipe
from metier.stages.judging import Judged, items_alone, judge_recipe, judging_folder
from metier.store.files import read_json, read_json_lines
from metier.store.run_folder import RunFolder

KEY = "sk-secret-of-a-test-4711"


class Service(ThreadingHTTPServer):
    """An endpoint of our own that answers with a word of the question; `pause` makes it slow."""

    daemon_threads = True

    def __init__(self, answer: Callable[[str], str | None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer_of, self.pause = answer, 0.0
        self.asked: list[str] = []
        self.keys: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are killed are what is tested."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def log_message(self, *_: Any) -> None:
        """Silence."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = self.server.answer_of(body["messages"][-1]["content"])
        self.server.asked.append(body["messages"][-1]["content"])
        self.server.keys.append(self.headers.get("Authorization"))
        time.sleep(self.server.pause)
        answer = {"message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 100, "completion_tokens": 10}
        data = json.dumps({"model": "stub-2026", "choices": [answer], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def word_of(text: str) -> str:
    """What the last question is about: the words of the made-up mails say it."""
    words = {"refund": "refund", "money": "refund", "card": "card", "declined": "card", "login": "login"}
    return next((label for word, label in words.items() if word in text.rsplit("Text:", 1)[-1][-120:]), "no idea")


@pytest.fixture
def service() -> Iterator[Callable[..., Service]]:
    """`service(answer)`: a running endpoint."""
    running: list[Service] = []

    def start(answer: Callable[[str], str | None] = word_of) -> Service:
        server = Service(answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def desk(new_home: Callable[..., Any], tiny_model: Callable[..., Path], cheap: dict[str, Any]) -> Any:
    """A user with a finished run, an adapter that plain PEFT trained, and rules in a spreadsheet."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    home = new_home()
    home.run("ours", **cheap)
    with (home.folder / "mails.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lines = ["id,answer", *(f"{row['id']},{'card' if 'card' in row['message'] else 'login'}" for row in rows)]
    (home.folder / "rules.csv").write_text("\n".join(lines), encoding="utf-8")
    torch.manual_seed(3)
    base = AutoModelForCausalLM.from_pretrained(tiny_model("llama"))
    model = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    tokenizer = AutoTokenizer.from_pretrained(tiny_model("llama"))
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer, losses = torch.optim.AdamW(learned, lr=1e-2), []
    for _ in range(3):
        for row in rows[:20]:
            ids = tokenizer(f"{row['message']}\n{row['intent']}", return_tensors="pt").input_ids
            losses.append(model(input_ids=ids, labels=ids).loss)
            losses[-1].backward()
            optimizer.step()
            optimizer.zero_grad()
    assert sum(losses[-20:]) < sum(losses[:20]), "it learned something"
    model.save_pretrained(home.folder / "theirs")
    return home


def _values(desk: Any, tiny_model: Callable[..., Path], url: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": "mails",
        "training": "none",
        "data": {"train": "mails.csv", "text": "message", "label": "intent", "id": "id"},
        "systems": {
            "rules": {"answers": "rules.csv"},
            "ours": {"run": "runs/ours"},
            "theirs": {"model": str(tiny_model("llama")), "adapter": "theirs"},
            "hosted": {
                "endpoint": url, "model": "some-model", "api_key_env": "TEST_KEY", "price_in": 2.0, "price_out": 10.0,
                "retries": 0,
            },
        },
        "evaluation": {"primary_metric": "accuracy", "resamples": 200, "selection_examples": 12},
        "hardware": {"device": "cpu", "dtype": "float32", "threads": 1},
        **changes,
    }  # fmt: skip


def _compare(desk: Any, values: dict[str, Any], output: Path, observers: Any = ()) -> Judged:
    recipe = recipe_from_values(values, base=desk.folder, where="compare.yaml")
    with mock.patch.dict(os.environ, {**desk.environment, "TEST_KEY": KEY}):
        return judge_recipe(recipe, run_recipe, output=output, observers=observers)


def test_four_kinds_of_system_in_one_table(
    desk: Any, tiny_model: Callable[..., Path], service: Callable[..., Service], tmp_path: Path
) -> None:
    server = service()
    values = _values(desk, tiny_model, server.url)
    judged = _compare(desk, values, tmp_path / "one")
    rows = {row.system: row for row in judged.judgement.standings}
    assert list(rows) == ["rules", "ours", "theirs", "hosted"] and rows["rules"].standing == "reference"
    assert rows["hosted"].price is not None and rows["hosted"].price.value == pytest.approx(0.0003)
    assert rows["hosted"].currency == "USD" and rows["theirs"].kind.endswith("with the adapter theirs")
    place = judged.folder.evaluation_of("test").path
    found = {each.system: each for each in read_evaluations(place)}
    # Everybody answered the run's own test set: the run did not have to be asked again.
    assert found["ours"].settings["answers"] == "recorded by the run"
    assert all([item.id for item in each.items] == [item.id for item in found["ours"].items] for each in found.values())
    assert found["rules"].settings["matched_by"] == "data.id" and found["rules"].settings["missing"] == 0
    assert len(server.asked) == found["hosted"].n == judged.judgement.n
    invalid = found["hosted"].metrics["invalid"].value
    assert rows["hosted"].unanswered == sum(item.answer is None for item in found["hosted"].items)
    assert invalid == pytest.approx(rows["hosted"].unanswered / found["hosted"].n)
    assert read_look(Judgement, place) == judged.judgement and judged.folder.report_page.is_file()
    assert verify_evaluations(judged.folder.evaluation) == ()
    assert [line.split(":")[0] for line in not_recounted(judged.folder.evaluation)] == ["seconds", "price"]
    # The key went to the service and nowhere else.
    assert set(server.keys) == {f"Bearer {KEY}"}
    files = [path for path in judged.folder.path.rglob("*") if path.is_file()]
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_again_asks_nobody_and_one_more_system_goes_on_in_the_same_folder(
    desk: Any, tiny_model: Callable[..., Path], service: Callable[..., Service], tmp_path: Path
) -> None:
    server = service()
    values = _values(desk, tiny_model, server.url)
    few = {name: values["systems"][name] for name in ("rules", "hosted")}
    first = _compare(desk, {**values, "systems": few}, tmp_path / "two")
    asked = len(server.asked)
    more = {**few, "all_card": {"answers": "card.csv"}}
    (desk.folder / "card.csv").write_text("id,answer\n" + "\n".join(f"{n},card" for n in range(90)), encoding="utf-8")
    second = _compare(desk, {**values, "systems": more}, tmp_path / "two")
    assert len(server.asked) == asked
    assert [row.system for row in second.judgement.standings] == ["rules", "hosted", "all_card"]
    before, after = first.judgement.standings[1], second.judgement.standings[1]
    assert before.value == after.value and before.difference is not None and after.difference is not None
    assert before.difference.difference == after.difference.difference
    # One opening of the test set for both, and what is no longer named is gone.
    assert second.judgement.openings == first.judgement.openings
    third = _compare(desk, {**values, "systems": few}, tmp_path / "two")
    assert [each.system for each in read_evaluations(third.folder.evaluation_of("test").path)] == ["rules", "hosted"]
    assert not third.folder.items("test", "all_card").exists() and verify_evaluations(third.folder.evaluation) == ()
    # Changed answers in the same file are read again.
    (desk.folder / "card.csv").write_text("id,answer\n" + "\n".join(f"{n},login" for n in range(90)), encoding="utf-8")
    fourth = _compare(desk, {**values, "systems": more}, tmp_path / "two")
    items = read_evaluations(fourth.folder.evaluation_of("test").path)[-1].items
    assert {item.answer for item in items} == {"login"}


@pytest.mark.slow
def test_a_killed_comparison_goes_on_where_it_was(
    desk: Any, tiny_model: Callable[..., Path], service: Callable[..., Service], tmp_path: Path
) -> None:
    server = service()
    server.pause = 0.05
    values = _values(desk, tiny_model, server.url)
    values["systems"] = {"rules": values["systems"]["rules"], "hosted": values["systems"]["hosted"]}
    recipe, out = desk.folder / "killed.json", tmp_path / "killed"
    recipe.write_text(json.dumps(values), encoding="utf-8")
    code = (
        "import json, sys; from pathlib import Path; from metier.recipe.load import recipe_from_values; "
        "from metier.run import run_recipe; from metier.stages.judging import judge_recipe; "
        "path = Path(sys.argv[1]); values = json.loads(path.read_text()); "
        "judge_recipe(recipe_from_values(values, base=path.parent, where='r'), run_recipe, output=Path(sys.argv[2]))"
    )
    environment = {**os.environ, **desk.environment, "TEST_KEY": KEY}
    process = subprocess.Popen([sys.executable, "-c", code, str(recipe), str(out)], env=environment)
    until = time.monotonic() + 60
    while len(server.asked) < 5 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    journal = next((out / "recorded").glob("hosted-*.jsonl"))
    kept = len(read_json_lines(journal)) - 1
    assert kept >= 4 and not (out / "evaluation" / "test" / "judgement.json").exists()
    server.pause, asked = 0.0, len(server.asked)
    judged = _compare(desk, values, out)
    assert len(server.asked) - asked == judged.judgement.n - kept
    whole = _compare(desk, values, tmp_path / "whole")
    assert [row.value for row in whole.judgement.standings] == [row.value for row in judged.judgement.standings]


def test_an_endpoint_that_is_gone_stops_it_and_a_recording_is_judged_without_it(
    desk: Any, tiny_model: Callable[..., Path], service: Callable[..., Service], tmp_path: Path
) -> None:
    server = service()
    values = _values(desk, tiny_model, server.url)
    hosted = {**values["systems"]["hosted"], "journal": str(tmp_path / "today.jsonl")}
    values["systems"] = {"rules": values["systems"]["rules"], "hosted": hosted}
    today = _compare(desk, values, tmp_path / "today")
    gone = {**hosted, "endpoint": "http://127.0.0.1:9/v1"}
    with pytest.raises(ArgumentError, match=r"recorded in another way \(endpoint differ\)"):
        _compare(desk, {**values, "systems": {"rules": values["systems"]["rules"], "hosted": gone}}, tmp_path / "a")
    del gone["journal"]
    with pytest.raises(InterruptedRun, match="a refused connection"):
        _compare(desk, {**values, "systems": {"rules": values["systems"]["rules"], "hosted": gone}}, tmp_path / "a")
    # What was recorded is a file of answers, too.
    recorded = {"rules": values["systems"]["rules"], "hosted": {"answers": str(tmp_path / "today.jsonl")}}
    asked = len(server.asked)
    tomorrow = _compare(desk, {**values, "systems": recorded}, tmp_path / "tomorrow")
    assert len(server.asked) == asked
    assert tomorrow.judgement.standings[1].value == today.judgement.standings[1].value
    price = tomorrow.judgement.standings[1].price
    assert price is not None and price.value == pytest.approx(0.0003)


def test_a_run_is_not_asked_what_it_was_taught(desk: Any, tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    values = _values(desk, tiny_model, "http://127.0.0.1:9/v1", seed=5)  # another seed deals other rows to the test set
    values["systems"] = {name: values["systems"][name] for name in ("rules", "ours")}
    with pytest.raises(DataError, match=r"system ours: ours has \d+ of these \d+ records in its train"):
        _compare(desk, values, tmp_path / "out")


def test_validation_is_judged_where_the_test_set_stays_closed(
    desk: Any, tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    values = _values(desk, tiny_model, "http://127.0.0.1:9/v1")
    values["evaluation"] = {**values["evaluation"], "split": "validation"}
    values["systems"] = {"rules": values["systems"]["rules"], "same": {"answers": "rules.csv"}}
    judged = _compare(desk, values, tmp_path / "out")
    assert (judged.judgement.set, judged.judgement.openings) == ("validation", None)
    assert judged.judgement.standings[1].standing in ("not known", "no useful difference")
    assert not judged.folder.evaluation_of("test").path.exists()
    assert verify_evaluations(judged.folder.evaluation) == ()


def test_the_command_shows_the_table_and_goes_on_after_it(
    desk: Any, metier: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in desk.environment.items():
        monkeypatch.setenv(name, value)
    text = """\
training: none
data: {train: mails.csv, text: message, label: intent, id: id}
systems: {rules: {answers: rules.csv}, ours: {run: runs/ours}}
evaluation: {primary_metric: accuracy, resamples: 200}
hardware: {device: cpu, dtype: float32, threads: 1}
"""
    (desk.folder / "table.yaml").write_text(text, encoding="utf-8")
    shown = metier("compare", desk.folder / "table.yaml", "--output", tmp_path / "out")
    assert shown.code == 0 and "Against rules (95 %)" in shown.out and "s per 1,000" in shown.out
    assert "rules" in shown.out and "reference" in shown.out and f"Report: {tmp_path / 'out'}" in shown.out
    again = metier("compare", desk.folder / "table.yaml", "--output", tmp_path / "out", "--json")
    plain = json.loads(again.out)
    assert plain["format"] == "metier.judgement" and plain["folder"] == str(tmp_path / "out")
    assert [row["system"] for row in plain["standings"]] == ["rules", "ours"] and "answered before" in again.err
    verified = metier("verify", tmp_path / "out")
    assert verified.code == 0 and "no report is there" not in verified.err
    page = RunFolder(tmp_path / "out").report_page
    value = next(cell for cell in re.findall(r"0\.\d{3}", page.read_text(encoding="utf-8")))
    page.write_text(page.read_text(encoding="utf-8").replace(value, "0.999", 1), encoding="utf-8")
    changed = metier("verify", tmp_path / "out")
    assert changed.code == 2 and "report/index.html line " in changed.out + changed.err
    # The older form: a run, and a file of answers to its test set, give the same difference.
    lines = (desk.folder / "rules.csv").read_text(encoding="utf-8").splitlines()
    by_row = "\n".join(line.partition(",")[2] for line in lines)  # that run's recipe names no ids
    (desk.folder / "by_row.csv").write_text(by_row, encoding="utf-8")
    run, metric = desk.folder / "runs" / "ours", "evaluation.primary_metric=accuracy"
    pair = metier("compare", run, desk.folder / "by_row.csv", "--set", metric, "--json")
    found = json.loads(pair.out)["differences"][0]["difference"]["value"]
    assert found == pytest.approx(plain["standings"][1]["difference"]["difference"]["value"])
    assert metier("compare", desk.folder / "table.yaml", desk.folder / "rules.csv").code == 2
    assert "a run folder first" in metier("compare", desk.folder / "rules.csv", desk.folder / "runs" / "ours").err
    assert "Comparing runs writes nothing" in metier("compare", "a", "b", "--output", "c").err
    assert metier("run", desk.folder / "table.yaml").code == 2


def test_costs_and_an_order_of_labels_decide_who_is_better(
    desk: Any, tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    values = _values(desk, tiny_model, "http://127.0.0.1:9/v1")
    (desk.folder / "careful.csv").write_text("id,answer\n" + "\n".join(f"{n}," for n in range(90)), encoding="utf-8")
    values["systems"] = {"rules": {"answers": "rules.csv"}, "careful": {"answers": "careful.csv"}}
    dear = {label: {**dict.fromkeys({"card", "login", "refund"} - {label}, 9.0), "abstain": 0.5}
            for label in ("card", "login", "refund")}  # fmt: skip
    values["evaluation"] = {
        **values["evaluation"], "primary_metric": "cost", "costs": dear, "label_order": ["login", "card", "refund"],
    }  # fmt: skip
    judged = _compare(desk, values, tmp_path / "out")
    careful = judged.judgement.standings[1]
    assert careful.standing == "better" and careful.value.value == 0.5 and careful.unanswered == judged.judgement.n
    place = judged.folder.evaluation_of("test").path
    rules = read_evaluations(place)[0]
    wrong = sum(item.answer != item.gold for item in rules.items)
    assert rules.metrics["cost"].value == pytest.approx(9.0 * wrong / rules.n)
    assert {"ordinal_error", "quadratic_kappa"} <= set(rules.metrics)
    assert verify_evaluations(judged.folder.evaluation) == ()
    # A changed answer changes what it costs, and that is found.
    path = judged.folder.items("test", "rules")
    rows = read_json_lines(path)
    row = next(row for row in rows if row["answer"] != row["gold"])
    row["answer"] = row["gold"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    differs = [each.where for each in verify_evaluations(judged.folder.evaluation)]
    assert any(where.endswith(": cost") for where in differs)
    values["evaluation"]["label_order"] = ["login", "card"]
    with pytest.raises(ArgumentError, match=r"evaluation\.label_order: lacks refund, wanted every label once"):
        _compare(desk, values, tmp_path / "out")


def test_what_a_recipe_without_training_can_and_cannot_do(
    desk: Any, tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    values = _values(desk, tiny_model, "http://127.0.0.1:9/v1")
    recipe = recipe_from_values(values, base=desk.folder, where="compare.yaml")
    with pytest.raises(RecipeError, match=r"training: is none, so there is nothing to run.*metier compare RECIPE"):
        run_recipe(recipe, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    # The folder belongs to the items: systems and metrics may change in it, the data may not.
    changed = {**values, "systems": {"rules": {"answers": "rules.csv"}}, "evaluation": {"primary_metric": "macro_f1"}}
    other = recipe_from_values(changed, base=desk.folder, where="compare.yaml")
    assert judging_folder(recipe) == judging_folder(other) and judging_folder(recipe).path.name.startswith("mails-comp")
    again = recipe_from_values({**values, "seed": 9}, base=desk.folder, where="compare.yaml")
    assert judging_folder(again) != judging_folder(recipe)
    assert not items_alone(recipe).systems and items_alone(recipe).data == recipe.data
    without = {**values, "training": {}, "systems": {}}
    with pytest.raises(RecipeError, match="systems: is empty, so there is nothing to compare"):
        _compare(desk, without, tmp_path / "none")


# Written answers: forms, an own scorer, a judge.


@pytest.fixture(scope="module")
def talk(new_home: Callable[..., Any]) -> Any:
    """A user with questions, two files of written answers, a schema and a scorer."""
    home = new_home()
    rows = [{"id": f"q{n}", "question": f"where is order {n} for york", "answer": f"order {n} is on its way"}
            for n in range(60)]  # fmt: skip
    (home.folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for name, right in (("good", 60), ("poor", 10)):
        said = [{"id": row["id"], "answer": row["answer"] if n < right else "no idea"} for n, row in enumerate(rows)]
        lines = "".join(json.dumps(row) + "\n" for row in said)
        (home.folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    scorer = "def score(answer, gold, text):\n    return float(bool(answer) and text.split()[3] in answer)\n"
    (home.folder / "scoring.py").write_text(scorer, encoding="utf-8")
    return home


def _written(talk: Any, **evaluation: Any) -> dict[str, Any]:
    return {
        "name": "talk", "task": "generation", "training": "none", "data": {"train": "questions.jsonl", "id": "id"},
        "systems": {"poor": {"answers": "poor.jsonl"}, "good": {"answers": "good.jsonl"}},
        "evaluation": {"resamples": 200, **evaluation},
    }  # fmt: skip


def test_forms_and_an_own_scorer_are_counted_for_written_answers(talk: Any, tmp_path: Path) -> None:
    values = _written(talk, scorer="scoring:score", primary_metric="own_score", format={"pattern": r"order \d+ .*"})
    judged = _compare(talk, values, tmp_path / "out")
    good = judged.judgement.standings[1]
    assert good.value.value == 1.0 and good.standing == "better"
    found = {each.system: each for each in read_evaluations(judged.folder.evaluation_of("test").path)}
    assert found["good"].metrics["pattern_match"].value == 1.0
    matched, scored = (found["poor"].metrics[name].value for name in ("pattern_match", "own_score"))
    assert matched is not None and matched == scored and matched < 1.0
    assert found["good"].settings["beside"]["scorer"]["name"] == "scoring.score"
    assert verify_evaluations(judged.folder.evaluation) == ()
    assert "own_score" in " ".join(not_recounted(judged.folder.evaluation))
    # A form is counted again from the answers alone.
    edited = found["poor"].items[0].counts["pattern_match"]
    path = judged.folder.items("test", "poor")
    rows = read_json_lines(path)
    rows[0]["counts"]["pattern_match"] = [1.0 - edited[0], 1.0]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert any("pattern_match" in each.where for each in verify_evaluations(judged.folder.evaluation))
    # A scorer that changed is run again, and one that is not there is told before anything is asked.
    (talk.folder / "scoring.py").write_text("def score(answer, gold, text):\n    return 0.25\n", encoding="utf-8")
    again = _compare(talk, values, tmp_path / "out")
    assert {row.value.value for row in again.judgement.standings} == {0.25}
    with pytest.raises(ArgumentError, match=r"evaluation\.scorer: there is no .*missing\.py"):
        _compare(talk, _written(talk, scorer="missing:score"), tmp_path / "other")
    assert not (tmp_path / "other" / "evaluation").exists()


def _better(question: str) -> str:
    """A judge that prefers the answer that names the order."""
    first, second = question.split("First answer:\n")[1].split("\n\nSecond answer:\n")
    if ("order" in first) == ("order" in second):
        return "tie"
    return "first" if "order" in first else "second"


def test_a_judge_is_audited_and_silent_without_people(
    talk: Any, service: Callable[..., Service], tmp_path: Path
) -> None:
    server = service(_better)
    judge = {"endpoint": server.url, "model": "judge-1"}
    judged = _compare(talk, _written(talk, judge=judge), tmp_path / "out")
    assert judged.judge is not None and len(judged.judge.pairs) == 1
    pair = judged.judge.pairs[0]
    assert (pair.ours, pair.theirs) == ("good", "poor") and pair.audit.position_bias.value == 0.0
    assert pair.audit.headline is None and "only 0 pairs were judged by people" in str(pair.audit.withheld)
    assert "No number is given for good against poor" in judged.judge.sentence
    assert len(server.asked) == 2 * judged.judgement.n  # both orders
    place = judged.folder.evaluation_of("test").path
    assert read_look(JudgeReport, place) == judged.judge and verify_evaluations(judged.folder.evaluation) == ()
    asked = len(server.asked)
    _compare(talk, _written(talk, judge=judge), tmp_path / "out")
    assert len(server.asked) == asked
    # One changed digit is found.
    path = look_path(JudgeReport, place)
    plain = read_json(path, format="judge")
    plain["pairs"][0]["audit"]["win_rate"]["value"] += 0.1
    path.write_text(json.dumps(plain), encoding="utf-8")
    assert any("judge.json" in each.where for each in verify_evaluations(judged.folder.evaluation))
    # Without a judge in the recipe nothing of it stays.
    assert _compare(talk, _written(talk), tmp_path / "out").judge is None and not path.exists()


@pytest.mark.slow
def test_people_are_read_by_the_users_ids(talk: Any, service: Callable[..., Service], tmp_path: Path) -> None:
    server = service(_better)
    judge = {"endpoint": server.url, "model": "judge-1", "items": 1, "human": "human.csv"}
    first = _compare(talk, _written(talk), tmp_path / "out")
    poor = read_evaluations(first.folder.evaluation_of("test").path)[0]
    records = {item.row: item for item in poor.items}
    lines = ["id,winner", *(f"q{row - 1},{'tie' if 'order' in str(item.answer) else 'ours'}"
                            for row, item in records.items())]  # fmt: skip
    (talk.folder / "human.csv").write_text("\n".join(lines), encoding="utf-8")
    judged = _compare(talk, _written(talk, judge=judge), tmp_path / "out")
    assert judged.judge is not None
    audit = judged.judge.pairs[0].audit
    assert audit.human_n == audit.n == len(poor.items) and (audit.kappa.value or 0) == pytest.approx(1.0)
    (talk.folder / "human.csv").write_text("id,winner\nq999,ours\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"evaluation\.judge\.human, row 1: is about something else"):
        _compare(talk, _written(talk, judge=judge), tmp_path / "out")


def test_a_run_of_metier_counts_and_judges_the_same(
    talk: Any, tiny_model: Callable[..., Path], service: Callable[..., Service], tmp_path: Path
) -> None:
    """What is counted beside a task's metrics is there in `metier run` too, and the judge sees the best baseline."""
    (talk.folder / "scoring.py").write_text("def score(answer, gold, text):\n    return 0.5\n", encoding="utf-8")
    server, seen = service(_better), list[Event]()
    home = talk
    home.values = {
        "name": "talk", "task": "generation", "model": str(tiny_model("llama")), "data": {"train": "questions.jsonl"},
        "adaptation": {"method": "lora", "r": 2}, "training": {"max_steps": 1, "max_length": 96},
        "generation": {"max_new_tokens": 4},
        "evaluation": {
            "systems": ["copy_input", "nearest_answer"], "selection_examples": 6, "train_examples": 4,
            "resamples": 200, "scorer": "scoring:score", "judge": {"endpoint": server.url, "model": "judge-1"},
            "slices": [], "robustness": [], "explain_errors": 0,
        },
        "hardware": {"device": "cpu", "dtype": "float32", "threads": 1},
    }  # fmt: skip
    ran = home.run("judged", observer=seen.append)
    place = ran.folder.evaluation_of("test").path
    found = read_evaluations(place)
    assert [each.metrics["own_score"].value for each in found] == [0.5, 0.5, 0.5]
    report = read_look(JudgeReport, place)
    assert report is not None and report.pairs[0].ours == "tuned" and report.pairs[0].audit.n == found[0].n
    assert report.pairs[0].theirs in ("copy_input", "nearest_answer")
    assert verify_evaluations(ran.folder.evaluation) == ()
    assert not [event for event in seen if isinstance(event, Notice) and event.topic == "judge"]


def test_top_k_is_counted_beside_the_metrics_of_labels(home: Any, finished: Any) -> None:
    found = read_evaluations(finished.folder.evaluation_of("test").path)
    sure = [each for each in found if "top_2" in each.metrics]
    assert len(sure) >= 3 and not any("top_3" in each.metrics for each in found)
    for each in sure:
        accuracy, second = each.metrics["accuracy"].value, each.metrics["top_2"].value
        assert accuracy is not None and second is not None and accuracy <= second <= 1
        assert recompute(each).metrics == each.metrics


def test_a_recipe_file_is_read_from_its_own_folder(desk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """\
training: none
data: {train: mails.csv, text: message, label: intent}
systems: {rules: {answers: rules.csv}, theirs: {model: ./base, adapter: theirs}, hub: {model: org/name}}
evaluation: {reference: theirs}
"""
    (desk.folder / "compare.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(desk.folder / "compare.yaml")
    assert recipe.systems["rules"] == {"answers": str(desk.folder / "rules.csv")}
    assert recipe.systems["theirs"]["model"] == str(desk.folder / "base")
    assert recipe.systems["hub"] == {"model": "org/name"} and not recipe.training.enabled
