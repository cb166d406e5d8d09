"""Millions of rows through the data room: seconds and peak memory, from a file to splits in Parquet.

    python bench/data_millions.py [MEGABYTES] [--all]

A JSON Lines file of MEGABYTES (2000, which is about 2 million rows) as `data_reading.py` writes it: texts of 20 to 400
words, one of 7 labels, one row in 1000 broken. By default the steps that look at what a text says are off: rows are
read, broken ones set apart, texts repaired, exact duplicates dropped, splits drawn, and near copies between splits
searched and dropped from train. With `--all` every step has its default.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from metier.data.prepare import prepare_data
from metier.device import peak_memory_bytes
from metier.recipe.sections import Recipe

OFF = (
    "near_duplicates", "odd_texts", "quality", "secrets", "label_likeness", "wrong_labels", "outliers", "poison",
    "giveaway",
)  # fmt: skip


def measure(path: Path, *, every: bool) -> None:
    """Prepare a file, and print what it took."""
    off = {} if every else {**dict.fromkeys(OFF, "off"), "language": {"policy": "off"}, "bias": {"policy": "off"}}
    data = {"train": str(path), "text": "text", "label": "label", "leaks": "drop", **off}
    section = Recipe.model_validate({"task": "classification", "data": data}).data
    before, start = (peak_memory_bytes() or 0) / 2**20, time.perf_counter()
    card = prepare_data(section, seed=17, folder=path.parent / "out").card
    seconds, peak = time.perf_counter() - start, (peak_memory_bytes() or 0) / 2**20
    rows = {name: split.rows for name, split in card.splits.items()}
    print(f"{path.stat().st_size / 1e6:,.0f} MB, {sum(rows.values()):,} records {rows}, not taken {card.rejected}, "
          f"{seconds:,.0f} s, peak {peak:,.0f} MiB ({before:,.0f} before)", flush=True)  # fmt: skip


def main() -> None:
    """Write the file and measure, each in a process of its own: a process starts with its parent's peak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("megabytes", nargs="?", type=int, default=2000)
    parser.add_argument("--all", action="store_true", help="every step with its default")
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.file:
        measure(asked.file, every=asked.all)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        writer = str(Path(__file__).with_name("data_reading.py"))
        subprocess.run([sys.executable, writer, "--write", str(path), "jsonl", str(asked.megabytes)], check=True)
        every = ["--all"] if asked.all else []
        subprocess.run([sys.executable, __file__, "--file", str(path), *every], check=True)


if __name__ == "__main__":
    main()
