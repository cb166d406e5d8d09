"""The receipt of a run, as frozen values without torch: what was predicted beside what it took."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ReceiptLine:
    """One thing that was predicted."""

    what: str
    """`memory`, `time`, a part of the run, `energy` or `cost`."""
    unit: str
    """`bytes`, `seconds`, `Wh` or a currency."""
    predicted: float | None
    low: float | None = None
    high: float | None = None
    measured: float | None = None
    note: str = ""
    """Why something is not known, or what makes it hard to compare."""

    @property
    def ratio(self) -> float | None:
        """Measured over predicted."""
        return self.measured / self.predicted if self.measured is not None and self.predicted else None


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What a run took, beside what had been predicted of it."""

    lines: tuple[ReceiptLine, ...]
    how: str
    """Where the prediction came from, as a sentence."""
    whole: bool = True
    """False where parts were done before, so that times cannot be compared."""

    def line(self, what: str) -> ReceiptLine | None:
        """The line about one thing; None where there is none."""
        return next((line for line in self.lines if line.what == what), None)
