"""Several labels of one record as one text: a JSON list in sorted order, so that files and items hold it as any answer.

Written by a model, read from cells (a list, labels with a separator, one column of yes and no for each), compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from metier.errors import DataError

YES = frozenset({"1", "1.0", "true", "yes", "y", "x", "t"})
NO = frozenset({"", "0", "0.0", "false", "no", "n", "f"})
SEPARATORS = (";", "|", ",")
"""What is looked for between the labels of a cell, in this order, where the recipe says nothing."""
_COMMON = 0.02
"""Share of the filled cells that a separator has to stand in."""


def set_text(labels: Iterable[str]) -> str:
    """Labels as one canonical text: a JSON list, sorted, each once; `[]` for none."""
    return json.dumps(sorted(set(labels)), ensure_ascii=False)


def label_set(text: str | None) -> frozenset[str]:
    """The labels of a canonical text; empty for None.

    Raises:
        DataError: The text is no JSON list of texts.
    """
    if text is None:
        return frozenset()
    try:
        labels = json.loads(text)
    except ValueError as error:
        raise DataError("labels", "an item's labels are no JSON list", 'such as ["a", "b"]') from error
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise DataError("labels", "an item's labels are no list of texts", 'such as ["a", "b"]')
    return frozenset(labels)


def split_labels(cell: str | None, separator: str) -> str:
    """The canonical text of a cell such as `billing; refund`; empty parts are left out.

    Args:
        cell: Labels in one text, or a JSON list. None: no label.
        separator: What stands between labels.
    """
    if cell is None:
        return set_text(())
    if cell.lstrip().startswith("["):
        return set_text(label_set(cell))
    return set_text(part.strip() for part in cell.split(separator) if part.strip())


def gather_labels(row: Mapping[str, str | None], columns: Sequence[str], where: str = "data.label") -> str:
    """The canonical text of a row that has one column of yes and no for each label.

    Args:
        row: Cells by column.
        columns: The label columns.
        where: The recipe's field, for the message.

    Raises:
        DataError: A column is missing, or a cell is neither yes nor no.
    """
    found = []
    for column in columns:
        if column not in row:
            raise DataError(where, f"there is no column `{column}`", "one column for each label")
        cell = (row[column] or "").strip().lower()
        if cell not in YES | NO:
            raise DataError(
                where, f"the column `{column}` holds a cell that is neither yes nor no",
                "1 and 0, true and false, or yes and no", "For a column that names labels use a separator instead.",
            )  # fmt: skip
        if cell in YES:
            found.append(column)
    return set_text(found)


def is_yes_or_no(cell: str | None) -> bool:
    """Whether a cell says yes or no in one of the usual ways; an empty one says no."""
    return (cell or "").strip().lower() in YES | NO


def separator_of(cells: Iterable[str]) -> str | None:
    """What stands between the labels of some cells; None where nothing usual does.

    A separator counts where it divides at least two in a hundred of the filled cells, and what it divides comes
    back elsewhere: the comma of a sentence divides, but its parts are words of that sentence alone.

    Args:
        cells: Of one column.
    """
    filled = [cell for cell in cells if cell.strip()]
    for separator in SEPARATORS:
        parts = [[part.strip() for part in cell.split(separator)] for cell in filled]
        divided = sum(len(each) > 1 for each in parts)
        every = [part for each in parts for part in each]
        if divided > max(1, _COMMON * len(filled)) and 3 * len(set(every)) <= len(every):
            return separator
    return None
