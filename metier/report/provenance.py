"""The tables of where it all came from: data, what preparation did, settings, fingerprints, machine.

Takes the data card, the lock file and the recipe of a run; gives tables. No record text passes here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from metier.data.card import DataCard, SplitCard
from metier.evaluation.results import Evaluation
from metier.report import formats
from metier.report.summary import RunSummary
from metier.report.tables import Cell, Column, Row, Table

FLAG_WORDS = {
    "duplicate": "the same text occurs more than once",
    "contradiction": "the same text has different answers",
    "in_train": "the same text was also in the training data",
    "near_in_train": "nearly the same text was also in the training data",
    "near_in_test": "nearly the same text is also in the test set",
    "group_in_train": "its group was also in the training data",
    "label_unseen": "its label never occurs in training",
    "rare_label": "its label is rare",
}
MACHINE_KEYS = ("metier", "machine", "hardware", "packages", "peak_memory_bytes")
"""Parts of the lock file that describe the machine; the rest are settings and fingerprints."""


def sources_table(card: DataCard) -> Table:
    """The files that were read."""
    columns = (Column("File"), Column("Rows", numeric=True), Column("Format"), Column("SHA-256"))
    rows = tuple(
        Row((
            Cell(source.name), Cell(formats.count(source.rows)),
            Cell(source.format, ", ".join(part for part in (source.encoding, _delimiter(source.delimiter)) if part)),
            Cell(source.sha256, "", "code"),
        ))
        for source in card.sources
    )  # fmt: skip
    return Table("Files that were read.", columns, rows)


def _delimiter(delimiter: str | None) -> str:
    names = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "space"}
    return "" if delimiter is None else f"separated by {names.get(delimiter, repr(delimiter))}"


def splits_table(card: DataCard) -> Table:
    """Each label's records in each split, and the totals; without labels, records and groups."""
    splits = list(card.splits.values())
    if not card.labels and not any(split.label_counts for split in splits):
        return _sizes_table(splits)
    labels = list(dict.fromkeys([*card.labels, *(label for split in splits for label in split.label_counts)]))
    columns = (Column("Label"), *(Column(split.name, numeric=True) for split in splits))
    rows = [
        Row((Cell("all"), *(Cell(formats.count(split.rows)) for split in splits)), strong=True),
        *(
            Row((Cell(label), *(_label_cell(split.label_counts.get(label, 0), split.rows) for split in splits)))
            for label in labels
        ),
    ]
    return Table("Records per label and split, with their share of the split.", columns, tuple(rows))


def _sizes_table(splits: Sequence[SplitCard]) -> Table:
    rows = tuple(
        Row((
            Cell(split.name, "a file of its own" if split.official else "drawn from the data"),
            Cell(formats.count(split.rows)), Cell(formats.count(split.groups)),
        ))
        for split in splits
    )  # fmt: skip
    columns = (Column("Split"), Column("Records", numeric=True), Column("Groups", numeric=True))
    return Table("Records and groups of each split. Records of one group are never in two.", columns, rows)


def _label_cell(times: int, rows: int) -> Cell:
    return Cell(formats.count(times), formats.share(times, rows))


def rejected_table(card: DataCard) -> Table | None:
    """Rows that were not used, by reason; None where all were."""
    if not card.rejected:
        return None
    total = sum(source.rows for source in card.sources)
    rows = tuple(
        Row((Cell(reason), Cell(formats.count(times)), Cell(formats.share(times, total))))
        for reason, times in sorted(card.rejected.items(), key=lambda pair: (-pair[1], pair[0]))
    )
    columns = (Column("Reason"), Column("Rows", numeric=True), Column("Of all rows", numeric=True))
    return Table("Rows that were not used, by reason.", columns, rows)


def changed_table(card: DataCard) -> Table | None:
    """Records that a repair changed; None where none did."""
    if not card.changed:
        return None
    rows = tuple(
        Row((Cell(repair), Cell(formats.count(times))))
        for repair, times in sorted(card.changed.items(), key=lambda pair: (-pair[1], pair[0]))
    )
    return Table(
        "Records that were changed, by repair. The same repairs run in metier predict.",
        (Column("Repair"), Column("Records", numeric=True)),
        rows,
    )


