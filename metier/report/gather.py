"""From a run folder to a `RunSummary`: reads what the other rooms left there.

Takes a `RunFolder`; gives values. Reads JSON and the recipe's YAML; which records are shown, and with
what, is for `picks.py` to say. Loads no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import yaml

from metier.data.card import DataCard
from metier.data.privacy.account import Account
from metier.data.record.summary import StepRecord
from metier.errors import RunFolderError
from metier.evaluation.evidence import ErrorReport, Robustness, SeedStatement, SliceReport, Trust
from metier.evaluation.files import read_ablation, read_comparison, read_evaluations, read_overfitting
from metier.evaluation.looks import read_look
from metier.evaluation.results import Comparison, Evaluation, FoldReport
from metier.evaluation.standings import JudgeReport
from metier.evaluation.swap_values import SwapReport
from metier.model.summary import ModelSummary
from metier.planning.receipt_values import Receipt
from metier.report.picks import Asked, pick
from metier.report.sentences import is_strict, section
from metier.report.summary import AttemptSummary, Looks, RunSummary
from metier.store.files import read_json, read_json_lines
from metier.store.run_folder import AttemptFolder, DataFolder, RunFolder, read_state
from metier.store.values import from_plain
from metier.training.history import History

T = TypeVar("T")
CARD, LOCK, CHOSEN, MODEL, HISTORY, PROMPT, PLAN = "card", "lock", "chosen", "model", "history", "prompt", "plan"
PRIVACY = "privacy"
"""The `format` of the files that are read here, as their writers name it."""
OUT_OF_FOLD = "out_of_fold"
"""The set of all rows, each answered by a model that was trained without it."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The part of `chosen.json` that a report needs: which attempt was promoted."""

    number: int
    name: str


def gather_summary(folder: RunFolder) -> RunSummary:
    """Read everything that a report shows.

    Args:
        folder: A run that reached its comparison on the test set, or on what the recipe says in its place.

    Raises:
        RunFolderError: A file is missing or damaged; the message names it.
    """
    state = read_state(folder)
    recipe = _read_recipe(folder.recipe)
    lock = _content(read_json(_present(folder.lock), format=LOCK))
    where = _evaluation_of_the_verdict(folder, recipe)
    comparison = read_comparison(where)
    test = _promoted_last(read_evaluations(where), comparison.candidate)
    seconds, stage_seconds = _times(folder.events)
    asked = Asked(
        task=str(recipe.get("task", "classification")), test=test, comparison=comparison,
        options=section(recipe, "report"), records=_records(folder, comparison.set),
        strict=is_strict(recipe),
    )  # fmt: skip
    shown = pick(asked)
    return RunSummary(
        name=str(recipe.get("name", folder.path.name)),
        run_id=state.recipe_hash,
        folder=folder.path.name,
        recipe=recipe,
        lock=lock,
        data=_read(DataCard, folder.data_card, CARD),
        attempts=_read_attempts(folder, recipe, comparison),
        test=test,
        comparison=comparison,
        overfitting=read_overfitting(folder.overfitting) if folder.overfitting.exists() else None,
        examples=shown.examples,
        seconds=seconds or _between(state.started, state.finished),
        stage_seconds=stage_seconds,
        peak_memory_bytes=_whole_number(lock.get("peak_memory_bytes")),
        promotion=str(read_json(_present(folder.chosen), format=CHOSEN).get("why", "")),
        written=shown.written,
        documents=shown.documents,
        prompt=_content(read_json(folder.prompt, format=PROMPT)) if folder.prompt.exists() else {},
        receipt=_receipt(folder.plan),
        steps=_steps(folder.data),
        ablation=read_ablation(folder.evaluation_of("ablation").path),
        swaps=_swaps(folder.evaluation),
        privacy=_privacy(folder.privacy),
        looks=_looks(where),
    )


def _evaluation_of_the_verdict(folder: RunFolder, recipe: Mapping[str, Any]) -> Path:
    """The evaluation folder of the set that the recipe wants judged."""
    asked = section(recipe, "evaluation")
    where = folder.evaluation_of(OUT_OF_FOLD if asked.get("folds") else str(asked.get("split", "test")))
    _present(where.comparison)
    return _present(where.results).parent


def _records(folder: RunFolder, set_name: str) -> tuple[Path, ...]:
    """The splits in which the answered records lie."""
    names = ("train", "validation", "test") if set_name == OUT_OF_FOLD else (set_name,)
    found = tuple(path for name in names if (path := folder.split(name)).exists())
    return found or (folder.split(names[-1]),)


def _looks(where: Path) -> Looks:
    """What was found when one looked closer."""
    return Looks(
        trust=read_look(Trust, where), slices=read_look(SliceReport, where), robustness=read_look(Robustness, where),
        errors=read_look(ErrorReport, where), seeds=read_look(SeedStatement, where),
        folds=read_look(FoldReport, where), judge=read_look(JudgeReport, where), swaps=read_look(SwapReport, where),
    )  # fmt: skip


