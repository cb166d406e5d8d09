"""Exchange with lm-evaluation-harness: our records as one of its tasks, its per-item samples as a system of ours.

`export_task` writes a task's YAML and its items as JSON Lines; the harness then asks any model that it can load. What
it writes with `--log_samples` is read back by `import_samples` as a system, so that its answers stand in the same
table as everybody else's. Checked against 0.4.13. Loads neither torch nor the harness.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from metier.data.records import Choice, Input, Record
from metier.errors import ArgumentError, DataError
from metier.evaluation.labels.label_metrics import MISSING
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions
from metier.model.prompt import PromptFormat
from metier.store.files import read_json_lines, write_text
from metier.store.fingerprint import file_sha256

RULES = ("acc", "acc_norm", "acc_bytes")
"""How the harness picks a choice: by the sum of log-probabilities, by it over characters, by it over UTF-8 bytes."""


@dataclass(frozen=True, kw_only=True)
class HarnessTask:
    """A task that was written."""

    name: str
    yaml: Path
    items: Path


def export_task(
    records: Sequence[Record],
    folder: Path,
    *,
    name: str,
    prompt: PromptFormat | None = None,
    instruction: str = "",
    most_tokens: int = 256,
) -> HarnessTask:
    """Write records as a task of the harness, which asks what metier asks of a model without a chat template.

    Args:
        records: Choices, which need a prompt, or records with a gold answer to be written.
        folder: Where `NAME.yaml` and `NAME.jsonl` are put; the YAML names the items by their full path.
        name: The task's name.
        prompt: The words of the prompt and of the labels; for choices.
        instruction: What precedes the text, where answers are written.
        most_tokens: Longest written answer.

    Raises:
        ArgumentError: There are no records, the name cannot be a task's, or choices come without a prompt.
    """
    if not records or not name.replace("_", "").replace("-", "").isalnum():
        raise ArgumentError("export", f"{len(records)} records as the task {name!r}", "records, and a plain name")
    items = folder / f"{name}.jsonl"
    common: dict[str, Any] = {
        "task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(items.resolve())}},
        "test_split": "test",
    }  # fmt: skip
    if all(isinstance(record, Choice) for record in records):
        if prompt is None:
            raise ArgumentError("export", "choices without a prompt", "the prompt that names their labels")
        rows = [_choice_row(record, prompt) for record in records]
        task = common | {
            "output_type": "multiple_choice", "doc_to_text": "{{prompt}}", "doc_to_choice": "{{choices}}",
            "doc_to_target": "label", "target_delimiter": " ",
            "metric_list": [{"metric": rule, "aggregation": "mean", "higher_is_better": True} for rule in RULES[:2]],
        }  # fmt: skip
    else:
        rows = [_written_row(record, instruction) for record in records]
        task = common | {
            "output_type": "generate_until", "doc_to_text": "{{prompt}}", "doc_to_target": "{{gold}}",
            "target_delimiter": " ",
            "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": most_tokens, "do_sample": False},
            "filter_list": [
                {"name": "strip", "filter": [{"function": "remove_whitespace"}, {"function": "take_first"}]}
            ],
            "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        }  # fmt: skip
    text = yaml.safe_dump(task | {"metadata": {"version": 1.0}}, sort_keys=False, allow_unicode=True)
    write_text(items, "".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows))
    write_text(folder / f"{name}.yaml", text)
    return HarnessTask(name=name, yaml=folder / f"{name}.yaml", items=items)


def harness_prompt(prompt: PromptFormat, text: str) -> str:
    """The prompt as a plain text, as metier writes it for a model without a chat template."""
    turns = prompt.messages(text)
    lines = [f"{turn['content']}\nAnswer:" if turn["role"] == "user" else turn["content"] for turn in turns]
    shots = [f"{asked} {said}" for asked, said in zip(lines[::2], lines[1::2], strict=False)]
    return "\n\n".join([*shots, lines[-1]])


def pick(sums: Sequence[float], choices: Sequence[str], rule: str = "acc") -> int:
    """The place of the choice that the harness picks, the first of equal ones.

    Args:
        sums: Of each choice the sum of the log-probabilities of its tokens.
        choices: Their words.
        rule: One of `RULES`.
    """
    scores = np.asarray(sums, dtype=np.float64)
    if rule == "acc_norm":
        scores = scores / np.array([float(len(choice)) for choice in choices])
    elif rule == "acc_bytes":
        scores = scores / np.array([float(len(choice.encode("utf-8"))) for choice in choices])
    elif rule != "acc":
        raise ArgumentError("rule", f"found {rule!r}", f"one of {', '.join(RULES)}")
    return int(np.argmax(scores))


@dataclass(eq=False, kw_only=True)
class HarnessAnswers:
    """What a model answered in the harness, by record id."""

    name: str
    kind: str
    settings: Mapping[str, Any]
    trained_on: str = "unknown"
    parameters: int | None = None
    bytes: int | None = None
    answers: Mapping[str, Answer] = field(default_factory=dict, repr=False)

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """The answer to every input; one that the harness was not asked has none."""
        for given in inputs:
            yield self.answers.get(given.id) or Answer(id=given.id, label=None, stop="none", reason=MISSING)


def import_samples(path: Path, *, name: str, prompt: PromptFormat | None = None, rule: str = "acc") -> HarnessAnswers:
    """The samples that the harness logged for a task of `export_task`, as a system.

    Every sample's own verdict is checked against the answer that is read out of it.

    Args:
        path: `samples_NAME_….jsonl`.
        name: Name of the system.
        prompt: The prompt that the task was exported with; for choices.
        rule: How a choice is picked; one of `RULES`.

    Raises:
        DataError: A sample is not of such a task, is there twice, or says another verdict than its numbers.
    """
    rows = read_json_lines(path)
    if not rows:
        raise DataError(path.name, "holds no samples", "what --log_samples writes")
    answers: dict[str, Answer] = {}
    for number, row in enumerate(rows, start=1):
        where = f"{path.name}, line {number}"
        try:
            answer = _answer(row, prompt, rule, where)
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise DataError(where, "is no sample of a task that metier exported", "id, resps and metrics") from error
        if answer.id in answers:
            raise DataError(where, "is a second sample of its record", "one for each record and filter")
        answers[answer.id] = answer
    settings = {"file": path.name, "sha256": file_sha256(path), "samples": len(rows), "rule": rule}
    if prompt is not None:
        settings["prompt_hash"] = prompt.hash
    return HarnessAnswers(name=name, kind="lm-evaluation-harness", settings=settings, answers=answers)


def _choice_row(record: Record, prompt: PromptFormat) -> dict[str, Any]:
    if record.gold not in prompt.labels:
        raise ArgumentError("export", f"row {record.row} has a label that the prompt has not", "labels of the prompt")
    return {
        "id": record.id, "prompt": harness_prompt(prompt, record.text), "choices": list(prompt.label_texts),
        "label": prompt.labels.index(record.gold),
    }  # fmt: skip


def _written_row(record: Record, instruction: str) -> dict[str, Any]:
    lead = f"{instruction}\n\n" if instruction else ""
    return {"id": record.id, "prompt": f"{lead}{record.text}\nAnswer:", "gold": record.gold}


def _answer(row: Mapping[str, Any], prompt: PromptFormat | None, rule: str, where: str) -> Answer:
    doc = row["doc"]
    if "choices" not in doc:
        text = str(row["filtered_resps"][0])
        _agree(row, "exact_match", float(text == str(doc["gold"])), where)
        return Answer(id=str(doc["id"]), label=None, text=text.strip(), stop="end of turn")
    sums = [_log_probability(each) for each in row["filtered_resps"]]
    choices = [str(choice) for choice in doc["choices"]]
    if len(sums) != len(choices):
        raise DataError(where, f"has {len(sums)} probabilities for {len(choices)} choices", "one each")
    for known in ("acc", "acc_norm"):
        _agree(row, known, float(pick(sums, choices, known) == doc["label"]), where)
    labels = prompt.labels if prompt is not None else tuple(choices)
    if prompt is not None and tuple(choices) != prompt.label_texts:
        raise DataError(where, "has other choices than the prompt", "a task that was exported with this prompt")
    top = max(sums)
    total = top + math.log(sum(math.exp(each - top) for each in sums))
    return Answer(
        id=str(doc["id"]), label=labels[pick(sums, choices, rule)],
        label_logprobs={label: each - total for label, each in zip(labels, sums, strict=True)},
    )  # fmt: skip


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
