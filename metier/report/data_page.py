"""The page of the data: what was found, what was done step by step and row by row, what a person should decide.

Takes a `DataRecord`; gives one HTML file that needs nothing else, and the same as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from metier.data.record.summary import DataRecord, RowGroup, StepRecord
from metier.report import formats
from metier.report.environment import page_environment
from metier.report.tables import Cell, Column, Row, Table
from metier.store.files import write_json, write_text

PAGE, VALUES = "data.html", "data.json"
SECTIONS = {
    "decide": "To decide",
    "steps": "Step by step",
    "rows": "Row by row",
    "sources": "Sources and licences",
    "splits": "Splits",
}
"""Anchor and title of every section, in order."""
LONGEST_TEXT = 300
"""Characters of a row's text that are shown."""
TONES = {"doubted": "doubt", "decided": "good", "rejected": "bad", "changed": "calm"}
_HASH_SHOWN = 16


def write_data_report(record: DataRecord, folder: Path) -> tuple[Path, Path]:
    """Write `data.html` and `data.json`.

    Args:
        record: What is shown.
        folder: The run's report folder; made when it is not there.

    Returns:
        Paths of the page and of the JSON file.
    """
    page, values = folder / PAGE, folder / VALUES
    write_text(page, render_data_page(record))
    write_json(values, record, format="data_report")
    return page, values


def render_data_page(record: DataRecord) -> str:
    """The whole page as HTML.

    Args:
        record: What is shown.
    """
    environment, style = page_environment()
    return environment.get_template("data_page.html").render(
        record=record,
        sections=SECTIONS,
        style=style,
        facts=_facts(record),
        decide=decide_table(record),
        steps=steps_table(record),
        told=[(step, step_tables(step)) for step in record.steps if step.tables or step.notes],
        repairs=repairs_table(record),
        groups=[(group, rows_table(group, texts=record.texts)) for group in record.groups],
        tones=TONES,
        sources=sources_table(record),
        licence_notices=record.licences.notices,
        splits=splits_table(record),
        stages=stages_table(record),
    )


def decide_table(record: DataRecord) -> Table | None:
    """What only a person can decide; None where there is nothing."""
    if not record.to_decide:
        return None
    rows = tuple(
        Row((
            Cell(entry.what, _counts(entry.reasons)),
            Cell(formats.count(entry.rows) if entry.rows else ""),
            Cell(entry.how, tone="code"),
        ))
        for entry in record.to_decide
    )  # fmt: skip
    columns = (Column("About"), Column("Doubts", numeric=True), Column("How"))
    return Table("What a person should decide: each doubt may be kept, dropped, relabelled or edited.", columns, rows)


def steps_table(record: DataRecord) -> Table | None:
    """One row a cleaning step, in the order in which they ran; None where none did."""
    if not record.steps:
        return None
    rows = tuple(
        Row((
            Cell(step.step.replace("_", " ")),
            Cell(formats.count(step.version)),
            Cell(formats.count(step.looked_at)),
            Cell(formats.count(step.doubts), _counts({name: count for name, count in step.counts.items() if count})),
            Cell(_counts(step.done) or "nothing"),
        ))
        for step in record.steps
    )  # fmt: skip
    columns = (
        Column("Step"), Column("Rules", numeric=True), Column("Rows looked at", numeric=True),
        Column("Doubts", numeric=True), Column("Done"),
    )  # fmt: skip
    caption = "Every cleaning step in its order: the version of its rules, what it found, and what was done about it."
    return Table(caption, columns, rows)


def step_tables(step: StepRecord) -> list[Table]:
    """The small tables that a step gives, one after the other."""
    return [_plain_table(name, rows) for name, rows in step.tables.items() if rows]


def repairs_table(record: DataRecord) -> Table | None:
    """What was rejected and what was repaired, by reason; None where nothing was."""
    found = [("rejected", name, count) for name, count in record.card.rejected.items()]
    found += [("repaired", name, count) for name, count in record.card.changed.items()]
    if not found:
        return None
    rows = tuple(Row((Cell(name), Cell(what), Cell(formats.count(count)))) for what, name, count in found)
    columns = (Column("Reason"), Column("What was done"), Column("Rows", numeric=True))
    return Table("Rows that were rejected, and records whose text was repaired.", columns, rows)


def rows_table(group: RowGroup, *, texts: bool) -> Table:
    """The first rows of one kind, by file and number.

    Args:
        group: The rows.
        texts: Whether the texts that are in it get a column.
    """
    with_text = texts and any(line.text is not None for line in group.rows)
    with_suggestion = any(line.suggestion for line in group.rows)
    doubted = group.what == "doubted"
    columns = [Column("Row"), *([Column("Now in")] if doubted else []), Column("Why")]
    columns += [Column("Suggestion")] if with_suggestion else []
    columns += [Column("Text")] if with_text else []
    rows = []
    for line in group.rows:
        cells = [Cell(f"{line.source}, row {line.row:,}", _others(group, line.others))]
        if doubted:
            cells.append(Cell(line.split or "no split"))
        sure = f"sure: {formats.score(line.score)}" if line.score is not None else ""
        cells.append(Cell(line.detail or group.reason, sure))
        cells += [Cell(line.suggestion or "")] if with_suggestion else []
        cells += [Cell(_excerpt(line.text))] if with_text else []
        rows.append(Row(tuple(cells)))
    shown = (
        "All rows" if group.count == len(rows) else f"The first {len(rows):,} of {formats.counted(group.count, 'row')}"
    )
    return Table(f"{shown}: {group.reason}.", tuple(columns), tuple(rows))


