"""The command line: the list of commands, and the one place where every exception ends.

Commands import what they need when they run, so that `metier --help` loads nothing heavy. A command
returns its exit code; what it raises becomes a message and the exit code of its class.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand
from typer.main import get_command

from metier import __version__
from metier.cli import cache, chat, check, compare, data, demo, doctor, export, init, plan, predict, report, run, verify
from metier.cli.faults import describe_crash, describe_fault, fault_as_plain
from metier.cli.output import say, write_json_object
from metier.cli.overrides import overrides_as_settings, quoted
from metier.errors import DONE, ArgumentError, InterruptedRun, LackingEnvironment, MetierError, MissingPackage

CRASHED = 1
UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""What a wrong command line raises; it lives in click or, in later versions, in typer itself."""


INTERRUPTED_BELOW = 130
"""What typer makes of Ctrl-C; no command of ours returns it."""


class PlainCommand(TyperCommand):
    """A command whose help is plain text: typer escapes brackets for rich even then."""

    def get_help(self, ctx: Any) -> str:
        """The help text."""
        return super().get_help(ctx).replace("\\[", "[")


app = typer.Typer(
    name="metier",
    help="Gives a general-purpose language model a trade, and proves that it has learned one.",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS: dict[str, Any] = {
    "demo": demo.demo,
    "init": init.init,
    "check": check.check,
    "plan": plan.plan,
    "run": run.run,
    "train": run.train,
    "compare": compare.compare_runs,
    "predict": predict.predict,
    "chat": chat.chat,
    "export": export.export,
    "report": report.report,
    "verify": verify.verify,
    "doctor": doctor.doctor,
}
"""Every command, in the order of the help. To add one: a file, a row, `make golden`."""

for _name, _function in COMMANDS.items():
    app.command(_name, cls=PlainCommand)(_function)
app.add_typer(data.app, name="data")
app.add_typer(cache.app, name="cache")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"metier {__version__}")
        raise typer.Exit


@app.callback()
def _metier(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Gives a general-purpose language model a trade, and proves that it has learned one."""


def main() -> None:
    """The `metier` command."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # A scheduler's polite stop is handled as Ctrl-C is: the run folder stays resumable.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(run_command_line(sys.argv[1:]))


def run_command_line(arguments: Sequence[str]) -> int:
    """Run one command.

    Args:
        arguments: What stands after `metier`.

    Returns:
        The exit code.
    """
    # PEFT imports it where it is installed, and it then speaks of kernels that it would rather have.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        settled = overrides_as_settings(arguments or ["--help"])
        outcome = get_command(app).main(args=settled, prog_name="metier", standalone_mode=False)
        if outcome == INTERRUPTED_BELOW:
            raise KeyboardInterrupt
        return outcome if isinstance(outcome, int) else DONE
    except MetierError as error:
        return _end(error, arguments)
    except UsageError as error:
        return _end(_as_argument_error(error), arguments)
    except (typer.Abort, KeyboardInterrupt):
        return _end(InterruptedRun("metier", "interrupted", "", _how_to_resume(arguments)), arguments)
    except MemoryError:
        fix = "Make training.tokens_per_microbatch smaller, or use a smaller model."
        return _end(LackingEnvironment("memory", "there is not enough for this", "", fix), arguments)
    except ModuleNotFoundError as error:
        package = (error.name or "metier").partition(".")[0]
        return _crash(error, arguments) if package == "metier" else _end(_missing(package), arguments)
    except Exception as error:
        return _crash(error, arguments)


def _crash(error: Exception, arguments: Sequence[str]) -> int:
    say(describe_crash(error))
    if "--json" in arguments:
        write_json_object("error", {"exit_code": CRASHED, "kind": type(error).__name__})
    return CRASHED


def _missing(module: str) -> MissingPackage:
    package = {"sklearn": "scikit-learn", "yaml": "PyYAML"}.get(module, module)
    return MissingPackage(package, "is not installed", "", f"Install it: pip install {package}")


def _end(error: MetierError, arguments: Sequence[str]) -> int:
    say(describe_fault(error))
    if "--json" in arguments:
        write_json_object("error", fault_as_plain(error))
    return error.exit_code


def _as_argument_error(error: Any) -> ArgumentError:
    command = error.ctx.command_path if error.ctx else "metier"
    # Two layers below us each add the same suggestion.
    found, _, suggestion = error.format_message().partition(" Did you mean ")
    meant = f"Did you mean {suggestion.partition(' Did you mean ')[0].rstrip('.?')}? " if suggestion else ""
    return ArgumentError(command, found.rstrip("."), "", f"{meant}See `{command} --help`.")


def _how_to_resume(arguments: Sequence[str]) -> str:
    if not arguments or arguments[0] not in ("run", "train", "demo"):
        return ""
    rest = [*arguments, *([] if arguments[0] == "demo" or "--resume" in arguments else ["--resume"])]
    return f"Nothing that was saved is lost. To continue: metier {' '.join(map(quoted, rest))}"
