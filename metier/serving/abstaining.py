"""Answering only what a model is sure of: the threshold that validation promised, and rows handed to a person."""

from __future__ import annotations

from dataclasses import replace

from metier.errors import ArgumentError
from metier.evaluation.labels.saved_calibration import SLACK
from metier.serving.results import AnsweredRow
from metier.serving.specialist import Specialist

FOR_A_PERSON = "for a person"
"""How the reason beside an empty answer begins, where a person should look."""
OPTION = "--abstain"


def promised_threshold(specialist: Specialist, own: float | None = None) -> float:
    """The least probability with which an answer is given.

    Args:
        specialist: The model.
        own: The user's. None: the one that validation promised.

    Raises:
        ArgumentError: The model has no probabilities, validation supports no promise, or `own` is no probability.
    """
    if not specialist.labels:
        fix = "Only answers that are labels can be handed over by how sure they are."
        raise ArgumentError(OPTION, "the model writes its answers and has no probability of them", "", fix)
    if own is not None:
        if not 0.0 < own <= 1.0:
            raise ArgumentError(OPTION, f"found {own:g}", "a probability above 0 and up to 1")
        return own
    saved = specialist.calibration
    if saved is None:
        found = "the model was made without a promise of how often it is right"
        raise ArgumentError(OPTION, found, "", f"Give a probability of your own, such as {OPTION} 0.9.")
    promise = saved.promise
    if promise is None or promise.threshold is None:
        why = saved.reason if promise is None else promise.reason
        wanted = "" if promise is None else f"{100 * promise.target:.4g} % right of what it answers by itself, "
        found = f"validation supports no promise of {wanted}because {why}" if wanted else f"no promise: {why}"
        fix = f"Give a probability of your own, such as {OPTION} 0.9, or promise less (evaluation.promise_accuracy)."
        raise ArgumentError(OPTION, found, "", fix)
    return promise.threshold


def handed_over(row: AnsweredRow, threshold: float) -> AnsweredRow:
    """The row, its answer taken away where it is less sure than the threshold; its probability stays.

    Args:
        row: What is said about one row.
        threshold: Least probability with which an answer is given.
    """
    if row.answer is None or (row.probability is not None and row.probability >= threshold - SLACK):
        return row
    sure = "of unknown probability" if row.probability is None else f"{row.probability:.3f} sure"
    reason = f"{FOR_A_PERSON}: {sure}, wanted {threshold:.3f}"
    return replace(row, answer=None, reason=f"{reason}; {row.reason}" if row.reason else reason)
