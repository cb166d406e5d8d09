"""The door of the data room: files in, `PreparedData` out, everything that was done written beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from metier.data.card import DataCard, SplitCard
from metier.data.columns import column_stats, guess_group
from metier.data.divide import Division, divide_examples
from metier.data.examples import broken_notice, in_order
from metier.data.gather import SPLITS, read_all
from metier.data.input_rules import InputRules
from metier.data.locate import locate_files
from metier.data.prepared import PreparedData
from metier.data.reading import Reading, kind_of, read_records
from metier.data.roster import Places, every
from metier.data.splits import Split, SplitWriter
from metier.data.spool import Spool, as_rejected, settled
from metier.data.table import Table
from metier.data.written import TURNS, count_turns
from metier.events import Notice, Observer, tell
from metier.events import Table as TableEvent
from metier.recipe.sections import DataSection
from metier.store.files import read_json, whole_folder, write_json
from metier.store.fingerprint import fingerprint
from metier.store.values import from_plain


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
    sources = [table for part in tables.values() for table in part]
    with whole_folder(folder) as target, Spool(target, kind_of(task)) as spool:
        reading = read_records(section, task, tables, spool)
        spool.close()
        division = divide_examples(reading.roster, reading.extracted, section, seed=seed, answer=reading.answer)
        notices = [
            *located.notices,
            *(notice for table in sources for notice in table.notices),
            *reading.notices,
            *broken_notice(reading.extracted.values()),
            *reading.later_notices,
            *_group_notice(section, reading, tables),
            *division.notices,
        ]
        cards, turns = _write_splits(division, tables, target, spool)
        card = DataCard(
            **reading.about, sources=tuple(table.source for table in sources),
            labels=tuple(cards["train"].label_counts), splits=cards, rejected=in_order(division.reasons),
            notices=tuple(notices), changed=dict(sorted(spool.repairs.items())),
            fingerprint=fingerprint([cards[name].fingerprint for name in SPLITS]), counts=turns,
        )  # fmt: skip
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


def _write_splits(
    division: Division, tables: Mapping[str, object], target: Path, spool: Spool
) -> tuple[dict[str, SplitCard], dict[str, int]]:
    """Go through all records once more: each goes to its split, or to the rejected rows with its reason.

    Returns:
        The cards of the splits, and what conversations hold.
    """
    roster = division.roster
    places: dict[str, Places] = {name: getattr(division, name) for name in SPLITS}
    belongs = np.full(len(roster), -1, np.int8)
    for number, name in enumerate(SPLITS):
        belongs[places[name]] = number
    flags, gone = every(np.arange(len(roster)), division.flags), {each.place: each for each in division.dropped}
    writers = [SplitWriter(target / f"{name}.parquet", spool.kind) for name in SPLITS]
    turns: Counter[str] = Counter()
    for place, (record, content) in enumerate(spool.records()):
        if belongs[place] >= 0:
            writers[belongs[place]].write(settled(record, roster.id_of(place), flags[place]))
            turns.update(count_turns([record]))
        elif place in gone:
            spool.reject(as_rejected(record, content, gone[place]))
    cards = {}
    for name, writer in zip(SPLITS, writers, strict=True):
        mine = places[name]
        doubts = {doubt: int(holds[mine].sum()) for doubt, holds in sorted(division.flags.items())}
        cards[name] = SplitCard(
            name=name,
            rows=len(mine),
            groups=len(np.unique(roster.cluster(mine))),
            label_counts=roster.label_counts(mine),
            fingerprint=writer.close(),
            official=name in tables and name != "train",
            flags={doubt: count for doubt, count in doubts.items() if count},
        )
    return cards, {what: turns[what] for what in TURNS if turns[what]}


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
