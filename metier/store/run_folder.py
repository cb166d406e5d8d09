"""The run folder: every file name in it, and who may write there.

No other file but `data_folder.py` spells these names. `run.json` says whose the folder is, and which stages are
done under which key.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from metier.errors import RunFolderError
from metier.store.data_folder import PRIVATE, DataFolder, safe_name
from metier.store.files import read_json, remove_leftovers, write_json, write_text
from metier.store.locks import may_hold_a_run
from metier.store.values import from_plain

__all__ = [
    "PRIVATE", "AttemptFolder", "DataFolder", "EvaluationFolder", "RunFolder", "RunState", "claim_run_folder",
    "default_run_path", "find_run", "finish_run", "finish_stage", "point_latest", "read_state", "reopen_run",
    "stage_key",
]  # fmt: skip
_STATE, _LATEST = "run.json", "latest"


@dataclass(frozen=True)
class EvaluationFolder:
    """What the evaluation of one set leaves."""

    path: Path

    @property
    def results(self) -> Path:
        """Every system's metrics."""
        return self.path / "results.json"

    def items(self, system: str) -> Path:
        """One system's answers, one a line."""
        return self.path / f"items-{safe_name(system)}.jsonl"

    @property
    def comparison(self) -> Path:
        """The candidate against every baseline."""
        return self.path / "comparison.json"

    @property
    def opening(self) -> Path:
        """This run's own opening of the test set."""
        return self.path / "opening.json"


@dataclass(frozen=True)
class AttemptFolder:
    """What one training of one candidate leaves."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The candidate's resolved recipe."""
        return self.path / "recipe.yaml"

    @property
    def lock(self) -> Path:
        """Seeds, fingerprints and chosen paths of this attempt."""
        return self.path / "lock.json"

    @property
    def model(self) -> Path:
        """Folder of the trained model."""
        return self.path / "model"

    @property
    def summary(self) -> Path:
        """What learned and how big it is."""
        return self.model / "summary.json"

    @property
    def history(self) -> Path:
        """Training step by step."""
        return self.checkpoints / "history.jsonl"

    @property
    def history_summary(self) -> Path:
        """How training ended."""
        return self.checkpoints / "history.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of history and checkpoints."""
        return self.path / "training"

    @property
    def left_out(self) -> Path:
        """Training records from which this attempt could learn nothing, with the reason."""
        return self.checkpoints / "left_out.jsonl"

    @property
    def evaluation(self) -> Path:
        """Folder of this attempt's evaluations."""
        return self.path / "evaluation"

    def results(self, set: str) -> Path:
        """Metrics on `set`."""
        return EvaluationFolder(self.evaluation / safe_name(set)).results


