"""What `data.ablation` adds to a plan: the promoted way trained once more, on train as it was read, and its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from metier.planning.outlook import StageEstimate

STAGE = "ablation"
TUNED = "tuned, on test and a sample of train"
"""What the promoted model's answers are called in a plan."""
ASSUMED = (
    "the second training of data.ablation is that of the dearest candidate; where cleaning changed little, stored "
    "states make it shorter, and where it changed nothing, it is left out"
)


def ablation_stages(stages: Sequence[StageEstimate]) -> tuple[StageEstimate, ...]:
    """The stages that come on top, as long as those of the dearest candidate.

    Args:
        stages: The rest of the run.
    """
    attempts: dict[str, list[StageEstimate]] = {}
    for stage in stages:
        if stage.stage.startswith("attempt "):
            attempts.setdefault(stage.stage, []).append(stage)
    if not attempts:
        return ()
    dearest = max(attempts.values(), key=lambda some: sum(stage.seconds for stage in some))
    answers = [stage for stage in stages if stage.stage == "test" and stage.what == TUNED]
    return tuple(
        replace(stage, stage=STAGE, part=STAGE, what=f"rows as they were read: {stage.what}", low=_least(stage))
        for stage in (*dearest, *answers)
    )


def _least(stage: StageEstimate) -> float:
    """What is computed once for a text is there already where cleaning left the text as it was."""
    return 0.0 if stage.part == "trunk" else stage.low
