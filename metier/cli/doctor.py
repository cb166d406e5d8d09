"""`metier doctor`: what this machine can do, what is missing, how to install it. Opens no connection."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metier.cli.output import show, write_json_object
from metier.cli.run import AsJson

if TYPE_CHECKING:
    from packaging.requirements import Requirement

OLDEST_PYTHON = (3, 11)
DISK_WANTED = 5_000_000_000
MEMORY_WANTED = 4_000_000_000
LACKING = 5


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing about this machine: its state (`ok`, `note`, `missing`), and what to do where it is not ok."""

    what: str
    found: str
    state: str = "ok"
    fix: str = ""


def doctor(*, as_json: AsJson = False) -> int:
    """Show what this machine can do and what it lacks.

    Says how to install what is missing, and then ends with exit code 5. Opens no connection.
    """
    from metier.cli.tables import aligned
    from metier.errors import DONE
    from metier.store.values import to_plain

    findings = [*_system(), *_packages(), *_hardware(), *_places(), *_models()]
    missing = [finding for finding in findings if finding.state == "missing"]
    if as_json:
        write_json_object("doctor", {"exit_code": LACKING if missing else DONE, "findings": to_plain(findings)})
    else:
        rows = [(finding.state, finding.what, finding.found) for finding in findings]
        show(aligned(("", "What", "Found"), rows))
        for finding in findings:
            if finding.fix:
                show(f"\n{finding.what}: {finding.fix}")
        show(f"\n{len(missing)} things are missing." if missing else "\nEverything that metier needs is here.")
    return LACKING if missing else DONE


def _system() -> Iterator[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    old = sys.version_info[:2] < OLDEST_PYTHON
    yield Finding(
        what="Python", found=version, state="missing" if old else "ok",
        fix="Install Python 3.11 or later." if old else "",
    )  # fmt: skip


def _packages() -> Iterator[Finding]:
    """Every package that metier declares, as installed; a checkout that is not installed declares none."""
    from packaging.requirements import Requirement

    try:
        declared = importlib.metadata.requires("metier") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding(what="metier", found="not installed", state="note", fix="Install it: pip install -e .")
        return
    for line in declared:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            yield from _extra(requirement)
            continue
        fix = f'pip install "{requirement.name}{requirement.specifier}"'
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(what=requirement.name, found="not installed", state="missing", fix=fix)
            continue
        if requirement.specifier.contains(version, prereleases=True):
            yield Finding(what=requirement.name, found=version)
        else:
            found = f"{version}, wanted {requirement.specifier}"
            yield Finding(what=requirement.name, found=found, state="missing", fix=fix)


EXTRAS = {"quantization": "4-bit and 8-bit base models, 8-bit optimisers"}
"""Extras that a user may want -> what for."""


def _extra(requirement: Requirement) -> Iterator[Finding]:
    """A package of an extra: there, or how to get it. None of them has to be there."""
    for extra, purpose in EXTRAS.items():
        assert requirement.marker is not None
        if requirement.name == "metier" or not requirement.marker.evaluate({"extra": extra}):
            continue
        try:
            found = f"{importlib.metadata.version(requirement.name)} ({purpose})"
            yield Finding(what=f"{requirement.name} (extra)", found=found)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(
                what=f"{requirement.name} (extra)", state="note", found=f"not installed; {purpose}",
                fix=f'pip install "metier[{extra}]"',
            )  # fmt: skip


def _hardware() -> Iterator[Finding]:
    from metier.device import available_memory_bytes, choose_hardware, describe_machine
    from metier.recipe.sections import HardwareSection
    from metier.report import formats

    machine = describe_machine()
    yield Finding(what="Processor", found=f"{machine['cpu']}, {formats.counted(machine['cores'], 'core')}")
    available = available_memory_bytes()
    little = available < MEMORY_WANTED
    yield Finding(
        what="Memory", state="note" if little else "ok",
        found=f"{_gigabytes(machine['memory_bytes'])}, {_gigabytes(available)} free",
        fix="The demo needs about 4 GB." if little else "",
    )  # fmt: skip
    try:
        import torch
    except ImportError as error:
        yield Finding(what="torch", found=f"cannot be loaded ({error.name or 'broken'})", state="missing",
                      fix="pip install --force-reinstall torch")  # fmt: skip
        return
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    chosen = choose_hardware(HardwareSection())
    yield Finding(what="torch build", found=f"{torch.__version__} ({build})")
    device = torch.cuda.get_device_name() if chosen.device == "cuda" else chosen.device
    yield Finding(what="Device", found=f"{device}, {chosen.dtype} ({chosen.reason})")


def _places() -> Iterator[Finding]:
    from metier.report import formats
    from metier.store.cache import cache_root, state_root, usage

    used = sum(kind.bytes for kind in usage().values())
    free = shutil.disk_usage(cache_root()).free
    little = free < DISK_WANTED
    yield Finding(what="Cache", found=str(cache_root()))
    yield Finding(what="Cache size", found=formats.megabytes(used))
    fix = "Little room is left; METIER_CACHE moves the cache." if little else ""
    yield Finding(what="Disk", found=f"{_gigabytes(free)} free", state="note" if little else "ok", fix=fix)
    yield Finding(what="State", found=str(state_root()))


def _models() -> Iterator[Finding]:
    from metier.model.origin import read_origin
    from metier.model.packaged import PACKAGED, packaged_folder
    from metier.report import formats

    for name, packaged in PACKAGED.items():
        there = read_origin(packaged_folder(name)) is not None
        found = (
            "in the cache"
            if there
            else f"not in the cache yet; the first use fetches {formats.megabytes(packaged.wheel.bytes)}"
        )
        yield Finding(what=f"model {name}", found=found, state="ok" if there else "note")


def _gigabytes(value: int) -> str:
    return f"{value / 1e9:,.1f} GB"
