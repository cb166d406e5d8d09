"""What oneDNN's cache of prepared matrix products costs and saves: processor time and highest memory by its capacity.

    python bench/kernel_cache.py            two recipes of `plan_accuracy`, 40 steps each, one thread
    python bench/kernel_cache.py --steps 5  the same, to see that it works

Processor time of the whole command is compared, not wall time: it hardly depends on what else runs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.plan_accuracy import RECIPES, environment  # noqa: E402 - a script that is run by its path

CAPACITIES = (64, 128, 256, 1024)
NAMES = ("lora-top10", "encoder-full")


def main() -> int:
    """Run everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    steps = parser.parse_args().steps
    print("| recipe | capacity | user time | system time | highest memory |\n| --- | --- | --- | --- | --- |")
    for name in NAMES:
        for capacity in CAPACITIES:
            used = measure(name, capacity, steps)
            seconds = f"{used.ru_utime:.1f} s | {used.ru_stime:.1f} s"
            print(f"| {name} | {capacity:,} | {seconds} | {used.ru_maxrss // 1024:,} MB |")
    return 0


def measure(name: str, capacity: int, steps: int) -> Any:
    """What one training takes.

    Args:
        name: A recipe of `plan_accuracy`.
        capacity: Of the cache.
        steps: Optimiser steps.
    """
    recipe = dict(RECIPES[name])
    recipe |= {"evaluation": {"systems": ["majority"]}, "hardware": {"threads": 1}}
    recipe["training"] = {**recipe["training"], "max_steps": steps}
    with tempfile.TemporaryDirectory(prefix="metier-kernels-") as place:
        folder = Path(place)
        (folder / "recipe.yaml").write_text(yaml.safe_dump({"name": name, **recipe}), encoding="utf-8")
        variables = {**environment(folder), "ONEDNN_PRIMITIVE_CACHE_CAPACITY": str(capacity)}
        command = [sys.executable, "-m", "metier", "run", "recipe.yaml", "--until", "train", "--output", "run"]
        with (folder / "log.txt").open("w", encoding="utf-8") as log:
            process = subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=log)
            _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit((folder / "log.txt").read_text(encoding="utf-8")[-3000:])
    return used


if __name__ == "__main__":
    sys.exit(main())
