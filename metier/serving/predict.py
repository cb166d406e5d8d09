"""The door to using a result: a file goes in, the same rows with their answers come out."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path

from metier.data.gather import take_out_records
from metier.data.input_rules import InputRules, Unusable
from metier.data.layout import rules_for_file
from metier.data.paths import reaches
from metier.data.records import Input
from metier.data.sources import data_suffix, read_table
from metier.data.table import Table, missing_column
from metier.errors import ArgumentError, DataError, InterruptedRun
from metier.evaluation.results import Answer
from metier.events import Notice, Observer, Progress, tell
from metier.serving.abstaining import FOR_A_PERSON, handed_over, promised_threshold
from metier.serving.journal import Journal
from metier.serving.results import AnsweredRow, Prediction
from metier.serving.specialist import SLICE, Specialist, load_run, with_text_column
from metier.serving.table_writer import Row, choose_writer, write_table
from metier.store.fingerprint import fingerprint
from metier.store.values import to_plain

__all__ = [
    "Specialist", "answered_row", "handed_over", "load_run", "predict_file", "promised_threshold", "refuse_output",
]  # fmt: skip

ADDED = ("answer", "probability", "reason")
PREFIX = "metier_"
BROKEN = "broken row"
UNFINISHED = "unfinished"
"""Reason beside an answer that reached the longest length and may lack its end."""
WRITTEN_SLICE = 32
"""Different inputs that are answered in writing together: what a kill can lose."""


def predict_file(
    specialist: Specialist,
    source: Path,
    output: Path,
    *,
    text_column: str | None = None,
    resume: bool = True,
    threshold: float | None = None,
    observers: Sequence[Observer] = (),
) -> Prediction:
    """Answer every row of a file.

    The output has all columns and rows of the input in their order (a row for each record, where rows hold
    lists of them), and three columns more. A row that
    cannot be read or asked keeps its place and says why. Equal inputs are answered once.

    Args:
        specialist: The model.
        source: Any table that metier reads, with the text columns that the training data had.
        output: A new file; its ending decides the format.
        text_column: Column of the text, when it is not called as in training.
        resume: Whether a prediction of the same input that was interrupted is continued.
        threshold: Least probability with which an answer is given; the others are handed to a person. None: all are.
        observers: Told about notices and progress.

    Raises:
        ArgumentError: The output exists, or has no ending that is known.
        DataError: The input cannot be read or lacks a text column.
        InterruptedRun: Stopped from outside; the same call goes on.
        MissingPackage: Training hid personal data, and what finds it is not installed.
    """
    refuse_output(output)
    rules = with_text_column(specialist.rules, text_column, specialist.folder)
    table = _read(source, rules)
    notices: tuple[str, ...] = ()
    if rules.converses:
        rules, notices = rules_for_file(rules, table)
    hiding = specialist.hiding  # what it lacks is told before anything is written
    for message in (*table.notices, *notices, *(hiding.notices if hiding is not None else ())):
        tell(observers, Notice(topic="data", message=message))
    asked = _asked(table, rules)
    different = {_key(given): given for given in asked if isinstance(given, Input)}
    identity = fingerprint([specialist.identity, table.source.sha256, to_plain(rules)])
    journal = Journal.open(output, identity, resume=resume)
    continued = len(journal.answers)
    if continued:
        message = f"{output.name}: an interrupted prediction goes on after {continued} of {len(different)} texts"
        tell(observers, Notice(topic="resume", message=message))
    _answer_all(specialist, list(different.values()), journal, observers)
    by_key = dict(zip(different, journal.answers, strict=True))
    said = [each if isinstance(each, AnsweredRow) else by_key[_key(each)] for each in asked]
    if threshold is not None:
        said = [handed_over(each, threshold) for each in said]
    answered = _in_place(table, said)
    added = _added_columns(table.columns, observers)
    _write(output, table, answered, added)
    journal.close()
    return replace(_summary(output, answered, continued, added), threshold=threshold)


def _read(source: Path, rules: InputRules) -> Table:
    """The file as a table with a row for each record; its records may also stand in rows of their own."""
    lines = rules.lines and not data_suffix(source)
    table = read_table(source, format="lines" if lines else "auto")
    nested = rules.records is None or reaches(table, rules.records)
    return take_out_records(table, rules.records, rules.task) if nested else table


def _asked(table: Table, rules: InputRules) -> list[Input | AnsweredRow]:
    """What every row asks, or why it asks nothing.

    Raises:
        DataError: The file lacks a column that the rules read.
    """
    asked: list[Input | AnsweredRow] = []
    for number, row in zip(table.row_numbers, table.rows, strict=True):
        try:
            given = rules.input_of(row, str(number))
        except DataError as fault:
            raise _lacks(table, rules, fault) from fault
        if isinstance(given, Unusable):
            asked.append(AnsweredRow(answer=None, probability=None, reason=given.reason))
        else:
            asked.append(given)
    return asked


def _key(given: Input) -> Hashable:
    """What two inputs share that are answered alike."""
    return given.text, given.messages, given.tools


def refuse_output(output: Path) -> None:
    """Say early that a file cannot be the output.

    Raises:
        ArgumentError: It exists, or its ending names no format.
    """
    if output.exists():
        found = "exists already, and metier never overwrites answers"
        raise ArgumentError(str(output), found, "", "Choose another name.")
    choose_writer(output)


def answered_row(answer: Answer) -> AnsweredRow:
    """What a file says about one answer: the label and how sure, or the text that was written."""
    logprob = (answer.label_logprobs or {}).get(answer.label) if answer.label is not None else None
    probability = math.exp(logprob) if logprob is not None else None
    said = answer.label if answer.label is not None else answer.text
    reasons = [reason for reason in (answer.reason, UNFINISHED if answer.stop == "length" else None) if reason]
    return AnsweredRow(answer=said, probability=probability, reason="; ".join(reasons) or None)


def _lacks(table: Table, rules: InputRules, fault: DataError) -> DataError:
    """The error for a file that lacks a column, naming the file and the columns that it has."""
    wanted = next((name for name in rules.text_columns if name not in table.columns), None)
    if wanted is not None:
        fault = missing_column(table.source.name, wanted, table.columns)
    return DataError(table.source.name, fault.found, fault.wanted, f"{fault.fix} --text-column names another.".strip())


def _answer_all(
    specialist: Specialist, inputs: Sequence[Input], journal: Journal, observers: Sequence[Observer]
) -> None:
    """Answer what the journal does not hold yet, a slice at a time; written answers take longer, so fewer at once."""
    size = SLICE if specialist.labels else WRITTEN_SLICE
    try:
        while len(journal.answers) < len(inputs):
            start = len(journal.answers)
            some = inputs[start : start + size]
            journal.add([answered_row(answer) for answer in specialist.ask(some, start)])
            tell(observers, Progress(label="predict", done=start + len(some), total=len(inputs), unit="texts"))
    except KeyboardInterrupt:
        raise InterruptedRun(
            "metier predict", f"interrupted after {len(journal.answers):,} of {len(inputs):,} texts", "",
            "What was answered is kept; the same command goes on.",
        ) from None  # fmt: skip


def _in_place(table: Table, answered: Sequence[AnsweredRow]) -> list[tuple[Row, AnsweredRow]]:
    """All rows with what is said about them, in the order of the file; one that could not be read has no cells."""
    rows: list[tuple[int, Row, AnsweredRow]] = [
        (number, row, about) for number, row, about in zip(table.row_numbers, table.rows, answered, strict=True)
    ]
    for broken in table.broken:
        reason = f"{broken.reason}: {broken.detail}" if broken.detail else broken.reason
        cells: Row = {} if broken.reason == BROKEN else json.loads(broken.content)
        rows.append((broken.row, cells, AnsweredRow(answer=None, probability=None, reason=reason)))
    rows.sort(key=lambda each: each[0])
    return [(row, about) for _, row, about in rows]


def _added_columns(columns: Sequence[str], observers: Sequence[Observer]) -> tuple[str, ...]:
    """Names for the answer's columns that the input does not have."""
    names: tuple[str, ...] = ADDED
    taken = [name for name in ADDED if name in columns]
    while set(names) & set(columns):
        names = tuple(PREFIX + name for name in names)
    if taken:
        have = ", ".join(f"`{name}`" for name in taken)
        message = f"the input has {have} already; the answers are in {', '.join(f'`{name}`' for name in names)}"
        tell(observers, Notice(topic="columns", message=message))
    return names


def _write(output: Path, table: Table, answered: Sequence[tuple[Row, AnsweredRow]], added: Sequence[str]) -> None:
    rows = [
        {**row, **dict(zip(added, (about.answer, about.probability, about.reason), strict=True))}
        for row, about in answered
    ]
    # A spreadsheet that reads semicolons in its own files wants them in this one.
    given = table.source.delimiter if table.source.format == "csv" else None
    write_table(output, (*table.columns, *added), rows, delimiter=given or ",")


def _summary(
    output: Path, answered: Sequence[tuple[Row, AnsweredRow]], continued: int, added: tuple[str, ...]
) -> Prediction:
    every = [about for _, about in answered]
    without = Counter((about.reason or "").partition(":")[0] for about in every if about.answer is None)
    return Prediction(
        output=output, rows=len(every), answered=sum(about.answer is not None for about in every),
        cut=sum(about.answer is not None and "cut" in (about.reason or "") for about in every),
        unfinished=sum(about.answer is not None and UNFINISHED in (about.reason or "") for about in every),
        unanswered=dict(sorted(without.items())), continued=continued, columns=added,
        to_a_person=without[FOR_A_PERSON],
    )  # fmt: skip
