"""What a model says about texts before anything is trained on them: functions that are handed in, as no torch is here.

No row of test goes through a model: what is found by one leaves the test set as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from metier.data.cleaning.look import Aids
from metier.data.cleaning.rows import Rows
from metier.data.records import Conversation, Record
from metier.data.table import counted
from metier.errors import ArgumentError
from metier.recipe.sections import DataSection
from metier.recipe.tasks import WRITES

T = TypeVar("T")

PIECE = 1_024
"""Texts that a model is given at a time: what a kill can lose."""

Embed = Callable[[Sequence[str]], NDArray[np.floating]]
"""From N texts to one row of numbers for each, shape (N, features)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerLoss:
    """How hard a model finds a written answer: mean negative log-likelihood of its tokens, in nats."""

    after: float
    """After its prompt."""
    alone: float
    """After the same prompt with nothing asked."""


SequenceLoss = Callable[[Sequence[Conversation]], Sequence[AnswerLoss | None]]
"""Of the last answer of each conversation; None where the model cannot be asked for it (no room, a refused turn)."""


@dataclass(frozen=True, kw_only=True)
class ModelAid:
    """A model that helps to find doubtful rows."""

    name: str
    """As the recipe names it."""
    identity: str
    """Fingerprint of all that its numbers depend on beside the texts: weights, type, prompt."""
    embed: Embed
    sequence_loss: SequenceLoss


def refuse_without(section: DataSection, aid: ModelAid | None) -> None:
    """Refuse a recipe that asks for a model's help where nobody handed one in.

    Args:
        section: The recipe's data section.
        aid: What was handed in.

    Raises:
        ArgumentError: The recipe asks for one and there is none.
    """
    if section.screening_model is not None and aid is None:
        found = f"data.screening_model is {section.screening_model}, and no model was handed in"
        wanted, fix = "lent=Lent(aid=model_aid(recipe))", "`model_aid` is in metier.stages.model_aid."
        raise ArgumentError("prepare_data", found, wanted, fix)


def with_model(
    aids: Aids, aid: ModelAid | None, rows: Rows, records: Iterator[tuple[int, Record]], task: str
) -> tuple[Aids, tuple[str, ...]]:
    """What a model says about the rows added to what else the steps can use, and what should be said about it.

    Args:
        aids: Without it.
        aid: The model; None leaves everything as it is.
        rows: All rows, in ascending order of their keys.
        records: Key and record of those that stand in a split, in the same order; read only for written answers.
        task: The recipe's task: answers that are written have losses, all other texts features.
    """
    if aid is None:
        return aids, ()
    if task in WRITES:
        losses, lacking = _losses(aid, rows, records)
        without = f"; {counted(lacking, 'answer')} could not be asked for" if lacking else ""
        said = (
            f"data.screening_model: {aid.name} read {counted(len(losses), 'written answer')}, each with its prompt and "
            f"alone, to rank them by how hard they are{without}; no row of test went through it"
        )
        after = {key: loss.after for key, loss in losses.items()}
        return replace(aids, losses=after, alone={key: loss.alone for key, loss in losses.items()}), (said,)
    features, read = _features(aid, rows)
    sought = "wrong labels and outliers" if task == "classification" else "outliers"
    said = (
        f"data.screening_model: {sought} were sought by features of {aid.name}, of "
        f"{counted(read, 'text')}; no row of test went through it"
    )
    return replace(aids, features=features), (said,)


def _features(aid: ModelAid, rows: Rows) -> tuple[NDArray[np.float32], int]:
    """Features by position, zeros for rows of test; and how many texts were read."""
    found = np.zeros((len(rows), 0), np.float32)
    read = 0
    asked = ((place, row) for place, row in enumerate(rows) if row.split != "test")
    for piece in _pieces(asked):
        numbers = np.asarray(aid.embed([row.text for _, row in piece]), np.float32)
        if not found.shape[1]:
            found = np.zeros((len(rows), numbers.shape[1]), np.float32)
        found[[place for place, _ in piece]] = numbers
        read += len(piece)
    return found, read


def _losses(aid: ModelAid, rows: Rows, records: Iterator[tuple[int, Record]]) -> tuple[dict[int, AnswerLoss], int]:
    """Losses by key of rows outside of test, and how many the model could not be asked for."""
    found: dict[int, AnswerLoss] = {}
    lacking = 0
    for piece in _pieces(_asked(rows, records)):
        losses = aid.sequence_loss([record for _, record in piece])
        for (key, _), loss in zip(piece, losses, strict=True):
            if loss is None:
                lacking += 1
            else:
                found[key] = loss
    return found, lacking


def _asked(rows: Rows, records: Iterator[tuple[int, Record]]) -> Iterator[tuple[int, Conversation]]:
    """The conversations outside of test, by key."""
    for row, (key, record) in zip(rows, records, strict=True):
        assert row.key == key
        if row.split != "test" and isinstance(record, Conversation) and row.answer:
            yield key, record


def _pieces(all_of: Iterator[T]) -> Iterator[list[T]]:
    """Lists of `PIECE`, the last one shorter."""
    while piece := list(islice(all_of, PIECE)):
        yield piece
