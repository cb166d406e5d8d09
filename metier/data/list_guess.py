"""Whether a file is for labels of which a text has several, or for pieces of a text; and where they lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from metier.data.columns import LABEL_NAMES, ColumnStats, guess_label, guess_text, plain_name
from metier.data.listed import json_lists, list_columns, span_columns, yes_columns
from metier.data.table import Table, column_list

LIST_NAMES = ("labels", "tags", "categories", "topics", "genres", "emotions", "intents", "classes", "themes")
"""Names of columns that hold several labels in one text with a separator."""


def guess_spans(table: Table, stats: Mapping[str, ColumnStats]) -> tuple[tuple[str, ...], str] | None:
    """Columns of the text and of the spans by offsets; None where the file holds none, or something else besides.

    Args:
        table: The file.
        stats: What its columns look like.
    """
    found = span_columns(table, [name for name, each in stats.items() if each.nested])
    text = guess_text(stats, set(found))
    return (text[0], found[0]) if len(found) == 1 and len(text) == 1 and not _labelled(stats, found) else None


def guess_labels(
    table: Table, stats: Mapping[str, ColumnStats]
) -> tuple[tuple[str, ...], tuple[str, ...]] | None:  # fmt: skip
    """Columns of the text and of its labels (one, or one for each label); None where the file holds none.

    Args:
        table: The file.
        stats: What its columns look like.
    """
    lists = json_lists(table, [name for name, each in stats.items() if each.nested])
    named = [name for name in stats if plain_name(name).rpartition("_")[2] in LIST_NAMES and name not in lists]
    found = lists or list_columns(table, named)
    if not found:
        columns = yes_columns(table, [name for name, each in stats.items() if each.distinct <= 2])
        text = guess_text(stats, set(columns))
        fits = columns and len(text) == 1 and not _labelled(stats, columns)
        return (text[0], tuple(columns)) if fits else None
    text = guess_text(stats, set(found))
    fits = len(found) == 1 and len(text) == 1 and not _labelled(stats, found)
    return (text[0], (found[0],)) if fits else None


def labels_note(columns: Sequence[str]) -> str:
    """Why the draft takes several labels, as a sentence."""
    if len(columns) > 1:
        return f"{column_list(columns)} say 1 or 0, several of them in one row: each is a label (task multilabel)."
    return f"`{columns[0]}` holds lists of labels that come again: a text can have several (task multilabel)."


def spans_note(column: str) -> str:
    """Why the draft takes pieces of the text, as a sentence."""
    return f"`{column}` holds pieces of the text by character offsets, each with a label (task extraction)."


def _labelled(stats: Mapping[str, ColumnStats], taken: Sequence[str]) -> bool:
    """Whether another column is named as a single label is."""
    free = guess_label(stats, set(taken))
    return any(plain_name(name) in ("label", "labels", *LABEL_NAMES) for name in free)
