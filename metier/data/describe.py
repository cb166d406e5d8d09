"""A look at data without a recipe: what the columns are, what is wrong where, and what only the user can say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from metier.data.card import SourceFile
from metier.data.columns import (
    Columns,
    ColumnStats,
    column_stats,
    guess_group,
    guess_label,
    plain_name,
)
from metier.data.describe_columns import ColumnDescription, best_label, best_text, describe_column, is_date, is_id
from metier.data.describe_splits import Aside, split_hints
from metier.data.examples import Extraction, Intake, Part, extract_examples, placeholder_labels, plain_label
from metier.data.find_files import FoundFiles, answers_beside, find_files
from metier.data.gather import look_at_files, take_out_records
from metier.data.input_rules import InputRules
from metier.data.layout import lay_out
from metier.data.locate import Located, data_files
from metier.data.paths import cell_at, reaches
from metier.data.problems import Problem, by_reason, find_problems
from metier.data.sources import read_table
from metier.data.spool import Gathered
from metier.data.table import Table, counted
from metier.data.task_guess import RATINGS, Guess, guess_task, handful
from metier.data.written import extract_written
from metier.errors import DataError
from metier.recipe.sections import DataSection

_LABEL_FILE_BYTES = 65_536
_MANY_GROUPS = 20


@dataclass(frozen=True, kw_only=True)
class DataDescription:
    """What `metier init` says, and what a draft recipe is made from."""

    train: str
    """A file, a folder or a glob."""
    validation: Path | None
    test: Path | None
    sources: tuple[SourceFile, ...]
    rows: int
    columns: tuple[ColumnDescription, ...]
    text: tuple[str, ...]
    """Best guess: columns or paths; empty when nothing looks like text, or the shape says it."""
    label: str | None
    group: str | None
    id: str | None
    date: str | None
    labels: Mapping[str, int]
    """Labels as they stand in the file, most frequent first."""
    label_names: Mapping[str, str]
    """From a file beside the data that names them; empty when there is none."""
    label_file: str | None
    ignore_labels: tuple[str, ...]
    """Labels that look like a missing one."""
    problems: tuple[Problem, ...]
    questions: tuple[str, ...]
    """What could not be decided; the draft says which guess it took."""
    notices: tuple[str, ...]
    task: str = "classification"
    """The recipe's task."""
    shape: str = "columns"
    """A name in `shapes.SHAPES`."""
    answer: str | None = None
    """Column or path of the answer to be written; None when the shape or a file of answers says it."""
    answers_file: Path | None = None
    """A text file with an answer for every row."""
    label_columns: tuple[str, ...] = ()
    """Columns of yes and no, one a label, for task multilabel."""
    records: str | None = None
    """Path of the list inside each row whose items are the records."""
    examples: int = 0
    """Records that could be read."""
    same_columns: bool = True
    """Whether the files for validation and test name their columns as train does."""
    asides: tuple[Aside, ...] = ()
    """Lines about splits that the draft only suggests."""

    @property
    def task_sentence(self) -> str:
        """What the data is for, in a line; empty when that could not be told."""
        if self.task == "classification":
            kept = len(set(self.labels) - set(self.ignore_labels))
            return f"Task: classification of {kept:,} labels." if self.labels else ""
        what = {
            "generation": "generation, written answers to single questions",
            "chat": "chat, written answers in conversations",
            "text": "text, reading on",
            "multilabel": "multilabel, any number of labels of a text",
            "extraction": "extraction, labelled pieces of a text",
            "preference": "preference, a better and a worse answer",
        }
        return f"Task: {what[self.task]} ({counted(self.examples, 'record')})."


def describe_data(path: Path | str) -> DataDescription:
    """Look at a file, a folder or a glob.

    Args:
        path: As in `data.train`; a folder of files with the same columns counts as one set.

    Raises:
        DataError: Nothing there can be read.
    """
    found = find_files(str(path))
    tables = _read(found, found.answers)
    guess = _guess(found, tables[0])
    if guess is None and (beside := _answers_of(found, tables)) is not None:
        tables, guess = _read(found, beside), _guess_aligned(_read(found, beside)[0])
        found = _with(found, beside)
    if guess is not None:
        tables = [take_out_records(table, guess.records, guess.task) for table in tables]
    return _described(found, tables, guess)


