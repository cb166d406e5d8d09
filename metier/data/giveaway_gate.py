"""Columns that give the label away, looked at before splits are drawn: `data.giveaway`.

What the columns beside the text give away goes into the findings. What the text itself does, or a column that is part
of it, is said, or refused: whoever asks later may not know it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from metier.data.cleaning.giveaway import TEXT, LabelledCells, screen_giveaway
from metier.data.cleaning.rows import Finding
from metier.data.columns import Columns
from metier.data.examples import plain_label, rename_label
from metier.data.input_rules import InputRules
from metier.data.paths import cell_at
from metier.data.table import RawRow, Table
from metier.errors import DataError
from metier.recipe.sections import DataSection

FOUND = "columns that give the answer away"
"""Name of the finding's table."""
_USUAL = ("determines", "sorts")
"""Ways in which a whole text may give its label away: equal texts have equal labels, and texts that begin alike too."""


def giveaway_of(tables: Sequence[Table], section: DataSection, columns: Columns) -> Finding:
    """What gives the label away, in the rows of train that are at hand.

    Args:
        tables: The files of train, or many rows of each.
        section: The recipe's data section; `giveaway` is not `off`.
        columns: Which column is what.

    Raises:
        DataError: `data.giveaway` refuses, and the text gives the label away.
    """
    rows = _Labelled.of(tables, section, columns)
    finding = screen_giveaway(rows, label=columns.label, used=columns.text)
    said = giveaway_notices(finding)
    if said and section.giveaway == "refuse":
        more = f" (and {len(said) - 1} more)" if len(said) > 1 else ""
        fix = "Leave it out of data.text, or set data.giveaway: warn."
        raise DataError("data.giveaway", f"is refuse, and {said[0].partition(';')[0]}{more}", "a text without it", fix)
    return finding


def giveaway_notices(finding: Finding) -> list[str]:
    """The sentences about what is part of the text.

    Args:
        finding: Of the step `giveaway`.
    """
    lines = finding.tables.get(FOUND, ())
    return [
        note
        for line, note in zip(lines, finding.notes, strict=False)  # a last note may say how many rows were looked at
        if line["part of the text"] and not (line["column"] == TEXT and line["way"] in _USUAL)
    ]


@dataclass(frozen=True, eq=False)
class _Labelled:
    """The rows with a text and a label that counts, in the order of their files."""

    rows: Sequence[tuple[RawRow, str]]
    """Each with its label's name."""
    rules: InputRules
    hidden: str | None
    """A column inside which the label lies."""

    @classmethod
    def of(cls, tables: Sequence[Table], section: DataSection, columns: Columns) -> _Labelled:
        head = re.split(r"[.\[]", columns.label, maxsplit=1)[0]
        there = tables[0].columns
        ignored = {plain_label(label) for label in section.ignore_labels}
        rows = []
        for table in tables:
            for row in table.rows:
                label = plain_label(cell_at(row, columns.label))
                named = rename_label(label, section.label_names)
                left_out = label in ignored or named in ignored or not named.strip()
                if label and not left_out and (section.labels is None or named in section.labels):
                    rows.append((row, named))
        rules = InputRules(text_columns=columns.text, template=columns.template)
        usable = [(row, named) for row, named in rows if rules.compose(row).strip()]
        return cls(usable, rules, head if columns.label not in there and head in there else None)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[LabelledCells]:
        for row, named in self.rows:
            yield LabelledCells(text=self.rules.compose(row), label=named, cells=self._cells(row))

    def _cells(self, row: RawRow) -> Mapping[str, str | None]:
        return row if self.hidden is None else {name: cell for name, cell in row.items() if name != self.hidden}
