"""The door to leaving the house: a run's model as a folder that other tools load, with its proof in it."""

from __future__ import annotations

import dataclasses
import gc
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metier import __version__
from metier.device import Hardware, choose_hardware
from metier.engine.forward import TreeRunner
from metier.errors import ArgumentError, MetierError, ModelError, RecipeError, RunFolderError
from metier.evaluation.files import read_comparison
from metier.events import Notice, Observer, StageFinished, StageStarted, Table, tell
from metier.model.saved import ABOUT, SUMMARY, load_model
from metier.recipe.load import load_recipe
from metier.recipe.sections import HardwareSection
from metier.serving.export_files import FORMS, Wanted, Written, refuse_form
from metier.serving.export_gguf import OUTTYPES, ensure_converter
from metier.serving.export_readme import readme
from metier.serving.harness_export import FORM as ITEMS
from metier.serving.harness_export import HarnessExport, export_items
from metier.serving.parity import Parity, compare_answers, receive
from metier.serving.probes import choose_probes, own_answers
from metier.serving.specialist import rules_beside
from metier.store.files import read_json, whole_folder, write_json, write_text
from metier.store.run_folder import RunFolder, find_run
from metier.store.values import to_plain

__all__ = ["ITEMS", "Export", "HarnessExport", "Parity", "export_items", "export_run", "parity_rows"]

PARITY, PROVENANCE, README = "parity.json", "provenance.json", "README.md"


@dataclass(frozen=True, kw_only=True)
class Export:
    """An export that is proven."""

    path: Path
    form: str
    """`adapter`, `merged` or `gguf`."""
    outtype: str | None
    """How weights are stored; None for an adapter."""
    bytes: int
    files: tuple[str, ...]
    parity: Parity
    notices: tuple[str, ...]
    """What a person must know before using it."""


def export_run(
    path: Path,
    out: Path | None = None,
    *,
    form: str = "merged",
    outtype: str | None = None,
    with_base: bool = False,
    observers: Sequence[Observer] = (),
) -> Export:
    """Export the promoted model of a run, and prove the export in a fresh process without metier.

    Args:
        path: A run folder, `runs/latest`, or the model's folder alone.
        out: A new folder. None: beside the run, named after it and the form.
        form: `adapter`, `merged` or `gguf`.
        outtype: How weights are stored. None: as the base model's are; f16 for `gguf`.
        with_base: Whether an adapter gets its base model beside it.
        observers: Told how far it is, and what a person must know.

    Raises:
        ArgumentError: The arguments do not fit, or the folder exists.
        ModelError: This model cannot be exported in that form.
        LackingEnvironment: The GGUF converter is needed and cannot be fetched.
        MetierError: The export answers differently from the model; nothing is left of it.
    """
    _check_arguments(form, outtype, with_base)
    folder, run = _find(path)
    refuse_form(form, read_json(folder / ABOUT, format="saved_model"))
    target = out if out is not None else _default_place(folder, run, form, outtype)
    if target.exists():
        found = "exists already, and metier never overwrites an export"
        raise ArgumentError(str(target), found, "", "Choose another folder.")
    if form == "gguf":
        ensure_converter(observers)  # before anything that takes long
    started = time.monotonic()
    tell(observers, StageStarted(stage="export", detail=f"{form} of {path}"))
    hardware = _hardware(run)
    with whole_folder(target) as draft:
        written, parity = _make(folder, run, draft, _Order(form, outtype, with_base, hardware, observers))
    tell(observers, StageFinished(stage="export", seconds=time.monotonic() - started))
    files = sorted(each for each in target.rglob("*") if each.is_file())
    return Export(
        path=target, form=form, outtype=written.outtype, bytes=sum(each.stat().st_size for each in files),
        files=tuple(each.relative_to(target).as_posix() for each in files), parity=parity, notices=written.notices,
    )  # fmt: skip


def parity_rows(parity: Parity) -> list[tuple[str, str, str, str]]:
    """What was compared, found and wanted, and whether it holds: the rows of the table."""
    return [(each.what, each.found, each.wanted, "yes" if each.passed else "NO") for each in parity.checks]


PARITY_COLUMNS = ("Compared", "Found", "Wanted", "Holds")


@dataclass(frozen=True, eq=False)
class _Order:
    """What was asked for, and on what it is made."""

    form: str
    outtype: str | None
    with_base: bool
    hardware: Hardware
    observers: Sequence[Observer]


def _make(folder: Path, run: RunFolder | None, draft: Path, order: _Order) -> tuple[Written, Parity]:
    """Ask the model, write the export, ask that, compare; raises where they differ."""
    saved = load_model(folder, order.hardware, order.observers, dequantized=True)
    runner = TreeRunner(saved.model.network, observers=order.observers)
    probes, from_validation = choose_probes(saved, run, runner)
    if not probes:
        raise ModelError(str(folder), "cannot be asked a single one of its validation prompts", "one at least")
    ours = own_answers(saved, probes, runner)
    about = _about(folder, run)
    wanted = Wanted(
        saved=saved, folder=folder, outtype=order.outtype, with_base=order.with_base, about=about, probes=probes,
        observers=order.observers,
    )  # fmt: skip
    written = FORMS[order.form](wanted, draft)
    written = dataclasses.replace(written, notices=(*written.notices, *_quantized(folder), *_hidden(folder)))
    # The receiver gets the memory that the model had here; its tokenizer and facts stay.
    saved.model.base.network.to("meta")  # type: ignore[arg-type]
    gc.collect()
    tell(order.observers, StageStarted(stage="proof", detail=f"{len(probes)} prompts in a process without metier"))
    found = receive(draft, saved, probes, written.loading, order.hardware)
    parity = compare_answers(saved, probes, ours, found, written.loading)
    parity = dataclasses.replace(
        parity, from_validation=from_validation, checks=(*parity.checks, *written.checks)
    )  # fmt: skip
    if not parity.passed:
        tell(order.observers, Table(title="The export differs:", columns=PARITY_COLUMNS, rows=parity_rows(parity)))
        raise _differs(parity)
    for message in written.notices:
        tell(order.observers, Notice(topic="export", message=message))
    write_json(draft / PARITY, {**to_plain(parity), "passed": parity.passed}, format="parity")
    write_json(draft / PROVENANCE, about, format="provenance")
    write_text(draft / README, readme(order.form, wanted, written, parity))
    return written, parity


