"""From tables to examples, by task: which columns mean what, then a record a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from metier.data.cleaning.rows import Finding
from metier.data.columns import Columns, choose_columns
from metier.data.data_file import DataFile
from metier.data.dates import Clock
from metier.data.examples import Extraction, Intake, check_label_settings, extract_examples
from metier.data.giveaway_gate import giveaway_notices, giveaway_of
from metier.data.input_rules import LABELLED, InputRules, repairs_of
from metier.data.layout import lay_out
from metier.data.roster import Roster
from metier.data.table import Table
from metier.data.written import extract_written
from metier.errors import DataError
from metier.events import Observer, Progress, tell
from metier.recipe.sections import DataSection

_TOLD_EVERY = 2**22
"""Bytes of a file between two reports of progress."""
Files = Mapping[str, Sequence[DataFile]]


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
    findings: tuple[Finding, ...] = ()
    """What the columns of train say before anything is divided."""
    later_notices: tuple[str, ...] = ()
    """About labels and personal data; they come after what was broken."""


def read_records(
    section: DataSection, task: str, files: Files, intake: Intake, observers: Sequence[Observer] = ()
) -> Reading:
    """Make examples of the rows of all files, a piece at a time.

    Args:
        section: The recipe's data section.
        task: The recipe's task.
        files: The files of each split, train first.
        intake: Takes the records in.
        observers: Get progress through files that are read from disk again.

    Raises:
        DataError: The columns or the shape cannot be told, or are not there.
    """
    intake.clock = Clock.of(section.time, {role: [file.table for file in part] for role, part in files.items()})
    if task == "classification":
        reading = _labelled(section, files, intake, observers)
    else:
        reading = _written(section, task, files, intake, observers)
    if intake.hiding is None:
        return reading
    rules = replace(reading.rules, protection=intake.hiding.for_inputs())
    return replace(reading, rules=rules, later_notices=(*reading.later_notices, *intake.hiding.notices()))


def kind_of(task: str) -> str:
    """The kind of record that a task reads: a name in `splits.KINDS`."""
    return "choice" if task == "classification" else KINDS[task][0]


def _labelled(section: DataSection, files: Files, intake: Intake, observers: Sequence[Observer]) -> Reading:
    first = files["train"][0].table
    if section.answers is not None and section.label is None:
        section = section.model_copy(update={"label": first.columns[-1]})
    if section.shape not in ("auto", "columns"):
        wanted = "columns or paths, such as `messages[-2].content`"
        fix = "Remove it, and name them as data.text and data.label."
        raise DataError("data.shape", f"is {section.shape}, but task classification reads columns", wanted, fix)
    columns = choose_columns(section, [file.table for part in files.values() for file in part])
    found = _given_away(section, files, columns)
    rules = InputRules(
        text_columns=columns.text, template=columns.template, records=section.records,
        repairs=repairs_of(section, LABELLED),
        lines=first.source.format == "lines",
    )  # fmt: skip
    extracted = {
        role: extract_examples(
            (piece for file in part for piece in _pieces(file, observers)),
            intake.part(role),
            columns=columns,
            rules=rules,
            section=section,
        )
        for role, part in files.items()
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
        findings=found,
        later_notices=(
            *check_label_settings(section, seen),
            *(said for each in found for said in giveaway_notices(each)),
        ),
    )


def _given_away(section: DataSection, files: Files, columns: Columns) -> tuple[Finding, ...]:
    if section.giveaway == "off":
        return ()
    return (giveaway_of([file.table for file in files["train"]], section, columns),)


def _written(section: DataSection, task: str, files: Files, intake: Intake, observers: Sequence[Observer]) -> Reading:
    layouts = lay_out(section, task, {role: [file.table for file in part] for role, part in files.items()})
    extracted = {
        role: extract_written(
            (
                (piece, layout.rules)
                for file, layout in zip(part, layouts[role], strict=True)
                for piece in _pieces(file, observers)
            ),
            intake.part(role),
            section=section,
            task=task,
        )
        for role, part in files.items()
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


def _pieces(file: DataFile, observers: Sequence[Observer]) -> Iterator[Table]:
    """The rows of one file, told how far reading is where that takes a while."""
    last = 0

    def watch(done: int, total: int) -> None:
        nonlocal last
        if done - last >= _TOLD_EVERY or done == total:
            last = done
            tell(observers, Progress(label=f"reading {file.source.name}", done=done, total=total, unit="bytes"))

    return file.pieces(watch if observers else None)


KINDS: Mapping[str, tuple[str, str]] = {
    "generation": ("conversation", "answer"),
    "chat": ("conversation", "answer"),
    "text": ("passage", ""),
    "preference": ("preference", "answer"),
    "multilabel": ("labelling", "labels"),
    "extraction": ("marked", "pieces"),
}
"""Task -> kind of its records, and what their answers are called."""
