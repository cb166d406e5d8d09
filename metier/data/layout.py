"""Where a file holds what a task without labels needs: as the recipe says, else found by what the file holds.

Each file is looked at by itself, as the parts of a data set often name their columns differently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from metier.data.columns import ColumnStats, column_stats, given_text, guess_text, plain_name, question_parts
from metier.data.input_rules import WRITTEN, InputRules, repairs_of
from metier.data.listed import answer_fields, separator_in
from metier.data.paths import check_path, reaches
from metier.data.shapes import SHAPES, Fields, holds_turns, recognise_shape
from metier.data.table import Table, column_list, missing_column
from metier.errors import DataError
from metier.recipe.sections import DataSection
from metier.recipe.tasks import LISTS

USUAL_PAIRS = (
    ("question", "answer"), ("question", "reference_answer"), ("question", "long_answer"), ("question", "response"),
    ("query", "answer"), ("query", "response"), ("problem", "solution"), ("title", "answer"),
    ("input_text", "output_text"), ("input_text", "target_text"), ("input", "output"), ("input", "target"),
    ("prompt", "response"), ("prompt", "completion"), ("prompt", "answer"), ("prompt", "output"),
    ("instruction", "response"), ("instruction", "output"), ("instruction", "answer"), ("context", "response"),
    ("description", "command"), ("nl", "cmd"), ("nl", "command"), ("nl", "bash"), ("nl", "code"), ("nl", "sql"),
    ("question", "sql"), ("question", "query"), ("docstring", "code"), ("description", "code"),
    ("source", "target"), ("src", "tgt"), ("source_text", "target_text"), ("original", "simplified"),
    ("complex", "simple"), ("original_text", "reference_summary"), ("original_text", "summary"),
    ("dialogue", "section_text"), ("dialogue", "summary"), ("dialogue", "note"), ("dialog", "summary"),
    ("document", "summary"), ("article", "summary"), ("article", "highlights"), ("text", "summary"),
    ("transcript", "summary"), ("report", "summary"), ("findings", "impression"), ("message", "reply"),
    ("request", "reply"), ("request", "response"), ("email", "reply"), ("text", "reply"), ("user", "assistant"),
    ("human", "assistant"), ("text", "answer"), ("text", "completion"), ("text", "response"),
)  # fmt: skip
"""Names of a text and its answer that data sets use together."""
ANSWER_NAMES = (
    "answer", "output_text", "output", "response", "completion", "reply", "target_text", "reference_answer",
    "long_answer", "summary", "reference_summary", "target", "solution", "command", "note", "section_text",
    "translation", "ideal", "reference", "gold_answer",
)  # fmt: skip
_CONTEXTS = ("context", "contexts", "passage", "passages", "background", "document", "documents")
_ASKS = ("question", "query")
_FULL_ENOUGH = 0.2


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where one file holds its records."""

    rules: InputRules
    found: tuple[str, ...] = ()
    """What was found by itself: `text`, `answer`."""
    notices: tuple[str, ...] = ()


def lay_out(section: DataSection, task: str, tables: Mapping[str, Sequence[Table]]) -> dict[str, list[Layout]]:
    """The layout of every file, by split.

    Args:
        section: The recipe's data section; what it names wins.
        task: A task without labels.
        tables: The files of each split, train first.

    Raises:
        DataError: A column or shape is not there, or cannot be told.
    """
    _refuse_unread(section, task)
    first = layout_of(section, task, tables["train"][0])
    layouts: dict[str, list[Layout]] = {}
    for role, part in tables.items():
        layouts[role] = []
        for table in part:
            for name, path in (("group", section.group), ("id", section.id), ("system", section.system)):
                if path is not None:
                    check_path(table, path, f"data.{name}")
            if table is tables["train"][0]:
                layouts[role].append(first)
            elif _fits(first.rules, table):
                layouts[role].append(Layout(rules=first.rules))
            else:
                other = layout_of(section, task, table)
                layouts[role].append(Layout(rules=other.rules, notices=_differs(first.rules, other.rules, table)))
    return layouts


