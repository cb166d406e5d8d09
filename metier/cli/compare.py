"""`metier compare`: finished runs and files of answers against each other, or all the systems that a recipe names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metier.cli.output import say, show, terminal_width, write_json_object
from metier.cli.run import AsJson, Output, Settings

if TYPE_CHECKING:
    from metier.evaluation.results import Evaluation
    from metier.evaluation.standings import Judgement, JudgeReport
    from metier.recipe.sections import EvaluationSection

TUNED = "tuned"
RECIPES = (".yaml", ".yml")
COLUMNS = ("System", "{metric} (95 %)", "Against {reference} (95 %)", "So it is", "Unanswered", "s per 1,000",
           "Price per 1,000")  # fmt: skip


def compare_runs(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RECIPE | RUN...", show_default=False,
            help="A recipe with `systems`; or run folders and files of answers, the first judged against the others.",
        ),
    ],
    *,
    output: Output = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> int:  # fmt: skip
    """Compare anything that answers, on the same test records.

    A recipe with `systems` (a run, a model made elsewhere, an endpoint, a file of answers): all answer its test set;
    what was answered is kept, and the same command goes on after an interruption. Or finished runs, each by its tuned
    model, and files of answers to the first run's test set: that run's recipe says which metric and which gain count.
    """
    from metier.errors import ArgumentError

    if runs[0].suffix.lower() in RECIPES and not runs[0].is_dir():
        if len(runs) > 1:
            raise ArgumentError("metier compare", f"a recipe and {len(runs) - 1} more", "a recipe alone")
        return _compare_systems(runs[0], output, settings, as_json=as_json)
    if output is not None:
        raise ArgumentError("--output", "was given with runs", "a recipe", "Comparing runs writes nothing.")
    return _compare_runs(runs, settings or (), as_json=as_json)


def _compare_systems(path: Path, output: Path | None, settings: list[str] | None, *, as_json: bool) -> int:
    """Judge all systems that a recipe names, and draw the table."""
    from metier.cli.overrides import load_with_settings
    from metier.cli.progress import watching
    from metier.run import run_recipe
    from metier.stages.judging import judge_recipe
    from metier.store.values import to_plain

    recipe = load_with_settings(path, settings)
    with watching() as observer:
        judged = judge_recipe(recipe, run_recipe, output=output, observers=(observer,))
    if as_json:
        judge = None if judged.judge is None else to_plain(judged.judge)
        plain = {"folder": str(judged.folder.path), **to_plain(judged.judgement), "judge": judge}
        write_json_object("judgement", plain)
        return judged.exit_code
    show(judgement_text(judged.judgement, judged.judge))
    show(f"\nReport: {judged.folder.report_page}")
    say(
        f"Every answer and number is in {judged.folder.path}; `metier verify {judged.folder.path}` computes them again."
    )
    return judged.exit_code


def judgement_text(judgement: Judgement, judge: JudgeReport | None) -> str:
    """The table of all systems and what it says, for a terminal.

    Args:
        judgement: All systems against the reference.
        judge: What a judge model said; None where there is none.
    """
    from metier.cli.tables import aligned
    from metier.evaluation.elsewhere.judged import judgement_rows
    from metier.report import formats

    titles = {"metric": formats.metric_heading(judgement.metric), "reference": judgement.reference}
    table = aligned([column.format(**titles) for column in COLUMNS], judgement_rows(judgement))
    lines = [f"On {judgement.n:,} {judgement.set} records:", "", table, "", judgement.sentence]
    if judgement.openings is not None and judgement.openings > 1:
        lines.append(f"This test set was opened {judgement.openings} times: each look was another chance to be lucky.")
    if judge is not None:
        lines += ["", f"Judge: {judge.judge}. {judge.sentence}"]
    return "\n".join(lines)


def _compare_runs(runs: Sequence[Path], settings: Sequence[str], *, as_json: bool) -> int:
    """Compare finished runs and files of answers, without a model."""
    from metier.cli.tables import differences_table, lower_line, shown_metrics, systems_table
    from metier.errors import DONE, ArgumentError
    from metier.evaluation.compare import compare
    from metier.store.values import to_plain

    if len(runs) < 2:
        fix = "Name the runs: metier compare runs/a runs/b; or a recipe with `systems`."
        raise ArgumentError("metier compare", "one run", "two or more", fix)
    systems = [_tuned(path, name, runs[0]) for path, name in zip(runs, _names(runs), strict=True)]
    section = _section(runs[0], settings)
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


def _tuned(path: Path, name: str, first: Path) -> Evaluation:
    """The run's trained model on the test set, under the run's name; of a file, its answers to the first run's."""
    from dataclasses import replace

    from metier.errors import ArgumentError, RunFolderError
    from metier.evaluation.files import read_evaluations
    from metier.store.run_folder import find_run

    if path.is_file() and path.suffix:  # `runs/latest` may be a file, too
        if path == first:
            raise ArgumentError("metier compare", f"{path.name} first", "a run folder first, then files of answers")
        from metier.cli.progress import watching
        from metier.evaluation.elsewhere.run_answers import answers_to_run

        with watching() as observer:
            return answers_to_run(find_run(first), path, name, observers=(observer,))
    if path.suffix and not path.exists():
        raise ArgumentError(str(path), "does not exist", "a run folder or a file of answers", "Check the path.")
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
