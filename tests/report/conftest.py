"""Runs made by hand for the report: every number here is planted, none is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from metier.data.card import DataCard, SourceFile, SplitCard
from metier.data.records import Choice
from metier.data.splits import write_split
from metier.evaluation.files import write_comparison, write_evaluation, write_overfitting
from metier.evaluation.results import (
    ClassScore,
    Comparison,
    Difference,
    Estimate,
    Evaluation,
    GateResult,
    Item,
    Overfitting,
)
from metier.model.summary import ModelSummary
from metier.report.summary import AttemptSummary, Example, RunSummary
from metier.store.files import append_json_line, write_json, write_text
from metier.store.run_folder import RunFolder, RunState
from metier.training.history import History, StepRow, ValidationRow

EVIL = '<script>alert("x")</script> & $5 | `a` *b*'
LONG = "a label whose name goes on and on because somebody wrote a whole sentence into the label column of the table"
RTL = "إلغاء الطلب 🛒"
LABELS = ("cancel order", "change address", "track refund", "complaint", "delivery time", "invoice", RTL, LONG, EVIL)


def estimate(value: float | None, spread: float = 0.03, n: int = 240, reason: str | None = None) -> Estimate:
    """An estimate with a symmetric interval, or an unknown one."""
    if value is None:
        return Estimate(value=None, low=None, high=None, n=n, method="none", reason=reason or "too few records")
    return Estimate(value=value, low=value - spread, high=min(1.0, value + spread), n=n, method="wilson")


def confusion_of(labels: tuple[str, ...], per_label: int = 26) -> dict[str, dict[str, int]]:
    """Mostly right, with planted mistakes between neighbours."""
    table: dict[str, dict[str, int]] = {}
    for number, label in enumerate(labels):
        wrong = number % 4
        table[label] = {label: per_label - wrong}
        if wrong:
            table[label][labels[(number + 1) % len(labels)]] = wrong
    table[labels[0]]["(none)"] = 1
    return table


def evaluation(system: str, accuracy: float | None, *, set_name: str = "test", **changes: Any) -> Evaluation:
    """One system on one set."""
    kinds = {
        "majority": "most frequent label", "tfidf": "word and character n-grams, logistic regression",
        "probe": "logistic regression on frozen features of minilm", "zero_shot": "smollm2-135m without training",
        "few_shot": "smollm2-135m with examples in the prompt", "tuned": "minilm, all layers",
    }  # fmt: skip
    metrics = {
        "macro_f1": estimate(None if accuracy is None else accuracy - 0.012, reason="no answer to 3 labels"),
        "accuracy": estimate(accuracy),
        "macro_precision": estimate(None, reason="a label was never answered"),
    }
    labels = changes.pop("labels", LABELS)
    values: dict[str, Any] = {
        "system": system, "kind": kinds.get(system, system), "set": set_name, "task": "classification",
        "labels": labels, "n": 240, "metrics": metrics, "confusion": confusion_of(labels),
        "per_class": {
            label: ClassScore(precision=0.9, recall=1 - 0.04 * (number % 4), f1=0.95 - 0.03 * number % 4, support=26,
                              predicted=27)
            for number, label in enumerate(labels)
        },
        "settings": {"rule": "sum_minus_mean", "tried": [{"rule": "sum", "macro_f1": 0.21}]},
        "trained_on": "561 examples", "seconds_per_thousand": 3.4, "parameters": 22_700_000, "bytes": 90_800_000,
    }  # fmt: skip
    return Evaluation(**{**values, **changes})


def difference(baseline: str, metric: str, gain: float, verdict: str) -> Difference:
    """The candidate minus one baseline."""
    return Difference(
        baseline=baseline, metric=metric, candidate_value=0.938, baseline_value=0.938 - gain,
        difference=Estimate(value=gain, low=gain - 0.031, high=gain + 0.03, n=240, method="bca bootstrap (2000)"),
        p_value=0.0002 if gain > 0.05 else 0.214, p_holm=0.0008 if gain > 0.05 else None,
        gained=31, lost=4, smallest_detectable=0.041, verdict=verdict,
        items_needed=1_150 if verdict == "underpowered" else None,
    )  # fmt: skip


def history(steps: int = 140) -> History:
    """A loss that falls, with some noise, and five validations."""
    rows = tuple(
        StepRow(step=n, epoch=n / 35, loss=2.2 * 0.975**n + 0.09 + 0.08 * ((n * 7919) % 13 - 6) / 6 * 0.985**n,
                learning_rate=5e-4, grad_norm=1.0, tokens=64, seconds=0.4)
        for n in range(1, steps + 1)
    )  # fmt: skip
    validations = tuple(
        ValidationRow(step=step, epoch=step / 35, metrics={"macro_f1": value, "accuracy": value}, best=step == 105)
        for step, value in ((35, 0.71), (70, 0.88), (105, 0.934), (140, 0.929))
    )
    return History(
        steps=rows, validations=validations if steps else (), best_step=105 if steps else 0,
        stopped="finished" if steps else "closed form", seconds=74.2 if steps else 0.0, examples=561,
        tokens_computed=48_000, tokens_logical=196_000,
    )  # fmt: skip


def model_summary(name: str, method: str) -> ModelSummary:
    """A base model and what learned in it."""
    small = name == "minilm"
    return ModelSummary(
        name=name, kind="encoder" if small else "decoder", architecture="BertModel" if small else "LlamaForCausalLM",
        source="packaged", weights_sha256="ab" * 32, licence="Apache-2.0",
        notes=() if small else ("Packaged weights are dequantised 4-bit weights, not the hub's.",),
        parameters=22_700_000 if small else 134_500_000, trainable_parameters=22_700_000 if small else 3_200_000,
        layers=6 if small else 30, hidden_size=384 if small else 576, vocabulary=30_522, context=512, method=method,
        trunk_layers=0 if small else 20, bytes=90_800_000 if small else 538_000_000,
        trainable_groups={"layers.20": 1000, "head": 200},
    )  # fmt: skip


def data_card(labels: tuple[str, ...]) -> DataCard:
    """A card with rejected, changed and doubtful rows."""
    rows = {"train": 561, "validation": 99, "test": 240}
    splits = {
        name: SplitCard(
            name=name, rows=count, groups=count, label_counts={label: count // len(labels) for label in labels},
            fingerprint=f"{number}c" * 32, official=False,
            flags={"duplicate": 3, "in_train": 1} if name == "test" else {},
        )
        for number, (name, count) in enumerate(rows.items())
    }  # fmt: skip
    source = SourceFile(
        name="tickets <2024>.csv", path="/data/tickets.csv", sha256="cd" * 32, format="csv", encoding="windows-1252",
        delimiter=";", rows=923, columns=("subject", "body", "intent"),
    )  # fmt: skip
    return DataCard(
        sources=(source,), text_columns=("subject", "body"), template=None, label_column="intent", group_column=None,
        found_by_itself=("text",), labels=labels, splits=splits,
        rejected={"duplicate": 14, "empty text": 5, "contradiction": 4},
        notices=("Read as Windows-1252: 3 bytes are no UTF-8.", "Column `body` was found by itself."),
        changed={"control characters removed": 7, "white space": 112}, fingerprint="ef" * 32,
    )  # fmt: skip


def examples() -> tuple[Example, ...]:
    """Right and wrong ones with texts that try to break the page."""
    texts = (
        (EVIL, LABELS[0], LABELS[1]),
        ("مرحبا، أريد إلغاء طلبي رقم 4711 من فضلكم. 😀", RTL, LABELS[0]),
        ("My parcel was meant to arrive on Monday. " * 40, "delivery time", "complaint"),
        ("Where do I find the invoice for my last order?\nIt is not in the portal.", "invoice", "invoice"),
        ("I want my money back, when will it arrive?", "track refund", "track refund"),
    )
    return tuple(
        Example(
            id=f"{number:02d}f3a9c07b5d21ee-0", source="tickets.csv", row=100 + number, text=text, gold=gold,
            answers={"majority": LABELS[0], "tfidf": gold, "zero_shot": None, "tuned": answer},
        )
        for number, (text, gold, answer) in enumerate(texts)
    )  # fmt: skip


def comparison() -> Comparison:
    """Better than all baselines but one."""
    systems = (("majority", 0.83), ("tfidf", 0.021), ("probe", 0.064), ("zero_shot", 0.55), ("few_shot", 0.38))
    verdicts = {"tfidf": "underpowered"}
    first, second = (
        tuple(difference(name, metric, gain, verdicts.get(name, "improved")) for name, gain in systems)
        for metric in ("macro_f1", "accuracy")
    )
    return Comparison(
        candidate="tuned", set="test", n=240, primary_metric="macro_f1", smallest_useful_gain=0.02,
        not_worse_margin=None, differences=first, accuracy_differences=second, verdict="underpowered",
        sentence=(
            "tuned reaches a macro F1 of 0.938 on 240 test records, 0.021 above tfidf, the best baseline "
            "(95 % interval -0.010 to 0.051): with so few records a useful gain can be neither shown nor ruled out."
        ),
        best_baseline="tfidf",
        gates=(
            GateResult(gate="verdict", wanted="improved", found="underpowered", passed=False),
            GateResult(gate="minimum.accuracy", wanted="at least 0.900", found="0.920 (lower bound)", passed=True),
        ),
        openings=2,
    )  # fmt: skip


@pytest.fixture
def make_summary() -> Callable[..., RunSummary]:
    """Makes a run; `recipe` parts and any field of `RunSummary` may be replaced."""

    def make(
        *, labels: tuple[str, ...] = LABELS, recipe: Mapping[str, Any] | None = None, **changes: Any
    ) -> RunSummary:
        return replace(build_summary(labels, recipe or {}), **changes)

    return make


@pytest.fixture
def summary(make_summary: Callable[..., RunSummary]) -> RunSummary:
    """A run with everything in it."""
    return make_summary()


def build_summary(labels: tuple[str, ...], recipe: Mapping[str, Any]) -> RunSummary:
    """A finished run with three candidates and six systems."""
    sizes: dict[str, Any] = {"parameters": None, "bytes": None}
    test = (
        evaluation("majority", 0.112, labels=labels, **sizes, seconds_per_thousand=0.0004),
        evaluation("tfidf", 0.929, labels=labels, parameters=412_000, bytes=3_300_000, seconds_per_thousand=0.21),
        evaluation("probe", 0.886, labels=labels),
        evaluation("zero_shot", 0.4, labels=labels, trained_on="no examples", bytes=538_000_000),
        evaluation("few_shot", None, labels=labels, trained_on="8 examples", seconds_per_thousand=None),
        evaluation(
            "tuned", 0.95, labels=labels,
            clean_metrics={"macro_f1": estimate(0.941, n=236), "accuracy": estimate(0.953, n=236)},
        ),
    )  # fmt: skip
    attempts = tuple(
        AttemptSummary(
            name=name, number=number, model=model_summary(base, method), history=history(steps),
            validation=evaluation("tuned", value, set_name="validation", labels=labels, n=99),
            promoted=name == "encoder",
        )
        for number, (name, base, method, steps, value) in enumerate(
            (("llm", "smollm2-135m", "lora", 140, 0.921), ("encoder", "minilm", "full", 140, 0.946),
             ("probe", "minilm", "head", 0, 0.89)), 1,
        )
    )  # fmt: skip
    plain_recipe = {
        "version": 1, "name": "support-tickets", "task": "classification", "seed": 17,
        "data": {"train": "tickets.csv", "text": ["subject", "body"], "label": "intent"},
        "adaptation": {"method": "lora", "r": 16}, "training": {"num_train_epochs": 4.0, "learning_rate": None},
        "candidates": {"llm": {}, "encoder": {"adaptation": {"method": "full"}}, "probe": {}},
        "evaluation": {"primary_metric": "macro_f1"}, "report": {"examples": True, "max_examples": 12},
        "card": {"license": "apache-2.0", "language": ["en"], "author": "The <support> team"},
        **recipe,
    }  # fmt: skip
    return RunSummary(
        name="support-tickets", run_id="5b1f" * 16, folder="support-tickets-5b1f5b1f", recipe=plain_recipe,
        lock={
            "seed": 17,
            "machine": {"system": "Linux", "cpu": "Some processor", "cores": 2, "memory_bytes": 16_000_000_000},
            "hardware": {"device": "cpu", "dtype": "float32", "threads": 2},
            "metier": "0.1.0",
            "packages": {"torch": "2.10.0"},
            "engine": {"attention": "prefix", "tokens_per_microbatch": 2048},
        },
        data=data_card(labels), attempts=attempts, test=test, comparison=comparison(),
        overfitting=Overfitting(
            metric="macro_f1",
            values={"train": estimate(0.991, 0.009, 100), "validation": estimate(0.934, 0.04, 99),
                    "test": estimate(0.938, 0.03, 240)},
            sentence="0.053 lower on unseen records than on its own training records: some overfitting.",
        ),
        examples=examples(), seconds=412.0,
        stage_seconds={"data": 1.2, "baselines": 88.0, "attempt llm": 240.0, "attempt encoder": 74.2, "test": 8.1},
        peak_memory_bytes=1_900_000_000,
    )  # fmt: skip


@pytest.fixture
def make_run(tmp_path: Path, make_summary: Callable[..., RunSummary]) -> Callable[..., RunFolder]:
    """Writes a run folder as the other rooms would: 6 test records, of which the candidate has 4 right."""

    def make(*, examples: bool = True, most: int = 12) -> RunFolder:
        made = make_summary(recipe={"report": {"examples": examples, "max_examples": most}})
        folder = RunFolder(tmp_path / "run")
        write_text(folder.recipe, yaml.safe_dump(dict(made.recipe), sort_keys=False))
        write_json(folder.lock, {**made.lock, "peak_memory_bytes": 123_000_000}, format="lock")
        write_json(folder.data_card, made.data, format="card")
        state = RunState(recipe_hash="5b1f" * 16, status="complete", started="2025-01-01T00:00:00+00:00")
        write_json(folder.state, state, format="run")
        write_json(folder.chosen, {"name": "encoder", "number": 2}, format="chosen")
        for attempt in made.attempts:
            place = folder.attempt(attempt.number)
            write_json(place.summary, attempt.model, format="model")
            write_json(place.history_summary, attempt.history, format="history")
            write_evaluation(attempt.validation, place.results("validation").parent)
        _write_test(folder, made)
        if made.overfitting is not None:
            write_overfitting(made.overfitting, folder.overfitting)
        _write_events(folder)
        return folder

    return make


def _write_test(folder: RunFolder, made: RunSummary) -> None:
    """`tuned` is written first, so that a reader has to put it last."""
    ids = [f"id{number}-0" for number in range(6)]
    right = {"tuned": 4, "tfidf": 3}
    for system in reversed(made.test):
        good = right.get(system.system, 0)
        answers = {id: (LABELS[0] if number < good else LABELS[1]) for number, id in enumerate(ids)}
        write_evaluation(replace(system, items=items_of(LABELS, answers)), folder.results("test").parent)
    write_comparison(made.comparison, folder.comparison("test").parent)
    records = [Choice(id=id, text=f"secret text {number}", label=LABELS[0]) for number, id in enumerate(ids)]
    folder.data.mkdir(exist_ok=True)
    write_split(records, folder.split("test"))


def _write_events(folder: RunFolder) -> None:
    """Two stages, one inside the other, a rest of an hour, and a third."""
    rows = (
        ("00:00:30", "attempt llm", 20.0), ("00:00:40", "train", 40.0), ("01:00:50", "test", 10.0),
    )  # fmt: skip
    for time, stage, seconds in rows:
        row = {"time": f"2025-01-01T{time}+00:00", "stage": stage, "kind": "stage_finished", "seconds": seconds}
        append_json_line(folder.events, row)


def items_of(labels: tuple[str, ...], answers: Mapping[str, str | None]) -> tuple[Item, ...]:
    """Items whose gold is label 0, with these answers by id."""
    return tuple(
        Item(id=id, group=None, gold=labels[0], answer=answer, label_logprobs=None, prompt_hash=None,
             source="tickets.csv", row=row)
        for row, (id, answer) in enumerate(answers.items(), 1)
    )  # fmt: skip
