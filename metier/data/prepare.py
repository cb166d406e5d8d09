"""The door of the data room: files in, `PreparedData` out, everything that was done written beside it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from metier.data.card import DataCard, SplitCard
from metier.data.columns import column_stats, guess_group
from metier.data.divide import Division, divide_examples, label_counts
from metier.data.examples import Changed, Example, broken_notice, count_reasons
from metier.data.gather import SPLITS, read_all
from metier.data.input_rules import InputRules
from metier.data.locate import locate_files
from metier.data.prepared import PreparedData
from metier.data.reading import Reading, read_records
from metier.data.splits import Split, write_split
from metier.data.table import Table
from metier.data.written import count_turns
from metier.events import Notice, Observer, tell
from metier.events import Table as TableEvent
from metier.recipe.sections import DataSection
from metier.store.files import read_json, whole_folder, write_json, write_text
from metier.store.fingerprint import fingerprint
from metier.store.values import from_plain, to_plain


def prepare_data(
    section: DataSection,
    *,
    seed: int,
    folder: Path,
    observers: Sequence[Observer] = (),
    task: str = "classification",
) -> PreparedData:
    """Read the files, clean and check their rows, and write three splits.

    The same files, section, task and seed give the same bytes (the paths in the card aside).

    Args:
        section: The recipe's data section.
        seed: The recipe's seed: which clusters are drawn for test and validation.
        folder: Where the splits, `rejected.jsonl`, `changed.jsonl`, `card.json` and `input.json` go; it
            is put in place as a whole.
        observers: Get a `Notice` for every policy that was applied, and a table of the splits.
        task: The recipe's task: which kind of record a row becomes.

    Raises:
        DataError: The files, columns or rows cannot be used; it says what is needed.
    """
    located = locate_files(section, task=task)
    tables = read_all(located, section, task=task)
    every = [table for part in tables.values() for table in part]
    reading = read_records(section, task, tables)
    division = divide_examples(reading.extracted, section, seed=seed, answer=reading.answer)
    notices = [
        *located.notices,
        *(notice for table in every for notice in table.notices),
        *reading.notices,
        *broken_notice(division.rejected),
        *reading.later_notices,
        *_group_notice(section, reading, tables),
        *division.notices,
    ]
    changed = [change for part in reading.extracted.values() for change in part.changed]
    with whole_folder(folder) as target:
        cards = _write_splits(division, tables, target, reading.kind)
        card = _card(every, reading, cards, division, changed, notices)
        write_text(target / "rejected.jsonl", _lines(division.rejected))
        write_text(target / "changed.jsonl", _lines(changed))
        write_json(target / "card.json", card, format="card")
        reading.rules.write(target / "input.json")
    prepared = _prepared(card, reading.rules, folder)
    _announce(card, observers)
    return prepared


def load_prepared(folder: Path) -> PreparedData:
    """What `prepare_data` wrote into `folder`.

    Args:
        folder: A run's data folder.

    Raises:
        RunFolderError: It is missing or damaged.
    """
    card = from_plain(DataCard, read_json(folder / "card.json", format="card"), where=str(folder / "card.json"))
    return _prepared(card, InputRules.read(folder / "input.json"), folder)


def _prepared(card: DataCard, rules: InputRules, folder: Path) -> PreparedData:
    splits = {
        name: Split(name=name, path=folder / f"{name}.parquet", fingerprint=card.splits[name].fingerprint)
        for name in SPLITS
    }
    return PreparedData(
        card=card, train=splits["train"], validation=splits["validation"], test=splits["test"], rules=rules
    )


def _write_splits(division: Division, tables: Mapping[str, object], target: Path, kind: str) -> dict[str, SplitCard]:
    cards = {}
    for name in SPLITS:
        examples: list[Example] = getattr(division, name)
        found = write_split([example.record for example in examples], target / f"{name}.parquet", kind=kind)
        flags = Counter(flag for example in examples for flag in example.record.flags)
        cards[name] = SplitCard(
            name=name,
            rows=len(examples),
            groups=len({example.cluster for example in examples}),
            label_counts=label_counts(examples),
            fingerprint=found,
            official=name in tables and name != "train",
            flags=dict(sorted(flags.items())),
        )
    return cards


def _card(
    tables: Sequence[Table],
    reading: Reading,
    splits: Mapping[str, SplitCard],
    division: Division,
    changed: Sequence[Changed],
    notices: Sequence[str],
) -> DataCard:
    repairs = Counter(repair for change in changed for repair in change.repairs)
    records = [example.record for name in SPLITS for example in getattr(division, name)]
    return DataCard(
        **reading.about,
        sources=tuple(table.source for table in tables),
        labels=tuple(splits["train"].label_counts),
        splits=splits,
        rejected=count_reasons(division.rejected),
        notices=tuple(notices),
        changed=dict(sorted(repairs.items())),
        fingerprint=fingerprint([splits[name].fingerprint for name in SPLITS]),
        counts=count_turns(records),
    )


def _group_notice(section: DataSection, reading: Reading, tables: Mapping[str, Sequence[Table]]) -> list[str]:
    if section.group is not None or {"test", "validation"} <= tables.keys():
        return []
    rules, about = reading.rules, reading.about
    taken = {*rules.text_columns, *rules.fields.values(), about["label_column"], section.id}
    return [
        f"column `{name}` looks like rows that belong together; without data.group: {name} they may be torn "
        "between train and test, which flatters the result"
        for name in guess_group(column_stats(tables["train"][0]), taken)
    ]


def _lines(rows: Iterable[object]) -> str:
    return "".join(json.dumps(to_plain(row), ensure_ascii=False) + "\n" for row in rows)


def _announce(card: DataCard, observers: Sequence[Observer]) -> None:
    for notice in card.notices:
        tell(observers, Notice(topic="data", message=notice))
    labels = [[str(len(split.label_counts))] if card.labels else [] for split in card.splits.values()]
    rows = [
        [name, f"{split.rows:,}", *count, "own file" if split.official else "drawn"]
        for (name, split), count in zip(card.splits.items(), labels, strict=True)
    ]
    more = f" and {len(card.sources) - 3:,} more" if len(card.sources) > 3 else ""
    rows[0][-1] = ", ".join(source.name for source in card.sources[:3]) + more
    rejected = sum(card.rejected.values())
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in card.rejected.items())
    rows.append(["rejected", f"{rejected:,}", *([""] if card.labels else []), reasons or "none"])
    columns = ("split", "rows", *(("labels",) if card.labels else ()), "from")
    tell(observers, TableEvent(title="Data", columns=columns, rows=rows))
