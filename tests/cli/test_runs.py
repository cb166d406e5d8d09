"""Commands that read finished runs: compare, verify, report; and how `metier run` ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metier.cli.tables import aligned, final_text, gate_lines
from metier.data.records import Conversation, Message, Passage, Record
from metier.evaluation.compare import compare
from metier.evaluation.evaluate import About, evaluate_items
from metier.evaluation.files import write_evaluation
from metier.evaluation.measures import MEASURES
from metier.evaluation.results import Answer, Evaluation, GateResult, Item
from metier.recipe.sections import EvaluationSection
from metier.report.summary import Looks
from metier.store.run_folder import RunFolder, claim_run_folder, finish_run

RECIPE = "version: 1\nname: small\ndata: {train: a.csv}\nevaluation: {primary_metric: accuracy, resamples: 200}\n"
LABELS = ("a", "b")


def _items(right: int, total: int = 40, offset: int = 0) -> list[Item]:
    return [
        Item(
            id=f"{number + offset}-0", group=None, gold=LABELS[number % 2],
            answer=LABELS[number % 2] if number < right else LABELS[1 - number % 2],
            label_logprobs=None, prompt_hash=None, source="t.csv", row=number + 1,
        )
        for number in range(total)
    ]  # fmt: skip


def _written(said: Sequence[str], *, task: str = "generation", nats: float = 1.0) -> list[Item]:
    """Written answers to 12 questions whose gold answer is `the parcel comes today`; or passages, scored alone."""
    turns = (Message(role="user", content="Where?"), Message(role="assistant", content="the parcel comes today"))
    records: list[Record] = [
        Passage(id=f"{number}-0", text="one two three " * (number + 1)) if task == "text"
        else Conversation(id=f"{number}-0", text="Where?", messages=turns)
        for number in range(12)
    ]  # fmt: skip
    answers = [
        Answer(id=record.id, label=None, text=None if task == "text" else text, stop="end of turn")
        for record, text in zip(records, said, strict=True)
    ]
    scored = [(-nats * (1 + number / 50), 1) for number in range(12)]
    return MEASURES[task].items(records, answers, scored)


def _measured(items: Sequence[Item], system: str = "tuned", task: str = "generation") -> Evaluation:
    return evaluate_items(
        items, about=About(system=system, task=task), set_name="test", labels=(), resamples=200, seed=1
    )


GOOD = ["the parcel comes today"] * 8 + ["it comes today, the parcel"] * 4
BAD = ["the parcel comes soon"] * 11 + ["the parcel comes today"]


@pytest.mark.parametrize(
    ("task", "metric", "parts"),
    [
        ("generation", "chrf", ("chrF (95 %)", "Loss ↓ (95 %)", "Difference (95 %)", "+8 −1", "↓ lower is better")),
        ("generation", "loss", ("Loss ↓ (95 %)", "Better by (95 %)", "+0.5", "improved")),
        ("text", "bits_per_byte", ("Bits per byte ↓ (95 %)", "Better by (95 %)", "improved", "↓ lower is better")),
    ],
    ids=["answers by chrF", "answers by loss", "passages"],
)
def test_texts_are_compared_so_that_positive_is_better(
    tmp_path: Path, task: str, metric: str, parts: Sequence[str], metier: Callable[..., Any]
) -> None:
    for name, said, nats in (("new", GOOD, 1.0), ("old", BAD, 1.5)):
        path = tmp_path / name
        text = f"version: 1\ntask: {task}\nname: small\ndata: {{train: a.jsonl}}\n"
        settings = f"evaluation: {{primary_metric: {metric}, resamples: 200, systems: [zero_shot]}}\n"
        claim_run_folder(path, recipe_hash="0" * 64, recipe_text=text + settings, resume=False)
        write_evaluation(
            _measured(_written(said, task=task, nats=nats), task=task), RunFolder(path).results("test").parent
        )
        finish_run(RunFolder(path), 0)
    outcome = metier("compare", tmp_path / "new", tmp_path / "old")
    assert (outcome.code, outcome.err) == (0, "")
    for part in parts:
        assert part in outcome.out
    assert "Accuracy" not in outcome.out
    assert ("Exact match" in outcome.out) == (task != "text")
    assert "Items" not in outcome.out


def test_a_run_of_texts_ends_with_its_metrics_and_how_to_use_it() -> None:
    systems = [_measured(_written(BAD), "zero_shot"), _measured(_written(GOOD, nats=0.5))]
    section = EvaluationSection(primary_metric="chrf", resamples=200)
    summary: Any = _Summary(systems, compare(systems[1], systems[:1], section=section))
    uses = [("Predict", "metier predict r IN OUT"), ("Chat", "metier chat r --base")]
    text = final_text(summary, report="r/report/index.html", uses=uses)
    assert "System     chrF (95 %)" in text
    assert "\n↓ lower is better\n" in text
    assert "Accuracy" not in text and "JSON" not in text
    assert text.endswith(
        "Report:  r/report/index.html\nPredict: metier predict r IN OUT\nChat:    metier chat r --base"
    )


def _evaluation(items: Sequence[Item], system: str = "tuned") -> Evaluation:
    about = About(system=system, kind="a test", parameters=1_200_000, bytes=4_800_000, seconds_per_thousand=2.0)
    return evaluate_items(items, about=about, set_name="test", labels=LABELS, resamples=200, seed=1)


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Write a run with these items."""

    def make(name: str, items: Sequence[Item]) -> Path:
        path = tmp_path / name
        claim_run_folder(path, recipe_hash="0" * 64, recipe_text=RECIPE, resume=False)
        write_evaluation(_evaluation(items), RunFolder(path).results("test").parent)
        finish_run(RunFolder(path), 0)
        return path

    return make


