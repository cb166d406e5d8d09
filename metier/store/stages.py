"""Stages reused by key: what an unchanged stage left in an earlier run is taken instead of computed.

The key covers all that the stage read: recipe fields, fingerprints of its inputs, the stage's version.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from metier.store.cache import cache_folder
from metier.store.files import whole_folder

_LEFT_OUT = shutil.ignore_patterns("checkpoint-*", "*.tmp-*")


def keep_stage(key: str, folder: Path) -> None:
    """Remember what a stage left in `folder`, checkpoints left out; an entry of the same key stays."""
    target = cache_folder("stages") / key
    if target.exists():
        return
    with whole_folder(target) as draft:
        _copy(folder, draft)


def take_stage(key: str, folder: Path) -> bool:
    """Put what an earlier stage of the same key left into `folder`; False when there is none."""
    source = cache_folder("stages") / key
    if not source.is_dir():
        return False
    if folder.exists():
        shutil.rmtree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(folder) as draft:
        _copy(source, draft)
    return True


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder whole or not at all. Weights are linked where the disk allows it."""
    with whole_folder(target) as draft:
        _copy(source, draft)


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, dirs_exist_ok=True, ignore=_LEFT_OUT, copy_function=_link_or_copy)


def _link_or_copy(source: str, target: str) -> str:
    """Weights are big and never changed in place, so that two names may share one content."""
    if source.endswith(".safetensors"):
        try:
            os.link(source, target)
            return target
        except OSError:
            pass
    shutil.copy2(source, target)
    return target
