"""Runs whose answers are written, and runs that read on: items by hand, numbers by evaluation's own code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from metier.data.card import DataCard, SourceFile, SplitCard
from metier.data.records import Conversation, Message, Passage, Record
from metier.data.splits import write_split
from metier.evaluation.compare import compare
from metier.evaluation.evaluate import About, evaluate_items
from metier.evaluation.files import write_comparison, write_evaluation, write_overfitting
from metier.evaluation.measures import MEASURES
from metier.evaluation.overfitting import judge_overfitting
from metier.evaluation.results import Answer, Evaluation
from metier.model.summary import ModelSummary
from metier.recipe.sections import EvaluationSection
from metier.report.gather import gather_summary
from metier.report.summary import RunSummary
from metier.store.files import write_json, write_text
from metier.store.run_folder import RunFolder, RunState
from metier.training.history import History, StepRow, ValidationRow

EVIL = '<script>alert("x")</script> & `a` *b*'
CODE = "def answer():\n    if True:\n        return 42\n"
KINDS = {
    "copy_input": ("the question, unchanged", "no examples"),
    "nearest_answer": ("answer of the most similar training question", "400 examples"),
    "zero_shot": ("base model, no examples", "no examples"),
    "few_shot": ("base model, 2 examples in the prompt", "2 examples in the prompt"),
    "tuned": ("smollm2-135m, lora", "400 examples"),
}
Said = Mapping[str, Sequence[str | None]]
"""System name to its answers, in the order of the records; `…` at the end: cut off by the limit of tokens."""


def talk(number: int, asked: str, gold: str, *, system: str = "You are a clerk.") -> Conversation:
    """A record with a system prompt, one question and its answer."""
    turns = (("system", system), ("user", asked), ("assistant", gold))
    return Conversation(
        id=f"{number * 7919 % 9973:04x}f3a9c07b5d21-0", text=asked, source="mails.jsonl", row=number + 1,
        messages=tuple(Message(role=role, content=content) for role, content in turns),
    )  # fmt: skip


def talks(n: int = 20) -> list[Conversation]:
    """Questions about parcels, one with markup, one very long, one with code in its answer."""
    records = []
    for number in range(n):
        asked = f"Where is parcel {number}? It was meant to come on day {number % 7}."
        gold = f"Hello,\n\nparcel {number} is on its way and comes on day {number % 7 + 1}.\n\nYours, the clerk"
        if number == 1:
            asked = f"{EVIL} parcel {number}?"
        if number == 2:
            asked = "The whole story of my parcel. " * 90
        if number == 3:
            gold = CODE
        records.append(talk(number, asked, gold))
    return records


def said(records: Sequence[Conversation]) -> dict[str, list[str | None]]:
    """A tuned model that is nearly right, a base that rambles, and baselines."""
    golds = [record.gold for record in records]
    tuned: list[str | None] = [gold.replace("on its way", "on the way") for gold in golds]
    tuned[0], tuned[4] = "I do not know.", None
    rambling = "I am an assistant and I cannot know where a parcel is. " * 5
    return {
        "copy_input": [record.text for record in records],
        "nearest_answer": [golds[0] for _ in golds],
        "zero_shot": [f"{rambling}…" for _ in golds],
        "few_shot": [f"Hello,\n\nparcel {number} is lost.\n\nYours" for number in range(len(golds))],
        "tuned": tuned,
    }


def json_talks(n: int = 20) -> tuple[list[Conversation], dict[str, list[str | None]]]:
    """Questions whose answers are JSON objects, and what systems say to them."""
    records, tuned = [], []
    for number in range(n):
        kind = ("refund", "delivery", "invoice")[number % 3]
        reply = (
            f"Hello,\n\nwe have seen your question number {number} about the {kind} and look into it today.\n\nYours"
        )
        records.append(talk(number, f"Question {number} about my {kind}", json.dumps({"intent": kind, "reply": reply})))
        wrong = {"intent": "other" if number % 5 == 0 else kind, "reply": reply.replace("today", "soon")}
        tuned.append(json.dumps(wrong) if number != 7 else "{broken")
    golds = [record.gold for record in records]
    return records, {"nearest_answer": [golds[0] for _ in golds], "zero_shot": ["Sure!" for _ in golds], "tuned": tuned}


def measured(
    task: str, system: str, records: Sequence[Record], answers: Sequence[str | None], *, set_name: str = "test"
) -> Evaluation:
    """One system's answers, counted and measured as a run does it; language models with a loss."""
    given = [
        Answer(id=record.id, label=None, text=None if text is None else text.removesuffix("…"), seconds=0.1,
               stop="none" if text is None else "length" if text.endswith("…") else "end of turn",
               reason="cannot be asked: it is too long" if text is None else None)
        for record, text in zip(records, answers, strict=True)
    ]  # fmt: skip
    speed = {"tuned": -1.2, "few_shot": -2.2, "zero_shot": -2.6}.get(system)
    scored = None
    if speed is not None:
        lengths = [max(1, len((record.gold or record.text).split())) for record in records]
        scored = [(speed * n * (1 + 0.1 * (place % 5)), n) for place, n in enumerate(lengths)]
    items = MEASURES[task].items(records, given, scored)
    kind, saw = KINDS[system]
    about = About(
        system=system, kind=kind, task=task, trained_on=saw, seconds_per_thousand=120.0 if speed else 0.4,
        settings={**MEASURES[task].settings(), **({"max_new_tokens": 96} if speed and task != "text" else {})},
        parameters=134_500_000 if speed else None, bytes=538_000_000 if speed else None,
    )  # fmt: skip
    return evaluate_items(items, about=about, set_name=set_name, labels=(), resamples=200, seed=17)