def test_two_runs_are_compared_on_their_items(make_run: Callable[..., Path], metier: Callable[..., Any]) -> None:
    outcome = metier("compare", make_run("new", _items(38)), make_run("old", _items(20)))
    assert (outcome.code, outcome.err) == (0, "")
    assert "On 40 test records:" in outcome.out
    assert "new     0.950 [" in outcome.out
    assert "+18 −0  improved" in outcome.out


def test_compare_as_json(make_run: Callable[..., Path], metier: Callable[..., Any]) -> None:
    outcome = metier("compare", make_run("new", _items(38)), make_run("old", _items(20)), "--json")
    plain = json.loads(outcome.out)
    assert plain["format"] == "metier.comparison"
    assert (plain["candidate"], plain["verdict"], plain["primary_metric"]) == ("new", "improved", "accuracy")
    assert plain["differences"][0]["baseline"] == "old"


def test_compare_takes_another_metric(make_run: Callable[..., Path], metier: Callable[..., Any]) -> None:
    runs = make_run("new", _items(38)), make_run("old", _items(20))
    outcome = metier("compare", *runs, "--evaluation.primary_metric", "macro_f1", "--json")
    assert json.loads(outcome.out)["primary_metric"] == "macro_f1"


def test_other_test_sets_are_refused_with_counts(make_run: Callable[..., Path], metier: Callable[..., Any]) -> None:
    outcome = metier("compare", make_run("new", _items(38)), make_run("old", _items(20, total=30, offset=15)))
    assert outcome.code == 2
    assert "of 40 items of new, 15 are missing in old" in outcome.err
    assert "old has 5 more, wanted the same items" in outcome.err


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda one, two: ("compare", one, one), "the same run twice, wanted different runs"),
        (lambda one, two: ("compare", one, two, "--set", "training.max_steps=1"),
         "--set training.max_steps=1: changes what was run, wanted a field of evaluation"),
        (lambda one, two: ("compare", one, two.parent / "none"), "none: does not exist, wanted a run folder"),
        (lambda one, two: ("verify", two.parent), "holds no run.json, wanted a run folder"),
    ],
    ids=["same", "training", "absent", "no run"],
)  # fmt: skip
def test_what_cannot_be_compared(
    prepare: Callable[..., Any], message: str, make_run: Callable[..., Path], metier: Callable[..., Any]
) -> None:
    outcome = metier(*prepare(make_run("one", _items(38)), make_run("two", _items(20))))
    assert outcome.code == 2
    assert message in outcome.err