def _described(found: FoundFiles, tables: Sequence[Table], guess: Guess | None) -> DataDescription:
    first = tables[0]
    stats = column_stats(first)
    label, text, questions = _best(stats, guess)
    task = guess.task if guess is not None else "classification"
    answer = guess.answer if guess is not None and task != "classification" else None
    parts = dict(guess.fields or {}) if guess is not None else {}
    taken = {label, answer, *text, *parts.values(), *(yes := _yes_columns(guess))}
    group = next(iter(guess_group(stats, taken)), None)
    if task != "classification" and group is not None and not _even(group, tables):
        group = None
    row_id = next((name for name in stats if is_id(stats[name]) and name not in {*taken, group}), None)
    dates = [name for name in stats if is_date(stats[name], first) and name not in {*taken, group}]
    section = _section(guess, text, label, answer)
    siblings = {role: _fitting(file, first, section, task) for role, file in _others(found).items()}
    beside = {role: sibling[0] for role, sibling in siblings.items() if sibling}
    hints = split_hints(stats, tables, beside, group=group, dates=dates, taken={*taken, row_id, *dates})
    intake = Intake(Gathered())
    extracted = _extract(intake.part(), tables, section, task)
    labels = dict(sorted(extracted.labels_seen.items(), key=lambda item: (-item[1], item[0])) if extracted else ())
    labels.pop("", None)
    names, label_file = _label_names(found.files, set(labels), {*found.files, found.validation, found.test})
    meant: dict[str | None, str] = {
        **{column: part for part, column in parts.items()},
        **dict.fromkeys(text, "text"),
        label: "label",
        **{answer: "label" if task == "multilabel" else "answer", **dict.fromkeys(yes, "label")},
        group: "group",
        row_id: "id",
        next(iter(dates), None): "date",
    }
    return DataDescription(
        train=found.train,
        validation=beside.get("validation"),
        test=beside.get("test"),
        sources=tuple(table.source for table in tables),
        rows=sum(table.source.rows for table in tables),
        columns=tuple(describe_column(column, meant.get(name)) for name, column in stats.items()),
        text=text,
        label=label,
        group=hints.group,
        id=row_id,
        date=next(iter(dates), None),
        labels=labels,
        label_names=names,
        label_file=label_file,
        ignore_labels=tuple(placeholder_labels(labels)),
        problems=_problems(intake, tables, extracted, beside.get("test"), section, task),
        questions=(*questions, *found.questions),
        notices=_notices(found, tables, guess),
        task=task,
        shape=guess.shape if guess is not None else "columns",
        answer=answer,
        label_columns=yes,
        answers_file=found.answers,
        records=guess.records if guess is not None else None,
        examples=len(extracted.places) if extracted is not None else 0,
        same_columns=all(sibling[1] for sibling in siblings.values() if sibling),
        asides=hints.asides,
    )


def _yes_columns(guess: Guess | None) -> tuple[str, ...]:
    """Columns of yes and no, one a label; empty where labels lie otherwise."""
    return () if guess is None else guess.labels


def _read(found: FoundFiles, answers: Path | None) -> list[Table]:
    located = Located(
        train=found.files,
        validation=None,
        test=None,
        answers={} if answers is None else {"train": answers},
        documents=found.documents,
    )
    section = DataSection(train=found.train, answers=None if answers is None else str(answers))
    return look_at_files(located, section, task="classification")["train"]


def _guess(found: FoundFiles, first: Table) -> Guess | None:
    if found.documents:
        return Guess(task="text", shape="documents")
    return _guess_aligned(first) if found.answers is not None else guess_task(first, column_stats(first))


def _guess_aligned(table: Table) -> Guess | None:
    """What a file with a file of answers beside it is for; None: its answers are labels."""
    answers = [cell_at(row, table.columns[-1]) for row in table.rows]
    if handful(answers) is not None:
        return None
    note = "The lines of the two files belong together: each line of the first is a question, of the second its answer."
    text = ("text",) if table.source.format == "lines" else ()
    return Guess(task="generation", text=text, answer=table.columns[-1], notes=(note,) if text else ())


def _answers_of(found: FoundFiles, tables: Sequence[Table]) -> Path | None:
    """A file of answers beside a single file in which no column looks like the answer."""
    single = len(tables) == 1 and not found.documents and found.answers is None
    if not single or guess_label(column_stats(tables[0]), set()):
        return None
    return answers_beside(found.files[0], tables[0].source.rows)


def _with(found: FoundFiles, answers: Path) -> FoundFiles:
    return FoundFiles(train=found.train, files=found.files, answers=answers, questions=found.questions)


def _others(found: FoundFiles) -> dict[str, Path | None]:
    return {"validation": found.validation, "test": found.test}


def _notices(found: FoundFiles, tables: Sequence[Table], guess: Guess | None) -> tuple[str, ...]:
    left_out = ", ".join(file.name for file in found.left_out[:8])
    more = f" and {len(found.left_out) - 8} more" if len(found.left_out) > 8 else ""
    return (
        *(notice for table in tables for notice in table.notices),
        *([f"Not read, as they are no text files: {left_out}{more}"] if left_out else ()),
        *(guess.notes if guess is not None else ()),
    )


