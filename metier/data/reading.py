"""From tables to examples, by task: which columns mean what, then a record a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metier.data.columns import choose_columns
from metier.data.examples import Extraction, Intake, Store, check_label_settings, extract_examples
from metier.data.input_rules import InputRules
from metier.data.layout import lay_out
from metier.data.roster import Roster
from metier.data.table import Table
from metier.data.written import extract_written
from metier.errors import DataError
from metier.recipe.sections import DataSection

Tables = Mapping[str, Sequence[Table]]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The examples of each split, and how their files were read."""

    roster: Roster
    """All examples, those of train first."""
    extracted: Mapping[str, Extraction]
    rules: InputRules
    """Of train; saved beside the model."""
    answer: str
    """What the answers are called in messages: `label`, `answer`; empty where there are none."""
    about: Mapping[str, Any]
    """Fields of the data card."""
    notices: tuple[str, ...]
    """About columns and shapes."""
    later_notices: tuple[str, ...] = ()
    """About labels; they come after what was broken."""


def read_records(section: DataSection, task: str, tables: Tables, store: Store) -> Reading:
    """Make examples of the rows of all files.

    Args:
        section: The recipe's data section.
        task: The recipe's task.
        tables: The files of each split, train first.
        store: Where the records go.

    Raises:
        DataError: The columns or the shape cannot be told, or are not there.
    """
    intake = Intake(store)
    if task == "classification":
        return _labelled(section, tables, intake)
    return _written(section, task, tables, intake)


def kind_of(task: str) -> str:
    """The kind of record that a task reads: a name in `splits.KINDS`."""
    return "choice" if task == "classification" else KINDS[task][0]


def _labelled(section: DataSection, tables: Tables, intake: Intake) -> Reading:
    if section.answers is not None and section.label is None:
        section = section.model_copy(update={"label": tables["train"][0].columns[-1]})
    if section.shape not in ("auto", "columns"):
        wanted = "columns or paths, such as `messages[-2].content`"
        fix = "Remove it, and name them as data.text and data.label."
        raise DataError("data.shape", f"is {section.shape}, but task classification reads columns", wanted, fix)
    columns = choose_columns(section, [table for part in tables.values() for table in part])
    rules = InputRules(
        text_columns=columns.text, template=columns.template, records=section.records,
        lines=tables["train"][0].source.format == "lines",
    )  # fmt: skip
    extracted = {
        role: extract_examples(part, intake.part(), columns=columns, rules=rules, section=section)
        for role, part in tables.items()
    }
    seen: Counter[str] = sum((part.labels_seen for part in extracted.values()), Counter())
    return Reading(
        roster=intake.builder.roster(),
        extracted=extracted,
        rules=rules,
        answer="label",
        about={
            "text_columns": columns.text,
            "template": columns.template,
            "label_column": columns.label,
            "group_column": columns.group,
            "found_by_itself": columns.found_by_itself,
        },
        notices=columns.notices,
        later_notices=tuple(check_label_settings(section, seen)),
    )


def _written(section: DataSection, task: str, tables: Tables, intake: Intake) -> Reading:
    layouts = lay_out(section, task, tables)
    extracted = {
        role: extract_written(
            [(table, layout.rules) for table, layout in zip(part, layouts[role], strict=True)],
            intake.part(),
            section=section,
            task=task,
        )
        for role, part in tables.items()
    }
    first = layouts["train"][0]
    fields = dict(first.rules.fields)
    return Reading(
        roster=intake.builder.roster(),
        extracted=extracted,
        rules=first.rules,
        answer=KINDS[task][1],
        about={
            "text_columns": first.rules.text_columns,
            "template": first.rules.template,
            "label_column": "",
            "group_column": section.group,
            "found_by_itself": first.found,
            "task": task,
            "shape": first.rules.shape,
            "answer_column": fields.pop("answer", None),
            "fields": fields,
        },
        notices=tuple(notice for part in layouts.values() for layout in part for notice in layout.notices),
    )


KINDS: Mapping[str, tuple[str, str]] = {
    "generation": ("conversation", "answer"),
    "chat": ("conversation", "answer"),
    "text": ("passage", ""),
    "preference": ("preference", "answer"),
}
"""Task -> kind of its records, and what their answers are called."""
