"""Evidence from somebody else: unpacked with suspicion, its hashes checked, every number computed again.

What is refused: names that lead out of the folder, encrypted or doubled files, bombs, and more than a run can leave.
Links are never made: what an archive calls a link is written as the few bytes that it is. Loads no torch.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metier.data.archive import members, open_member
from metier.errors import DataError, RunFolderError
from metier.evaluation.verify import Mismatch, verify_evaluations
from metier.serving.bundle import FORMAT, MANIFEST
from metier.store.run_folder import RunFolder

MOST_BYTES = 4 * 2**30
"""Bytes that evidence may hold unpacked: the items of ten systems on a million records."""
MOST_MANIFEST = 2**26
_PIECE = 2**20


@contextmanager
def unpacked_evidence(bundle: Path) -> Iterator[tuple[RunFolder, tuple[Mismatch, ...]]]:
    """The evidence as a folder that is there while the block runs, and what its manifest says otherwise.

    Args:
        bundle: An archive, as `metier export RUN --evidence` writes it.

    Raises:
        DataError: It is no evidence, is damaged, or holds what is refused.
    """
    names = members(bundle)
    if MANIFEST not in names:
        fix = "`metier export RUN --evidence FILE.zip` writes evidence."
        raise DataError(str(bundle), f"holds no {MANIFEST}", "evidence of a run", fix)
    listed = _manifest(bundle)
    with tempfile.TemporaryDirectory(prefix="metier-evidence-") as place:
        found = tuple(_unpack(bundle, names, listed, Path(place)))
        yield RunFolder(Path(place)), found


def verify_evidence(folder: RunFolder) -> tuple[Mismatch, ...]:
    """Every number of unpacked evidence, computed again from its items.

    Args:
        folder: See `unpacked_evidence`.
    """
    try:
        return verify_evaluations(folder.evaluation)
    except RunFolderError as fault:  # what was changed so that it cannot even be read is a difference too
        where = fault.where.replace(f"{folder.path}/", "")
        return (Mismatch(where=where, reported="a readable file", recomputed=fault.found),)


def _manifest(bundle: Path) -> Mapping[str, Mapping[str, Any]]:
    with bundle.open("rb") as file, open_member(file, MANIFEST, f"{bundle}: {MANIFEST}") as opened:
        data = opened.read(MOST_MANIFEST)
    try:
        content = json.loads(data)
        files = content["files"]
        known = content["format"] == FORMAT and content["version"] == 1 and isinstance(files, dict)
        whole = known and all(isinstance(about["sha256"], str) for about in files.values())
    except (ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise DataError(f"{bundle}: {MANIFEST}", "is no list of evidence", f"{FORMAT}, version 1", "Export it again.")
    return dict(files)


def _unpack(
    bundle: Path, names: tuple[str, ...], listed: Mapping[str, Mapping[str, Any]], place: Path
) -> Iterator[Mismatch]:
    """Write the files that the manifest lists, and tell those that are not as it says."""
    total = 0
    for name in sorted({*names, *listed} - {MANIFEST}):
        where = f"{MANIFEST}: {name}"
        if name not in listed:
            yield Mismatch(where=where, reported="not listed", recomputed="a file in the archive")
        elif name not in names:
            yield Mismatch(where=where, reported=str(listed[name]["sha256"]), recomputed="no file in the archive")
        else:
            size, sha256 = _write(bundle, name, place / name, MOST_BYTES - total)
            total += size
            if sha256 != listed[name]["sha256"]:
                yield Mismatch(where=where, reported=str(listed[name]["sha256"]), recomputed=sha256)


def _write(bundle: Path, name: str, target: Path, room: int) -> tuple[int, str]:
    """One file, piece by piece; its size and its hash."""
    digest, size = hashlib.sha256(), 0
    target.parent.mkdir(parents=True, exist_ok=True)
    with bundle.open("rb") as file, open_member(file, name, f"{bundle}: {name}") as opened, target.open("wb") as out:
        while piece := opened.read(_PIECE):
            size += len(piece)
            if size > room:
                fix = "Do not trust this archive."
                raise DataError(str(bundle), "is larger than evidence can be", f"at most {MOST_BYTES:,} bytes", fix)
            digest.update(piece)
            out.write(piece)
    return size, digest.hexdigest()
