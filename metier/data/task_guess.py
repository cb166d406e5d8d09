"""What task a file is probably for, when it is not plainly texts with labels; and why that guess was taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from metier.data.columns import (
    GROUP_NAMES,
    LABEL_NAMES,
    ColumnStats,
    column_stats,
    guess_label,
    guess_text,
    is_id_name,
    looks_like_labels,
    plain_name,
)
from metier.data.layout import usual_pairs
from metier.data.list_guess import guess_labels, guess_spans, labels_note, spans_note
from metier.data.paths import as_text, cell_at, explode, parsed, value_at
from metier.data.records import Message, answer_text
from metier.data.shapes import SHAPES, Fields, implied_records, recognise_shape
from metier.data.table import Table, column_list, counted
from metier.data.turns import RowFault, read_chat, read_sharegpt

MOST_LABELS = 20
"""Different answers up to which they may be labels."""
TIMES_EACH = 5
"""How often each must come, on average."""
_SAMPLE = 2000
RATINGS = ("reward", "rating", "score", "thumbs", "preference")
"""Names of columns that rate single answers."""


@dataclass(frozen=True, kw_only=True)
class Guess:
    """A task, and where its records lie."""

    task: str
    shape: str = "columns"
    fields: Fields | None = None
    text: tuple[str, ...] = ()
    """Columns or paths; empty where the shape says it."""
    answer: str | None = None
    """Column or path of the answer, or of the label; None where the shape says it."""
    labels: tuple[str, ...] = ()
    """Columns of yes and no, one a label; empty where the labels of a row lie in one column."""
    records: str | None = None
    """Path of the list inside each row whose items are the records."""
    notes: tuple[str, ...] = ()
    """Why this guess was taken, and how to choose the other."""


def guess_task(table: Table, stats: Mapping[str, ColumnStats]) -> Guess | None:
    """The task that a file is probably for; None: classification, as its columns say.

    Args:
        table: The file.
        stats: What its columns look like.
    """
    for guess in (_instances, _preference, _talk, _prompted, _pair, _spans, _several_labels, _nested, _documents):
        found = guess(table, stats)
        if found is not None:
            return found
    return None


def handful(answers: Sequence[str]) -> int | None:
    """How many different answers there are, when they are so few and come so often that they may be labels."""
    filled = [answer.strip() for answer in answers if answer.strip()]
    distinct = len(set(filled))
    return distinct if 2 <= distinct <= MOST_LABELS and len(filled) >= TIMES_EACH * distinct else None


def _instances(table: Table, stats: Mapping[str, ColumnStats]) -> Guess | None:
    path = implied_records(table)
    if path is None:
        return None
    inside = explode(table, path)
    found = _prompted(inside, column_stats(inside))
    return replace(found, records=path if found.task == "classification" else None) if found is not None else None


def _preference(table: Table, stats: Mapping[str, ColumnStats]) -> Guess | None:
    fields = SHAPES["preference"].find(table)
    if fields is None:
        return None
    note = "Preference pairs are read, checked and split; training on them comes in a later version of metier."
    return Guess(task="preference", shape="preference", fields=fields, notes=(note,))


def _talk(table: Table, stats: Mapping[str, ColumnStats]) -> Guess | None:
    found = recognise_shape(table, "chat")
    if found is None or found[0] not in _READERS:
        return None
    shape, fields = found
    reader, said = _READERS[shape]
    column = fields["messages"]
    talks = _talks(table, column, reader)
    several = sum(sum(turn.role == "user" for turn in talk) > 1 for talk in talks)
    answers = [answer_text(talk[-1]) for talk in talks if talk[-1].role == "assistant"]
    labels = handful(answers)
    if labels is not None and not several:
        note = _labels_note(labels, len(answers), "generation")
        # Counted from the start where all are of one length: what is asked later comes without an answer.
        asked = len(talks[0]) - 2 if len(talks[0]) > 1 and len(set(map(len, talks))) == 1 else -2
        return Guess(
            task="classification", text=(f"{column}[{asked}].{said}",), answer=f"{column}[-1].{said}", notes=(note,)
        )
    note = (
        f"{counted(several, 'conversation')} of {len(talks):,} {'has' if several == 1 else 'have'} several questions."
    )
    return Guess(task="chat" if several else "generation", shape=shape, fields=fields, notes=(note,) if several else ())


def _prompted(table: Table, stats: Mapping[str, ColumnStats]) -> Guess | None:
    found = recognise_shape(table, "generation")
    if found is None or found[0] in _READERS:
        return None
    shape, fields = found
    conversational = isinstance(value_at(table.rows[0], fields["answer"]), list) if table.rows else False
    texts = tuple(fields[name] for name in ("prompt", "instruction", "input") if name in fields)
    answers = [cell_at(row, fields["answer"]) for row in table.rows[:_SAMPLE]]
    labels = None if conversational else handful(answers)
    if labels is not None:
        note = _labels_note(labels, len(answers), "generation")
        return Guess(task="classification", text=texts, answer=fields["answer"], notes=(note,))
    ratings = [name for name in table.columns if plain_name(name) in (*RATINGS, "label") and stats[name].repeats]
    notes = [
        f"Column `{name}` looks like a rating of single answers, which is not read: bad answers would be learned too. "
        "Remove their rows first."
        for name in ratings[:1]
    ]
    return Guess(task="generation", shape=shape, fields=fields, notes=tuple(notes))


def _pair(table: Table, stats: Mapping[str, ColumnStats]) -> Guess | None:
    pairs = usual_pairs(stats)
    if not pairs:
        return None
    text, answer = pairs[0]
    answers = [cell_at(row, answer) for row in table.rows[:_SAMPLE]]
    labels = handful(answers)
    if labels is not None:
        return Guess(
            task="classification", text=text, answer=answer, notes=(_labels_note(labels, len(answers), "generation"),)
        )
    label = next((name for name in guess_label(stats, {*text, answer}) if _is_meant(name)), None)
    if label is not None and guess_text(stats, {label}) == [(text[-1],)]:
        return None
    others = [label] if label else [name for name in stats if name not in (*text, answer) and _like_labels(stats[name])]
    return Guess(task="generation", text=text, answer=answer, notes=_other_notes(others[:3]))


def _other_notes(names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        return ()
    looks, which = ("look", "one of them") if len(names) > 1 else ("looks", "it")
    way = "set task: classification and name it as data.label"
    return (f"{column_list(names)} {looks} like labels: to predict {which}, {way}; remove data.answer then.",)


def _spans(table: Table, stats: Mapping[str, ColumnStats]) -> Guess | None:
    found = guess_spans(table, stats)
    return found and Guess(task="extraction", text=found[0], answer=found[1], notes=(spans_note(found[1]),))


def _several_labels(table: Table, stats: Mapping[str, ColumnStats]) -> Guess | None:
    found = guess_labels(table, stats)
    if found is None:
        return None
    text, columns = found
    answer = columns[0] if len(columns) == 1 else None
    labels = columns if answer is None else ()
    return Guess(task="multilabel", text=text, answer=answer, labels=labels, notes=(labels_note(columns),))


def _nested(table: Table, stats: Mapping[str, ColumnStats]) -> Guess | None:
    """A list inside each row whose items are questions with answers, beside what they are about."""
    if any(_is_meant(name) for name in guess_label(stats, set())):
        return None
    for column in (name for name, each in stats.items() if each.nested):
        items = value_at(table.rows[0], column)
        if not isinstance(items, list) or not items or not isinstance(items[0], dict):
            continue
        inside = explode(replace(table, rows=table.rows[:200], row_numbers=table.row_numbers[:200]), column)
        names = {name for name in inside.columns if isinstance(items[0], dict) and name in items[0]}
        pairs = usual_pairs({name: each for name, each in column_stats(inside).items() if name in names})
        if pairs:
            text, answer = pairs[0]
            about = _contexts(table, {column})
            note = f"The records are the items of `{column}`; what else is in a row comes before each question."
            return Guess(
                task="generation", text=(*about, *text), answer=answer, records=column, notes=(note,) if about else ()
            )
    return None


def _documents(table: Table, stats: Mapping[str, ColumnStats]) -> Guess | None:
    """A column of text, and beside it nothing but ids."""
    filled = {name: each for name, each in stats.items() if each.filled}
    texts = guess_text(filled, set())
    if len(texts) != 1 or len(texts[0]) != 1 or filled[texts[0][0]].mean_length < 40:
        return None
    rest = [name for name in filled if name != texts[0][0]]
    if not all(map(is_id_name, rest)):
        return None
    note = f"`{texts[0][0]}` is the only text, and there is no answer: the draft takes task text, reading on."
    return Guess(task="text", shape="documents", text=texts[0], notes=(note,))


def _talks(table: Table, column: str, reader: Callable[[Any], tuple[Message, ...]]) -> list[tuple[Message, ...]]:
    talks = []
    for row in table.rows[:_SAMPLE]:
        try:
            talks.append(reader(value_at(row, column)))
        except RowFault:
            continue  # it will be rejected with its reason
    return talks


def _contexts(table: Table, taken: set[str]) -> tuple[str, ...]:
    """Paths of what a row's records are about: its other nested columns, where they hold texts or a table."""
    paths = []
    for column in (name for name in table.columns if name not in taken):
        value = parsed(table.rows[0].get(column))
        inside = value[0] if isinstance(value, list) and value and isinstance(value[0], dict) else value
        if isinstance(value, list) and inside is value and as_text(value).strip():
            paths.append(column)
        elif isinstance(inside, dict):
            named = [key for key in ("text", "content", "table", "rows", column) if inside.get(key)]
            paths.extend(f"{column}.{key}" for key in named[:1])
    return tuple(paths[:3])


def _labels_note(labels: int, rows: int, other: str) -> str:
    return (
        f"The answers are {labels} different strings, each {rows // labels} times on average: the draft takes task "
        f"classification, which is surer and cheaper. For written answers set task: {other}, and "
        "remove candidates, evaluation and all of data but the files."
    )


def _is_meant(name: str) -> bool:
    plain = plain_name(name)
    return plain in ("label", "labels", *LABEL_NAMES)


def _like_labels(stats: ColumnStats) -> bool:
    plain = plain_name(stats.name)
    meant_otherwise = plain in GROUP_NAMES or plain.rpartition("_")[2] == "code"
    few = looks_like_labels(stats) and 2 <= stats.distinct <= 100
    return few and not stats.nested and stats.numeric < 0.5 and not meant_otherwise


_READERS: Mapping[str, tuple[Callable[[Any], tuple[Message, ...]], str]] = {
    "messages": (read_chat, "content"),
    "sharegpt": (read_sharegpt, "value"),
}
"""Shape -> how its turns are read, and where a turn says its text."""
