"""Weight files of a model folder: which they are, and their fingerprint."""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metier.errors import ModelError, RunFolderError
from metier.store.cache import cache_folder
from metier.store.files import read_json, write_json
from metier.store.fingerprint import text_sha256

if TYPE_CHECKING:
    import torch
    from torch import Tensor

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_HEADER_LIMIT = 100_000_000  # the safetensors format's own limit
_PIECE = 1 << 24


@dataclass(frozen=True)
class _Place:
    """Where one tensor's bytes are."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files that hold the folder's weights, in the order of their names.

    Returns:
        One file, or the shards that the index names; empty when the folder has no safetensors weights.

    Raises:
        ModelError: The index is damaged, or a shard that it names is missing.
    """
    if (folder / WEIGHTS).is_file():
        return (folder / WEIGHTS,)
    index = folder / INDEX
    if not index.is_file():
        return ()
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(str(index), "is damaged: no readable index of weights", "", "Copy the model again.") from error
    # A name with a folder in it would reach outside of the model.
    missing = [name for name in names if Path(name).name != name or not (folder / name).is_file()]
    if missing:
        found = f"lacks {len(missing)} of {len(names)} weight files (first: {missing[0]})"
        raise ModelError(str(folder), found, "", "Copy or download the model again.")
    return tuple(folder / name for name in names)


def fingerprint_weights(folder: Path) -> str:
    """SHA-256 over every tensor's name, type, shape and bytes, in the order of their names.

    The same weights have the same fingerprint in one file or in many, whoever wrote them. It is kept in
    the cache under the files' paths, sizes and times, because reading gigabytes takes seconds.

    Raises:
        ModelError: There are no safetensors weights, or they are damaged.
    """
    files = weight_files(folder)
    if not files:
        raise ModelError(str(folder), "has no safetensors weights")
    stats = [(path, path.stat()) for path in files]
    marks: list[list[str | int]] = [[str(path.resolve()), stat.st_size, stat.st_mtime_ns] for path, stat in stats]
    place = cache_folder("models") / "fingerprints" / f"{text_sha256(str(files[0].resolve()))[:32]}.json"
    try:
        kept = read_json(place, format="fingerprint")
        if kept.get("files") == marks and isinstance(kept.get("sha256"), str):
            return str(kept["sha256"])
    except RunFolderError:
        pass  # not kept yet, or unreadable: computed again
    sha256 = hash_tensors(files)
    write_json(place, {"files": marks, "sha256": sha256}, format="fingerprint")
    return sha256


def hash_tensors(files: tuple[Path, ...]) -> str:
    """The fingerprint of `fingerprint_weights`, computed from the files now."""
    places: dict[str, _Place] = {}
    for path in files:
        places.update(_tensor_places(path))
    digest = hashlib.sha256()
    maps: dict[Path, mmap.mmap] = {}
    try:
        for name in sorted(places):
            at = places[name]
            digest.update(json.dumps([name, at.dtype, list(at.shape)]).encode("utf-8"))
            if at.end == at.start:
                continue
            if at.file not in maps:
                with at.file.open("rb") as file:
                    maps[at.file] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            for start in range(at.start, at.end, _PIECE):
                digest.update(maps[at.file][start : min(start + _PIECE, at.end)])
    finally:
        for each in maps.values():
            each.close()
    return digest.hexdigest()


def count_weight_bytes(folder: Path) -> int:
    """Bytes of all weight files of the folder."""
    return sum(path.stat().st_size for path in weight_files(folder))


TYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""Floating types of the safetensors format by torch's names."""


def read_cast(folder: Path, dtype: torch.dtype) -> dict[str, Tensor] | None:
    """All weights of a folder, each read and cast on its own.

    Loading through a mapping of the files holds, for a moment, what is in the files beside what it is cast to:
    a model of float32 files that runs in bfloat16 then takes three times its size.

    Args:
        folder: The model.
        dtype: What floating weights become.

    Returns:
        Tensors on the CPU by name; None where nothing would be cast, or a tensor has a type that is not known.
    """
    import numpy as np
    import torch

    places = _cast_places(folder, dtype)
    if places is None:
        return None
    found = {}
    for name, at in places.items():
        raw = torch.from_numpy(np.fromfile(at.file, dtype=np.uint8, count=at.end - at.start, offset=at.start))
        found[name] = raw.view(getattr(torch, TYPES[at.dtype])).reshape(at.shape).to(dtype)
    return found


def bytes_while_loading(folder: Path, dtype: torch.dtype) -> int:
    """Bytes that are in memory beside the weights while they are loaded in `dtype`: the files, or one weight."""
    places = _cast_places(folder, dtype)
    if places is None:
        return count_weight_bytes(folder)
    return max(at.end - at.start for at in places.values())


def weight_bytes(folder: Path, itemsize: float) -> int:
    """Bytes of all weights of a folder in memory, where each floating number takes `itemsize` bytes."""
    total = 0.0
    for path in weight_files(folder):
        for at in _tensor_places(path).values():
            numbers = math.prod(at.shape)
            total += numbers * itemsize if at.dtype in TYPES else at.end - at.start
    return round(total)


def _cast_places(folder: Path, dtype: torch.dtype) -> dict[str, _Place] | None:
    """Where the weights of a folder are, if all are floating and some would be cast to `dtype`."""
    places: dict[str, _Place] = {}
    for path in weight_files(folder):
        places.update(_tensor_places(path))
    types = {TYPES.get(at.dtype) for at in places.values()}
    return None if None in types or types <= {str(dtype).removeprefix("torch.")} else places


def _tensor_places(path: Path) -> dict[str, _Place]:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(_HEADER_LIMIT, size):
                raise ValueError("the header is longer than the file")
            header: dict[str, Any] = json.loads(file.read(length))
        header.pop("__metadata__", None)
        base = 8 + length
        places = {
            name: _Place(path, entry["dtype"], tuple(entry["shape"]), *(base + at for at in entry["data_offsets"]))
            for name, entry in header.items()
        }
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(path) from error
    if any(at.end > size or at.start > at.end for at in places.values()):
        raise damaged(path)
    return places


def damaged(path: Path) -> ModelError:
    """The error for a weight file that is cut off or damaged."""
    return ModelError(str(path), "is cut off or damaged", "whole safetensors weights", "Copy or download it again.")
