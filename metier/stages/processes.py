"""How many processes an optimiser step's batch is counted for."""

from __future__ import annotations

from collections.abc import Sequence

from metier.events import Notice, Observer, tell
from metier.store.run_folder import RunFolder, finish_stage, stage_key
from metier.team import Team


def processes_of_a_batch(folder: RunFolder, team: Team, observers: Sequence[Observer]) -> int:
    """What the run began with, which is written down the first time; another number now is told.

    Args:
        folder: The run's.
        team: The processes that do it now.
        observers: Told.
    """
    began = stage_key(folder, "processes")
    if began is None:
        finish_stage(folder, "processes", str(team.size))
        return team.size
    if int(began) != team.size:
        message = (
            f"This run began with {counted(int(began))} and goes on with {team.size}. An optimiser step stays what it "
            f"was: training.per_device_train_batch_size counts for {began}, and {counted(team.size)} share out its "
            "examples."
        )
        tell(observers, Notice(topic="processes", message=message))
    return int(began)


def counted(processes: int) -> str:
    """`1 process`, `2 processes`."""
    return f"{processes} process" + ("es" if processes != 1 else "")
