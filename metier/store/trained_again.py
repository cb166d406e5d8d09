"""Names of what is trained besides a run's attempts: the folds, the model of all rows, other seeds."""

from __future__ import annotations

import shutil
from pathlib import Path

from metier.store.run_folder import AttemptFolder, RunFolder

OUT_OF_FOLD, SEEDS = "out_of_fold", "seeds"
"""Sets under a run's evaluation folder."""


def fold_run(folder: RunFolder, number: int) -> RunFolder:
    """What one fold leaves, laid out as a run of its own; of a strict run among its private files, as it holds texts.

    Args:
        folder: The run.
        number: Of the fold, from 1.
    """
    return RunFolder(_place(folder) / "folds" / str(number))


def all_rows_run(folder: RunFolder) -> RunFolder:
    """The same for the training on all rows, whose model is the one that is kept.

    Args:
        folder: The run.
    """
    return RunFolder(_place(folder) / "all_rows")


def seed_attempt(folder: RunFolder, number: int) -> AttemptFolder:
    """The promoted way trained with another seed.

    Args:
        folder: The run.
        number: From 2; the promoted attempt itself is the first.
    """
    return AttemptFolder(folder.path / SEEDS / f"{number:03d}")


def drop_weights(path: Path) -> None:
    """Remove weights and checkpoints that nobody will ask again; what was measured with them stays.

    Args:
        path: A folder of this file.
    """
    for weights in sorted(path.rglob("*.safetensors")):
        weights.unlink()
    for checkpoint in sorted(path.rglob("checkpoint-*")):
        shutil.rmtree(checkpoint, ignore_errors=True)


def _place(folder: RunFolder) -> Path:
    return folder.private if folder.private.is_dir() else folder.path
