"""Why an answer was wrong: the training rows that lie nearest to it, and which of those have a doubted label.

From an error to the row to fix: a wrong answer whose nearest training rows carry the answered label learned it from
them, and one of them may be labelled wrongly; one with nothing near it asks for more examples. Vectors come from
outside (the model's own cached states, or an encoder's). Exact cosine, in chunks; only numpy.

Shape letters: Q items asked about, N training rows, D dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from metier.data.records import Record
from metier.errors import ArgumentError
from metier.evaluation.evidence import Explained, Neighbour, RowToCheck
from metier.evaluation.results import Item

Vectors = npt.NDArray[np.floating]
Singles = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
NEIGHBOURS = 5
CELLS_AT_ONCE = 20_000_000
"""Similarities held in memory together; about 80 MB."""
DECIMALS = 5
"""Similarities are equal up to this: the order of a sum must not choose between two rows."""
FAR = 0.5
"""A nearest row whose similarity is below this part of the usual one (the median over items) is not near."""
DOUBTS = frozenset({"contradiction"})
"""Flags of a training record that doubt its label; other doubts are passed in by id."""
DOUBTED, TAUGHT, ALONE, AGAINST = "doubted", "taught", "alone", "against"
REASONS: Mapping[str, str] = {
    DOUBTED: "a training row near it has a doubted label",
    TAUGHT: "most training rows near it have the answered label",
    ALONE: "no training row is near it",
    AGAINST: "the training rows near it have the right label, or several labels",
}
"""What the neighbours suggest -> in words."""


def explain_errors(
    items: Sequence[Item],
    vectors: Vectors,
    train: Sequence[Record],
    train_vectors: Vectors,
    *,
    doubted: frozenset[str] = frozenset(),
    neighbours: int = NEIGHBOURS,
) -> tuple[Explained, ...]:
    """The nearest training rows to every wrong answer; first the answers that point to a doubted label.

    Args:
        items: Answered records; those that are right are passed over.
        vectors: One vector for each item, shape (len(items), D).
        train: Training records.
        train_vectors: One vector for each, shape (len(train), D).
        doubted: Ids of training records whose label is doubted, beside those with a flag of `DOUBTS`.
        neighbours: Rows wanted for each.

    Raises:
        ArgumentError: A number of vectors is wrong, or their dimensions differ.
    """
    if len(vectors) != len(items) or len(train_vectors) != len(train):
        found = f"found {len(vectors)} and {len(train_vectors)} vectors for {len(items)} items and {len(train)} rows"
        raise ArgumentError("neighbours", found, "one vector for each")
    wrong = [place for place, item in enumerate(items) if item.answer != item.gold]
    if not wrong or not train:
        return ()
    places, near = nearest_rows(vectors[wrong], train_vectors, neighbours)
    usual = float(np.median(near[:, 0]))
    doubts = [record.id in doubted or bool(DOUBTS & set(record.flags)) for record in train]
    rows = []
    for at, place in enumerate(wrong):
        item = items[place]
        found_rows = tuple(
            Neighbour(
                id=train[row].id, source=train[row].source, row=train[row].row, similarity=float(similarity),
                label=train[row].gold, doubted=doubts[row],
            )
            for row, similarity in zip(places[at].tolist(), near[at], strict=True)
        )  # fmt: skip
        rows.append(
            Explained(
                id=item.id, source=item.source, row=item.row, gold=item.gold, answer=item.answer,
                neighbours=found_rows, reason=reason_of(item, found_rows, usual),
            )
        )  # fmt: skip
    order = {reason: at for at, reason in enumerate(REASONS)}
    return tuple(sorted(rows, key=lambda row: order[row.reason]))


def nearest_rows(asked: Vectors, rows: Vectors, count: int) -> tuple[Places, Singles]:
    """The rows nearest to each vector by cosine, exactly; of equally near ones the earliest.

    Args:
        asked: Shape (Q, D).
        rows: Shape (N, D).
        count: Rows wanted for each; fewer come back where there are not so many.

    Returns:
        Places among `rows` and cosines, both of shape (Q, count), the nearest first.

    Raises:
        ArgumentError: The dimensions differ, or there is no row.
    """
    if asked.ndim != 2 or rows.ndim != 2 or asked.shape[1] != rows.shape[1] or len(rows) == 0:
        found = f"found vectors of shapes {asked.shape} and {rows.shape}"
        raise ArgumentError("neighbours", found, "two tables of as many columns, with rows")
    count = min(count, len(rows))
    units, targets = _unit(asked), _unit(rows)
    places = np.empty((len(units), count), dtype=np.int64)
    cosines = np.empty((len(units), count), dtype=np.float32)
    at_once = max(1, CELLS_AT_ONCE // len(targets))
    for start in range(0, len(units), at_once):
        part = slice(start, min(start + at_once, len(units)))
        alike = np.round(units[part] @ targets.T, DECIMALS)
        # A stable sort of the whole row would be exact but slow: take all that reach the count-th value, then sort.
        least = np.partition(alike, len(targets) - count, axis=1)[:, len(targets) - count]
        for at, bound in enumerate(least):
            able = np.flatnonzero(alike[at] >= bound)
            best = able[np.argsort(-alike[at][able], kind="stable")[:count]]
            places[start + at], cosines[start + at] = best, alike[at][best]
    return places, cosines


def rows_to_check(explained: Sequence[Explained]) -> tuple[RowToCheck, ...]:
    """Training rows that share the wrong answer's label with the most errors near them, doubted ones first.

    Args:
        explained: Wrong answers with their neighbours.
    """
    seen: dict[str, Neighbour] = {}
    errors: dict[str, int] = {}
    for wrong in explained:
        for near in wrong.neighbours:
            if near.label == wrong.answer:
                seen[near.id] = near
                errors[near.id] = errors.get(near.id, 0) + 1
    rows = [
        RowToCheck(id=key, source=near.source, row=near.row, label=near.label, doubted=near.doubted, errors=errors[key])
        for key, near in seen.items()
    ]
    return tuple(sorted(rows, key=lambda row: (not row.doubted, -row.errors, row.source, row.row)))


def _unit(vectors: Vectors) -> Singles:
    """Vectors of length 1 in float32; one of length 0 stays 0 and is near to nothing."""
    wide = np.asarray(vectors, dtype=np.float32)
    length = np.sqrt(np.einsum("ij,ij->i", wide, wide, dtype=np.float64))
    unit: Singles = wide / np.maximum(length, 1e-12).astype(np.float32)[:, None]
    return unit


def reason_of(item: Item, neighbours: Sequence[Neighbour], usual: float) -> str:
    """What the neighbours of one wrong answer suggest: a key of `REASONS`.

    Args:
        item: A wrong answer.
        neighbours: The nearest first, at least one.
        usual: The usual similarity of the nearest row.
    """
    if neighbours[0].similarity < FAR * usual:
        return ALONE
    taught = [near for near in neighbours if near.label == item.answer]
    if any(near.doubted for near in taught):
        return DOUBTED
    return TAUGHT if 2 * len(taught) > len(neighbours) else AGAINST