def _best(stats: Mapping[str, ColumnStats], guess: Guess | None) -> tuple[str | None, tuple[str, ...], tuple[str, ...]]:
    """Label, text, and the questions that remain."""
    if guess is not None:
        return guess.answer if guess.task == "classification" else None, guess.text, ()
    label, label_question = best_label(stats)
    text, text_question = best_text(stats, label)
    rated = next((name for name in stats if plain_name(name) in RATINGS), None)
    rating = f"Column `{rated}` looks like ratings of single answers (unpaired preference), which are not read."
    questions = [text_question, label_question, rating if rated is not None and text_question else None]
    return label, text, tuple(question for question in questions if question)


def _section(guess: Guess | None, text: tuple[str, ...], label: str | None, answer: str | None) -> DataSection:
    """The data section that reads the files as guessed."""
    if guess is None or guess.task == "classification":
        return DataSection(train="", text=list(text) or None, label=label)
    if guess.task == "multilabel":
        return DataSection(train="", text=list(text) or None, label=list(guess.labels) or answer)
    if guess.shape == "columns":
        return DataSection(train="", text=list(text) or None, answer=answer)
    return DataSection.model_validate({"train": "", "shape": guess.shape, "text": list(text) or None})


def _fitting(file: Path | None, first: Table, section: DataSection, task: str) -> tuple[Path, bool] | None:
    """The file, and whether its columns are named as in train; None where it holds something else."""
    if file is None or file.is_dir():  # a folder of documents has no columns
        return None if file is None else (file, True)
    try:
        table = read_table(file)
        if set(table.columns) == set(first.columns):
            return file, True
        if task == "classification":
            return None
        # What is named for train need not be named so here: it is found again.
        free = DataSection(train="", shape=section.shape if section.shape != "columns" else "auto")
        lay_out(free, task, {"train": [table]})
    except DataError:
        return None
    return file, section.shape != "auto"


def _even(group: str, tables: Sequence[Table]) -> bool:
    """Whether groups are many and small enough for splits of about the size that was asked for."""
    counts = Counter(cell_at(row, group) for table in tables for row in table.rows)
    return len(counts) >= _MANY_GROUPS and max(counts.values()) <= sum(counts.values()) / _MANY_GROUPS * 2


def _extract(part: Part, tables: Sequence[Table], section: DataSection, task: str) -> Extraction | None:
    """The examples as guessed; None where text or answer could not be told."""
    text = section.text if isinstance(section.text, list) else []
    if task != "classification":
        try:
            layouts = lay_out(section, task, {"train": tables})["train"]
        except DataError:
            return None
        whole = list(zip(tables, (layout.rules for layout in layouts), strict=True))
        return extract_written(whole, part, section=section, task=task)
    label = section.label
    if not text or not isinstance(label, str):
        return None
    columns = Columns(text=tuple(text), template=None, label=label, group=None, id=None)
    fitting = [table for table in tables if all(reaches(table, path) for path in (*text, label))]
    rules = InputRules(text_columns=tuple(text))
    return extract_examples(fitting, part, columns=columns, rules=rules, section=section)


def _problems(
    intake: Intake, tables: Sequence[Table], train: Extraction | None, test: Path | None, section: DataSection,
    task: str,
) -> tuple[Problem, ...]:  # fmt: skip
    several = len(tables) > 1
    if train is None:
        return by_reason([row for table in tables for row in table.broken], several=several)
    store, other = intake.store, None
    unusable = list(store.rejected) if isinstance(store, Gathered) else []
    if test is not None and not test.is_dir():
        table = read_table(test)
        fits = set(table.columns) == set(tables[0].columns)
        other = _extract(intake.part(), [table], section if fits else DataSection(train=""), task)
    return find_problems(intake.builder.roster(), train, unusable, other, several=several)


def _label_names(files: Sequence[Path], labels: set[str], known: set[Path | None]) -> tuple[dict[str, str], str | None]:
    """Names of labels from a small two-column file beside the data that has a row for every label."""
    for file in data_files(files[0].parent) if len(labels) > 1 else ():
        if file in known or file.stat().st_size > _LABEL_FILE_BYTES:
            continue
        try:
            table = read_table(file)
        except DataError:
            continue  # it is about something else
        if len(table.columns) != 2:
            continue
        for key, name in (table.columns, table.columns[::-1]):
            keys = [plain_label(row[key]) for row in table.rows]
            names = [" ".join((row[name] or "").split()) for row in table.rows]
            fits = labels <= set(keys) and len(set(keys)) == len(keys) == len(set(names)) and all(names)
            if fits and keys != names:
                return dict(zip(keys, names, strict=True)), file.name
    return {}, None
