"""What page and card show of each kind of answer: one row of `KINDS` for each task.

To add one: a row here, its sections as `templates/sections/<anchor>.html`, its card as a template.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_HEAD = {"verdict": "Verdict", "systems": "Systems"}
_MIDDLE = {
    "differences": "Differences",
    "judge": "Judge model",
    "folds": "Folds",
    "seeds": "Seeds",
    "trust": "What it answers alone",
    "slices": "Where it is weak",
    "robustness": "Changed wording",
    "errors": "Rows to check",
    "candidates": "Candidates",
    "learning": "Learning",
    "overfitting": "Overfitting",
}
_TAIL = {
    "data": "Data",
    "limits": "What this cannot say",
    "settings": "Settings",
    "environment": "Environment",
}
_ALWAYS_MISSING = (
    "what the training cost elsewhere (general ability, other tasks)",
    "safety of the answers",
    "bias between groups of people",
    "personal data that the model may have memorised",
)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How one kind of answer is shown."""

    sections: Mapping[str, str]
    """Anchor and title of every section, in the order of the page."""
    card: str
    """Template of the model card."""
    hub_task: str
    """The hub's name of the task."""
    hub_title: str
    beside: str | None
    """The metric that candidates and limits name beside the primary one; None: no other."""
    costs_apart: bool
    """Whether size, time and training stand in a table of their own, because the metrics are many."""
    gained: str
    """What Gained and Lost count; empty where nothing is right or wrong."""
    detectable: str
    """What the smallest detectable difference is stated in."""
    splits: str
    """Title of the table of splits."""
    missing: tuple[str, ...]
    """What no run of this kind looks at."""
    limits: tuple[str, ...] = ()
    """What its metrics cannot say."""


LABELS = Kind(
    sections={
        **_HEAD, **_MIDDLE, "labels": "Labels", "confusion": "Confusion", "examples": "Examples", **_TAIL,
    },
    card="card-labels.md",
    hub_task="text-classification",
    hub_title="Text classification",
    beside="accuracy",
    costs_apart=False,
    gained="Gained: records that only it has right. Lost: records that only the baseline has right.",
    detectable="accuracy",
    splits="Labels in each split",
    missing=_ALWAYS_MISSING,
)  # fmt: skip
ANSWERS = Kind(
    sections={
        **_HEAD, "fields": "Fields", "length": "Length", "loss": "Loss", "answers": "Answers to read", **_MIDDLE,
        **_TAIL,
    },
    card="card-answers.md",
    hub_task="text-generation",
    hub_title="Text generation",
    beside=None,
    costs_apart=True,
    gained="Gained: answers that only it wrote exactly as the gold answer has them. Lost: those of the baseline alone.",
    detectable="the metric",
    splits="Records in each split",
    missing=("whether the answers are true", *_ALWAYS_MISSING),
    limits=(
        "Every metric compares an answer with one gold answer: a good answer in other words scores low, a wrong one "
        "in the same words scores high. Nobody judged whether an answer is true or useful: read some.",
    ),
)  # fmt: skip
PASSAGES = Kind(
    sections={**_HEAD, "documents": "Documents", **_MIDDLE, **_TAIL},
    card="card-passages.md",
    hub_task="text-generation",
    hub_title="Text generation",
    beside="loss",
    costs_apart=False,
    gained="",
    detectable="the metric",
    splits="Records in each split",
    missing=("what the model writes (only how probable it finds unseen text)", *_ALWAYS_MISSING),
    limits=(
        "Bits per byte say how well the next words of such text are foreseen, not whether the model can answer a "
        "question about it.",
    ),
)
LABEL_SETS = Kind(
    sections={**_HEAD, **_MIDDLE, "labels": "Labels", "examples": "Examples", **_TAIL},
    card="card-lists.md",
    hub_task="text-classification",
    hub_title="Multi-label classification",
    beside="exact_match",
    costs_apart=False,
    gained="Gained: records whose labels only it has exactly right. Lost: those that only the baseline has.",
    detectable="the metric",
    splits="Labels in each split",
    missing=_ALWAYS_MISSING,
    limits=(
        "A record can have several labels: an F1 counts labels, exact match counts records whose labels are all right "
        "and no others.",
    ),
)
SPANS = Kind(
    sections={**_HEAD, **_MIDDLE, "labels": "Labels", "examples": "Examples", **_TAIL},
    card="card-lists.md",
    hub_task="token-classification",
    hub_title="Token classification",
    beside="exact_match",
    costs_apart=False,
    gained="Gained: records whose pieces only it has exactly right. Lost: those that only the baseline has.",
    detectable="the metric",
    splits="Labels in each split",
    missing=_ALWAYS_MISSING,
    limits=(
        "A piece counts as found where its first and last character and its label are right; by overlap where it "
        "shares a character with a right one of its label. Where a piece begins and ends is often a matter of taste of "
        "whoever marked the data.",
    ),
)
KINDS: Mapping[str, Kind] = {
    "classification": LABELS, "generation": ANSWERS, "chat": ANSWERS, "text": PASSAGES, "multilabel": LABEL_SETS,
    "extraction": SPANS,
}  # fmt: skip
"""Task of a recipe -> how it is shown."""