def layout_of(section: DataSection, task: str, table: Table) -> Layout:
    """The layout of one file.

    Args:
        section: The recipe's data section; what it names wins.
        task: A task without labels.
        table: The file.

    Raises:
        DataError: A column or shape is not there, or cannot be told.
    """
    shape, fields = _shape(section, task, table)
    if task == "text":
        return _of_documents(section, table)
    if task in LISTS:
        return _of_lists(section, task, table)
    if shape == "columns":
        return _of_columns(section, task, table)
    if section.system is not None:
        fields = {**fields, "system": section.system}
    rules = InputRules(
        text_columns=(), repairs=repairs_of(section, WRITTEN), task=task, shape=shape, fields=dict(fields),
        records=section.records,
    )  # fmt: skip
    notice = f"{table.source.name}: read as {SHAPES[shape].said} ({_fields_said(fields)})"
    return Layout(rules=rules, notices=(notice,) if section.shape == "auto" else ())


def rules_for_file(rules: InputRules, table: Table) -> tuple[InputRules, tuple[str, ...]]:
    """The rules that read a file to predict: those of training, or found anew where its columns have other names.

    Args:
        rules: Of training, with a task without labels.
        table: The file to predict; it may lack answers.

    Returns:
        The rules, and notices.

    Raises:
        DataError: What is asked cannot be told.
    """
    missing = next((path for path in rules.asked_columns if not reaches(table, path)), None)
    if missing is None:
        return rules, ()
    found = recognise_shape(table, rules.task)
    if found is not None:
        other = replace(rules, shape=found[0], fields=found[1], text_columns=(), template=None)
    else:
        stats = column_stats(table)
        texts = [text for text, _ in usual_pairs(stats)][:1] or guess_text(stats, set())
        if len(texts) != 1:
            raise missing_column("input", missing, table.columns, table.source.name)
        other = replace(rules, shape="columns", fields={}, text_columns=texts[0], template=None)
    return other, _differs(rules, other, table)


def usual_pairs(stats: Mapping[str, ColumnStats]) -> list[tuple[tuple[str, ...], str]]:
    """Text columns and answer column whose names data sets use together, in the order of `USUAL_PAIRS`.

    Args:
        stats: What the columns look like.
    """
    rows = max((column.filled for column in stats.values()), default=0)
    there = {plain_name(name): name for name, column in stats.items() if column.filled > _FULL_ENOUGH * rows}
    pairs = [(there[text], there[answer]) for text, answer in USUAL_PAIRS if text in there and answer in there]
    return [(_with_context(text, answer, there), answer) for text, answer in pairs]


def _with_context(text: str, answer: str, there: Mapping[str, str]) -> tuple[str, ...]:
    """A question's own context before it."""
    contexts = [there[name] for name in _CONTEXTS if name in there and there[name] not in (text, answer)]
    return (contexts[0], text) if contexts and plain_name(text) in _ASKS else (text,)


def _shape(section: DataSection, task: str, table: Table) -> tuple[str, Fields]:
    """The shape of a file and its fields: as the recipe says, else recognised."""
    if section.shape != "auto":
        return section.shape, _with_names(section, section.shape, _given_shape(section, task, table), table)
    text = section.text if isinstance(section.text, str) else None
    if text is not None and section.answer is None:
        for shape, who in (("messages", "role"), ("sharegpt", "from")):
            if task in SHAPES[shape].tasks and text in table.columns and holds_turns(table, text, who):
                return shape, {**(SHAPES[shape].find(table) or {}), "messages": text}
    named = section.text is not None or section.answer is not None or section.answers is not None
    found = None if named and task in SHAPES["columns"].tasks else recognise_shape(table, task)
    if found is None and task == "preference":
        pairs = SHAPES["preference"]
        fix = "Single ratings are not read: put a better and a worse answer to the same prompt into one row."
        raise DataError("data.shape", f"{table.source.name} holds no {pairs.said}", pairs.wanted, fix)
    return (found[0], _with_names(section, *found, table)) if found is not None else ("columns", {})