def test_a_run_that_has_not_met_its_test_set(
    tmp_path: Path, make_run: Callable[..., Path], metier: Callable[..., Any]
) -> None:
    claim_run_folder(tmp_path / "young", recipe_hash="0" * 64, recipe_text=RECIPE, resume=False)
    outcome = metier("compare", make_run("one", _items(38)), tmp_path / "young")
    assert outcome.code == 2
    assert "has not reached its test set, wanted a complete run. Run its recipe with --resume." in outcome.err


def test_verify_accepts_honest_numbers_and_lists_others(
    make_run: Callable[..., Path], metier: Callable[..., Any]
) -> None:
    run = make_run("one", _items(38))
    assert metier("verify", run).out == "Every reported number is what the items give.\n"
    results = RunFolder(run).results("test")
    results.write_text(results.read_text(encoding="utf-8").replace("0.95,", "0.99,"), encoding="utf-8")
    outcome = metier("verify", run)
    assert outcome.code == 2
    assert "test/results.json: tuned.metrics.accuracy.value: reported 0.99, recomputed 0.95" in outcome.err
    assert "not what the items give" in outcome.out
    assert json.loads(metier("verify", run, "--json").out)["mismatches"]


def test_tables_are_aligned_and_long_cells_cut() -> None:
    lines = aligned(("Name", "Value"), [("a", "1"), ("日本", "2"), ("x" * 80, "3")]).splitlines()
    assert lines[0] == f"Name{' ' * 56}  Value"
    assert lines[3] == f"日本{' ' * 56}  2"
    assert lines[4] == f"{'x' * 59}…  3"


def test_a_table_without_rows_is_its_title() -> None:
    assert aligned(("Name",), []) == "Name\n────"


class _Data:
    splits: dict[str, Any] = {}  # noqa: RUF012


class _Summary:
    """As much of a `RunSummary` as the last text reads."""

    data = _Data()
    overfitting = None
    receipt = None
    ablation = None
    swaps = ()
    privacy = None
    looks = Looks()
    recipe: Mapping[str, Any] = {}

    def __init__(self, test: Sequence[Evaluation], comparison: Any) -> None:
        self.test, self.comparison = test, comparison


def test_the_last_text_has_table_verdict_gates_and_where_to_go_on() -> None:
    systems = [_evaluation(_items(20), "majority"), _evaluation(_items(38))]
    comparison = compare(systems[1], systems[:1], section=EvaluationSection(primary_metric="accuracy", resamples=200))
    gate = GateResult(gate="minimum.accuracy", wanted="0.99 or more", found="0.83", passed=False)
    summary: Any = _Summary(systems, replace(comparison, gates=(gate,)))
    text = final_text(summary, report="runs/a/report/index.html", uses=[("Predict", "metier predict runs/a IN OUT")])
    assert "On 40 test records:" in text
    assert "System    Accuracy (95 %)" in text
    assert "1.2 M       4.8 MB" in text
    assert comparison.sentence in text
    assert "gate minimum.accuracy: FAILED (wanted 0.99 or more, found 0.83)" in text
    assert text.endswith("Report:  runs/a/report/index.html\nPredict: metier predict runs/a IN OUT")


def test_gates_that_hold_say_so() -> None:
    gate = GateResult(gate="verdict", wanted="improved", found="improved", passed=True)
    comparison: Any = type("C", (), {"gates": (gate,)})
    assert gate_lines(comparison) == ["gate verdict: passed (wanted improved, found improved)"]
