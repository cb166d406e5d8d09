r"""Write a page about the evidence of finished runs: the four answers, and the tables that they rest on.

python tools/evidence_page.py --output docs/results/evidence.md \
    --command abstracts="metier run recipes/abstracts.yaml" abstracts=runs/abstracts-1a2b3c4d

No number is typed: all is read from the run folders, by what the report is made of. A picture of the report's first
screen stands beside the page as `evidence/NAME.png` where there is one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from metier.report import closer, formats, tables
from metier.report.gather import gather_summary
from metier.report.markdown import escape_markdown, markdown_table
from metier.report.questions import replies
from metier.report.summary import RunSummary
from metier.store.run_folder import find_run

MOST_ROWS = 12
"""Rows of one table; the report has all."""
HEADER = """\
# What the runs prove

<!-- Written by tools/evidence_page.py from the run folders named below. Do not edit: run it again. -->

Made by `python tools/evidence_page.py --output docs/results/evidence.md` with `NAME=FOLDER` for every run and
`--command NAME="…"` for the command that made it. Every number is the run's own; intervals are 95 %. Tables are cut
after {most} rows; the report of a run has all of them. Times are of the machine with
whatever else it did meanwhile. How to read all this: [evidence](../evidence.md) and [looks](../looks.md).
"""


def render_page(runs: Sequence[tuple[str, Path]], commands: dict[str, str], output: Path) -> str:
    """The page.

    Args:
        runs: Name and run folder of each, in the order of the page.
        commands: The command that made a run, by name.
        output: Where the page will lie; pictures are looked for beside it.

    Raises:
        RunFolderError: A folder is no finished run.
    """
    parts = [HEADER.format(most=MOST_ROWS)]
    for name, path in runs:
        picture = Path(output.stem) / f"{name}.png"
        parts += _run(name, gather_summary(find_run(path)), commands.get(name))
        if (output.parent / picture).is_file():
            parts.append(f"![First screen of the report of {name}]({picture.as_posix()})\n")
    return "\n".join(parts)


def _run(name: str, summary: RunSummary, command: str | None) -> Iterator[str]:
    yield f"## {name}\n"
    machine = summary.lock.get("machine", {})
    where = f"{machine.get('cpu', formats.UNKNOWN)}, {machine.get('cores', formats.UNKNOWN)} cores"
    took = f"{formats.duration(summary.seconds)}, {where}"
    yield (f"`{command}`: {took}\n" if command else f"{took}\n")
    yield "| question | answer | why |\n| --- | --- | --- |\n" + "".join(
        f"| {reply.question} | {escape_markdown(reply.answer)} | {escape_markdown(reply.told)} |\n"
        for reply in replies(summary)
    )
    for table in _tables(summary):
        lines = markdown_table(table).splitlines()
        rest = len(table.rows) - MOST_ROWS
        more = f"\n\n{rest} more rows in the report." if rest > 0 else ""
        yield "\n".join(lines[: len(lines) - max(0, rest)]) + more + "\n"


def _tables(summary: RunSummary) -> Iterator[tables.Table]:
    """What the answers rest on; what a run has not looked at is left out."""
    looks = summary.looks
    yield tables.systems_table(summary)
    yield tables.differences_table(summary, summary.comparison.differences)
    found = (
        closer.trust_table(looks.trust), closer.promise_table(looks.trust), closer.slices_tables(summary)[0],
        closer.gaps_table(summary), closer.robustness_table(summary), closer.rows_table(summary),
    )  # fmt: skip
    yield from (table for table in found if table is not None)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the runs and write the page.

    Args:
        arguments: As on the command line. None: those of this process.
    """
    parser = argparse.ArgumentParser(description="Write a page about the evidence of finished runs.")
    parser.add_argument("runs", nargs="+", type=_pair, metavar="NAME=FOLDER")
    parser.add_argument("--command", action="append", default=[], type=_pair, metavar='NAME="metier run …"')
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    given = parser.parse_args(arguments)
    page = render_page([(name, Path(path)) for name, path in given.runs], dict(given.command), given.output)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(page, encoding="utf-8")
    print(given.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
