"""What lm-evaluation-harness logged with `--log_samples` for a task of metier's, as a system among others.

Every sample's own verdict is counted again from its responses, and its right answer held against the record's, so that
samples of other data, or changed ones, are told instead of judged. Loads neither torch nor the harness.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metier.data.records import Input, Record
from metier.data.table import counted
from metier.errors import DataError
from metier.evaluation.elsewhere.harness import RULES, pick
from metier.evaluation.labels.label_metrics import MISSING
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions
from metier.events import Notice, Observer, tell
from metier.store.files import read_json_lines
from metier.store.fingerprint import file_sha256

_FIX = "Export the task again (metier export RUN --as lm-eval), and let the harness log its samples."


@dataclass(eq=False, kw_only=True)
class HarnessAnswers:
    """What a model answered in the harness, by record id."""

    name: str
    kind: str
    settings: Mapping[str, Any]
    """File, checksum, samples, how a choice was picked, and what is missing or of no record."""
    trained_on: str = "unknown"
    parameters: int | None = None
    bytes: int | None = None
    answers: Mapping[str, Answer] = field(default_factory=dict, repr=False)

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """The answer to every input; one that the harness was not asked has none."""
        for given in inputs:
            yield self.answers.get(given.id) or Answer(id=given.id, label=None, stop="none", reason=MISSING)


def import_samples(
    path: Path,
    records: Sequence[Record],
    *,
    name: str,
    labels: Sequence[str] = (),
    rule: str = RULES[0],
    observers: Sequence[Observer] = (),
) -> HarnessAnswers:
    """The samples that the harness logged for a task of `harness.export_tasks`, as a system.

    Args:
        path: `samples_NAME_….jsonl`.
        records: What was answered; their ids and right answers are used.
        name: Name of the system.
        labels: What may be answered; empty where answers are texts.
        rule: How a choice is picked; one of `RULES`.
        observers: Told what is missing or of no record.

    Raises:
        DataError: A sample is not of such a task, is there twice, has another right answer than the record, says
            another verdict than its numbers; or none is about these records.
    """
    if not path.is_file():
        raise DataError(str(path), "is no file", "samples_….jsonl, as --log_samples writes it below --output_path")
    rows = read_json_lines(path)
    if not rows:
        raise DataError(path.name, "holds no samples", "what --log_samples writes")
    golds = {record.id: record.gold for record in records}
    answers: dict[str, Answer] = {}
    strange = 0
    for number, row in enumerate(rows, start=1):
        where = f"{path.name}, line {number}"
        try:
            answer, gold = _written(row, where) if not labels else _chosen(row, labels, rule, where)
        except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
            raise DataError(where, "is no sample of a task that metier exported", "id, resps, metrics", _FIX) from error
        if answer.id not in golds:
            strange += 1
            continue
        if answer.id in answers:
            raise DataError(where, "is a second sample of its record", "one for each record and filter")
        if gold != golds[answer.id]:
            raise DataError(where, "has another right answer than its record", "samples of the data as it is now", _FIX)
        answers[answer.id] = answer
    if not answers:
        found = f"none of its {counted(len(rows), 'sample')} is about a record of this set"
        raise DataError(path.name, found, f"samples of these {counted(len(records), 'record')}", _FIX)
    counts = {"samples": len(rows), "missing": len(records) - len(answers), "of_no_record": strange}
    _tell(name, counts, observers)
    settings = {"file": path.name, "sha256": file_sha256(path), **counts, **({"rule": rule} if labels else {})}
    return HarnessAnswers(name=name, kind=f"lm-eval samples ({path.name})", settings=settings, answers=answers)


def _written(row: Mapping[str, Any], where: str) -> tuple[Answer, str]:
    """A written answer, and the right one."""
    doc, (text,) = row["doc"], row["filtered_resps"]
    gold = doc["gold"]
    if not isinstance(text, str):
        raise TypeError("a response that is no text")
    _agree(row, "exact_match", float(text == gold), where)
    said = text.strip()
    return Answer(id=str(doc["id"]), label=None, text=said, stop="end of turn"), str(gold)


def _chosen(row: Mapping[str, Any], labels: Sequence[str], rule: str, where: str) -> tuple[Answer, str]:
    """A label with the probabilities of all, and the right one."""
    doc = row["doc"]
    choices, own = [str(choice) for choice in doc["choices"]], [str(label) for label in doc["labels"]]
    sums = [_log_probability(each) for each in row["filtered_resps"]]
    if len({len(sums), len(choices), len(own)}) > 1:
        found = f"has {len(sums)} probabilities for {len(choices)} choices and {len(own)} labels"
        raise DataError(where, found, "one each")
    if not all(map(math.isfinite, sums)):
        raise DataError(where, "has a log-probability that is no finite number", "what the model said", "")
    if set(own) != set(labels):
        differ = len(set(own) ^ set(labels))
        raise DataError(where, f"has {differ} labels that differ", f"the {len(labels)} labels of this data", _FIX)
    for known in RULES:
        _agree(row, known, float(pick(sums, choices, known) == doc["label"]), where)
    top = max(sums)
    total = top + math.log(sum(math.exp(each - top) for each in sums))
    answer = Answer(
        id=str(doc["id"]), label=own[pick(sums, choices, rule)],
        label_logprobs={label: each - total for label, each in zip(own, sums, strict=True)},
    )  # fmt: skip
    return answer, own[doc["label"]]


def _log_probability(value: Any) -> float:
    """The number of one response: `[-3.2, false]`, with the number as text in files."""
    inner = value[0] if isinstance(value, list | tuple) else value
    return float(inner[0] if isinstance(inner, list | tuple) else inner)


def _agree(row: Mapping[str, Any], metric: str, found: float, where: str) -> None:
    said = row.get(metric)
    if isinstance(said, int | float) and float(said) != found:
        raise DataError(
            where, f"says {metric} = {said:g}, and its responses give {found:g}", "samples of this task as they were",
            "Log them again.",
        )  # fmt: skip


def _tell(name: str, counts: Mapping[str, int], observers: Sequence[Observer]) -> None:
    said = []
    if counts["missing"]:
        said.append(f"{counted(counts['missing'], 'record')} that the harness was not asked, counted as wrong")
    if counts["of_no_record"]:
        said.append(f"{counted(counts['of_no_record'], 'sample')} of no record of this set, left out")
    if said:
        tell(observers, Notice(topic="answers", message=f"{name}: {'; '.join(said)}."))
