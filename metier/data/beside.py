"""What lies beside the splits where a recipe asks for it: train as it was read, and counterfactual copies of train."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metier.data.bias.copies import write_copies
from metier.data.cleaning.rows import Finding
from metier.data.division import Division
from metier.data.raw import as_read, raw_places, write_raw
from metier.data.reading import Reading
from metier.data.spool import Spool
from metier.data.view import unrepaired
from metier.recipe.sections import DataSection


def write_beside(
    folder: Path,
    spool: Spool,
    division: Division,
    reading: Reading,
    section: DataSection,
    *,
    seed: int,
    found: Sequence[Finding],
) -> tuple[str, ...]:
    """Write `raw.parquet` for `data.ablation` and `copies.parquet` for `data.bias.augment`.

    Args:
        folder: Where the splits are, written.
        spool: All records.
        division: The splits as they were written.
        reading: How the files were read.
        section: The recipe's data section.
        seed: The recipe's seed.
        found: What the cleaning steps found.

    Returns:
        What should be said about it.
    """
    notices: tuple[str, ...] = ()
    if section.ablation:
        places = raw_places(division, reading.extracted["train"].places, section=section, seed=seed, found=found)
        unclean = as_read(unrepaired(reading.rules), reading.about["label_column"], section.label_names)
        notices = write_raw(folder, spool, division, places, unclean)
    labels = tuple(division.roster.label_counts(division.train)) if spool.kind == "choice" else ()
    return (*notices, *write_copies(folder, spool.kind, section.bias, found, labels=labels, seed=seed))
