"""The door to finding personal data: which detector, for which kinds, over which texts.

    patterns   what has a form: addresses, numbers; no package needed; names and places are not covered
    presidio   the same, and names, places and Presidio's other kinds (`pip install "metier[pii]"`)

No detector falls back to another: the one that is asked for is there, or it is an error.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from metier.data.privacy.own import OwnRecogniser, check_recognisers
from metier.data.privacy.patterns import PATTERN_KINDS, PatternDetector
from metier.data.privacy.presidio import PresidioDetector
from metier.data.privacy.spans import DEFAULT_KINDS, KINDS, Span
from metier.errors import DataError


class Detector(Protocol):
    """Finds personal data in texts."""

    name: str
    """A name in `DETECTORS`."""
    version: int
    """Raised whenever its rules change."""
    kinds: tuple[str, ...]
    """What it looks for, recognisers of the recipe included."""
    notes: tuple[str, ...]
    """What it does not cover, as sentences."""

    def find(self, texts: Sequence[str]) -> list[tuple[Span, ...]]:
        """Spans of every text, in the order of the texts; within a text in order and without overlaps."""

    def repeat(self, parts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[tuple[Span, ...]]:
        """`spans` of the parts of one record, and the names among them wherever another part repeats them."""


@dataclass(frozen=True, kw_only=True)
class DetectorSettings:
    """What to look for, and how."""

    detector: str = "presidio"
    """A name in `DETECTORS`."""
    kinds: tuple[str, ...] = DEFAULT_KINDS
    """Names in `KINDS`; with `presidio` also its others, one country each (`UK_NHS`, `US_PASSPORT`, …)."""
    recognisers: tuple[OwnRecogniser, ...] = ()
    """The user's own kinds."""


DETECTORS: Mapping[str, Callable[[Sequence[str], Sequence[OwnRecogniser]], Detector]] = {
    "patterns": PatternDetector,
    "presidio": PresidioDetector,
}


def make_detector(settings: DetectorSettings) -> Detector:
    """The detector that the settings ask for.

    Args:
        settings: See `DetectorSettings`.

    Raises:
        DataError: A kind is unknown, or an own recogniser is refused.
        MissingPackage: `presidio` is asked for and a package of it is not installed.
    """
    if settings.detector not in DETECTORS:
        raise DataError("privacy.detector", f"is `{settings.detector}`", f"one of {', '.join(DETECTORS)}")
    check_recognisers(settings.recognisers)
    if not settings.kinds and not settings.recognisers:
        raise DataError("privacy.kinds", "is empty", "at least one kind, or a recogniser of your own")
    if settings.detector == "patterns":
        for kind in settings.kinds:
            if kind not in KINDS:
                _refuse(kind)
        if not settings.recognisers and not set(settings.kinds) & set(PATTERN_KINDS):
            raise DataError(
                "privacy.kinds", f"has only {', '.join(settings.kinds)}, which patterns cannot find", "",
                "Set `privacy.detector: presidio`.",
            )  # fmt: skip
    return DETECTORS[settings.detector](settings.kinds, settings.recognisers)


def _refuse(kind: str) -> None:
    near = difflib.get_close_matches(kind.upper(), KINDS, n=1, cutoff=0.5)
    fix = f"Did you mean `{near[0]}`?" if near else "Other kinds of Presidio need `privacy.detector: presidio`."
    raise DataError("privacy.kinds", f"has `{kind}`", f"one of {', '.join(KINDS)}", fix)