def flags_table(card: DataCard) -> Table | None:
    """Doubts about records that stayed; None where there are none."""
    flags = list(dict.fromkeys(flag for split in card.splits.values() for flag in split.flags))
    if not flags:
        return None
    columns = (Column("Doubt"), *(Column(split.name, numeric=True) for split in card.splits.values()))
    rows = tuple(
        Row((
            Cell(flag, FLAG_WORDS.get(flag, "")),
            *(Cell(formats.count(split.flags.get(flag, 0))) for split in card.splits.values()),
        ))
        for flag in flags
    )  # fmt: skip
    return Table("Records that stayed although something about them is doubtful.", columns, rows)


def choices_table(systems: tuple[Evaluation, ...]) -> Table | None:
    """What each system chose on validation, with the losers; None where nothing was recorded."""
    rows = tuple(
        Row((Cell(system.system), Cell(key), Cell(value)))
        for system in systems
        for key, value in _flat({key: value for key, value in system.settings.items() if key != "signatures"})
    )
    if not rows:
        return None
    columns = (Column("System"), Column("Setting"), Column("Value"))
    return Table("What each system used, and what was tried beside it on validation.", columns, rows)


def settings_table(summary: RunSummary) -> Table:
    """The resolved recipe, one setting a row."""
    rows = tuple(Row((Cell(key), Cell(value, "", "code"))) for key, value in _flat(summary.recipe))
    return Table("The resolved recipe.", (Column("Setting"), Column("Value")), rows)


def fingerprints_table(summary: RunSummary) -> Table:
    """Fingerprints and choices of the lock file, the data's own among them."""
    data = [("data", summary.data.fingerprint)]
    data += [(f"data.{split.name}", split.fingerprint) for split in summary.data.splits.values()]
    models = {f"{attempt.model.name} (base weights)": attempt.model.weights_sha256 for attempt in summary.attempts}
    locked = _flat({key: value for key, value in summary.lock.items() if key not in MACHINE_KEYS})
    known = dict([("run", summary.run_id), *data, *models.items(), *locked])
    rows = tuple(Row((Cell(key), Cell(value, "", "code"))) for key, value in known.items() if value)
    return Table("Fingerprints, seeds and choices of this run.", (Column("What"), Column("Value")), rows)


def machine_rows(summary: RunSummary) -> list[tuple[str, str]]:
    """What the lock file says about the machine and the versions, as pairs."""
    return list(_flat({key: value for key, value in summary.lock.items() if key in MACHINE_KEYS}))


def machine_table(summary: RunSummary) -> Table:
    """The machine, the versions, the memory."""
    peak = formats.megabytes(summary.peak_memory_bytes)
    pairs = [*(pair for pair in machine_rows(summary) if pair[0] != "peak_memory"), ("peak memory", peak)]
    rows = tuple(
        Row((Cell(key), Cell(value, "", "unknown" if value == formats.UNKNOWN else ""))) for key, value in pairs
    )
    return Table("The machine and the versions.", (Column("What"), Column("Value")), rows)


def stages_table(summary: RunSummary) -> Table | None:
    """How long each stage took; None where that was not recorded."""
    if not summary.stage_seconds:
        return None
    rows = tuple(
        Row((Cell(stage), Cell(formats.duration(seconds)))) for stage, seconds in summary.stage_seconds.items()
    )
    return Table(
        f"Time by stage; {formats.duration(summary.seconds)} in all.",
        (Column("Stage"), Column("Time", numeric=True)),
        rows,
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as `section.field` and text; empty parts are left out."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        if not prefix and key in ("format", "version"):
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}.")
        elif path.endswith("_bytes") and isinstance(value, int):
            yield path.removesuffix("_bytes"), formats.megabytes(value)
        elif isinstance(value, (list, tuple)) and any(isinstance(part, Mapping) for part in value):
            for number, part in enumerate(value, 1):
                nested = part if isinstance(part, Mapping) else {"value": part}
                yield from _flat(nested, f"{path}.{number}.")
        else:
            yield path, formats.plain(value)
