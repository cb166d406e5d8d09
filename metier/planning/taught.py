"""What a candidate learns of conversations or passages, counted: shared by `writing.py` and `passages.py`.

Large data is sampled in seeded order: what was turned into tokens is counted exactly, totals are
scaled by characters, and the report says so.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metier.data.records import Record
from metier.engine.tree import TokenSequence
from metier.model.encode import Encoder
from metier.planning.results import LearnedTokens, Lengths, PieceView, RejectedRows, RowPlace
from metier.planning.tokens import FIRST_CUT

TRAIN_CHARACTERS = 1_500_000
"""Characters of training records that are turned into tokens, as many again of records that may be too long."""
OTHER_CHARACTERS = 300_000
"""The same for each of the other splits."""
ANSWER_CHARACTERS = 3_000_000
"""Characters of right answers that are turned into tokens to settle how long an answer may become."""
TURN_CHARACTERS = 200
"""What rendering one prompt costs beside its characters."""
FEWEST = 64
"""Records that are always turned into tokens, however long they are."""

Example = tuple[TokenSequence, ...]
"""The sequences of one training example: one an answer, or a window of a passage."""


@dataclass(frozen=True, kw_only=True)
class Taught:
    """What one candidate learns, for a person and for the plan."""

    about: LearnedTokens
    sample: tuple[Example, ...]
    """Some training examples, in the mixed order in which training meets them."""
    examples: int
    """Training examples in all: records, or windows of passages."""
    asked: Mapping[str, float]
    """Mean tokens of what is read of a record, by split: a prompt, or a whole passage."""
    answer: float
    """Mean tokens of a record's right answer; 0 for passages."""
    shared: int
    """Tokens that all prompts begin with."""
    pieces: tuple[PieceView, ...]
    lengths: tuple[Lengths, ...]
    trained_part: str
    faults: tuple[str, ...]
    notices: tuple[str, ...]


def draw_within(costs: Sequence[int], budget: int, seed: int) -> list[int]:
    """Places in seeded order until their costs reach the budget; all of them where they fit.

    Args:
        costs: What each place costs.
        budget: What they may cost together.
        seed: Seed of the order.
    """
    order = np.random.default_rng(seed).permutation(len(costs))
    spent = 0
    taken: list[int] = []
    for place in order:
        spent += costs[place]
        if spent > budget and len(taken) >= FEWEST:
            break
        taken.append(int(place))
    return taken


def place_of(record: Record) -> RowPlace:
    """Where a record stands in the user's files."""
    return RowPlace(source=record.source, row=record.row)


def rows_by_reason(found: Iterable[tuple[str, Record]]) -> tuple[RejectedRows, ...]:
    """Records of which nothing can be learned, by reason, the most frequent one first.

    Args:
        found: Reason and record.
    """
    places: dict[str, list[RowPlace]] = defaultdict(list)
    for reason, record in found:
        places[reason].append(place_of(record))
    ordered = sorted(places.items(), key=lambda item: -len(item[1]))
    return tuple(
        RejectedRows(reason=reason, count=len(rows), first=tuple(_in_order(rows)[:FIRST_CUT]))
        for reason, rows in ordered
    )


def summarise_lengths(
    split: str, rows: int, limit: int, lengths: Sequence[int], cut: Sequence[RowPlace], counted: int
) -> Lengths:
    """The lengths of one split for a person.

    Args:
        split: Its name.
        rows: Its records.
        limit: Most tokens.
        lengths: Tokens of the records that were looked at.
        cut: Those of them that are too long.
        counted: How many records were looked at.
    """
    return Lengths(
        split=split, rows=rows, median=round(statistics.median(lengths or [0])), longest=max(lengths, default=0),
        limit=limit, cut=len(cut), cut_first=tuple(_in_order(cut)[:FIRST_CUT]),
        counted=counted if counted < rows else None,
    )  # fmt: skip


def token_name(encoder: Encoder, token: int) -> str:
    """A token's name and number, for a person."""
    return f"{encoder.tokenizer.convert_ids_to_tokens(token)}, token {token}"


def _in_order(places: Sequence[RowPlace]) -> list[RowPlace]:
    return sorted(places, key=lambda place: (place.source, place.row))
