"""Text and tables as Markdown: what comes from outside cannot become formatting, a link or HTML."""

from __future__ import annotations

import re

from metier.report.formats import printable
from metier.report.tables import Cell, Column, Row, Table

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~&])")


class Markdown(str):
    """Text that is Markdown already and is put in as it stands."""

    __slots__ = ()


def escape_markdown(value: object) -> str:
    """`value` on one line with every sign of Markdown and HTML escaped; `Markdown` passes as it stands."""
    if isinstance(value, Markdown):
        return value
    return _SPECIAL.sub(r"\\\1", " ".join(printable(str(value)).split()))


def code_block(text: str, language: str = "") -> Markdown:
    """`text` as it stands, in a fence longer than any that it holds.

    Args:
        text: Anything.
        language: What it is, for colouring.
    """
    longest = max((len(ticks) for ticks in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markdown(f"{fence}{language}\n{printable(text)}\n{fence}")


def markdown_table(table: Table) -> Markdown:
    """A table with its caption above; notes stand in brackets after their value."""
    head = "| " + " | ".join(escape_markdown(column.title) for column in table.columns) + " |"
    rule = "| " + " | ".join(_rule(column) for column in table.columns) + " |"
    body = [_line(row) for row in table.rows]
    return Markdown("\n".join([escape_markdown(table.caption), "", head, rule, *body]))


def _rule(column: Column) -> str:
    return "---:" if column.numeric else "---"


def _line(row: Row) -> str:
    cells = [_cell(cell) for cell in row.cells]
    if row.strong:
        cells[0] = f"**{cells[0]}**"
    return "| " + " | ".join(cells) + " |"


def _cell(cell: Cell) -> str:
    text = escape_markdown(cell.text)
    return f"{text} ({escape_markdown(cell.note)})" if cell.note else text
