"""A model that was made under `privacy: strict` is used under it, too: it connects to no other machine."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from metier.data.privacy.by_recipe import used_as_made
from metier.model.saved import ABOUT
from metier.store.run_folder import RunFolder, find_run


def as_it_was_made(path: Path) -> AbstractContextManager[None]:
    """Around the use of a model.

    Args:
        path: A run folder, `runs/latest`, or the model's folder alone.

    Raises:
        RunFolderError: There is no run.
    """
    return used_as_made(run_of(path))


def run_of(path: Path) -> RunFolder | None:
    """The run that a model belongs to; None for one that comes without.

    Args:
        path: A run folder, `runs/latest`, or the model's folder.

    Raises:
        RunFolderError: There is no run.
    """
    if not (path / ABOUT).is_file():
        return find_run(path)
    return next((RunFolder(each) for each in path.absolute().parents[:3] if RunFolder(each).state.is_file()), None)
