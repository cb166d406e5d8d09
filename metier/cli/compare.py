"""`metier compare A B ...`: finished runs against each other, on the same test items. Loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metier.cli.output import show, terminal_width, write_json_object
from metier.cli.run import AsJson, Settings

if TYPE_CHECKING:
    from metier.evaluation.results import Evaluation
    from metier.recipe.sections import EvaluationSection

TUNED = "tuned"


def compare_runs(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Run folders; the first is judged against each other one.", show_default=False
        ),
    ],
    *,
    settings: Settings = None,
    as_json: AsJson = False,
) -> int:
    """Compare finished runs on the same test records.

    Each by its tuned model. The first run's recipe says which metric and which gain count;
    --set evaluation.… changes that.
    """
    from metier.cli.tables import differences_table, lower_line, shown_metrics, systems_table
    from metier.errors import DONE, ArgumentError
    from metier.evaluation.compare import compare
    from metier.store.values import to_plain

    if len(runs) < 2:
        raise ArgumentError("metier compare", "one run", "two or more", "Name the runs: metier compare runs/a runs/b")
    systems = [_tuned(path, name) for path, name in zip(runs, _names(runs), strict=True)]
    section = _section(runs[0], settings or ())
    comparison = compare(systems[0], systems[1:], section=section)
    if as_json:
        write_json_object("comparison", to_plain(comparison))
        return DONE
    metrics = shown_metrics(systems, comparison)
    table = systems_table(systems, metrics, width=terminal_width())
    below = "".join(f"{line}\n" for line in lower_line(metrics))
    show(f"On {comparison.n:,} test records:\n\n{table}\n{below}")
    show(f"{differences_table(comparison)}\n\n{comparison.sentence}")
    return DONE


def _names(runs: Sequence[Path]) -> list[str]:
    """The folders' own names, or their whole paths where two are the same."""
    from metier.errors import ArgumentError

    own = [path.resolve().name for path in runs]
    names = own if len(set(own)) == len(own) else [str(path) for path in runs]
    if len(set(names)) < len(names):
        raise ArgumentError("metier compare", "the same run twice", "different runs")
    return names


def _tuned(path: Path, name: str) -> Evaluation:
    """The run's trained model on the test set, under the run's name."""
    from dataclasses import replace

    from metier.errors import RunFolderError
    from metier.evaluation.files import read_evaluations
    from metier.store.run_folder import find_run

    folder = find_run(path)
    if not folder.results("test").exists():
        raise RunFolderError(
            str(path), "has not reached its test set", "a complete run", "Run its recipe with --resume."
        )
    for evaluation in read_evaluations(folder.results("test").parent):
        if evaluation.system == TUNED:
            return replace(evaluation, system=name)
    raise RunFolderError(str(path), f"has no results of a system called {TUNED}", "", "Run its recipe with --resume.")


def _section(path: Path, settings: Sequence[str]) -> EvaluationSection:
    from metier.errors import ArgumentError
    from metier.recipe.load import load_recipe
    from metier.store.run_folder import find_run

    for setting in settings:
        if not setting.startswith("evaluation."):
            raise ArgumentError(f"--set {setting}", "changes what was run", "a field of evaluation")
    return load_recipe(find_run(path).recipe, tuple(settings)).evaluation