def _given_shape(section: DataSection, task: str, table: Table) -> Fields:
    shape = SHAPES[section.shape]
    if task not in shape.tasks:
        able = [name for name, each in SHAPES.items() if task in each.tasks]
        raise DataError("data.shape", f"is {section.shape}, which task {task} does not read", " or ".join(able))
    fields = shape.find(table)
    if fields is None and shape.asks == ("messages",) and isinstance(section.text, str):
        fields = {}  # named by hand
    if fields is None and shape.asks:
        there = column_list(table.columns)
        found = f"is {section.shape}, which {table.source.name} is not (it has {there})"
        raise DataError("data.shape", found, shape.wanted, "Leave data.shape out, or name the columns.")
    return fields or {}


def _with_names(section: DataSection, shape: str, fields: Fields, table: Table) -> Fields:
    """The fields of a shape, with the columns that the recipe names in their places."""
    asks = SHAPES[shape].asks
    if not asks:  # the shape is made of the columns that the recipe names
        return fields
    named: dict[str, str] = {}
    if section.text is not None:
        if not isinstance(section.text, str) or "{" in section.text:
            found = "is several columns or a template"
            raise DataError("data.text", found, f"one column with shape {shape}", "Or set data.shape: columns.")
        check_path(table, section.text, "data.text")
        named[asks[0]] = section.text
    if section.answer is not None:
        if "answer" not in fields:
            found = f"is set, but shape {shape} says itself where the answers are"
            raise DataError("data.answer", found, "", "Remove it.")
        check_path(table, section.answer, "data.answer")
        named["answer"] = section.answer
    return {**fields, **named}


def _of_columns(section: DataSection, task: str, table: Table) -> Layout:
    text, template = given_text(section.text, table.columns)
    answer = section.answer or _answers_column(section, table)
    found = [name for name, there in (("text", text), ("answer", answer)) if not there]
    if found:
        guessed = _guess(table, text, answer, {section.group, section.id, section.system})
        text, answer = text or guessed[0], answer or guessed[1]
    assert answer is not None
    for path in text:
        check_path(table, path, "data.text")
    check_path(table, answer, "data.answer")
    if answer in text:
        raise DataError("data.answer", f"`{answer}` is also the text", "another column", "Name the answer's column.")
    fields = {"answer": answer, **({"system": section.system} if section.system is not None else {})}
    rules = InputRules(
        text_columns=text, template=template, repairs=repairs_of(section, WRITTEN), task=task, fields=fields,
        records=section.records, lines=table.source.format == "lines",
    )  # fmt: skip
    if rules.lines:
        found = []  # there is nothing to choose between
    said = {"text": column_list(text).replace(", ", " and "), "answer": f"`{answer}`"}
    return Layout(
        rules=rules, found=tuple(found), notices=tuple(f"data.{name} found by itself: {said[name]}" for name in found)
    )


def _of_lists(section: DataSection, task: str, table: Table) -> Layout:
    """A text, and a list of its labels or of pieces of it."""
    text, template = given_text(section.text, table.columns)
    found = [] if text else ["text"]
    fields = answer_fields(section, task, table, text)
    if not text:
        taken = {section.group, section.id, *fields.values()}
        stats = column_stats(table)
        candidates = guess_text(stats, taken)
        if len(candidates) != 1:
            raise _undecided("text", candidates, stats, table)
        text = candidates[0]
    for path in text:
        check_path(table, path, "data.text")
    named = section.label if task == "multilabel" else section.answer
    field = "label" if task == "multilabel" else "answer"
    said = {"text": column_list(text), field: column_list(fields.values())}
    found += [] if named is not None else [field]
    separator = separator_in(section, table, fields) if task == "multilabel" else None
    notices = [f"data.{name} found by itself: {said[name].replace(', ', ' and ')}" for name in found]
    if separator is not None and section.label_separator is None:
        notices.append(f"data.label_separator found by itself: `{separator}`")
    rules = InputRules(
        text_columns=text, template=template, repairs=repairs_of(section, WRITTEN), task=task, fields=fields,
        records=section.records, separator=separator,
    )  # fmt: skip
    return Layout(rules=rules, found=tuple(found), notices=tuple(notices))


