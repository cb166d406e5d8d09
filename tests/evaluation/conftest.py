"""Makers of items, evaluations and records for the tests of the evaluation room."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from metier.data.records import Choice, Conversation, Message
from metier.evaluation.evaluate import About, evaluate_items
from metier.evaluation.measures import MEASURES
from metier.evaluation.results import Answer, Evaluation, Item


@pytest.fixture
def make_items() -> Callable[..., list[Item]]:
    """Items from gold answers, answers and (optional) groups and flags."""

    def make(
        golds: Sequence[str],
        answers: Sequence[str | None],
        groups: Sequence[str | None] | None = None,
        flags: Sequence[tuple[str, ...]] | None = None,
    ) -> list[Item]:
        return [
            Item(
                id=f"id{place:05d}",
                group=groups[place] if groups else None,
                gold=gold,
                answer=answer,
                label_logprobs=None,
                prompt_hash=None,
                source="test.csv",
                row=place + 1,
                flags=flags[place] if flags else (),
            )
            for place, (gold, answer) in enumerate(zip(golds, answers, strict=True))
        ]

    return make


@pytest.fixture
def make_evaluation(make_items: Callable[..., list[Item]]) -> Callable[..., Evaluation]:
    """An evaluation of planted answers."""

    def make(
        system: str,
        golds: Sequence[str],
        answers: Sequence[str | None],
        groups: Sequence[str | None] | None = None,
        set_name: str = "test",
        flags: Sequence[tuple[str, ...]] | None = None,
    ) -> Evaluation:
        return evaluate_items(
            make_items(golds, answers, groups, flags),
            about=About(system=system),
            set_name=set_name,
            labels=sorted(set(golds)),
            resamples=500,
            seed=17,
        )

    return make


@pytest.fixture
def make_paired(make_evaluation: Callable[..., Evaluation]) -> Callable[..., tuple[Evaluation, Evaluation]]:
    """Two evaluations with planted counts: both right, gained, lost, neither right; two labels in turn."""

    def make(
        both: int, gained: int, lost: int, neither: int, names: tuple[str, str] = ("tuned", "tfidf")
    ) -> tuple[Evaluation, Evaluation]:
        kinds = np.random.default_rng(0).permutation([0] * both + [1] * gained + [2] * lost + [3] * neither)
        golds = ["yes" if place % 2 else "no" for place in range(len(kinds))]
        wrong = {"yes": "no", "no": "yes"}
        first = [gold if kind in (0, 1) else wrong[gold] for gold, kind in zip(golds, kinds, strict=True)]
        second = [gold if kind in (0, 2) else wrong[gold] for gold, kind in zip(golds, kinds, strict=True)]
        return make_evaluation(names[0], golds, first), make_evaluation(names[1], golds, second)

    return make


@pytest.fixture
def make_records() -> Callable[..., list[Choice]]:
    """Records whose text names their label with the given share of exceptions."""

    def make(n: int, *, noise: float = 0.0, seed: int = 0, prefix: str = "r") -> list[Choice]:
        generator = np.random.default_rng(seed)
        words = {"cancel": "please cancel my order", "refund": "i want my money back", "track": "where is my parcel"}
        labels = sorted(words)
        records = []
        for place in range(n):
            label = labels[place % 3]
            shown = labels[int(generator.integers(3))] if generator.random() < noise else label
            text = f"{words[shown]} number {int(generator.integers(1000))}"
            records.append(Choice(id=f"{prefix}{place}", text=text, label=label, source="a.csv", row=place + 1))
        return records

    return make


@pytest.fixture
def make_dialogues() -> Callable[..., list[Conversation]]:
    """Conversations of one question and one gold answer."""

    def make(
        golds: Sequence[str],
        asked: Sequence[str] | None = None,
        groups: Sequence[str | None] | None = None,
        prefix: str = "d",
    ) -> list[Conversation]:
        records = []
        for place, gold in enumerate(golds):
            text = asked[place] if asked else f"question {place}"
            turns = (Message(role="user", content=text), Message(role="assistant", content=gold))
            group = groups[place] if groups else None
            records.append(
                Conversation(
                    id=f"{prefix}{place}", text=text, messages=turns, group=group, source="a.jsonl", row=place + 1
                )
            )
        return records

    return make


@pytest.fixture
def make_written(make_dialogues: Callable[..., list[Conversation]]) -> Callable[..., Evaluation]:
    """An evaluation of planted written answers; `losses` are (sum of log-probabilities, tokens) an item."""

    def make(
        system: str,
        golds: Sequence[str],
        answers: Sequence[str | None],
        groups: Sequence[str | None] | None = None,
        losses: Sequence[tuple[float, int] | None] | None = None,
        set_name: str = "test",
    ) -> Evaluation:
        records = make_dialogues(golds, groups=groups)
        said = [
            Answer(id=record.id, label=None, text=answer, stop="end of turn")
            for record, answer in zip(records, answers, strict=True)
        ]
        return evaluate_items(
            MEASURES["generation"].items(records, said, losses),
            about=About(system=system, task="generation"),
            set_name=set_name,
            labels=(),
            resamples=500,
            seed=17,
        )

    return make