@dataclass(frozen=True)
class RunFolder:
    """A run on disk."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.yaml"

    @property
    def lock(self) -> Path:
        """Seeds, versions, fingerprints, hardware, chosen paths."""
        return self.path / "lock.json"

    @property
    def events(self) -> Path:
        """What happened, when."""
        return self.path / "events.jsonl"

    @property
    def state(self) -> Path:
        """Whose folder it is and how far the run came."""
        return self.path / _STATE

    @property
    def plan(self) -> Path:
        """What was predicted of the run, and what it took."""
        return self.path / "plan.json"

    @property
    def readme(self) -> Path:
        """The model card."""
        return self.path / "README.md"

    @property
    def private(self) -> Path:
        """Texts of a run under `privacy: strict`, while it goes on."""
        return self.path / PRIVATE

    @property
    def private_data(self) -> Path:
        """The part of its prepared data that holds texts, in such a run."""
        return self.private / self.data.name

    @property
    def connections(self) -> Path:
        """Every attempt of such a run to reach another machine, one a line."""
        return self.path / "connections.jsonl"

    @property
    def data(self) -> Path:
        """Folder of the prepared data."""
        return self.path / "data"

    def split(self, name: str) -> Path:
        """The records of `train`, `validation` or `test`."""
        return DataFolder(self.data).split(name)

    @property
    def rejected(self) -> Path:
        """Rows that were not used, each with its reason."""
        return DataFolder(self.data).rejected

    @property
    def changed(self) -> Path:
        """Records that a repair changed."""
        return DataFolder(self.data).changed

    @property
    def privacy(self) -> Path:
        """What `privacy: strict` promised, and what came of it."""
        return DataFolder(self.data).privacy

    @property
    def data_card(self) -> Path:
        """What preparation found and did."""
        return DataFolder(self.data).card

    def attempt(self, number: int) -> AttemptFolder:
        """The attempt with this number, counted from 1."""
        return AttemptFolder(self.path / "attempts" / f"{number:03d}")

    @property
    def model(self) -> Path:
        """Folder of the promoted model."""
        return self.path / "model"

    @property
    def chosen(self) -> Path:
        """Why this attempt was promoted, and what was chosen with it."""
        return self.model / "chosen.json"

    @property
    def summary(self) -> Path:
        """What learned and how big it is."""
        return self.model / "summary.json"

    @property
    def prompt(self) -> Path:
        """How a record becomes a prompt."""
        return self.model / "prompt.json"

    @property
    def input(self) -> Path:
        """How a row becomes an input."""
        return self.model / "input.json"

    @property
    def evaluation(self) -> Path:
        """Folder of the evaluations."""
        return self.path / "evaluation"

    def evaluation_of(self, set: str) -> EvaluationFolder:
        """The evaluation of `set`."""
        return EvaluationFolder(self.evaluation / safe_name(set))

    def results(self, set: str) -> Path:
        """Every system's metrics on `set`."""
        return self.evaluation_of(set).results

    def items(self, set: str, system: str) -> Path:
        """Answers of `system` on `set`."""
        return self.evaluation_of(set).items(system)

    def comparison(self, set: str) -> Path:
        """The candidate against every baseline on `set`."""
        return self.evaluation_of(set).comparison

    @property
    def overfitting(self) -> Path:
        """The promoted system on train, validation and test."""
        return self.evaluation / "overfitting.json"

    @property
    def report(self) -> Path:
        """Folder of the report."""
        return self.path / "report"

    @property
    def report_page(self) -> Path:
        """The page to open."""
        return self.report / "index.html"

    @property
    def figures(self) -> Path:
        """Folder of the figures."""
        return self.report / "figures"


@dataclass(frozen=True, kw_only=True)
class RunState:
    """How far a run came: the content of `run.json`."""

    recipe_hash: str
    status: Literal["running", "complete"]
    started: str
    stages: Mapping[str, str] = field(default_factory=dict)
    """Finished stages and the key under which each was done."""
    resumed: bool = False
    """True when the run was interrupted and continued."""
    exit_code: int | None = None
    """How the complete run ended; None while it is incomplete."""
    finished: str | None = None

    @property
    def complete(self) -> bool:
        """Whether there is nothing left to do."""
        return self.status == "complete"


