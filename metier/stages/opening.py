"""What the verdict is about: the test set, which is then opened and counted, or validation, and it stays closed."""

from __future__ import annotations

from metier.data.records import Record
from metier.data.sealing import sealed_fingerprint
from metier.evaluation.seal import open_once
from metier.events import Notice, tell
from metier.stages.workshop import Workshop

CLOSED = (
    "evaluation.split: validation: the verdict is about the validation split, and the test set stays closed. This run "
    "is not counted as an opening."
)


def judged_records(shop: Workshop) -> list[Record]:
    """The records that every system answers for the verdict: of the test set, or all of validation.

    Validation is taken whole: of written answers too, where candidates were judged on a sample of it.
    """
    return list(shop.data.test.records()) if judged_set(shop) == "test" else list(shop.validation)


def judged_set(shop: Workshop) -> str:
    """The name of the set that the verdict is about: `test` or `validation`."""
    return shop.recipe.evaluation.split


def open_seal(shop: Workshop, run_id: str) -> int | None:
    """Count this run's opening of the test set, and say which one it is; None where the test set stays closed.

    To be called by one process. A run that was killed and goes on resumes its own opening.

    Args:
        shop: The run.
        run_id: Whom the ledger counts; see `test_set.run_identity`.
    """
    if judged_set(shop) != "test":
        tell(shop.observers, Notice(topic="seal", message=CLOSED))
        return None
    counted = open_once(
        sealed_fingerprint(shop.data.card, shop.data.test), run_id, shop.folder.evaluation_of("test").opening
    )
    if counted > 1:
        message = (
            f"this is opening {counted} of this test set: the report shows the interval at 1 - 5 %/{counted} too, as "
            "each look was another chance to be lucky. `evaluation.split: validation` looks without opening it."
        )
        tell(shop.observers, Notice(topic="seal", message=message))
    return counted