def model() -> ModelSummary:
    """The base model and what learned in it."""
    return ModelSummary(
        name="smollm2-135m", kind="decoder", architecture="LlamaForCausalLM", source="packaged",
        weights_sha256="ab" * 32, licence="Apache-2.0", notes=(), parameters=134_500_000,
        trainable_parameters=3_200_000, layers=30, hidden_size=576, vocabulary=49_152, context=8192, method="lora",
        trunk_layers=20, bytes=538_000_000, trainable_groups={"layers.20": 3_200_000},
    )  # fmt: skip


def history() -> History:
    """A loss that falls."""
    steps = tuple(
        StepRow(step=n, epoch=n / 50, loss=1.9 * 0.985**n + 0.4, learning_rate=5e-4, grad_norm=1.0, tokens=640,
                seconds=0.8)
        for n in range(1, 101)
    )  # fmt: skip
    validations = tuple(
        ValidationRow(step=step, epoch=step / 50, metrics={"loss": value}, best=step == 100)
        for step, value in ((50, 1.1), (100, 0.9))
    )
    return History(
        steps=steps, validations=validations, best_step=100, stopped="finished", seconds=83.0, examples=400,
        tokens_computed=61_000, tokens_logical=140_000,
    )  # fmt: skip


def card(task: str, n: int) -> DataCard:
    """What was read."""
    source = SourceFile(
        name="mails.jsonl", path="/data/mails.jsonl", sha256="cd" * 32, format="jsonl", encoding="utf-8",
        delimiter=None, rows=480, columns=("messages",),
    )  # fmt: skip
    splits = {
        name: SplitCard(name=name, rows=rows, groups=rows, label_counts={}, fingerprint="1c" * 32, official=False)
        for name, rows in (("train", 400), ("validation", 60), ("test", n))
    }
    texts = {"text_columns": ("body",), "shape": "documents"} if task == "text" else {"shape": "messages"}
    return DataCard(**{
        "sources": (source,), "text_columns": (), "template": None, "label_column": "", "group_column": None,
        "found_by_itself": (), "labels": (), "splits": splits, "rejected": {}, "changed": {}, "task": task,
        "notices": ("mails.jsonl: read as OpenAI messages.",), "fingerprint": "ef" * 32,
        "counts": {} if task == "text" else {"turns": 960, "answers": 480}, **texts,
    })  # fmt: skip


