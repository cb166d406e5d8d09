"""How often the test set was opened, what that leaves of the verdict, or that it stayed closed: in words.

Takes a comparison; gives sentences. The terminal, the page and the card say the same.
"""

from __future__ import annotations

from metier.evaluation.results import Comparison, Difference
from metier.report import formats

FLATTERED = (
    "The verdict is about validation, which also chose when training stopped, the candidate and the settings of every "
    "baseline: its numbers flatter all of them."
)
"""What a verdict on validation cannot say."""


def openings_sentence(found: Comparison) -> str:
    """How often the test set was opened, and from the second time on what is left of the difference then."""
    if found.set == "validation":
        return (
            "The test set stayed closed: this verdict is about validation, for development, and was not counted as an "
            "opening."
        )
    if found.openings is None and found.set != "test":
        return "No test set was set apart, so none was opened."
    if found.openings is None:
        return "How often this test set was opened was not recorded."
    if found.openings <= 1:
        return f"{_opened(found)} once, by this run."
    opened = f"{_opened(found)} {formats.times(found.openings)}, this run included."
    return " ".join(filter(None, (opened, shared_sentence(found))))


def _opened(found: Comparison) -> str:
    """What was opened: a test set, or all rows where each is a test row once."""
    return "These rows were looked at" if found.set == "out_of_fold" else "The test set was opened"


def openings_fact(found: Comparison) -> tuple[str, str]:
    """The same as a number with a note: `twice`, `this run included`."""
    if found.set == "validation":
        return "closed", "the verdict is about validation"
    if found.openings is None and found.set != "test":
        return "none", "every record was answered out of its fold"
    if found.openings is None:
        return formats.UNKNOWN, "not recorded"
    return formats.times(found.openings), "this run included"


def openings_limits(found: Comparison) -> tuple[str, ...]:
    """What follows for what the numbers cannot say; empty after the first opening."""
    if found.set == "validation":
        return (FLATTERED,)
    if found.openings is None:
        if found.set != "test":
            return ()
        return ("How often the test set was opened was not recorded: the numbers may be optimistic.",)
    if found.openings <= 1:
        return ()
    return (
        f"{_opened(found)} {formats.times(found.openings)}. Every look that leads to a change makes the next "
        "number more optimistic.",
    )


def shared_sentence(found: Comparison) -> str:
    """What the difference is when all openings share the 5 % that may go wrong; empty for the first opening.

    Of the baseline against which it is least sure: better than all of them is as sure as that one.
    """
    times, rows = found.openings, [row for row in found.differences if row.after_openings is not None]
    if not times or times < 2 or not rows:
        return ""
    coverage = f"{100 - 5 / times:.4g} %"
    row = min(rows, key=_low)
    after = row.after_openings
    if after is None or after.low is None or after.high is None:
        reason = after.reason if after is not None else formats.UNKNOWN
        return f"Shared by {times} openings, the interval at {coverage} against {row.baseline} is not known: {reason}."
    between = f"{formats.signed(after.low)} to {formats.signed(after.high)}"
    said = f"Shared by {times} openings, the interval of the difference to {row.baseline} at {coverage} is {between}"
    if after.low > 0:
        return f"{said}: still better, and as sure or surer against every other baseline."
    if after.high < 0:
        return f"{said}: still worse."
    lucky = ", so that the gain may be the luck of several looks" if found.verdict == "improved" else ""
    return f"{said}: it contains 0{lucky}."


def _low(row: Difference) -> float:
    """The lower bound after several openings; an unknown one is the least sure of all."""
    after = row.after_openings
    return float("-inf") if after is None or after.low is None else after.low
