"""The door of the data room: files in, `PreparedData` out, everything that was done written beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from metier.data.beside import write_beside
from metier.data.bias.copies import read_copies
from metier.data.card import DataCard
from metier.data.cleaning.rare_labels import rare_label_names
from metier.data.columns import column_stats, guess_group
from metier.data.divide import divide_examples
from metier.data.division import Division
from metier.data.examples import Intake, broken_notice, in_order
from metier.data.folds import draw_folds, write_folds
from metier.data.gather import SPLITS, open_files
from metier.data.input_rules import InputRules
from metier.data.label_merging import merge_labels
from metier.data.lent import NOTHING, Lent
from metier.data.locate import expanded, locate_files
from metier.data.model_aid import refuse_without
from metier.data.prepared import PreparedData
from metier.data.privacy.hiding import make_hiding
from metier.data.privacy.row_vault import row_vault
from metier.data.privacy.strict_run import text_folder
from metier.data.raw import read_raw
from metier.data.reading import Files, Reading, kind_of, read_records
from metier.data.record.decisions import load_decisions
from metier.data.record.honour import Honoured
from metier.data.record.stages import hash_stages
from metier.data.record.write import Found, tell_found, write_data_record
from metier.data.roster import Roster
from metier.data.screening import Screened, Taken, screen_division
from metier.data.splits import Split
from metier.data.spool import Spool
from metier.data.written_splits import write_division
from metier.events import Notice, Observer, tell
from metier.events import Table as TableEvent
from metier.recipe.privacy_section import PrivacySection
from metier.recipe.sections import DataSection
from metier.store.files import read_json, whole_folder
from metier.store.fingerprint import fingerprint
from metier.store.run_folder import DataFolder
from metier.store.values import from_plain


def prepare_data(
    section: DataSection,
    *,
    seed: int,
    folder: Path,
    observers: Sequence[Observer] = (),
    task: str = "classification",
    privacy: PrivacySection | None = None,
    lent: Lent = NOTHING,
) -> PreparedData:
    """Read the files, clean and check their rows, and write three splits.

    The same files, section, task and seed give the same bytes (the paths in the card aside).

    Args:
        section: The recipe's data section.
        seed: The recipe's seed: which clusters are drawn for test and validation.
        folder: Where the splits, `rejected.jsonl`, `changed.jsonl`, `card.json` and `input.json` go, with what the
            cleaning steps found; it is put in place as a whole.
        observers: Get a `Notice` for every policy that was applied, progress, and a table of the splits.
        task: The recipe's task: which kind of record a row becomes.
        privacy: The recipe's privacy section. None: personal data is not looked for.
        lent: What a run puts up: what `privacy: strict` writes with, the model of `data.screening_model`.

    Raises:
        ArgumentError: The recipe names a screening model, and none was handed in.
        DataError: The files, columns or rows cannot be used; it says what is needed.
        MissingPackage: A step that the recipe asks for needs a package that is not installed.
    """
    strict, aid = lent.strict, lent.aid
    refuse_without(section, aid)
    located = locate_files(section, task=task)
    files = open_files(located, section, task=task)
    with (
        whole_folder(folder) as target,
        text_folder(target, strict),
        row_vault(strict) as vaulted,
        Spool(target, kind_of(task), vaulted=vaulted) as spool,
    ):
        intake = Intake(
            spool,
            hiding=make_hiding(privacy, keep=None if vaulted is None else vaulted.hidden),
            mark=spool.mark,
            honoured=_honoured(section),
        )
        reading = read_records(section, task, files, intake, observers)
        spool.close()
        roster, merged = _merge_labels(reading, section)
        taken = Taken(spool=spool, intake=intake, reading=reading, merged=merged)
        division = divide_examples(roster, reading.extracted, section, seed=seed, answer=reading.answer)
        screened = screen_division(division, taken, section, task=task, seed=seed, observers=observers, aid=aid)
        card = _written(division, taken, screened, section, target, files, seed=seed)
        card = replace(card, notices=(*located.notices, *card.notices))
        found = _found(screened, division, spool)
        card = write_data_record(target, card, found, section, honoured=intake.honoured, texts=strict is None)
        reading.rules.write(DataFolder(target).input)
    _announce(card, observers)
    tell_found(card, observers)
    return load_prepared(folder)


def _written(
    division: Division, taken: Taken, screened: Screened, section: DataSection, target: Path, files: Files, *, seed: int
) -> DataCard:
    """Write the splits and what a recipe wants beside them; the card of it."""
    spool, reading = taken.spool, taken.reading
    written = write_division(division, spool, target, section, official=frozenset(files), merged=taken.merged)
    folds, said = _write_folds(division, target, section, screened, seed=seed)
    beside = write_beside(target, spool, division, reading, section, seed=seed, found=screened.findings)
    every = [file for part in files.values() for file in part]
    notices = (
        *(notice for file in every for notice in file.notices),
        *reading.notices,
        *broken_notice(reading.extracted.values()),
        *reading.later_notices,
        *_group_notice(section, reading, files),
        *division.notices,
        *screened.cleaned.notices,
        *said,
        *beside,
    )
    return DataCard(
        **reading.about, sources=tuple(file.source for file in every),
        answers=tuple(each for file in every for each in file.answers),
        labels=tuple(written.cards["train"].label_counts), splits=written.cards, rejected=in_order(division.reasons),
        notices=notices, changed=dict(sorted(spool.repairs.items())), counts=written.turns, folds=folds,
        fingerprint=fingerprint([written.cards[name].fingerprint for name in SPLITS]),
    )  # fmt: skip


def _found(screened: Screened, division: Division, spool: Spool) -> Found:
    """What the steps found, with the content of the data after each stage."""
    splits = {name: division.places(name) for name in SPLITS}
    cleaned = screened.cleaned
    stages = hash_stages(spool.records(), splits, cleaned.drops, screened.findings)
    return Found(findings=screened.findings, places=screened.places, done=cleaned.done, stages=stages)


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
        name: Split(name=name, path=DataFolder(folder).split(name), fingerprint=card.splits[name].fingerprint)
        for name in SPLITS
    }
    return PreparedData(
        card=card, train=splits["train"], validation=splits["validation"], test=splits["test"], rules=rules,
        raw=read_raw(folder), copies=read_copies(folder),
    )  # fmt: skip


def _honoured(section: DataSection) -> Honoured | None:
    """What a person decided, where the recipe names a file of it."""
    return None if section.decisions is None else Honoured(load_decisions(expanded(section.decisions)))


def _merge_labels(reading: Reading, section: DataSection) -> tuple[Roster, dict[str, str]]:
    """The roster with rare labels under one name, and which they are."""
    roster = reading.roster
    if not roster.labelled:
        return roster, {}
    places = [part.places for role, part in reading.extracted.items() if role != "test"]
    names = rare_label_names(roster.label_counts(np.concatenate(places)), section)
    return merge_labels(roster, names), names


def _write_folds(
    division: Division, target: Path, section: DataSection, screened: Screened, *, seed: int
) -> tuple[tuple[int, ...], list[str]]:
    """Write the folds of train and validation, where the recipe asks for them: their sizes, and what to say."""
    if section.folds is None:
        return (), []
    places = np.union1d(division.train, division.validation)
    near = None
    if screened.cleaned.near is not None:
        near = np.full(len(division.roster), -1, np.int32)
        keys, clusters = screened.cleaned.near
        near[keys] = clusters
    folds = draw_folds(division.roster, places, count=section.folds, seed=seed, near=near)
    write_folds(target, division.roster, folds)
    return folds.sizes, folds.notices(section.time)


def _group_notice(section: DataSection, reading: Reading, files: Files) -> list[str]:
    if section.group is not None or {"test", "validation"} <= files.keys():
        return []
    rules, about = reading.rules, reading.about
    taken = {*rules.text_columns, *rules.fields.values(), about["label_column"], section.id}
    return [
        f"column `{name}` looks like rows that belong together; without data.group: {name} they may be torn "
        "between train and test, which flatters the result"
        for name in guess_group(column_stats(files["train"][0].table), taken)
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
