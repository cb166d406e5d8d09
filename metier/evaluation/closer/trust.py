"""How far the probabilities of the promoted system can be believed, and what it can answer by itself: `trust.json`.

What validation fitted is looked at on other items, and stands beside every other system as it comes. Only numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from metier.evaluation.evidence import RiskCoverage, Selective, Trust
from metier.evaluation.labels.calibration import confidences, judge_calibration
from metier.evaluation.labels.risk_coverage import look_at_promise, risk_coverage
from metier.evaluation.labels.saved_calibration import NO_PROBABILITIES, SavedCalibration
from metier.evaluation.metrics import group_places
from metier.evaluation.results import Evaluation
from metier.evaluation.significance.paired import Resampling

MOST_POINTS = 500
"""Points of a curve that are kept: more than a drawing shows."""
ON_VALIDATION = "the promise is made on validation, so only other items can tell whether it holds"


def judge_trust(candidate: Evaluation, others: Sequence[Evaluation], fitted: SavedCalibration) -> Trust:
    """What can be believed of the candidate's probabilities on a set.

    Args:
        candidate: The promoted system, on items that had no part in what was fitted.
        others: The other systems on the same items; those with probabilities stand beside it as they come.
        fitted: Temperature and promise, from validation.
    """
    how = Resampling(resamples=candidate.resamples, seed=candidate.seed)
    known = [each for each in (*others, candidate) if any(item.label_logprobs for item in each.items)]
    calibration = {each.system: judge_calibration(each.items, candidate.labels, how=how) for each in known}
    unknown = fitted.reason or (None if candidate.system in calibration else NO_PROBABILITIES)
    own_set = candidate.set == "validation"
    if unknown or own_set:
        return Trust(
            system=candidate.system, calibration=calibration, temperature=fitted.temperature, tempered=None,
            curve=None if unknown else _curve(candidate, fitted.temperature.value, how), alone=None,
            reason=unknown or ON_VALIDATION,
        )  # fmt: skip
    value, changed = fitted.temperature.value, fitted.temperature.value != 1.0
    return Trust(
        system=candidate.system,
        calibration=calibration,
        temperature=fitted.temperature,
        tempered=judge_calibration(candidate.items, candidate.labels, temperature=value, how=how) if changed else None,
        curve=_curve(candidate, value, how),
        alone=_alone(candidate, fitted),
    )


def _alone(candidate: Evaluation, fitted: SavedCalibration) -> Selective | None:
    if fitted.promise is None:
        return None
    confidence, right = confidences(candidate.items, candidate.labels, fitted.temperature.value)
    groups = group_places(candidate.items)
    return look_at_promise(fitted.promise, confidence, right, set_name=candidate.set, groups=groups)


def _curve(candidate: Evaluation, temperature: float, how: Resampling) -> RiskCoverage:
    confidence, right = confidences(candidate.items, candidate.labels, temperature)
    return thinned(risk_coverage(confidence, right, group_places(candidate.items), how))


def thinned(curve: RiskCoverage, most: int = MOST_POINTS) -> RiskCoverage:
    """The curve with at most so many points, evenly chosen, ends kept; it says so.

    A last point at which answers without any probability would be given has no threshold, and is left out.

    Args:
        curve: As it was computed.
        most: Points wanted, at least 2.
    """
    points = [place for place, threshold in enumerate(curve.threshold) if np.isfinite(threshold)]
    kept = points
    if len(points) > most:
        kept = [points[at] for at in np.unique(np.linspace(0, len(points) - 1, most).round().astype(int)).tolist()]
    return replace(
        curve,
        coverage=tuple(curve.coverage[at] for at in kept),
        risk=tuple(curve.risk[at] for at in kept),
        threshold=tuple(curve.threshold[at] for at in kept),
        thinned_from=len(points) if len(kept) < len(points) else None,
    )
