r"""Write a page of results from finished run folders, from what they hold and nothing else.

python tools/first_runs.py --output docs/results/first-runs.md \
    --command quick="metier run recipes/banking77-quick.yaml" quick=runs/banking77-quick-1a2b3c4d

No number is typed: a run whose folder cannot be read ends the command, and what a run does not know is
written as unknown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from metier.data.card import DataCard
from metier.evaluation.results import Estimate
from metier.report import formats
from metier.report.gather import gather_summary
from metier.report.markdown import code_block
from metier.report.summary import RunSummary
from metier.store.run_folder import find_run, read_state

ANSWERS, LONGEST = 5, 400
"""Written answers that are shown, and characters of each text."""
HEADER = """\
# First runs

<!-- Written by tools/first_runs.py from the run folders named below. Do not edit: run it again. -->

Made by `python tools/first_runs.py --output docs/results/first-runs.md` with `NAME=FOLDER` for every run and
`--command NAME="…"` for the command that made it. Every number was read from the run's own JSON files; intervals are
95 %. *Seconds per 1,000* and times are of the machine named with the run, with whatever else it did meanwhile.
One run says how good one model is. How good a recipe is takes several seeds.
"""


def render_page(
    runs: Sequence[tuple[str, Path]],
    commands: dict[str, str],
    notes: dict[str, str] | None = None,
    quoted: Sequence[str] = (),
) -> str:
    """The page.

    Args:
        runs: Name and run folder of each, in the order of the page.
        commands: The command that made a run, by name.
        notes: What a reader must know besides and no file says, by name.
        quoted: Runs on data whose texts may be printed: questions and gold answers stand beside what was written.

    Raises:
        RunFolderError: A folder is no finished run.
    """
    parts = [HEADER]
    for name, path in runs:
        folder = find_run(path)
        started = read_state(folder).started
        summary = gather_summary(folder)
        parts.extend(_run(name, summary, started, commands.get(name)))
        parts.extend(_answers(summary, quote=name in quoted))
        if notes and name in notes:
            parts.append(f"Noted by hand: {notes[name]}\n")
    return "\n".join(parts)


def _run(name: str, summary: RunSummary, started: str, command: str | None) -> Iterator[str]:
    yield f"## {name}\n"
    yield "\n".join(f"- {title}: {text}" for title, text in _facts(summary, started, command)) + "\n"
    yield f"**{summary.comparison.sentence}**\n"
    yield from _openings_and_gates(summary)
    metrics = _metrics(summary)
    yield _table(
        ["system", *(_words(metric) for metric in metrics), "n", "parameters", "size",
         "seconds per 1,000", "trained on"],
        [
            [system.system, *(_estimate(system.metrics.get(metric)) for metric in metrics), f"{system.n:,}",
             _or_dash(system.parameters, formats.parameters(system.parameters)),
             _or_dash(system.bytes, formats.megabytes(system.bytes)), _seconds(system.seconds_per_thousand),
             system.trained_on or formats.UNKNOWN]
            for system in summary.test
        ],
    )  # fmt: skip
    yield "Candidates on validation, where one was chosen:\n"
    metric = summary.comparison.primary_metric
    yield _table(
        ["candidate", "model", "learns", _words(metric), "n", "training", "ended", "promoted"],
        [
            [attempt.name, attempt.model.name,
             f"{attempt.model.method}, {formats.parameters(attempt.model.trainable_parameters)}",
             _estimate(attempt.validation.metrics.get(metric)), f"{attempt.validation.n:,}",
             formats.duration(attempt.history.seconds), attempt.history.stopped, "yes" if attempt.promoted else ""]
            for attempt in summary.attempts
        ],
    )  # fmt: skip
    if summary.overfitting is not None:
        yield f"{summary.overfitting.sentence}\n"
    notes = dict.fromkeys(f"{a.model.name}: {note}" for a in summary.attempts for note in a.model.notes)
    if notes:
        yield "\n".join(f"- {_cell(note)}." for note in notes) + "\n"


def _metrics(summary: RunSummary) -> tuple[str, ...]:
    """What the table of systems shows, as the report does; of labels accuracy first."""
    metrics = formats.table_metrics(summary.test, summary.comparison.primary_metric)
    first = [metric for metric in ("accuracy", "macro_f1") if metric in metrics]
    return tuple(dict.fromkeys((*first, *metrics)))


def _words(metric: str) -> str:
    return (
        f"{formats.metric_words(metric)} (lower is better)"
        if formats.lower_is_better(metric)
        else (formats.metric_words(metric))
    )


def _answers(summary: RunSummary, *, quote: bool) -> Iterator[str]:
    """The first written answers in the order of the records' ids, base and tuned; the data's own texts if allowed."""
    shown = summary.written[:ANSWERS]
    if not shown:
        return
    yield f"The first {len(shown)} test records in the order of their ids, which are hashes; nobody chose them.\n"
    if not quote:
        yield "What was asked and the gold answers are in the data set, which is not copied here.\n"
    for number, example in enumerate(shown, 1):
        yield f"{number}. {example.source} row {example.row}\n"
        if quote:
            asked = "\n\n".join(turn.content for turn in example.turns if turn.role != "system")
            yield f"   asked:\n\n{_quoted(asked)}\n\n   gold answer:\n\n{_quoted(example.gold)}\n"
        for answer in example.answers:
            if answer.system in (summary.comparison.candidate, "few_shot", "zero_shot"):
                score = f"{formats.metric_words(summary.comparison.primary_metric)} {formats.score(answer.score)}"
                ending = ", unfinished" if answer.stop == "length" else ""
                said = answer.text if answer.text is not None else f"(no answer: {answer.reason})"
                yield f"   {answer.system} ({score}{ending}):\n\n{_quoted(said)}\n"


def _quoted(text: str) -> str:
    """A text as a block of its own inside a list, cut where it is long."""
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST].rstrip()} … ({len(text):,} characters)"
    return "\n".join(f"   {line}".rstrip() for line in code_block(shown, "text").splitlines())


def _facts(summary: RunSummary, started: str, command: str | None) -> Iterator[tuple[str, str]]:
    machine, hardware, packages = (summary.lock.get(key, {}) for key in ("machine", "hardware", "packages"))
    if command is not None:
        yield "command", f"`{command}`"
    yield "date", datetime.fromisoformat(started).date().isoformat()
    memory = machine.get("memory_bytes")
    yield (
        "machine",
        f"{machine.get('cpu', formats.UNKNOWN)}, {machine.get('cores', formats.UNKNOWN)} cores, "
        f"{_gigabytes(memory)} memory, {machine.get('system', formats.UNKNOWN)}; "
        f"{hardware.get('device', formats.UNKNOWN)}, {hardware.get('dtype', formats.UNKNOWN)}, "
        f"{hardware.get('threads', formats.UNKNOWN)} threads",
    )
    versions = [f"{name} {packages[name]}" for name in ("torch", "transformers", "peft") if packages.get(name)]
    yield "versions", ", ".join([f"metier {summary.lock.get('metier', formats.UNKNOWN)}", *versions])
    yield "data", _data(summary.data)
    stages = ", ".join(f"{stage} {formats.duration(seconds)}" for stage, seconds in summary.stage_seconds.items())
    yield "wall time", formats.duration(summary.seconds) + (f" ({stages})" if stages else "")
    yield "peak memory", _gigabytes(summary.peak_memory_bytes)
    yield "recipe", f"hash `{summary.run_id[:8]}`, seed {summary.lock.get('seed', formats.UNKNOWN)}"


def _data(card: DataCard) -> str:
    sizes = ", ".join(f"{name} {split.rows:,}" for name, split in card.splits.items())
    labels = f"{len(card.labels)} labels; " if card.labels else ""
    return f"{sizes}; {labels}fingerprint `{card.fingerprint[:8]}`"


def _openings_and_gates(summary: RunSummary) -> Iterator[str]:
    openings = summary.comparison.openings
    times = formats.UNKNOWN if openings is None else formats.times(openings)
    yield f"Opened this test set: {times} by this machine's ledger, this run included.\n"
    for gate in summary.comparison.gates:
        yield f"Gate {gate.gate}: {'passed' if gate.passed else 'failed'} ({gate.wanted}; found {gate.found}).\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None or estimate.value is None:
        return formats.UNKNOWN
    return f"{formats.score(estimate.value)} ({formats.interval(estimate)})"


def _or_dash(value: object, text: str) -> str:
    return "–" if value is None else text


def _seconds(value: float | None) -> str:
    return formats.UNKNOWN if value is None else "< 0.1" if value < 0.05 else f"{value:,.1f}"


def _gigabytes(value: int | None) -> str:
    return formats.UNKNOWN if value is None else f"{value / 1e9:.1f} GB"


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
    parser = argparse.ArgumentParser(description="Write a page of results from finished run folders.")
    parser.add_argument("runs", nargs="+", type=_pair, metavar="NAME=FOLDER")
    parser.add_argument("--command", action="append", default=[], type=_pair, metavar='NAME="metier run …"')
    parser.add_argument("--note", action="append", default=[], type=_pair, metavar='NAME="what a reader must know"')
    parser.add_argument("--quote", action="append", default=[], metavar="NAME", help="its data's texts may be printed")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    given = parser.parse_args(arguments)
    runs = [(name, Path(folder)) for name, folder in given.runs]
    strangers = sorted(
        {name for name, _ in (*given.command, *given.note, *((name, "") for name in given.quote))}
        - {name for name, _ in runs}
    )
    if strangers:
        parser.error(f"--command, --note or --quote names no run: {', '.join(strangers)}")
    page = render_page(runs, dict(given.command), dict(given.note), given.quote)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(page, encoding="utf-8")
    print(given.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
