"""How long the quick commands take, as whole processes: `metier --help`, and `metier compare` of two finished runs.

    python bench/startup.py [RUN_A RUN_B]

Prints the minimum, median and maximum of seconds over the repeats, beside `python -c pass` measured in
the same run, alternating.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

REPEATS = 9


def seconds(command: list[str]) -> float:
    """Wall time of one process."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print a table."""
    metier = [sys.executable, "-m", "metier"]
    commands = {"python -c pass": [sys.executable, "-c", "pass"], "metier --help": [*metier, "--help"]}
    if len(sys.argv) == 3:
        commands["metier compare A B"] = [*metier, "compare", *sys.argv[1:]]
    found: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(REPEATS):
        for name, command in commands.items():
            found[name].append(seconds(command))
    print(f"{'command':<22} {'min':>6} {'median':>7} {'max':>6}   seconds, {REPEATS} repeats, alternating")
    for name, times in found.items():
        print(f"{name:<22} {min(times):>6.3f} {statistics.median(times):>7.3f} {max(times):>6.3f}")


if __name__ == "__main__":
    main()
