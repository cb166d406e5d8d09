"""The door of the data room: files in, `PreparedData` out, everything that was done written beside it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from metier.data.card import DataCard, SplitCard
from metier.data.columns import Columns, choose_columns, column_stats, guess_group
from metier.data.divide import Division, divide_examples, label_counts
from metier.data.examples import (
    Changed,
    Example,
    broken_notice,
    check_label_settings,
    count_reasons,
    extract_examples,
)
from metier.data.input_rules import InputRules
from metier.data.locate import Located, locate_files, short_names
from metier.data.prepared import PreparedData
from metier.data.sources import read_table
from metier.data.splits import Split, write_split
from metier.data.table import Table
from metier.errors import DataError
from metier.events import Notice, Observer, tell
from metier.events import Table as TableEvent
from metier.recipe.sections import DataSection
from metier.store.files import read_json, whole_folder, write_json, write_text
from metier.store.fingerprint import fingerprint
from metier.store.values import from_plain, to_plain

SPLITS = ("train", "validation", "test")


def prepare_data(section: DataSection, *, seed: int, folder: Path, observers: Sequence[Observer] = ()) -> PreparedData:
    """Read the files, clean and check their rows, and write three splits.

    The same files, section and seed give the same bytes (the paths in the card aside).

    Args:
        section: The recipe's data section.
        seed: The recipe's seed: which clusters are drawn for test and validation.
        folder: Where the splits, `rejected.jsonl`, `changed.jsonl`, `card.json` and `input.json` go; it
            is put in place as a whole.
        observers: Get a `Notice` for every policy that was applied, and a table of the splits.

    Raises:
        DataError: The files, columns or rows cannot be used; it says what is needed.
    """
    located = locate_files(section)
    tables = _read_all(located, section)
    every = [table for part in tables.values() for table in part]
    columns = choose_columns(section, every)
    rules = InputRules(text_columns=columns.text, template=columns.template)
    extracted = {
        role: extract_examples(part, columns=columns, rules=rules, section=section) for role, part in tables.items()
    }
    seen: Counter[str] = sum((part.labels_seen for part in extracted.values()), Counter())
    label_notices = check_label_settings(section, seen)
    division = divide_examples(extracted, section, seed=seed)
    notices = [
        *located.notices,
        *(notice for table in every for notice in table.notices),
        *columns.notices,
        *broken_notice(division.rejected),
        *label_notices,
        *_group_notice(section, columns, tables),
        *division.notices,
    ]
    changed = [change for part in extracted.values() for change in part.changed]
    with whole_folder(folder) as target:
        cards = _write_splits(division, tables, target)
        card = _card(every, columns, cards, division, changed, notices)
        write_text(target / "rejected.jsonl", _lines(division.rejected))
        write_text(target / "changed.jsonl", _lines(changed))
        write_json(target / "card.json", card, format="card")
        rules.write(target / "input.json")
    prepared = _prepared(card, rules, folder)
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


def _read_all(located: Located, section: DataSection) -> dict[str, list[Table]]:
    names = dict(zip(located.all_files(), short_names(located.all_files()), strict=True))
    tables: dict[str, list[Table]] = {}
    for role in SPLITS:
        paths = getattr(located, role)
        if paths is not None:
            tables[role] = [
                read_table(
                    path,
                    format=section.format,
                    delimiter=section.delimiter,
                    encoding=section.encoding,
                    sheet=section.sheet,
                    name=names[path],
                )
                for path in paths
            ]
    _refuse_same_content(tables)
    return tables


def _refuse_same_content(tables: Mapping[str, Sequence[Table]]) -> None:
    seen: dict[str, tuple[str, str]] = {}
    for role, part in tables.items():
        for table in part:
            other_role, other = seen.setdefault(table.source.sha256, (role, table.source.name))
            if other_role != role:
                found = f"{table.source.name} has the same content as {other}, the {other_role} file"
                raise DataError(f"data.{role}", found, "another file", f"Leave data.{role} out: it is then drawn.")


def _write_splits(division: Division, tables: Mapping[str, object], target: Path) -> dict[str, SplitCard]:
    cards = {}
    for name in SPLITS:
        examples: list[Example] = getattr(division, name)
        found = write_split([example.record for example in examples], target / f"{name}.parquet")
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
    columns: Columns,
    splits: Mapping[str, SplitCard],
    division: Division,
    changed: Sequence[Changed],
    notices: Sequence[str],
) -> DataCard:
    repairs = Counter(repair for change in changed for repair in change.repairs)
    return DataCard(
        sources=tuple(table.source for table in tables),
        text_columns=columns.text,
        template=columns.template,
        label_column=columns.label,
        group_column=columns.group,
        found_by_itself=columns.found_by_itself,
        labels=tuple(splits["train"].label_counts),
        splits=splits,
        rejected=count_reasons(division.rejected),
        notices=tuple(notices),
        changed=dict(sorted(repairs.items())),
        fingerprint=fingerprint([splits[name].fingerprint for name in SPLITS]),
    )


def _group_notice(section: DataSection, columns: Columns, tables: Mapping[str, Sequence[Table]]) -> list[str]:
    if section.group is not None or {"test", "validation"} <= tables.keys():
        return []
    taken = {*columns.text, columns.label, columns.id}
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
    rows = [
        [name, f"{split.rows:,}", str(len(split.label_counts)), "own file" if split.official else "drawn"]
        for name, split in card.splits.items()
    ]
    rows[0][3] = ", ".join(source.name for source in card.sources[:3])
    rejected = sum(card.rejected.values())
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in card.rejected.items())
    rows.append(["rejected", f"{rejected:,}", "", reasons or "none"])
    tell(observers, TableEvent(title="Data", columns=("split", "rows", "labels", "from"), rows=rows))
