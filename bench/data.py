"""The work of every row as token ids: made once, by metier's tokenizer, and given to both sides.

Data sets lie in a folder as `<domain>/<name>/<file>`: MTS-Dialog (`medical/mts_dialog/train.csv`), self-instruct
(`instruction/self_instruct/*.jsonl`), Banking77 (`customer_support/banking77/*.csv`) and tldr pages
(`technical/tldr_pages/*.jsonl`), as their publishers wrote them.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metier.device import derive_seed
from metier.engine.tree import Ints, TokenSequence, TokenTree
from metier.model.encode import Encoder
from metier.model.prompt import PromptFormat, make_prompt_format
from metier.recipe.sections import PromptSection, TrainingSection
from metier.training.sampler import Sampler

MAX_LENGTH = 512
"""Longer examples are left out, so that no side cuts."""
BATCH = 16
"""Examples of one optimiser step, on both sides."""
STREAM = 160
"""Optimiser steps for which examples are drawn beforehand; more than any measurement takes."""
SEED = 17
INTENTS = (
    "card_arrival", "card_linking", "exchange_rate", "lost_or_stolen_card", "pending_top_up", "top_up_failed",
    "declined_transfer", "transfer_timing", "Refund_not_showing_up", "request_refund", "edit_personal_details",
    "verify_my_identity",
)  # fmt: skip
"""The twelve intents of the rows that train to a target."""


@dataclass(frozen=True)
class Example:
    """Token ids of prompt and answer; the last `answer` of them are learned."""

    ids: tuple[int, ...]
    answer: int

    @property
    def sequence(self) -> TokenSequence:
        """As the engine takes it."""
        return TokenSequence.of(self.ids[: -self.answer], self.ids[-self.answer :])

    def plain(self) -> list[Any]:
        """For a JSON file."""
        return [list(self.ids), self.answer]


def example(content: Sequence[Any]) -> Example:
    """What `Example.plain` wrote."""
    return Example(tuple(content[0]), int(content[1]))


@dataclass(frozen=True)
class Labelled:
    """A text and its label."""

    text: str
    label: str


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Rows of a CSV or JSON Lines file."""
    if path.suffix == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def shuffled(rows: Sequence[Any], name: str) -> list[Any]:
    """The rows in a fixed order of their own."""
    rows = list(rows)
    random.Random(derive_seed(SEED, name)).shuffle(rows)
    return rows


def chat_examples(folder: Path, encoder: Encoder) -> list[Example]:
    """Natural exchanges without anything in common: dialogues with their notes, tasks with their answers.

    The template's default system prompt is left out: only the mark of a user's turn is shared.
    """
    pairs = [(row["dialogue"], row["section_text"]) for row in rows_of(folder / "medical/mts_dialog/train.csv")]
    for name in ("user_oriented_instructions", "seed_tasks"):
        for row in rows_of(folder / f"instruction/self_instruct/{name}.jsonl"):
            first = row["instances"][0]
            pairs.append(("\n\n".join(filter(None, (row["instruction"], first["input"]))), first["output"]))
    made = []
    for asked, said in shuffled(pairs, "chat"):
        text = f"<|im_start|>user\n{encoder.harmless(asked)}<|im_end|>\n<|im_start|>assistant\n"
        made.append(_example(encoder.ids(text), encoder.answer(encoder.harmless(said))))
    return [each for each in made if len(each.ids) <= MAX_LENGTH]


def banking(folder: Path, name: str) -> list[Labelled]:
    """Banking77's rows of `train` or `test`, in a fixed order."""
    rows = rows_of(folder / f"customer_support/banking77/{name}.csv")
    return shuffled([Labelled(row["text"], row["category"]) for row in rows], f"banking {name}")


def balanced(rows: Sequence[Labelled], labels: Sequence[str], each: int) -> list[Labelled]:
    """The first so many rows of every label, in the order of `rows`."""
    taken = dict.fromkeys(labels, 0)
    chosen = []
    for row in rows:
        if row.label in taken and taken[row.label] < each:
            taken[row.label] += 1
            chosen.append(row)
    return chosen


def prompt_for(labels: Sequence[str], *, listed: bool) -> PromptFormat:
    """The prompt that metier makes for these labels."""
    return make_prompt_format(PromptSection(list_labels=listed), sorted(labels), "category")


def label_examples(rows: Sequence[Labelled], prompt: PromptFormat, encoder: Encoder) -> list[Example]:
    """Prompt and label of every row."""
    answers = dict(zip(prompt.labels, encoder.answers(prompt), strict=True))
    return [_example(encoder.prompt(prompt, row.text).ids.tolist(), answers[row.label]) for row in rows]


def command_examples(folder: Path, encoder: Encoder, name: str) -> list[Example]:
    """Commands of tldr pages, from their descriptions."""
    made = []
    for row in shuffled(rows_of(folder / f"technical/tldr_pages/{name}.jsonl"), f"tldr {name}"):
        asked = f"Write the shell command for this.\n\n{row['description']} ({row['page']})"
        turns = [{"role": "user", "content": encoder.harmless(asked)}]
        ids = encoder.ids(encoder.apply_template(turns, ask=True))
        made.append(_example(ids, encoder.answer(encoder.harmless(row["command"]))))
    return [each for each in made if len(each.ids) <= MAX_LENGTH]


def _example(prompt: Sequence[int], answer: Ints) -> Example:
    return Example((*prompt, *answer.tolist()), len(answer))


def training(steps: int, **fields: Any) -> TrainingSection:
    """The training that both sides do: AdamW, constant rate, no decay, clipped at 1."""
    return TrainingSection(
        max_steps=steps, per_device_train_batch_size=BATCH, lr_scheduler_type="constant", max_length=MAX_LENGTH,
        early_stopping_patience=None, **fields,
    )  # fmt: skip


def stream(examples: int, steps: int = STREAM, seed: int = 0) -> list[int]:
    """Numbers of the examples in the order in which metier draws them: the peer is fed in the same order."""
    sampler = Sampler.of(training(steps), examples, derive_seed(seed, "sampler"))
    return [number for step in range(steps) for number in sampler.draw(step)]


def about(examples: Sequence[Example], order: Sequence[int]) -> Mapping[str, float]:
    """Sizes of the work, means an example: tokens, those that are distinct within a step, and targets."""
    some = [examples[number] for number in order[: BATCH * 20]]
    distinct = 0
    for start in range(0, len(some), BATCH):
        distinct += len(TokenTree.build([each.sequence for each in some[start : start + BATCH]]))
    squares = sum(len(each.ids) ** 2 for each in some)
    tokens = sum(len(each.ids) for each in some)
    return {
        "examples": len(examples),
        "tokens": tokens / len(some),
        "distinct": distinct / len(some),
        "targets": sum(each.answer for each in some) / len(some),
        "attended": squares / tokens,
    }


def save(path: Path, content: Mapping[str, Any]) -> Path:
    """Write a token file for workers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
