"""Everything that a killed training needs to go on as if nothing had happened, in `checkpoint-N` folders."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from metier.errors import RunFolderError
from metier.store.files import read_json, whole_folder, write_bytes, write_json
from metier.store.values import from_plain, to_plain
from metier.training.history import StepRow, ValidationRow

WEIGHTS, MOMENTS, STATE = "trainable.safetensors", "optimizer.safetensors", "trainer_state.json"


@dataclass(frozen=True, kw_only=True)
class Progressed:
    """How far a training is: all of its state but tensors."""

    step: int = 0
    """Optimiser steps done."""
    best_step: int = 0
    best_score: tuple[float, ...] | None = None
    waited: int = 0
    """Validations since the best one."""
    steps: tuple[StepRow, ...] = ()
    validations: tuple[ValidationRow, ...] = ()
    seconds: float = 0.0
    tokens_computed: int = 0
    tokens_logical: int = 0
    stopped: str = ""
    """Why training ended; empty while it goes on."""


def save_checkpoint(
    folder: Path, progress: Progressed, weights: Mapping[str, Tensor], optimizer: torch.optim.Optimizer
) -> Path:
    """Write `folder/checkpoint-<step>` whole; one of the same step is kept as it is."""
    path = folder / f"checkpoint-{progress.step}"
    if path.exists():
        shutil.rmtree(path)
    folder.mkdir(parents=True, exist_ok=True)
    with whole_folder(path) as draft:
        write_bytes(draft / WEIGHTS, save(dict(weights)))
        write_bytes(draft / MOMENTS, save(_moments(optimizer)))
        write_json(draft / STATE, to_plain(progress), format="trainer_state")
    return path


def load_checkpoint(path: Path, optimizer: torch.optim.Optimizer) -> tuple[Progressed, dict[str, Tensor]]:
    """Progress and weights of a checkpoint; the optimiser's state is set.

    Raises:
        RunFolderError: a file is missing or damaged.
    """
    try:
        weights, moments = load_file(path / WEIGHTS), load_file(path / MOMENTS)
    except (SafetensorError, OSError) as fault:
        raise RunFolderError(str(path), f"a damaged checkpoint ({fault})", "whole files", "Remove it.") from fault
    _restore_moments(optimizer, moments)
    return from_plain(Progressed, read_json(path / STATE, format="trainer_state")), weights


def load_weights(path: Path) -> dict[str, Tensor]:
    """What learned, as it was at a checkpoint.

    Raises:
        RunFolderError: the file is missing or damaged.
    """
    try:
        return load_file(path / WEIGHTS)
    except (SafetensorError, OSError) as fault:
        raise RunFolderError(str(path), f"a damaged checkpoint ({fault})", "whole files") from fault


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoints in `folder`, oldest first."""
    found = [(int(match.group(1)), path) for path in folder.glob("checkpoint-*")
             if (match := re.fullmatch(r"checkpoint-(\d+)", path.name))]  # fmt: skip
    return [path for _, path in sorted(found)]


def prune_checkpoints(folder: Path, limit: int, best_step: int) -> None:
    """Keep the newest `limit` checkpoints, the best one among them."""
    found = checkpoints(folder)
    best = folder / f"checkpoint-{best_step}"
    others = [path for path in found if path != best]
    room = max(1, limit - (1 if best in found else 0))
    for path in others[:-room]:
        shutil.rmtree(path)


def _moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """AdamW's state as tensors named by parameter number."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": value.detach().cpu().contiguous()
        for number, entry in state.items()
        for name, value in entry.items()
    } or {"empty": torch.zeros(1)}


def _restore_moments(optimizer: torch.optim.Optimizer, moments: Mapping[str, Tensor]) -> None:
    whole = optimizer.state_dict()
    entries: dict[int, dict[str, Tensor]] = {}
    for key, value in moments.items():
        number, _, name = key.partition(".")
        if name:
            entries.setdefault(int(number), {})[name] = value
    whole["state"] = entries
    optimizer.load_state_dict(whole)