def write_run(
    path: Path,
    records: Sequence[Record],
    answers: Said,
    *,
    task: str = "generation",
    recipe: Mapping[str, Any] = {},
    primary: str = "chrf",
    gain: float = 0.02,
) -> RunFolder:
    """A run folder as the other rooms leave it; the last system is the candidate."""
    folder = RunFolder(path)
    test = [measured(task, system, records, texts) for system, texts in answers.items()]
    section = EvaluationSection(primary_metric=primary, smallest_useful_gain=gain, resamples=200)
    comparison = compare(test[-1], test[:-1], section=section, openings=1)
    for evaluation in test:
        write_evaluation(evaluation, folder.results("test").parent)
    write_comparison(comparison, folder.comparison("test").parent)
    own = measured(task, "tuned", records, answers["tuned"], set_name="validation")
    place = folder.attempt(1)
    write_json(place.summary, model(), format="model")
    write_json(place.history_summary, history(), format="history")
    write_evaluation(own, place.results("validation").parent)
    sets = {"train": replace(test[-1], set="train"), "validation": own, "test": test[-1]}
    write_overfitting(judge_overfitting(sets, primary), folder.overfitting)
    plain = {
        "version": 1, "name": "parcel-mails", "task": task, "seed": 17, "data": {"train": "mails.jsonl"},
        "adaptation": {"method": "lora"}, "training": {"num_train_epochs": 2.0},
        "generation": {"max_new_tokens": None, "temperature": 0.0, "stop": []},
        "evaluation": {"primary_metric": primary}, "report": {"examples": True, "max_examples": 12},
        "card": {"license": "apache-2.0", "language": ["en"]}, **recipe,
    }  # fmt: skip
    write_text(folder.recipe, yaml.safe_dump(plain, sort_keys=False))
    write_json(folder.lock, {"seed": 17, "metier": "0.1.0", "hardware": {"device": "cpu"}}, format="lock")
    write_json(folder.data_card, card(task, len(records)), format="card")
    state = RunState(recipe_hash="5b1f" * 16, status="complete", started="2025-01-01T00:00:00+00:00")
    write_json(folder.state, state, format="run")
    write_json(folder.chosen, {"name": "tuned", "number": 1}, format="chosen")
    chat = {"kind": "chat", "instruction": "Answer the mail.", "system": "You are a `clerk` of\nLarkmoor.", "shots": []}
    write_json(folder.prompt, {"kind": "none"} if task == "text" else chat, format="prompt")
    folder.data.mkdir(exist_ok=True)
    write_split(records, folder.split("test"), kind="passage" if task == "text" else "conversation")
    return folder


@pytest.fixture(scope="session")
def usual_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of 20 written answers that most tests read; it is copied, never changed."""
    records = talks()
    return write_run(tmp_path_factory.mktemp("usual") / "run", records, said(records)).path


@pytest.fixture
def make_run(tmp_path: Path, usual_run: Path) -> Callable[..., RunFolder]:
    """Writes a run of 20 written answers; anything of `write_run` may be given."""

    def make(records: Sequence[Record] | None = None, answers: Said | None = None, **changes: Any) -> RunFolder:
        if records is None and not changes:
            return RunFolder(Path(shutil.copytree(usual_run, tmp_path / "run")))
        if records is None or answers is None:
            chosen = talks()
            return write_run(tmp_path / "run", chosen, said(chosen), **changes)
        return write_run(tmp_path / "run", records, answers, **changes)

    return make


@pytest.fixture
def make_summary(make_run: Callable[..., RunFolder]) -> Callable[..., RunSummary]:
    """The same, read back."""
    return lambda *given, **changes: gather_summary(make_run(*given, **changes))


@pytest.fixture
def make_reading(make_summary: Callable[..., RunSummary]) -> Callable[..., RunSummary]:
    """A run of task `text` with this many passages, four to a document when `grouped`."""

    def make(n: int = 12, *, grouped: bool = False) -> RunSummary:
        records = [
            Passage(id=f"{number * 7919 % 9973:04x}aa-0", text=f"Paragraph {number}. " * (3 + number % 4),
                    source="handbook.md", row=number + 1, group=f"person {number // 4}" if grouped else None)
            for number in range(n)
        ]  # fmt: skip
        nothing: list[str | None] = [None] * n
        answers = {"zero_shot": nothing, "tuned": nothing}
        return make_summary(records, answers, task="text", primary="bits_per_byte")

    return make


@pytest.fixture
def json_run(make_summary: Callable[..., RunSummary]) -> RunSummary:
    """A run whose answers are JSON objects."""
    records, answers = json_talks()
    return make_summary(records, answers, primary="field_f1")
