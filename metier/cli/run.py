"""`metier run RECIPE`: the whole flow, from the data to the report. `metier train` is the same thing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metier.cli.output import say, show, terminal_width, write_json_object

if TYPE_CHECKING:
    from metier.recipe.sections import Recipe
    from metier.run import RunResult

_PREDICT, _CHAT = ("Predict", "metier predict {run} IN OUT"), ("Chat", "metier chat {run} --base")
USES = {
    "classification": (_PREDICT,), "generation": (_PREDICT, _CHAT), "chat": (_PREDICT, _CHAT),
    "text": (("Export", "metier export {run}"),), "multilabel": (_PREDICT,), "extraction": (_PREDICT,),
}  # fmt: skip
"""Task -> the commands that use a finished run, as it ends with them."""
RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a YAML file.", show_default=False)]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="SECTION.FIELD=VALUE", show_default=False,
        help="Override a field of the recipe; may be repeated. --section.field VALUE is the same.",
    ),
]  # fmt: skip
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="Run folder. Default: runs/<name>-<recipe hash>.",
                 show_default=False),
]  # fmt: skip
Until = Annotated[str | None, typer.Option("--until", metavar="data|train", help="Stop after this stage.",
                                           show_default=False)]  # fmt: skip
Processes = Annotated[
    int,
    typer.Option("--nproc-per-node", metavar="N", min=1, help="Processes on this machine that share the work."),
]  # fmt: skip
OnCluster = Annotated[
    str | None,
    typer.Option("--cluster", metavar="ADDRESS", show_default=False,
                 help="Train the candidates on this Ray cluster; `local` starts one."),
]  # fmt: skip
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


def run(
    recipe: RecipePath,
    *,
    output: Output = None,
    until: Until = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an incomplete run.")] = False,
    settings: Settings = None,
    processes: Processes = 1,
    cluster: OnCluster = None,
    as_json: AsJson = False,
) -> int:
    """Prepare, train, evaluate and report: the whole flow.

    The run folder holds everything. The same recipe again does nothing when its run is complete.
    """
    from metier.cli.overrides import load_with_settings
    from metier.errors import ArgumentError

    if until not in (None, "data", "train"):
        raise ArgumentError("--until", repr(until), "data or train")
    loaded = load_with_settings(recipe, settings)
    if processes > 1:
        if cluster is not None:
            raise ArgumentError("--cluster", "was given with --nproc-per-node", "one of them")
        from metier.launch import launch

        options = [("--output", output), ("--until", until), *(("--set", setting) for setting in settings or ())]
        given = [text for name, value in options if value is not None for text in (name, str(value))]
        flags = [name for name, wanted in (("--resume", resume), ("--json", as_json)) if wanted]
        return launch(["run", str(recipe), *given, *flags], processes, say)
    return execute(loaded, output=output, until=until, resume=resume, as_json=as_json, cluster=cluster)


def train(
    recipe: RecipePath,
    *,
    output: Output = None,
    until: Until = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an incomplete run.")] = False,
    settings: Settings = None,
    processes: Processes = 1,
    cluster: OnCluster = None,
    as_json: AsJson = False,
) -> int:
    """The same as `metier run`."""
    return run(
        recipe, output=output, until=until, resume=resume, settings=settings, processes=processes, cluster=cluster,
        as_json=as_json,
    )  # fmt: skip


def execute(
    recipe: Recipe, *, output: Path | None, until: str | None, resume: bool, as_json: bool, cluster: str | None = None
) -> int:
    """Run a loaded recipe, draw its progress, and show how it ended. Of several processes rank 0 does the talking.

    Args:
        recipe: What to do.
        output: The run folder; None for the default place.
        until: `data` or `train` to stop there; None for the whole flow.
        resume: Whether an incomplete run is continued.
        as_json: Whether the result is shown as one JSON object.
        cluster: Address of the Ray cluster that trains the candidates; None: they are trained here.

    Returns:
        The exit code of the run: 0, or 3 when a gate failed.
    """
    from metier.cli.progress import watching
    from metier.errors import OtherProcessFailed, ProcessLost
    from metier.run import run_recipe
    from metier.team import team_of_environment

    if not team_of_environment().is_first:
        try:
            return run_recipe(recipe, output=output, resume=resume, until=until, cluster=cluster).exit_code
        except (OtherProcessFailed, ProcessLost) as fault:  # who failed has said why, or rank 0 does
            return fault.exit_code
    with watching() as observer:
        result = run_recipe(
            recipe, output=output, resume=resume, until=until, observers=(observer,), cluster=cluster
        )  # fmt: skip
    if result.reused:
        say(f"nothing to do: {_shown(result.folder.path)} holds the complete run of this recipe")
    if as_json:
        write_json_object("run-result", result_as_plain(result))
    else:
        show(_result_text(result))
    return result.exit_code


def result_as_plain(result: RunResult) -> dict[str, Any]:
    """A finished run for `--json`: where it is, every system's metrics, the comparison."""
    from metier.report.cleaning import changed
    from metier.report.questions import replies
    from metier.store.values import to_plain

    plain: dict[str, Any] = {
        "exit_code": result.exit_code, "reused": result.reused, "folder": str(result.folder.path),
    }  # fmt: skip
    summary = result.summary
    if summary is None:
        return plain
    numbers = ("kind", "n", "metrics", "parameters", "bytes", "seconds_per_thousand", "trained_on")
    return {
        **plain,
        "name": summary.name,
        "report": str(result.folder.report_page),
        "verdict": summary.comparison.verdict,
        "sentence": summary.comparison.sentence,
        "questions": to_plain(replies(summary)),
        "systems": {
            system.system: {
                **{name: to_plain(getattr(system, name)) for name in numbers},
                **({"per_field": to_plain(system.per_field)} if system.per_field else {}),
            }
            for system in summary.test
        },
        "comparison": to_plain(summary.comparison),
        "promoted": next((attempt.name for attempt in summary.attempts if attempt.promoted), None),
        "seconds": summary.seconds,
        "peak_memory_bytes": summary.peak_memory_bytes,
        "receipt": to_plain(summary.receipt),
        "ablation": to_plain(summary.ablation),
        "swaps": {
            str(found.settings.get("dimension", found.set)): {
                "copies": found.n,
                "changed": to_plain(changed(found)),
                "left_out": found.settings.get("left_out", {}),
            }
            for found in summary.swaps
        },
        **({} if summary.privacy is None else {"privacy": to_plain(summary.privacy)}),
    }


def _result_text(result: RunResult) -> str:
    from metier.cli.overrides import quoted
    from metier.cli.tables import final_text

    folder = _shown(result.folder.path)
    if result.summary is None:
        how = "the same command with --resume instead goes on"
        return f"Stopped where --until said. The run so far is in {folder}; {how}."
    report = _shown(result.folder.report_page)
    uses = [(name, way.format(run=quoted(folder))) for name, way in USES[result.summary.task]]
    return final_text(result.summary, report=report, uses=uses, width=terminal_width())


def _shown(path: Path) -> str:
    """The path as a person would type it from here."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(path)