def _of_documents(section: DataSection, table: Table) -> Layout:
    text, template = given_text(section.text, table.columns)
    found = not text
    if found:
        stats = column_stats(table)
        taken = {section.group, section.id, section.answer}
        candidates = [("text",)] if "text" in table.columns else guess_text(stats, taken)
        if len(candidates) != 1:
            raise _undecided("text", candidates, stats, table)
        text = candidates[0]
    for path in text:
        check_path(table, path, "data.text")
    rules = InputRules(
        text_columns=text, template=template, repairs=repairs_of(section, WRITTEN), task="text", shape="documents",
        records=section.records,
    )  # fmt: skip
    read_so = table.source.format in ("text", "lines")
    notices = (f"data.text found by itself: {column_list(text)}",) if found and not read_so else ()
    return Layout(rules=rules, found=("text",) if notices else (), notices=notices)


def _guess(
    table: Table, text: tuple[str, ...], answer: str | None, taken: set[str | None]
) -> tuple[tuple[str, ...], str]:
    """Text and answer columns of a file; what is given stays."""
    stats = {name: column for name, column in column_stats(table).items() if name not in taken}
    if not text and answer is None:
        pairs = usual_pairs(stats)
        if pairs:
            return pairs[0]
    if answer is None:
        # A column of lists or objects is no answer: turns of a conversation would give the question away.
        free = {
            name: column for name, column in stats.items() if name not in text and column.filled and not column.nested
        }
        named = [free_name for usual in ANSWER_NAMES for free_name in free if plain_name(free_name) == usual]
        if not named and len(free) == 1:
            named = list(free)
        if not named:
            raise _undecided("answer", [], stats, table)
        answer = named[0]
    if not text:
        candidates = guess_text(stats, {answer})
        if len(candidates) != 1:
            raise _undecided("text", candidates, stats, table)
        text = candidates[0]
    return text, answer


def _undecided(
    field: str, candidates: Sequence[tuple[str, ...]], stats: Mapping[str, ColumnStats], table: Table
) -> DataError:
    what = "text that is asked" if field == "text" else "answer"
    fix = f"Set data.{field} to the column of the {what}."
    if not candidates:
        found = f"is not set, and no column of {table.source.name} looks like the {what}"
        return DataError(f"data.{field}", found, f"one of {column_list(table.columns)}", fix)
    found = f"is not set, and {table.source.name} has {len(candidates)} columns that could be it"
    return DataError(f"data.{field}", found, question_parts(candidates, stats), fix)


def _answers_column(section: DataSection, table: Table) -> str | None:
    """The column that a file of answers beside the data was put into."""
    return table.columns[-1] if section.answers is not None else None


def _fits(rules: InputRules, table: Table) -> bool:
    """Whether a file has all that the rules read."""
    needed = {name: path for name, path in rules.fields.items() if name not in ("tools", "system", "history", "input")}
    return all(reaches(table, path) for path in (*rules.text_columns, *needed.values()))


def _differs(first: InputRules, other: InputRules, table: Table) -> tuple[str, ...]:
    return (f"{table.source.name}: has other columns than train; read from {_said(other)} (train: {_said(first)})",)


def _said(rules: InputRules) -> str:
    fields = {name: path for name, path in rules.fields.items() if name != "system"}
    text = {"text": " and ".join(rules.text_columns)} if rules.text_columns else {}
    return _fields_said({**text, **fields})


def _fields_said(fields: Fields) -> str:
    return ", ".join(f"`{path}`" if name == path else f"{name} `{path}`" for name, path in fields.items())


def _refuse_unread(section: DataSection, task: str) -> None:
    if task in LISTS:
        return
    fields: dict[str, Any] = {
        "label": section.label, "labels": section.labels, "label_names": section.label_names,
        "ignore_labels": section.ignore_labels, "examples_per_label": section.examples_per_label,
    }  # fmt: skip
    if task == "text" and section.answers is not None:
        raise DataError("data.answers", "is set, but task text has no answers", "", "Remove it.")
    for name, value in fields.items():
        if value:
            fix = {"label": "Name the answer's column as data.answer.", "examples_per_label": "Use data.max_examples."}
            found = f"is set, but task {task} has no labels"
            raise DataError(f"data.{name}", found, "", fix.get(name, "Remove it."))
