"""What a recipe can switch on against an association: collect rows, weigh rows, add counterfactual copies.

None of them is free: weights and copies teach the model that the groups are alike in a way in which the data says
they are not. Whether that helps is for the ablation to measure, on data that was not touched.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metier.data.bias.associations import Association
from metier.data.bias.mentions import Coded
from metier.data.bias.swaps import packaged_swaps
from metier.errors import DataError

Weights = npt.NDArray[np.float32]
CELL_ROUNDS = 10
"""Passes over the dimensions; weights for one hardly move those of another after few."""


SWAPS_FOR = {"disability": ("disability", "sight", "hearing"), "ethnicity": ("ethnicity", "names by ethnicity")}
"""Dimension of the word lists -> dimensions of swaps, where they are not the same."""


@dataclass(frozen=True, kw_only=True)
class AugmentSettings:
    """Which rows get counterfactual copies."""

    most_copies: int = 1
    """For each row."""
    largest_share: float = 0.5
    """Copies, as a share of the train rows that could be copied; which rows is drawn by `seed`."""
    seed: int = 17


def swaps_for(dimensions: Iterable[str]) -> tuple[str, ...]:
    """Dimensions of swaps that belong to dimensions of the word lists; none for others.

    Args:
        dimensions: Of the word lists, or columns of the user's.
    """
    known = packaged_swaps()
    wanted = [name for one in dimensions for name in SWAPS_FOR.get(one, (one,))]
    return tuple(dict.fromkeys(name for name in wanted if name in known))


def collection(flagged: Sequence[Association]) -> list[dict[str, object]]:
    """How many more rows of which kind would even out each association: the least that does it.

    Args:
        flagged: Associations, those worth a remedy.

    Returns:
        A table: collect `rows` more rows that name `group` and have, or have not, `outcome`.
    """
    table: list[dict[str, object]] = []
    for one in flagged:
        wanted = one.other_share
        if one.difference > 0:  # more rows of the group without the outcome: count / (rows + x) = wanted
            more = one.count / wanted - one.rows if wanted > 0 else math.inf
        else:  # more rows with it: (count + x) / (rows + x) = wanted
            more = (wanted * one.rows - one.count) / (1 - wanted) if wanted < 1 else math.inf
        table.append(
            {
                "dimension": one.dimension,
                "group": one.group,
                "outcome": one.outcome,
                "collect": "without it" if one.difference > 0 else "with it",
                "rows": math.ceil(more - 1e-9) if math.isfinite(more) else None,
            }
        )
    return table


def row_weights(
    columns: Sequence[Coded],
    outcomes: npt.NDArray[np.int32],
    train: npt.NDArray[np.bool_],
    *,
    bound: float = 4.0,
) -> Weights:
    """Weights under which group and label are independent: Kamiran and Calders 2012 (Knowl Inf Syst 33:1), bounded.

    A row's weight is the count that its group and label would have by chance, divided by the one that they have.
    Several dimensions are taken in turn (raking). A row that names no group, or several, of a dimension is left
    as it is by that dimension.

    Args:
        columns: The group of each row by dimension.
        outcomes: The label of each row, shape (N,); negative: none.
        train: Rows that are learned from, shape (N,).
        bound: No weight above this nor below one over it; at least 1.

    Returns:
        By key, shape (N,): mean 1 over train, 1 elsewhere.

    Raises:
        DataError: The bound is below 1.
    """
    if bound < 1:
        raise DataError("data.bias.weight_bound", f"is {bound}", "1 or more", "4 is usual.")
    weights = np.ones(len(outcomes), np.float64)
    for _ in range(CELL_ROUNDS if len(columns) > 1 else 1):
        for column in columns:
            weights *= _factors(column, outcomes, train, weights)
    learned = train.nonzero()[0]
    if len(learned):
        # Scaling to mean 1 may push a weight over the bound again, and clipping moves the mean: a few turns settle it.
        for _ in range(50):
            weights[learned] = np.clip(weights[learned] / weights[learned].mean(), 1 / bound, bound)
    return weights.astype(np.float32)


def _factors(
    column: Coded, outcomes: npt.NDArray[np.int32], train: npt.NDArray[np.bool_], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    factors = np.ones(len(outcomes), np.float64)
    used = np.flatnonzero(train & (column.codes >= 0) & (outcomes >= 0))
    if len(used) == 0:
        return factors
    labels = int(outcomes[used].max()) + 1
    cells = column.codes[used].astype(np.int64) * labels + outcomes[used]
    table = np.bincount(cells, weights=weights[used], minlength=len(column.values) * labels).reshape(-1, labels)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()
    ratio = np.divide(expected, table, out=np.ones_like(table), where=table > 0)
    factors[used] = ratio.reshape(-1)[cells]
    return factors


def is_drawn(key: int, settings: AugmentSettings) -> bool:
    """Whether a row is one of those that get copies.

    Args:
        key: Of the row.
        settings: How many, and the seed.
    """
    digest = hashlib.blake2b(f"{settings.seed} {key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") < settings.largest_share * 2.0**64
