"""What preparation found, for a person: read from the folder that it wrote."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from metier.data.card import SourceFile
from metier.data.prepared import PreparedData
from metier.planning.results import DataFindings, RejectedRows, RowPlace, SplitFindings
from metier.store.files import read_json_lines
from metier.store.run_folder import DataFolder, RunFolder

FIRST = 5
"""Rejected rows that are named, for each reason."""


def find_in_data(data: PreparedData, prepared: Path, run: RunFolder) -> DataFindings:
    """Everything that preparation says about itself.

    Args:
        data: The splits.
        prepared: The folder that they were written into.
        run: Where a run would write the same.
    """
    card = data.card
    return DataFindings(
        sources=tuple(_source(source) for source in card.sources),
        text_columns=card.text_columns,
        template=card.template,
        label_column=card.label_column,
        group_column=card.group_column,
        found_by_itself=card.found_by_itself,
        labels=card.labels,
        splits=tuple(_split(data, name) for name in ("train", "validation", "test")),
        rejected=_rejected(read_json_lines(DataFolder(prepared).rejected), tuple(card.rejected)),
        rejected_file=str(run.rejected),
        changed=card.changed,
        notices=card.notices,
    )


def _source(source: SourceFile) -> str:
    details = ", ".join(detail for detail in (source.format, source.encoding) if detail)
    return f"{source.name} ({source.rows:,} rows, {details})"


def _split(data: PreparedData, name: str) -> SplitFindings:
    card = data.card.splits[name]
    sealed = name == "test"  # what is in it is nobody's business before it is opened
    return SplitFindings(
        name=name, rows=card.rows, labels=None if sealed else len(card.label_counts),
        groups=None if sealed else card.groups, official=card.official,
    )  # fmt: skip


def _rejected(rows: Sequence[dict[str, object]], reasons: Sequence[str]) -> tuple[RejectedRows, ...]:
    """By reason, in the card's order; the rows' content stays where it is."""
    places: dict[str, list[RowPlace]] = defaultdict(list)
    for row in rows:
        places[str(row["reason"])].append(RowPlace(source=str(row["source"]), row=int(str(row["row"]))))
    return tuple(
        RejectedRows(reason=reason, count=len(places[reason]), first=tuple(places[reason][:FIRST]))
        for reason in reasons
    )