def claim_run_folder(path: Path, *, recipe_hash: str, recipe_text: str, resume: bool) -> RunState:
    """Create the run folder, or check that it holds this recipe's run.

    Args:
        path: Where the run goes.
        recipe_hash: Hash of the resolved recipe; what makes two runs the same.
        recipe_text: The resolved recipe, written beside it.
        resume: Whether an incomplete run is continued. Without an earlier run a new one begins.

    Returns:
        The run's state. When it is complete there is nothing to do.

    Raises:
        RunFolderError: It holds something else, another recipe's run, or one that was not to be resumed. A
            run that finished no stage is no obstacle.
    """
    folder = RunFolder(path)
    if path.exists() and not path.is_dir():
        raise RunFolderError(str(path), "is a file", "a folder", "Choose another --output.")
    if path.exists() and not may_hold_a_run(path, folder.state):
        raise RunFolderError(str(path), "is not empty and holds no run", "", "Choose another --output.")
    state = read_state(folder) if folder.state.exists() else None
    if state is None or not (state.stages or state.complete):
        # A run that failed on its first look at the data has nothing to lose: the corrected recipe takes over.
        state = RunState(recipe_hash=recipe_hash, status="running", started=_now())
        # The state goes first: a kill in between leaves a folder that still says whose it is.
        write_json(folder.state, state, format="run")
        write_text(folder.recipe, recipe_text)
        return state
    if state.recipe_hash != recipe_hash:
        found = f"holds a run of another recipe ({state.recipe_hash[:8]})"
        raise RunFolderError(str(path), found, recipe_hash[:8], "Choose another --output, or remove the folder.")
    if state.complete:
        return state
    if not resume:
        fix = "Add --resume to continue it, unless it is still running."
        raise RunFolderError(str(path), "holds an incomplete run of this recipe", "", fix)
    remove_leftovers(path)
    state = replace(state, resumed=True)
    write_json(folder.state, state, format="run")
    write_text(folder.recipe, recipe_text)
    return state


def finish_stage(folder: RunFolder, stage: str, key: str) -> None:
    """Record that `stage` is done under `key`: what it read, as one fingerprint."""
    state = read_state(folder)
    write_json(folder.state, replace(state, stages={**state.stages, stage: key}), format="run")


def stage_key(folder: RunFolder, stage: str) -> str | None:
    """The key under which `stage` was done; None when it was not."""
    return read_state(folder).stages.get(stage)


def finish_run(folder: RunFolder, exit_code: int) -> None:
    """Record that the run is complete and how it ended."""
    state = replace(read_state(folder), status="complete", exit_code=exit_code, finished=_now())
    write_json(folder.state, state, format="run")


def reopen_run(folder: RunFolder) -> None:
    """Record that a complete run goes on."""
    write_json(folder.state, replace(read_state(folder), status="running", exit_code=None, finished=None), format="run")


def point_latest(folder: RunFolder) -> Path | None:
    """Let `runs/latest` lead to `folder`.

    Returns:
        The link, or where links are refused a text file with the folder's name. None when the folder
        does not lie in a folder called `runs`, or when something else is called `latest` there.
    """
    path = folder.path.absolute()
    link = path.parent / _LATEST
    if path.parent.name != "runs" or (link.is_dir() and not link.is_symlink()):
        return None
    temporary = path.parent / f".{_LATEST}.tmp-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        temporary.symlink_to(path.name, target_is_directory=True)
        temporary.replace(link)
    except (OSError, NotImplementedError):
        temporary.unlink(missing_ok=True)
        write_text(link, path.name + "\n")
    return link


def default_run_path(name: str, recipe_hash: str) -> Path:
    """Where a run goes when the recipe does not say: `runs/<name>-<first 8 of the hash>`."""
    return Path("runs") / f"{name}-{recipe_hash[:8]}"


def find_run(path: Path) -> RunFolder:
    """The run at `path`, for reading: a run folder, or `runs/latest`.

    Raises:
        RunFolderError: There is no run.
    """
    fix = "Give the folder that `metier run` printed, or runs/latest."
    if path.name == _LATEST and path.is_file():
        path = path.parent / path.read_text(encoding="utf-8").strip()
    if not path.exists():
        raise RunFolderError(str(path), "does not exist", "a run folder", fix)
    folder = RunFolder(path.resolve() if path.is_symlink() else path)
    if not folder.state.is_file():
        raise RunFolderError(str(path), f"holds no {_STATE}", "a run folder", fix)
    return folder


def read_state(folder: RunFolder) -> RunState:
    """How far the run in `folder` came; `RunFolderError` when that cannot be read."""
    return from_plain(RunState, read_json(folder.state, format="run"), where=str(folder.state))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
