"""What preparation found, for a person: read from the folder that it wrote."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from metier.data.card import SourceFile
from metier.data.prepared import PreparedData
from metier.data.records import Choice, Conversation, Passage, Preference, Record
from metier.planning.results import DataFindings, RejectedRows, RowPlace, SplitFindings, TextFacts
from metier.store.files import read_json_lines
from metier.store.run_folder import DataFolder, RunFolder

FIRST = 5
"""Rejected rows that are named, for each reason."""


def find_in_data(data: PreparedData, prepared: Path, run: RunFolder) -> DataFindings:
    """Everything that preparation says about itself.

    Args:
        data: The splits.
        prepared: The folder that they were written into.
        run: Where a run would write the same.
    """
    card = data.card
    return DataFindings(
        sources=tuple(_source(source) for source in card.sources),
        text_columns=card.text_columns,
        template=card.template,
        label_column=card.label_column,
        group_column=card.group_column,
        found_by_itself=card.found_by_itself,
        labels=card.labels,
        splits=tuple(_split(data, name) for name in ("train", "validation", "test")),
        rejected=_rejected(read_json_lines(DataFolder(prepared).rejected), tuple(card.rejected)),
        rejected_file=str(run.rejected),
        changed=card.changed,
        notices=card.notices,
        shape=card.shape,
        answer_column=card.answer_column,
        texts=find_in_texts([*data.train.records(), *data.validation.records()]) if not card.labels else None,
        steps=tuple(
            f"{step.title}: {step.found}; done: {step.did}" for step in card.findings if step.doubts or step.done
        ),
    )


def find_in_texts(records: Sequence[Record]) -> TextFacts | None:
    """What conversations, passages or preferences are like; None for choices.

    Args:
        records: Of train and validation, all of one kind.
    """
    if any(isinstance(record, Choice) for record in records):
        return None
    talks = [record.messages for record in records if isinstance(record, Conversation | Preference)]
    turns = [sum(turn.role != "system" for turn in messages) for messages in talks]
    said = [record.text if isinstance(record, Passage) else record.gold for record in records]
    offered = sum(record.tools is not None for record in records if isinstance(record, Conversation))
    return TextFacts(
        records=len(records),
        turns=(round(statistics.median(turns)), max(turns)) if turns else None,
        with_system=sum(any(turn.role == "system" for turn in messages) for messages in talks),
        with_tools=offered,
        with_calls=sum(any("tool_calls" in turn.more for turn in messages) for messages in talks),
        not_learned=sum(turn.role == "assistant" and not turn.learned for messages in talks for turn in messages),
        characters=(round(statistics.median(map(len, said))), max(map(len, said))) if said else (0, 0),
        distinct=len(set(said)),
    )


def _source(source: SourceFile) -> str:
    details = ", ".join(detail for detail in (source.format, source.encoding) if detail)
    return f"{source.name} ({source.rows:,} rows, {details})"


def _split(data: PreparedData, name: str) -> SplitFindings:
    card = data.card.splits[name]
    sealed = name == "test"  # what is in it is nobody's business before it is opened
    return SplitFindings(
        name=name, rows=card.rows, labels=None if sealed or not data.labels else len(card.label_counts),
        groups=None if sealed else card.groups, official=card.official,
    )  # fmt: skip


def _rejected(rows: Sequence[dict[str, object]], reasons: Sequence[str]) -> tuple[RejectedRows, ...]:
    """By reason, in the card's order; the rows' content stays where it is."""
    places: dict[str, list[RowPlace]] = defaultdict(list)
    for row in rows:
        places[str(row["reason"])].append(RowPlace(source=str(row["source"]), row=int(str(row["row"]))))
    return tuple(
        RejectedRows(reason=reason, count=len(places[reason]), first=tuple(places[reason][:FIRST]))
        for reason in reasons
    )
