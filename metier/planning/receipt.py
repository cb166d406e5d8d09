"""After a run: what it took, from its own event log, beside what had been predicted of it."""

from __future__ import annotations

from collections.abc import Mapping

from metier.errors import RunFolderError
from metier.planning.outlook import Plan, Span
from metier.planning.ratios import note_ratios
from metier.planning.receipt_values import Receipt, ReceiptLine
from metier.planning.spent import PARTS, measured_parts
from metier.store.files import read_json, read_json_lines, write_json
from metier.store.run_folder import RunFolder
from metier.store.values import from_plain, to_plain

REUSED = "taken from an earlier run"
NOT_PREDICTED = "not predicted"


def write_prediction(
    folder: RunFolder, plan: Plan, how: str, machine: Mapping[str, object], joules: float | None
) -> None:
    """Write what is predicted of a run into its folder.

    Args:
        folder: The run.
        plan: The prediction.
        how: Where it comes from, as a sentence.
        machine: What other runs must share to be comparable.
        joules: The machine's energy counter now; None where it has none.
    """
    content = {"plan": to_plain(plan), "how": how, "machine": dict(machine), "joules": joules}
    write_json(folder.plan, content, format="plan")


def write_receipt(folder: RunFolder, *, peak_bytes: int | None, joules: float | None, keep: bool) -> Receipt | None:
    """Compare a run with its prediction, and write that beside it; None where nothing was predicted.

    Args:
        folder: The run, all its stages but the report done.
        peak_bytes: Its highest memory; None where that is not known.
        joules: The machine's energy counter now; None where it has none.
        keep: Whether later predictions on this machine learn from it.
    """
    if not folder.plan.exists():
        return None
    content = read_json(folder.plan, format="plan")
    plan = from_plain(Plan, content["plan"], where=str(folder.plan))
    parts, reused = measured_parts(read_json_lines(folder.events))
    lines = [
        _memory(plan, peak_bytes),
        *_times(plan, parts, reused),
        *_energy(plan, parts, _used(content["joules"], joules)),
    ]
    receipt = Receipt(lines=tuple(lines), how=str(content["how"]), whole=not reused)
    before = {name: content[name] for name in ("plan", "how", "machine", "joules")}
    write_json(folder.plan, {**before, "receipt": to_plain(receipt)}, format="plan")
    if keep:
        _keep(content["machine"], plan, receipt)
    return receipt


def _memory(plan: Plan, peak: int | None) -> ReceiptLine:
    note = "" if peak is not None else "not known: a resumed run, an accelerator, or a system that does not tell it"
    return ReceiptLine(
        what="memory", unit="bytes", predicted=plan.memory_bytes, low=plan.memory_low, high=plan.memory_high,
        measured=peak, note=note,
    )  # fmt: skip


def _times(plan: Plan, parts: Mapping[str, float], reused: bool) -> list[ReceiptLine]:
    raw = sum(plan.parts.values())
    factor = plan.seconds / raw if raw else 1.0
    rows = []
    for part in (part for part in PARTS if part in plan.parts or part in parts):
        told = plan.parts.get(part)
        note = REUSED if reused and part not in parts else NOT_PREDICTED if told is None else ""
        predicted = None if told is None else told * factor
        rows.append(ReceiptLine(what=part, unit="seconds", predicted=predicted, measured=parts.get(part), note=note))
    left_out = plan.parts.get("report", 0.0) * factor
    total = ReceiptLine(
        what="time", unit="seconds", predicted=plan.seconds - left_out, low=max(0.0, plan.low - left_out),
        high=plan.high - left_out, measured=sum(parts.values()) if parts else None, note=REUSED if reused else "",
    )  # fmt: skip
    return [total, *rows]


def _energy(plan: Plan, parts: Mapping[str, float], joules: float | None) -> list[ReceiptLine]:
    hours = sum(parts.values()) / 3600
    told = plan.watt_hours
    measured = joules / 3600 if joules is not None else None
    note = "" if joules is not None else "this machine does not tell its energy"
    if measured is None and told is not None and plan.seconds:
        measured, note = told.value / plan.seconds * 3600 * hours, "power times time, at the watts of the recipe"
    lines = [_span("energy", "Wh", told, measured, note or ("" if told else "no hardware.watts before the run"))]
    if plan.cost is not None and plan.seconds:
        paid = plan.cost.value / plan.seconds * 3600 * hours
        lines.append(_span("cost", plan.currency, plan.cost, paid, "price times time"))
    return lines


def _used(before: float | None, now: float | None) -> float | None:
    """Joules between two readings; None where a counter is missing or began anew."""
    if before is None or now is None or now < before:
        return None
    return now - before


def _span(what: str, unit: str, span: Span | None, measured: float | None, note: str) -> ReceiptLine:
    if span is None:
        return ReceiptLine(what=what, unit=unit, predicted=None, measured=measured, note=note)
    return ReceiptLine(
        what=what, unit=unit, predicted=span.value, low=span.low, high=span.high, measured=measured, note=note
    )


def _keep(machine: Mapping[str, object], plan: Plan, receipt: Receipt) -> None:
    """Training is what no cache shortens: its time, and the memory of the whole, are what predictions learn from."""
    predicted = {"memory": float(plan.memory.total), "seconds": plan.parts.get("training", 0.0)}
    measured: dict[str, float] = {}
    memory, training = receipt.line("memory"), receipt.line("training")
    if memory is not None and memory.measured is not None:
        measured["memory"] = memory.measured
    if training is not None and training.measured is not None:
        measured["seconds"] = training.measured
    try:
        note_ratios(machine, predicted, measured)
    except RunFolderError:  # a damaged history is no reason to fail a finished run
        return