def _quantized(folder: Path) -> tuple[str, ...]:
    """What a person must know of an export whose base was quantised while it learned."""
    name = read_json(folder / ABOUT, format="saved_model")["base"].get("quantization")
    said = {
        "nf4": "the base was held in nf4: the export holds the numbers that those 4 bits stand for, which is what was "
        "trained and measured, and not the base's own weights",
        "int8": "the base was held in int8: the export holds the numbers that those 8 bits stand for; the measured "
        "model also rounded what goes into each product to 8 bits, which the export and its proof do not",
    }  # fmt: skip
    return (said[name],) if name is not None else ()


def _hidden(folder: Path) -> tuple[str, ...]:
    """What a person must know of an export whose inputs had no personal data: the export hides none."""
    rules = rules_beside(folder)
    return () if rules is None or rules.protection is None else (rules.protection.sentence,)


def _differs(parity: Parity) -> MetierError:
    failed = [check for check in parity.checks if not check.passed]
    said = "; ".join(f"{check.what}: {check.found}, wanted {check.wanted}" for check in failed)
    fix = "The export was removed: it would not answer as the model that was measured. Please report it."
    return MetierError("export", f"answers differently from the model that was trained ({said})", "", fix)


def _check_arguments(form: str, outtype: str | None, with_base: bool) -> None:
    if form not in FORMS:
        raise ArgumentError("--as", repr(form), " or ".join((*FORMS, ITEMS)))
    if with_base and form != "adapter":
        raise ArgumentError("--with-base", f"is for an adapter; {form} holds all weights", "", "Leave it out.")
    if outtype is None:
        return
    known = {"adapter": (), "merged": ("f32", "f16", "bf16"), "gguf": tuple(OUTTYPES)}[form]
    if outtype not in known:
        wanted = " or ".join(known) if known else "none: an adapter's numbers stay as they were trained"
        raise ArgumentError("--outtype", repr(outtype), wanted)


def _find(path: Path) -> tuple[Path, RunFolder | None]:
    """The model's folder, and its run where there is one."""
    if (path / ABOUT).is_file():
        parents = path.absolute().parents
        run = next((RunFolder(each) for each in parents[:3] if RunFolder(each).state.is_file()), None)
        return path, run
    run = find_run(path)
    if not (run.model / ABOUT).is_file():
        raise ModelError(
            str(path), "has no promoted model yet", "a run that reached its test set", "Run its recipe with --resume."
        )
    return run.model, run


def _default_place(folder: Path, run: RunFolder | None, form: str, outtype: str | None) -> Path:
    home = run.path if run is not None else folder
    kind = f"{form}-{outtype}" if outtype else form
    return home.parent / f"{home.name}-{kind}"


def _hardware(run: RunFolder | None) -> Hardware:
    """The run's device, but float32: a proof should not measure the noise of a smaller type."""
    section = HardwareSection()
    if run is not None:
        try:
            section = load_recipe(run.recipe).hardware
        except (RunFolderError, RecipeError):  # a run folder that was thinned out
            section = HardwareSection()
    return dataclasses.replace(choose_hardware(section), dtype="float32", reason="an export is proven in float32")


def _about(folder: Path, run: RunFolder | None) -> Mapping[str, Any]:
    """Where the model comes from: base, data, verdict, licence."""
    about, summary = read_json(folder / ABOUT, format="saved_model"), read_json(folder / SUMMARY, format="model")
    name, source = str(about["base"]["name"]), summary["source"]
    base = {
        # Of a path only the last part is anybody else's business.
        "name": Path(name).name if source in ("folder", "gguf") else name,
        "revision": about["base"]["revision"], "source": source, "sha256": about["base_sha256"],
        "licence": summary["licence"], "notes": list(summary["notes"]),
    }  # fmt: skip
    lock = read_json(run.lock, format="lock") if run is not None and run.lock.is_file() else {}
    return {
        "name": run.path.name if run is not None else folder.name, "metier": __version__, "task":
        about.get("task", "classification"), "method": about["adaptation"]["method"], "base": base,
        "examples": about["examples"], "recipe_hash": lock.get("recipe_hash"),
        "data_fingerprint": (lock.get("data") or {}).get("fingerprint"), "verdict": _verdict(run),
        "model_files": about.get("files", {}),
    }  # fmt: skip


def _verdict(run: RunFolder | None) -> str | None:
    if run is None or not run.comparison("test").is_file():
        return None
    return read_comparison(run.comparison("test").parent).sentence
