"""Evaluation files that a user names: items that nothing to learn from may give away; read, compared, never kept."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from metier.data.cleaning.rows import Row
from metier.data.columns import column_stats, guess_text
from metier.data.data_file import DataFile, nothing_beside
from metier.data.data_source import DataSource, Watch, find_sources
from metier.data.input_rules import InputRules
from metier.data.locate import expanded
from metier.data.paths import cell_at, reaches
from metier.data.records import Input
from metier.data.stream import HowToRead, RowStream, stream_rows
from metier.data.table import RawRow, Table
from metier.errors import DataError
from metier.recipe.sections import DataSection


class Items:
    """The items of one file as rows without a split; read anew each time."""

    def __init__(self, file: DataFile, rules: InputRules) -> None:
        """See the items.

        Args:
            file: The file.
            rules: Of training; a file with other columns is read by its text column, or by all of its cells.
        """
        self._file, self._rules = file, rules
        self._columns = _text_columns(file.table, rules)

    def __len__(self) -> int:
        """How many rows the file has, broken ones included."""
        return self._file.source.rows

    def __iter__(self) -> Iterator[Row]:
        """Every item that has a text, once."""
        key = -1
        for piece in self._file.pieces():
            for cells, number in zip(piece.rows, piece.row_numbers, strict=True):
                text = self._text(cells)
                if not text:
                    continue
                key += 1
                yield Row(
                    key=key, split="unsplit", text=text, answer="", labelled=False, group=None,
                    source=piece.source.name, row=number,
                )  # fmt: skip

    def _text(self, cells: RawRow) -> str:
        if self._columns is None:
            found = self._rules.input_of(cells, "")
            return found.text if isinstance(found, Input) else ""
        return self._rules.clean("\n\n".join(text for name in self._columns if (text := cell_at(cells, name)).strip()))


def evaluation_items(section: DataSection, rules: InputRules) -> dict[str, Items]:
    """The items of every file of `data.evaluation_files`, by the file's name.

    Args:
        section: The recipe's data section.
        rules: Of training.

    Raises:
        DataError: A file is not there or cannot be read.
    """
    found: dict[str, Items] = {}
    for given in section.evaluation_files:
        path = expanded(given)
        if not path.exists() and not any(parent.is_file() for parent in path.parents):
            raise DataError("data.evaluation_files", f"`{given}` does not exist", "a data file", "Check the path.")
        for source in find_sources(path):
            name = source.name if source.name not in found else str(path)
            file = DataFile(partial(_opened, source, section.encoding), nothing_beside)
            found[name] = Items(file, rules)
    return found


def _opened(source: DataSource, encoding: str | None, watch: Watch | None) -> RowStream:
    return stream_rows(source, HowToRead(encoding=encoding), watch=watch)


def _text_columns(table: Table, rules: InputRules) -> tuple[str, ...] | None:
    """The columns that hold the items' texts; None where they are read as in training."""
    if all(reaches(table, path) for path in rules.asked_columns):
        return None
    stats = column_stats(table)
    texts = guess_text(stats, set())
    return texts[0] if len(texts) == 1 else tuple(stats)
