"""Measure rows and write the page.

    python -m bench ROW …          one row or more (`python -m bench --list` names them)
    python -m bench all            every row that was not measured yet
    python -m bench page           write the page from what was measured
    python -m bench all --tiny     everything once, with tiny budgets, into a folder of its own

`METIER_BENCH_ENVS`: environments of the peers (`python -m bench.peers make`). `METIER_BENCH_DATA` or `--data`: the
folder of data sets (bench/data.py says which). Every row leaves its repeats as JSON; `all` goes on where it stopped.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from bench.context import TINY, Budget, Context
from bench.machine import about_machine
from bench.page import write_page
from bench.peers.__main__ import environments_folder
from bench.side import ROOT, Place
from bench.table import ROWS, measure_row

RAW = ROOT / "docs" / "results" / "performance"
TINY_RAW = ROOT / "build" / "bench-tiny"


def arguments_of() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", default=["all"], help="rows, `all` or `page`")
    parser.add_argument("--list", action="store_true", help="name the rows and end")
    parser.add_argument("--tiny", action="store_true", help="a dry run with tiny budgets")
    parser.add_argument("--again", action="store_true", help="with `all`: also rows that were measured")
    parser.add_argument("--data", default=os.environ.get("METIER_BENCH_DATA"), help="folder of data sets")
    parser.add_argument("--cores", default="0,1", help="cores that workers are pinned to; one thread each")
    parser.add_argument("--model", default="smollm2-135m", help="a packaged model, or a folder of safetensors")
    return parser.parse_args()


def context_of(arguments: argparse.Namespace, raw: Path) -> Context:
    """The ground of all rows."""
    from metier.model.packaged import ensure_packaged

    if not arguments.data:
        sys.exit("Name the folder of data sets: --data FOLDER, or METIER_BENCH_DATA.")
    cores = tuple(int(core) for core in arguments.cores.split(","))
    work = environments_folder() / ("work-tiny" if arguments.tiny else "work")
    place = Place(environments_folder(), cores, work)
    budget = TINY if arguments.tiny else Budget()
    named = Path(arguments.model)
    folder = named.resolve() if named.is_dir() else ensure_packaged(arguments.model)
    return Context(place, Path(arguments.data).resolve(), budget, arguments.model, folder, raw)


def main() -> int:
    """Measure what is asked for, then write the page."""
    arguments = arguments_of()
    if arguments.list:
        for name, row in ROWS.items():
            print(f"{name:<14} {row.minutes:>4} min  {row.title}")
        return 0
    raw = TINY_RAW if arguments.tiny else RAW
    raw.mkdir(parents=True, exist_ok=True)
    wanted = [name for name in arguments.rows if name not in ("all", "page")]
    if unknown := [name for name in wanted if name not in ROWS]:
        sys.exit(f"No such row: {', '.join(unknown)}. There are {', '.join(ROWS)}.")
    if "all" in arguments.rows:
        wanted = [name for name in ROWS if arguments.again or not (raw / f"{name}.json").exists()]
    failed = []
    context = context_of(arguments, raw) if wanted else None
    for name in wanted:
        assert context is not None
        print(f"{name}: {ROWS[name].title}", flush=True)
        started = time.perf_counter()
        result = measure_row(context, name)
        if result is None:
            failed.append(name)
            continue
        result |= head(arguments, time.perf_counter() - started)
        (raw / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        write_page(raw, page_of(raw))
    print(write_page(raw, page_of(raw)))
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def page_of(raw: Path) -> Path:
    """The page of a folder of results: beside it, and of the same name."""
    return raw.with_suffix(".md")


def head(arguments: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """What a reader must know about a measurement."""
    command = f"python -m bench {' '.join(arguments.rows)}" + (" --tiny" if arguments.tiny else "")
    return {
        "format": "metier.bench", "version": 1, "date": datetime.date.today().isoformat(), "command": command,
        "model": arguments.model,
        "cores": arguments.cores, "seconds_in_all": seconds, "machine": about_machine(), "tiny": arguments.tiny,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
