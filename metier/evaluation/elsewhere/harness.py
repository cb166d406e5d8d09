"""Records as tasks of lm-evaluation-harness (checked with 0.4.13), so that it can ask any model that it loads.

`export_tasks` writes the items and the YAML that names them. The items are a Parquet file, as types would be guessed in
JSON Lines: right answers that are all dates would reach the harness as time stamps. What it answers comes back by
`harness_samples.import_samples`. Loads neither torch nor the harness.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from metier.data.records import Choice, Conversation, Record
from metier.errors import ArgumentError
from metier.model.chat_encode import ChatEncoder
from metier.model.chat_prompt import ChatPrompt
from metier.model.encode import Encoder
from metier.model.prompt import PromptFormat
from metier.store.files import write_bytes, write_text

RULES = ("acc", "acc_norm", "acc_bytes")
"""How the harness picks a choice: by the sum of log-probabilities, by it over characters, by it over UTF-8 bytes."""
CHAT = "_chat"
"""Ends the name of the task that asks through a chat template."""


@dataclass(frozen=True)
class _NoTokens:
    """What an encoder needs to know of a tokenizer to write plain text: that it has no template and no marks."""

    chat_template: str | None = None
    all_special_tokens: Sequence[str] = ()
    added_tokens_decoder: Mapping[int, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Asking:
    """How the records are asked."""

    prompt: PromptFormat | ChatPrompt
    encoder: Encoder | None = None
    """Of the model that was asked; with a chat template there is a second task that asks through it. None: no model."""
    stop: tuple[str, ...] = ()
    """Texts that end a written answer."""
    most_tokens: int = 256
    """Longest written answer."""


@dataclass(frozen=True, kw_only=True)
class HarnessTask:
    """A task that was written."""

    name: str
    yaml: str
    """Name of its file."""
    chat: bool
    """Whether its prompts are written by a chat template, for models that have the same one."""


def export_tasks(
    records: Sequence[Record], folder: Path, asking: Asking, *, name: str, final: Path | None = None
) -> tuple[HarnessTask, ...]:
    """Write records as a task of the harness: one in plain text, and one by the model's chat template if it has one.

    The rows hold `id`, `prompt` (plain), `asked` (by the chat template) and what is right: `choices`, their `labels`
    and the place of the right one, or `gold`.

    Args:
        records: All choices, or all conversations.
        folder: Where `NAME.parquet`, `NAME.yaml` and `NAME_chat.yaml` are put.
        asking: The prompt, and the model's tokenizer.
        name: The task's name.
        final: Where the folder will stand: the YAML names the items by their full path. None: where it is.

    Raises:
        ArgumentError: There are no records, they are of another kind, or the name cannot be a task's.
        DataError: The chat template refuses a record's turns.
    """
    if not records or not name.replace("_", "").replace("-", "").isalnum():
        raise ArgumentError("lm-eval", f"{len(records)} records as the task {name!r}", "records, and a plain name")
    row = _row_maker(records, asking.prompt)
    model = asking.encoder
    chat = model if model is not None and model.is_chat else None
    plain = Encoder(_NoTokens(), 0) if model is None or chat is not None else model
    rows = []
    for record in records:
        asked = {} if chat is None else {"asked": _words(asking.prompt, record, chat)}
        rows.append({"id": record.id, "prompt": _words(asking.prompt, record, plain), **asked, **row(record)})
    items = (final or folder).resolve() / f"{name}.parquet"
    write_bytes(folder / items.name, _parquet(rows))
    tasks = [HarnessTask(name=name, yaml=f"{name}.yaml", chat=False)]
    if chat is not None:
        tasks.append(HarnessTask(name=f"{name}{CHAT}", yaml=f"{name}{CHAT}.yaml", chat=True))
    for task in tasks:
        values = _task(task, items, asking, [record.gold for record in records])
        write_text(folder / task.yaml, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    return tuple(tasks)


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


def _parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    texts = pa.list_(pa.string())
    types = {"label": pa.int64(), "choices": texts, "labels": texts}
    schema = pa.schema([(column, types.get(column, pa.string())) for column in rows[0]])
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), out)
    return out.getvalue()


def _words(prompt: PromptFormat | ChatPrompt, record: Record, encoder: Encoder) -> str:
    """The whole prompt up to where the answer begins."""
    if isinstance(prompt, PromptFormat):
        return encoder.render(prompt, record.text)
    assert isinstance(record, Conversation)  # see `_row_maker`
    return ChatEncoder(encoder).render(prompt, record.context, record.tools)


def _row_maker(records: Sequence[Record], prompt: PromptFormat | ChatPrompt) -> Callable[[Record], dict[str, Any]]:
    """What a row says about the right answer."""
    if isinstance(prompt, PromptFormat) and all(isinstance(record, Choice) for record in records):
        known = {label: place for place, label in enumerate(prompt.labels)}
        strange = [record for record in records if record.gold not in known]
        if strange:
            found = f"row {strange[0].row} has a label that the prompt has not"
            raise ArgumentError("lm-eval", found, "labels of the prompt")
        words, labels = list(prompt.label_texts), list(prompt.labels)
        return lambda record: {"choices": words, "labels": labels, "label": known[record.gold]}
    if isinstance(prompt, ChatPrompt) and all(isinstance(record, Conversation) for record in records):
        return lambda record: {"gold": record.gold}
    raise ArgumentError("lm-eval", "records and prompt of different kinds", "choices, or conversations with an answer")


def _task(task: HarnessTask, items: Path, asking: Asking, golds: Sequence[str]) -> dict[str, Any]:
    """The YAML of a task. Columns are named, not filled into templates: those would read a gold `[…]` as a list."""
    values: dict[str, Any] = {
        "task": task.name, "dataset_path": "parquet", "dataset_kwargs": {"data_files": {"test": str(items)}},
        "test_split": "test", "doc_to_text": "asked" if task.chat else "prompt",
        "target_delimiter": "" if task.chat else " ",
    }  # fmt: skip
    if isinstance(asking.prompt, PromptFormat):
        values |= {
            "output_type": "multiple_choice", "doc_to_choice": "choices", "doc_to_target": "label",
            "metric_list": [{"metric": rule, "aggregation": "mean", "higher_is_better": True} for rule in RULES[:2]],
        }  # fmt: skip
    else:
        strip = {"name": "strip", "filter": [{"function": "remove_whitespace"}, {"function": "take_first"}]}
        values |= {
            "output_type": "generate_until", "doc_to_target": "gold",
            "generation_kwargs": {
                "until": _until(task, asking, golds), "max_gen_toks": asking.most_tokens, "do_sample": False,
            },
            "filter_list": [strip],
            "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        }  # fmt: skip
    return values | {"metadata": {"version": 1.0}}


def _until(task: HarnessTask, asking: Asking, golds: Sequence[str]) -> list[str]:
    """What ends an answer besides the end of text, which the harness adds.

    In a chat it is the end of the turn. A model that was never taught to stop is stopped at a blank line, unless
    right answers have some.
    """
    if task.chat:
        assert asking.encoder is not None
        return [*asking.stop, str(asking.encoder.tokenizer.decode([asking.encoder.end_of_turn]))]
    if asking.stop or any("\n\n" in gold for gold in golds):
        return list(asking.stop)
    return ["\n\n"]
