"""A stage of a run: told when it begins and ends, written down when it is done, and not done again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from metier.data.privacy.strict_run import StrictRun
from metier.errors import RunFolderError
from metier.events import Observer, StageFinished, StageStarted, tell
from metier.store.run_folder import RunFolder, finish_stage, stage_key
from metier.store.stages import keep_stage, take_stage


def refuse_change(folder: RunFolder, stage: str, key: str, what: str) -> None:
    """A resumed run goes on with what it began with: checkpoints and answers of other data would be mixed in.

    Args:
        folder: The run's.
        stage: Its name.
        key: Of all that it reads now.
        what: What may have changed, for the message.

    Raises:
        RunFolderError: The stage was done under another key.
    """
    if stage_key(folder, stage) not in (None, key):
        fix = "Choose another --output; what did not change is taken from the cache."
        raise RunFolderError(str(folder.path), f"{what} changed since this run began", "", fix)


def hold_to(folder: RunFolder, stage: str, key: str, what: str) -> None:
    """Refuse to go on with something else than the run began with, and write down what that is; as `refuse_change`."""
    refuse_change(folder, stage, key, what)
    finish_stage(folder, stage, key)


def taken(folder: RunFolder, stage: str, key: str, place: Path, observers: Sequence[Observer]) -> bool:
    """Whether a stage was done under the same key: here, or in an earlier run, whose result is put in place."""
    if stage_key(folder, stage) == key:
        detail = "done before in this run"
    elif not place.exists() and take_stage(key, place):
        finish_stage(folder, stage, key)
        detail = "unchanged since an earlier run, taken from the cache"
    else:
        return False
    tell(observers, StageFinished(stage=stage, seconds=0.0, reused=True, detail=detail))
    return True


def keep(folder: RunFolder, stage: str, key: str, place: Path) -> None:
    """Write down that a stage is done, and keep what it left for later runs."""
    keep_stage(key, place)
    finish_stage(folder, stage, key)


@contextmanager
def told(stage: str, observers: Sequence[Observer], strict: StrictRun | None) -> Iterator[None]:
    """The work of a stage: its beginning and its end are told; of a strict run open connections are noted after it."""
    started = time.perf_counter()
    tell(observers, StageStarted(stage=stage))
    yield
    if strict is not None:
        strict.watch.look()
    tell(observers, StageFinished(stage=stage, seconds=time.perf_counter() - started))