def _steps(folder: Path) -> tuple[StepRecord, ...]:
    """What the cleaning steps found; nothing in a run from before there were any."""
    path = DataFolder(folder).findings
    if not path.exists():
        return ()
    steps = read_json(path, format="findings").get("steps", [])
    return tuple(from_plain(StepRecord, step, where=str(path)) for step in steps)


def _swaps(evaluation: Path) -> tuple[Evaluation, ...]:
    """The sets of swapped test records, by name."""
    folders = sorted(path.parent for path in evaluation.glob("copies-*/results.json"))
    return tuple(read_evaluations(folder, items=False)[0] for folder in folders)


def _receipt(path: Path) -> Receipt | None:
    if not path.exists():
        return None
    found = read_json(path, format=PLAN).get("receipt")
    return None if found is None else from_plain(Receipt, found, where=str(path))


def _privacy(path: Path) -> Account | None:
    """What `privacy: strict` came to; None before it was counted, and where it was not asked for."""
    return _read(Account, path, PRIVACY) if path.exists() else None


def _present(path: Path) -> Path:
    if not path.exists():
        raise RunFolderError(
            str(path), "is missing", "a run that reached its comparison", "Continue it: metier run RECIPE --resume."
        )
    return path


def _read(cls: type[T], path: Path, format: str) -> T:
    return from_plain(cls, read_json(_present(path), format=format), where=str(path))


def _content(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: part for key, part in value.items() if key not in ("format", "version")}


def _read_recipe(path: Path) -> Mapping[str, Any]:
    try:
        recipe = yaml.safe_load(_present(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RunFolderError(str(path), "is damaged: no readable YAML", "", "Run the recipe again.") from error
    if not isinstance(recipe, dict):
        raise RunFolderError(str(path), "holds no recipe", "a mapping", "Run the recipe again.")
    return recipe


def _promoted_last(systems: Sequence[Evaluation], candidate: str) -> tuple[Evaluation, ...]:
    return tuple(sorted(systems, key=lambda system: system.system == candidate))


def _read_attempts(folder: RunFolder, recipe: Mapping[str, Any], comparison: Comparison) -> tuple[AttemptSummary, ...]:
    chosen = _read(Chosen, folder.chosen, CHOSEN)
    names = dict(enumerate(section(recipe, "candidates") or {"tuned": None}, 1))
    names[chosen.number] = chosen.name
    attempts = []
    for number in _attempt_numbers(folder):
        attempt = folder.attempt(number)
        name = names.get(number, f"attempt {number}")
        promoted = number == chosen.number
        # An attempt that was given up has no model; the promoted one must have everything.
        if not promoted and not attempt.summary.exists():
            continue
        attempts.append(
            AttemptSummary(
                name=name,
                number=number,
                model=_read(ModelSummary, attempt.summary, MODEL),
                history=_read(History, attempt.history_summary, HISTORY),
                validation=_own_evaluation(attempt, (comparison.candidate, name)),
                promoted=promoted,
            )
        )
    if not any(attempt.promoted for attempt in attempts):
        _present(folder.attempt(chosen.number).path)
    return tuple(attempts)


def _attempt_numbers(folder: RunFolder) -> list[int]:
    parent = folder.attempt(1).path.parent
    if not parent.is_dir():
        return []
    return sorted(int(entry.name) for entry in parent.iterdir() if entry.name.isdigit())


def _own_evaluation(attempt: AttemptFolder, names: Iterable[str]) -> Evaluation:
    """What this attempt did on validation, where several systems may stand in one file."""
    path = _present(attempt.results("validation"))
    found = {evaluation.system: evaluation for evaluation in read_evaluations(path.parent, items=False)}
    for name in names:
        if name in found:
            return found[name]
    if not found:
        raise RunFolderError(str(path), "holds no system", "the attempt's own results", "Run the recipe again.")
    return list(found.values())[-1]


def _times(events: Path) -> tuple[float, dict[str, float]]:
    """Seconds of work in all, and by stage, from the event log.

    Stages lie inside each other and a run may rest before it is resumed: the total is the time that is
    covered by at least one stage. The report's own time is left out: the page is written before it is known, and
    a page that is written again must be the same.
    """
    if not events.exists():
        return 0.0, {}
    stages: dict[str, float] = {}
    spans = []
    for row in read_json_lines(events):
        if row.get("kind") == "stage_finished" and row["stage"] != "report":
            seconds = float(row["seconds"])
            end = datetime.fromisoformat(row["time"])
            stages[row["stage"]] = stages.get(row["stage"], 0.0) + seconds
            spans.append((end - timedelta(seconds=seconds), end))
    total, covered = 0.0, None
    for start, end in sorted(spans):
        begin = start if covered is None or start > covered else covered
        total += max(0.0, (end - begin).total_seconds())
        covered = end if covered is None or end > covered else covered
    return total, stages


def _between(started: str, finished: str | None) -> float:
    if finished is None:
        return 0.0
    return max(0.0, (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds())


def _whole_number(value: object) -> int | None:
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
