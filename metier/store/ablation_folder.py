"""Names of what the ablation, the remedies against bias and a replay leave, beside those of `run_folder`."""

from __future__ import annotations

from pathlib import Path

from metier.store.run_folder import AttemptFolder, RunFolder


def raw_attempt(folder: RunFolder) -> AttemptFolder:
    """The promoted way trained once more, on train as it was read.

    Args:
        folder: The run.
    """
    return AttemptFolder(folder.path / "ablation")


def record_weights(folder: AttemptFolder) -> Path:
    """What each training record of an attempt weighed, where that was not the same for all; one a line.

    Args:
        folder: The attempt.
    """
    return folder.checkpoints / "weights.jsonl"


def replay_folder(folder: RunFolder) -> RunFolder:
    """The same run done again, for `metier verify --replay`.

    Args:
        folder: The run.
    """
    return RunFolder(folder.path / "replay")
