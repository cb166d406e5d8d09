"""Energy and compute of a run, in words: from its receipt, and what is not known said as that."""

from __future__ import annotations

from metier.planning.receipt_values import ReceiptLine
from metier.report import formats
from metier.report.receipt import amount
from metier.report.summary import RunSummary

EMISSIONS = "Emissions are unknown: they depend on where the electricity came from, which nobody measured here."


def energy_known(summary: RunSummary) -> bool:
    """Whether the run's energy was measured, or follows from the watts that the recipe names."""
    return _energy(summary) is not None


def energy_sentence(summary: RunSummary) -> str:
    """The energy of the run, and that its emissions are unknown."""
    line = _energy(summary)
    if line is None:
        return "Energy and emissions were not measured."
    note = f" ({line.note})" if line.note else ""
    return f"Energy: {amount(line.measured, line.unit)}{note}. {EMISSIONS}"


def compute_sentences(summary: RunSummary) -> tuple[str, ...]:
    """What the run needed: time, memory, tokens that were computed, money where it is known."""
    said = [f"Time in all: {formats.duration(summary.seconds) if summary.seconds else formats.UNKNOWN}"]
    said.append(f"highest memory: {formats.megabytes(summary.peak_memory_bytes)}")
    computed = sum(attempt.history.tokens_computed for attempt in summary.attempts)
    if computed:
        trained = formats.counted(len(summary.attempts), "training")
        said.append(f"tokens computed in {trained}: {formats.count(computed)}")
    cost = None if summary.receipt is None else summary.receipt.line("cost")
    if cost is not None and cost.measured is not None:
        said.append(f"cost: {amount(cost.measured, cost.unit)}")
    return tuple(f"{part[0].upper()}{part[1:]}." for part in said)


def _energy(summary: RunSummary) -> ReceiptLine | None:
    line = None if summary.receipt is None else summary.receipt.line("energy")
    return line if line is not None and line.measured is not None else None
