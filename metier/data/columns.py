"""Which column is the text and which the answer: as the recipe says, else found by itself when there is one way.

Order of evidence: the usual name, then one of the other usual names, then a usual ending, then what the
cells look like. Two columns with equal evidence are never guessed between: the error lists them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metier.data.input_rules import template_columns
from metier.data.paths import check_path
from metier.data.table import Table, column_list
from metier.errors import DataError
from metier.recipe.sections import DataSection

TEXT_NAMES = (
    "text", "sentence", "utterance", "question", "message", "body", "content", "input", "input_text", "query",
    "review", "abstract", "clause", "description", "dialogue", "dialog", "comment", "transcript", "email", "post",
    "tweet", "document", "passage", "prompt", "user_message", "customer_message", "request",
)  # fmt: skip
TEXT_ENDINGS = (
    "text", "sentence", "utterance", "question", "message", "body", "content", "query", "review", "abstract",
    "clause", "description", "dialogue", "comment",
)  # fmt: skip
LABEL_NAMES = (
    "intent", "category", "class", "target", "topic", "sentiment", "tag", "department", "queue", "emotion", "stance",
    "answer_label", "gold",
)  # fmt: skip
LABEL_ENDINGS = ("label", "labels", "intent", "category", "class", "sentiment", "topic")
GROUP_NAMES = (
    "group", "conversation", "dialogue", "dialog", "contract", "document", "doc", "customer", "user", "patient",
    "session", "thread", "author", "case", "account", "company", "speaker", "ticket_thread", "meeting", "file",
    "filename", "source_document", "subject_id", "person",
)  # fmt: skip
_PAIRS = (("subject", "body"), ("title", "body"), ("subject", "message"))
_SAMPLE = 5000


@dataclass(frozen=True, kw_only=True)
class ColumnStats:
    """What the cells of a column look like, over a sample of the rows."""

    name: str
    filled: int
    distinct: int
    mean_length: float
    max_length: int
    numeric: float
    """Share of filled cells that are numbers."""
    nested: bool = False
    """Whether its cells hold lists or objects."""

    @property
    def repeats(self) -> bool:
        """Whether its values come again and again, as labels do."""
        return 2 <= self.distinct <= max(2, min(500, self.filled // 2)) or (self.filled < 20 and self.distinct > 1)


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns that preparation reads."""

    text: tuple[str, ...]
    template: str | None
    label: str
    group: str | None
    id: str | None
    found_by_itself: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


def choose_columns(section: DataSection, tables: Sequence[Table]) -> Columns:
    """The columns of the recipe, checked against every file; what it leaves out is found.

    Args:
        section: The recipe's data section.
        tables: All files, train first; columns are found in the first.

    Raises:
        DataError: A column is not there, or text or label cannot be told.
    """
    first = tables[0]
    stats = column_stats(first)
    found: list[str] = []
    label = section.label
    if isinstance(label, list):
        fix = "Set `task: multilabel` to predict several labels of one text."
        raise DataError("data.label", f"names {len(label)} columns", "one column", fix)
    text, template = given_text(section.text, first.columns)
    if label is None:
        taken = {*text, section.group, section.id}
        label = _one(guess_label(stats, taken), "label", stats, first)
        found.append("label")
    if not text:
        text = _one_text(guess_text(stats, {label, section.group, section.id}), stats, first)
        found.insert(0, "text")
    if label in text:
        raise DataError("data.label", f"`{label}` is also the text", "another column", "Name the column of the answer.")
    needed = {"text": text, "label": (label,), "group": (section.group,), "id": (section.id,)}
    for field, names in needed.items():
        for table in tables:
            for name in names:
                if name is not None:
                    check_path(table, name, f"data.{field}")
    said = {"text": " and ".join(f"`{name}`" for name in text), "label": f"`{label}`"}
    return Columns(
        text=text,
        template=template,
        label=label,
        group=section.group,
        id=section.id,
        found_by_itself=tuple(found),
        notices=tuple(f"data.{field} found by itself: {said[field]}" for field in found),
    )