def _others(group: RowGroup, others: str) -> str:
    return others if group.what == "decided" or not others else f"see also {others}"


def sources_table(record: DataRecord) -> Table:
    """Every file with its licence and its hash."""
    licences = {source.source: source for source in record.licences.sources}
    rows = []
    for place, source in enumerate(record.card.files):
        licence = licences[source.name]
        note = "forbids commercial use" if licence.forbids_commerce else ""
        what = source.format if place < len(record.card.sources) else f"{source.format}, answers"
        rows.append(Row((
            Cell(source.name, what),
            Cell(licence.licence or formats.UNKNOWN, note, "" if licence.licence else "unknown"),
            Cell(formats.count(source.rows)),
            Cell(source.sha256[:_HASH_SHOWN], tone="code"),
        )))  # fmt: skip
    columns = (Column("File"), Column("Licence"), Column("Rows", numeric=True), Column("SHA-256 begins"))
    return Table("The files that were read, each with the licence that the recipe states.", columns, tuple(rows))


def splits_table(record: DataRecord) -> Table:
    """Every split: how many records, from where, which doubts stay in it."""
    card = record.card
    splits = [*card.splits.items(), *([("train as read", card.ablation)] if card.ablation is not None else [])]
    rows = tuple(
        Row((
            Cell(name),
            Cell(formats.count(split.rows)),
            Cell(formats.count(split.groups)),
            Cell("own file" if split.official else "drawn"),
            Cell(_counts(split.flags) or "none"),
            Cell(split.fingerprint[:_HASH_SHOWN], tone="code"),
        ))
        for name, split in splits
    )  # fmt: skip
    columns = (
        Column("Split"), Column("Records", numeric=True), Column("Groups", numeric=True), Column("From"),
        Column("Flagged"), Column("Fingerprint begins"),
    )  # fmt: skip
    counts = ", ".join(map(formats.count, card.folds))
    folds = f" Folds of train and validation: {counts} records." if counts else ""
    return Table(f"What was written. Flagged records stay; the flags are in the splits.{folds}", columns, rows)


def stages_table(record: DataRecord) -> Table | None:
    """The content hash after each stage; None where none was taken."""
    if not record.stages:
        return None
    rows = tuple(
        Row((Cell(stage.name), Cell(formats.count(stage.rows)), Cell(stage.sha256[:_HASH_SHOWN], tone="code")))
        for stage in record.stages
    )
    columns = (Column("After"), Column("Rows", numeric=True), Column("SHA-256 begins"))
    return Table("All rows as one hash, stage by stage: where two runs part, their data differ.", columns, rows)


def _facts(record: DataRecord) -> list[tuple[str, str, str]]:
    card = record.card
    read = sum(source.rows for source in card.sources)
    kept = sum(split.rows for split in card.splits.values())
    rejected = sum(card.rejected.values())
    repaired = sum(card.changed.values())
    doubts = sum(group.count for group in record.groups if group.what == "doubted")
    return [
        ("Rows read", formats.count(read), f"from {formats.counted(len(card.sources), 'file')}"),
        ("Records kept", formats.count(kept), ", ".join(f"{s.rows:,} {name}" for name, s in card.splits.items())),
        ("Rows rejected", formats.count(rejected), "each with its reason and its place"),
        ("Repairs", formats.count(repaired), "of a record's text, counted by kind"),
        ("Doubts", formats.count(doubts), f"{formats.counted(record.decided, 'decision')} of a person so far"),
    ]


def _plain_table(name: str, rows: Sequence[Mapping[str, object]]) -> Table:
    """A table of whatever cells a step gives; columns in the order in which they first come."""
    titles = list(dict.fromkeys(title for row in rows for title in row))
    # The first column names the row, whatever it holds.
    numeric = {title: title != titles[0] and all(_is_number(row.get(title)) for row in rows) for title in titles}
    columns = tuple(Column(title.replace("_", " "), numeric=numeric[title]) for title in titles)
    return Table(name.replace("_", " "), columns, tuple(Row(tuple(_cell(row.get(t)) for t in titles)) for row in rows))


def _cell(value: Any) -> Cell:
    if value is None:
        return Cell(formats.UNKNOWN, tone="unknown")
    if isinstance(value, bool):
        return Cell("yes" if value else "no")
    if isinstance(value, int):
        return Cell(formats.count(value))
    if isinstance(value, float):
        # A median of 195 characters needs no thousandths; a share does.
        return Cell(formats.score(value) if abs(value) < 10 else f"{value:,.1f}".replace("-", formats.MINUS))
    return Cell(str(value))


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items())


def _excerpt(text: str | None) -> str:
    if text is None:
        return ""
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT].rstrip()}…"
