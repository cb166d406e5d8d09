"""Everything that a killed training needs to go on as if nothing had happened, in `checkpoint-N` folders."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from metier.errors import RunFolderError
from metier.model.adapt import whole
from metier.store.files import read_json, whole_folder, write_json
from metier.store.fingerprint import file_sha256, fingerprint
from metier.store.values import from_plain, to_plain
from metier.training.history import StepRow, ValidationRow

WEIGHTS, MOMENTS, STATE = "trainable.safetensors", "optimizer.safetensors", "trainer_state.json"
CODES = "qmap"
"""How 8-bit optimisers name the table that their codes stand for."""


@dataclass(frozen=True, kw_only=True)
class Progressed:
    """How far a training is: all of its state but tensors."""

    step: int = 0
    """Optimiser steps done."""
    best_step: int = 0
    best_score: tuple[float, ...] | None = None
    start_score: tuple[float, ...] | None = None
    """Score of a solved head before any step; None where training starts from nothing."""
    waited: int = 0
    """Validations since the best one."""
    steps: tuple[StepRow, ...] = ()
    validations: tuple[ValidationRow, ...] = ()
    seconds: float = 0.0
    tokens_computed: int = 0
    tokens_logical: int = 0
    gradient_checkpointing: bool | None = None
    """Whether activations are computed again in the backward pass; None until it was decided."""
    stopped: str = ""
    """Why training ended; empty while it goes on."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint read back and found whole."""

    progress: Progressed
    weights: Mapping[str, Tensor]
    moments: Mapping[str, Tensor]
    """The optimiser's state, for `restore_moments`."""


def save_checkpoint(
    folder: Path, progress: Progressed, weights: Mapping[str, Tensor], moments: Mapping[str, Tensor]
) -> Path:
    """Write `folder/checkpoint-<step>` whole; an older one of the same step is replaced."""
    path = folder / f"checkpoint-{progress.step}"
    plain = to_plain(progress)
    with whole_folder(path) as draft:
        for name, tensors in ((WEIGHTS, weights), (MOMENTS, moments)):
            save_file(dict(tensors), draft / name)  # from where they are: no copy in memory
        sums = {name: file_sha256(draft / name) for name in (WEIGHTS, MOMENTS)}
        write_json(draft / STATE, {**plain, "sha256": {**sums, STATE: fingerprint(plain)}}, format="trainer_state")
    return path


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        RunFolderError: a file is missing or damaged.
    """
    content, sums = _state(path)
    progress = from_plain(Progressed, content, where=str(path / STATE))
    return Checkpoint(progress, *(_read(path / name, sums.get(name)) for name in (WEIGHTS, MOMENTS)))


def load_weights(path: Path) -> Mapping[str, Tensor]:
    """What learned, as it was at a checkpoint.

    Raises:
        RunFolderError: a file is missing or damaged.
    """
    return _read(path / WEIGHTS, _state(path)[1].get(WEIGHTS))


def _state(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The content of a checkpoint's state file, and the checksums of the files beside it."""
    plain = read_json(path / STATE, format="trainer_state")
    sums = plain.pop("sha256", None)
    content = {name: value for name, value in plain.items() if name not in ("format", "version")}
    if not isinstance(sums, dict) or sums.get(STATE) != fingerprint(content):
        raise _damaged(path / STATE, "its content does not fit its checksum")
    return content, sums


def _read(path: Path, checksum: object) -> dict[str, Tensor]:
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != checksum:
            raise _damaged(path, "its content does not fit its checksum")
        return load(data)
    except (SafetensorError, OSError) as fault:
        raise _damaged(path, str(fault)) from fault


def _damaged(path: Path, why: str) -> RunFolderError:
    return RunFolderError(str(path), f"is damaged ({why})", "whole files", "Remove the checkpoint it belongs to.")


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoints in `folder`, oldest first."""
    found = [(int(match.group(1)), path) for path in folder.glob("checkpoint-*")
             if (match := re.fullmatch(r"checkpoint-(\d+)", path.name))]  # fmt: skip
    return [path for _, path in sorted(found)]


def prune_checkpoints(folder: Path, limit: int, best_step: int) -> None:
    """Keep the newest `limit` checkpoints, the best one among them, and at least the newest beside the best.

    A start (`checkpoint-0`) stays beside them: a solved head may turn out to be the best answer.
    """
    found = checkpoints(folder)
    best = folder / f"checkpoint-{best_step}"
    others = [path for path in found if path not in (best, folder / "checkpoint-0")]
    room = max(1, limit - (1 if best in found else 0))
    for path in others[:-room]:
        shutil.rmtree(path)


def moments_of(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """AdamW's state as tensors named by parameter number; a whole number becomes a tensor of one.

    Of moments that are spread over processes, all of them ask at once.
    """
    numbered = enumerate(parameter for group in optimizer.param_groups for parameter in group["params"])
    found: dict[str, Tensor] = {}
    for number, parameter in numbered:
        for name, value in optimizer.state.get(parameter, {}).items():
            # 8-bit optimisers share the table of their codes between parameters; a file of tensors shares nothing.
            shared = name.startswith(CODES)
            tensor = whole(value.detach()).cpu() if isinstance(value, Tensor) else torch.tensor(value)
            found[f"{number}.{name}"] = tensor.clone() if shared else tensor.contiguous()
    return found or {"empty": torch.zeros(1)}


def restore_moments(optimizer: torch.optim.Optimizer, moments: Mapping[str, Tensor]) -> None:
    """Set AdamW's state to that of a checkpoint."""
    state = optimizer.state_dict()
    entries: dict[int, dict[str, Tensor | int]] = {}
    for key, value in moments.items():
        number, _, name = key.partition(".")
        if name:
            whole_number = value.ndim == 0 and value.dtype == torch.int64
            entries.setdefault(int(number), {})[name] = int(value) if whole_number else value
    state["state"] = entries
    optimizer.load_state_dict(state)