def column_stats(table: Table) -> dict[str, ColumnStats]:
    """What each column looks like, by name, over every n-th row of a long table."""
    rows = table.rows[:: 1 + len(table.rows) // _SAMPLE]
    stats = {}
    for name in table.columns:
        cells = [cell for row in rows if (cell := row.get(name)) is not None and cell.strip()]
        stats[name] = ColumnStats(
            name=name,
            filled=len(cells),
            distinct=len(set(cells)),
            mean_length=sum(map(len, cells)) / len(cells) if cells else 0.0,
            max_length=max(map(len, cells), default=0),
            numeric=sum(map(is_number, cells)) / len(cells) if cells else 0.0,
            nested=any(cell.startswith(("[", "{")) and cell.endswith(("]", "}")) for cell in cells[:20]),
        )
    return stats


def guess_label(stats: Mapping[str, ColumnStats], taken: set[str | None]) -> list[str]:
    """Columns that could be the answer, equally likely: none, one, or several.

    Args:
        stats: What the columns look like.
        taken: Columns that have another meaning.
    """
    free = [name for name in stats if name not in taken and stats[name].repeats and not stats[name].nested]
    tiers = (
        [name for name in free if plain_name(name) in ("label", "labels")],
        [name for name in free if plain_name(name) in LABEL_NAMES],
        [name for name in free if plain_name(name).rpartition("_")[2] in LABEL_ENDINGS],
        [name for name in free if looks_like_labels(stats[name])],
    )
    return next((tier for tier in tiers if tier), [])


def guess_text(stats: Mapping[str, ColumnStats], taken: set[str | None]) -> list[tuple[str, ...]]:
    """Columns, or pairs of columns, that could be the text, equally likely: none, one, or several.

    Args:
        stats: What the columns look like.
        taken: Columns that have another meaning.
    """
    free = {plain_name(name): name for name in stats if name not in taken and stats[name].filled}
    free = {plain: name for plain, name in free.items() if stats[name].numeric < 0.5 and not stats[name].nested}
    if "text" in free:
        return [(free["text"],)]
    for pair in _PAIRS:
        if all(name in free for name in pair):
            return [tuple(free[name] for name in pair)]
    tiers = (
        [name for plain, name in free.items() if plain in TEXT_NAMES],
        [name for plain, name in free.items() if plain.rpartition("_")[2] in TEXT_ENDINGS],
        _longest([stats[name] for name in free.values()]),
    )
    return [(name,) for name in next((tier for tier in tiers if tier), [])]


def guess_group(stats: Mapping[str, ColumnStats], taken: set[str | None]) -> list[str]:
    """Columns whose names speak of rows that belong together, and whose values repeat.

    Args:
        stats: What the columns look like.
        taken: Columns that have another meaning.
    """
    return [
        name
        for name, column in stats.items()
        if name not in taken
        and plain_name(name).removesuffix("_id").removesuffix("_name") in GROUP_NAMES
        and 2 <= column.distinct < 0.9 * column.filled
    ]


def looks_like_labels(stats: ColumnStats) -> bool:
    """Whether a column of any name has few, short, repeated values."""
    few = stats.distinct <= max(2, min(200, stats.filled // 5))
    name = plain_name(stats.name)
    meant_otherwise = name.rpartition("_")[2] in ("id", "index", "year", "date", "time", "number", "offset", "count")
    return few and stats.mean_length <= 40 and stats.max_length <= 80 and not meant_otherwise


def given_text(given: str | list[str] | None, columns: Sequence[str]) -> tuple[tuple[str, ...], str | None]:
    """The columns that `data.text` names, and its template where it is one.

    Args:
        given: A column, several, a template, or None: none.
        columns: The columns of the file; a column's name may look like a template.

    Raises:
        DataError: It names no column.
    """
    if given is None:
        return (), None
    if isinstance(given, list):
        if not given:
            raise DataError("data.text", "is an empty list", "one column or more", "Name a column.")
        return tuple(given), None
    if "{" in given and given not in columns:
        names = template_columns(given)
        if not names:
            raise DataError("data.text", "is a template without a column", '"{subject}: {body}"', "Name a column.")
        return names, given
    return (given,), None


def is_id_name(name: str) -> bool:
    """Whether a column's name says that it holds ids."""
    return plain_name(name).rpartition("_")[2] in ("id", "uid", "uuid", "key", "index")


def plain_name(name: str) -> str:
    """A column name in lower case with underscores: `conversationId` and `Conversation ID` are the same."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")


def is_usual_name(name: str) -> bool:
    """Whether a column name is one that data sets use: then a first row of names is a header."""
    plain = plain_name(name)
    usual = {"label", "labels", "id", "date", *TEXT_NAMES, *LABEL_NAMES, *GROUP_NAMES}
    return plain in usual or plain.rpartition("_")[2] in {"id", *LABEL_ENDINGS, *TEXT_ENDINGS}


def is_number(cell: str) -> bool:
    """Whether a cell is a plain number."""
    return re.fullmatch(r"\s*[+-]?\d+(\.\d+)?([eE][+-]?\d+)?\s*", cell) is not None


def _longest(candidates: Sequence[ColumnStats]) -> list[str]:
    """The column with by far the longest texts, or those that come close to it."""
    most = max((stats.filled for stats in candidates), default=0)
    wordy = [
        stats
        for stats in candidates
        if stats.mean_length >= 10
        and stats.distinct >= 0.3 * stats.filled
        and stats.filled >= 0.5 * most
        and not is_id_name(stats.name)
    ]
    wordy.sort(key=lambda stats: -stats.mean_length)
    return [stats.name for stats in wordy if stats.mean_length >= 0.5 * wordy[0].mean_length]


def _one(candidates: Sequence[str], field: str, stats: Mapping[str, ColumnStats], table: Table) -> str:
    if len(candidates) == 1:
        return candidates[0]
    raise _undecided([(name,) for name in candidates], field, stats, table)


def _one_text(candidates: Sequence[tuple[str, ...]], stats: Mapping[str, ColumnStats], table: Table) -> tuple[str, ...]:
    if len(candidates) == 1:
        return candidates[0]
    raise _undecided(candidates, "text", stats, table)


def _undecided(
    candidates: Sequence[tuple[str, ...]], field: str, stats: Mapping[str, ColumnStats], table: Table
) -> DataError:
    where, file = f"data.{field}", table.source.name
    what = "answer" if field == "label" else "text"
    fix = f"Set data.{field} to the column of the {what}."
    if not candidates:
        there = column_list(stats)
        return DataError(where, f"is not set, and no column of {file} looks like a {field}", f"one of {there}", fix)
    found = f"is not set, and {file} has {len(candidates)} columns that could be it"
    return DataError(where, found, question_parts(candidates, stats), fix)


def question_parts(candidates: Sequence[tuple[str, ...]], stats: Mapping[str, ColumnStats]) -> str:
    """Columns as a message lists them, with what tells one from the other."""
    parts = [
        f"`{name}` ({stats[name].distinct} values, {stats[name].mean_length:.0f} characters on average)"
        for names in candidates
        for name in names
    ]
    more = f" or {len(parts) - 8} more" if len(parts) > 8 else ""
    return " or ".join(parts[:8]) + more
