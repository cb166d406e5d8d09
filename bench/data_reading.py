"""Reading large files as a stream: rows a second, MB a second and peak memory, each format in a process of its own.

    python bench/data_reading.py [MEGABYTES] [FORMAT ...]

Files of MEGABYTES (default 2000) of rows with an id, a text of 20 to 400 words and a label, one row in 1000 broken
where the format allows that. FORMAT: csv, jsonl, json (one list), lines, jsonl.gz, parquet, xml; default: all.
"""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from metier.data.stream import HowToRead, stream_rows
from metier.device import peak_memory_bytes

SEED = 17
FORMATS = ("csv", "jsonl", "json", "lines", "jsonl.gz", "parquet", "xml")
BROKEN = 1000
"""One row in so many."""


def texts(megabytes: int) -> Iterator[str]:
    """Texts of so many MB together; their words are drawn by rank, as in natural text."""
    draw = np.random.default_rng(SEED)
    words = np.array([f"w{rank}" for rank in range(30_000)])
    left = megabytes * 10**6
    while left > 0:
        for length in draw.integers(20, 400, 256):
            text = " ".join(words[np.minimum(draw.zipf(1.3, length), len(words)) - 1])
            left -= len(text)
            yield text


def lines(form: str, megabytes: int) -> Iterator[str]:
    """The lines of a file in a text format."""
    before, after = {"csv": ("id,text,label\n", ""), "json": ("[\n", "{}]"), "xml": ("<r>", "</r>")}.get(form, ("", ""))
    yield before
    for number, text in enumerate(texts(megabytes)):
        row = {"id": number, "text": text, "label": number % 7}
        broken = number % BROKEN == 1
        if form == "csv":
            yield f'{number},"{text}"{"" if broken else f",{number % 7}"}\n'
        elif form == "xml":
            yield f'<row id="{number}"><text>{text}</text><label>{number % 7}</label></row>\n'
        elif form == "lines":
            yield f"{text}\n"
        else:
            whole = json.dumps(row)
            yield (whole.replace(":", "", 1) if broken else whole) + (",\n" if form == "json" else "\n")
    yield after


def write(path: Path, form: str, megabytes: int) -> None:
    """Write a file of a format."""
    if form == "parquet":
        schema = pa.schema([("id", pa.int64()), ("text", pa.string()), ("label", pa.int64())])
        with pq.ParquetWriter(path, schema) as writer:
            rows: list[dict[str, object]] = []
            for number, text in enumerate(texts(megabytes)):
                rows.append({"id": number, "text": text, "label": number % 7})
                if len(rows) == 10_000:
                    writer.write_table(pa.Table.from_pylist(rows, schema))
                    rows.clear()
            writer.write_table(pa.Table.from_pylist(rows, schema))
        return
    plain = form.removesuffix(".gz")
    with ExitStack() as stack:
        opened = stack.enter_context(path.open("wb"))
        packed = opened if form == plain else stack.enter_context(gzip.GzipFile(fileobj=opened, mode="wb"))
        file = stack.enter_context(io.TextIOWrapper(packed, encoding="utf-8", newline="\n"))
        file.writelines(lines(plain, megabytes))


def measure(path: Path, form: str) -> None:
    """Read a file, and print what it took."""
    before = (peak_memory_bytes() or 0) / 2**20
    start = time.perf_counter()
    rows = broken = 0
    for batch in stream_rows(path, HowToRead(format="lines" if form == "lines" else "auto", records=".//row")):
        rows += len(batch.rows)
        broken += len(batch.broken)
    seconds = time.perf_counter() - start
    peak, size = (peak_memory_bytes() or 0) / 2**20, path.stat().st_size / 1e6
    print(f"{form:10} {rows:>10,} rows {broken:>6,} broken {size:>8,.0f} MB on disk {seconds:>7.1f} s "
          f"{rows / seconds:>9,.0f} rows/s {size / seconds:>6.1f} MB/s peak {peak:,.0f} MiB "
          f"({before:,.0f} before)", flush=True)  # fmt: skip


def main(arguments: list[str]) -> None:
    """Measure each format in a process of its own, whose peak is its own."""
    if arguments[:1] == ["--read"]:
        measure(Path(arguments[1]), arguments[2])
        return
    if arguments[:1] == ["--write"]:
        write(Path(arguments[1]), arguments[2], int(arguments[3]))
        return
    megabytes = int(arguments[0]) if arguments else 2000
    for form in arguments[1:] or FORMATS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"d.{form}"
            # Not here: a process starts with the peak of the one that starts it.
            subprocess.run([sys.executable, __file__, "--write", str(path), form, str(megabytes)], check=True)
            subprocess.run([sys.executable, __file__, "--read", str(path), form], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
