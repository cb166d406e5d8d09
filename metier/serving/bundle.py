"""The evidence of a run as one file that can be handed on: recipe, lock, card, report, items, and hashes of all.

Takes a run folder; gives a zip archive, the same bytes for the same run. The model and the data are not in it. Where
the recipe keeps texts out of the report, hashes stand for written answers. Loads no torch.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from metier import __version__
from metier.errors import ArgumentError, RunFolderError
from metier.evaluation.files import ABLATION, COMPARISON, RESULTS, read_evaluations, write_evaluation
from metier.evaluation.hidden import with_hashes
from metier.evaluation.looks import LOOKS
from metier.store.files import SpeakingErrors, write_bytes
from metier.store.fingerprint import text_sha256
from metier.store.run_folder import RunFolder, find_run, read_state

MANIFEST, FORMAT = "manifest.json", "metier.evidence"
PLAIN = (
    "recipe.yaml", "lock.json", "run.json", "plan.json", "README.md", "report/index.html",
    "report/about.json", "data/card.json",
    "data/privacy.json", "model/summary.json", "model/chosen.json", "evaluation/overfitting.json",
    "attempts/*/recipe.yaml", "attempts/*/lock.json", "attempts/*/model/summary.json",
    "attempts/*/training/history.json", "attempts/*/training/history.jsonl",
)  # fmt: skip
"""Files as they are; none holds a text of a record where the recipe keeps those out of the report."""
CARD_RESULTS, CARD_RESULTS_INSIDE = ".eval_results", "eval_results"
"""Folder of the hub's results, and its name in the archive: hidden files of an archive are easily overlooked."""
SETS = ("evaluation/*", "attempts/*/evaluation/*")
OF_A_SET = frozenset({RESULTS, COMPARISON, ABLATION, "opening.json", *(f"{name}.json" for name in LOOKS.values())})
"""What an evaluation folder holds beside the items; files of other names are named in the manifest and left out."""
_FIRST_DAY = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o100644 << 16


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """Evidence that was written."""

    path: Path
    sha256: str
    """Of the archive."""
    bytes: int
    files: tuple[str, ...]
    hashed: bool
    """Whether hashes stand for written answers."""
    left_out: tuple[str, ...]
    """Files of evaluation folders that were not taken."""


def export_evidence(run: Path, out: Path) -> Bundle:
    """Write the evidence of a finished run.

    Args:
        run: A run folder, or `runs/latest`.
        out: The archive; its name ends in `.zip`, and it is not there yet.

    Raises:
        ArgumentError: The name does not end in `.zip`, or the file exists.
        RunFolderError: There is no run, or it has not come to its report.
    """
    folder = find_run(run)
    if out.suffix.lower() != ".zip":
        raise ArgumentError("--evidence", f"is {out.name}", "a name that ends in .zip")
    if out.exists():
        found = "exists already, and metier never overwrites evidence"
        raise ArgumentError(str(out), found, "", "Choose another name.")
    if not read_state(folder).complete or not folder.readme.is_file():
        fix = "Continue it: metier run RECIPE --resume."
        raise RunFolderError(str(run), "has no evidence yet", "a run that reached its report", fix)
    hide = _hides_texts(folder)
    with tempfile.TemporaryDirectory(prefix="metier-evidence-") as place:
        files = dict(_plain(folder)) | dict(_sets(folder, Path(place) if hide else None))
        left_out = sorted(_others(folder))
        hashed = hide or _is_hashed(folder)
        manifest = {
            "format": FORMAT, "version": 1, "name": folder.path.name, "metier": __version__,
            "recipe_hash": read_state(folder).recipe_hash, "hashed": hashed, "left_out": left_out,
            "files": {name: {"sha256": _sha256(data), "bytes": len(data)} for name, data in sorted(files.items())},
        }  # fmt: skip
    packed = _packed({**files, MANIFEST: (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode("utf-8")})
    write_bytes(out, packed)
    return Bundle(
        path=out, sha256=_sha256(packed), bytes=len(packed), files=(MANIFEST, *sorted(files)), hashed=hashed,
        left_out=tuple(left_out),
    )  # fmt: skip


def _hides_texts(folder: RunFolder) -> bool:
    """Whether the recipe keeps texts of records out of the report, and so out of here."""
    recipe: Any = yaml.safe_load(folder.recipe.read_text(encoding="utf-8"))
    return (recipe.get("report") or {}).get("examples", True) is not True


def _plain(folder: RunFolder) -> Iterator[tuple[str, bytes]]:
    for pattern in PLAIN:
        for path in sorted(folder.path.glob(pattern)):
            yield path.relative_to(folder.path).as_posix(), _read(path)
    for path in sorted((folder.path / CARD_RESULTS).glob("*.yaml")):
        yield f"{CARD_RESULTS_INSIDE}/{path.name}", _read(path)


def _sets(folder: RunFolder, draft: Path | None) -> Iterator[tuple[str, bytes]]:
    """Numbers and items of every set.

    Args:
        folder: The run.
        draft: Where sets are written again with hashes for texts. None: they are taken as they are.
    """
    for place in _set_folders(folder):
        name = place.relative_to(folder.path).as_posix()
        source = place
        if draft is not None:
            source = draft / name
            for evaluation in read_evaluations(place):
                write_evaluation(with_hashes(evaluation, _mark), source)
        for path in sorted(place.iterdir()):
            if path.name in OF_A_SET or _holds_items(path):
                again = source / path.name
                yield f"{name}/{path.name}", _read(again if again.exists() else path)


def _others(folder: RunFolder) -> Iterator[str]:
    for place in _set_folders(folder):
        for path in sorted(place.rglob("*")):
            if path.is_file() and not (path.parent == place and (path.name in OF_A_SET or _holds_items(path))):
                yield path.relative_to(folder.path).as_posix()


def _set_folders(folder: RunFolder) -> list[Path]:
    found = [place for pattern in SETS for place in folder.path.glob(pattern)]
    return sorted(place for place in found if (place / RESULTS).is_file())


def _holds_items(path: Path) -> bool:
    return path.name.startswith("items-") and path.suffix == ".jsonl"


def _is_hashed(folder: RunFolder) -> bool:
    return any(
        evaluation.hashed for place in _set_folders(folder) for evaluation in read_evaluations(place, items=False)
    )


def _mark(text: str) -> str:
    return text_sha256(text)[:16]


def _packed(files: dict[str, bytes]) -> bytes:
    """An archive with the manifest first, whose bytes depend on nothing but its files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(files, key=lambda name: (name != MANIFEST, name)):
            info = zipfile.ZipInfo(name, date_time=_FIRST_DAY)
            info.external_attr, info.create_system, info.compress_type = _READABLE, 3, zipfile.ZIP_DEFLATED
            archive.writestr(info, files[name], compresslevel=9)
    return out.getvalue()


def _read(path: Path) -> bytes:
    with SpeakingErrors(path):
        return path.read_bytes()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
