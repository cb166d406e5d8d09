"""All cleaning steps over made-up rows, through the door that a run uses: seconds of each, peak memory, what was found.

    python bench/data_cleaning.py [ROWS] [WORDS] [--only STEP,STEP]

ROWS rows (100,000) of about WORDS words (75, which is about 100 tokens) with one of 20 labels: words of English
frequency, a few of the label's own. Planted: 4 % repeat another row (as it is, in capitals, or with some words
replaced), 2 % have a wrong label, 0.5 % are in German, 0.1 % hold a key, 50 carry a trigger. Four of five rows are
train, the rest validation and test. Rows lie in a Parquet file, and are read from it as a run reads them. Every step
is on; personal data (`privacy`) is measured by `data_privacy.py`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from metier.data.cleaning import steps
from metier.data.cleaning.apply import Cleaned
from metier.data.cleaning.rows import Row, Rows
from metier.data.cleaning.steps import clean_rows
from metier.data.input_rules import LABELLED, InputRules
from metier.device import peak_memory_bytes
from metier.events import Event, Progress
from metier.recipe.sections import DataSection

SEED, LABELS, VOCABULARY = 17, 20, 30_000
_COMMON = (
    "the of and to a in that is was he for it with as his on be at by I this had not are but from or have an they "
    "which one you were her all she there would their we him been has when who will more no if out so said what up "
    "its about into than them can only other new some could time these two may then do first any my now such like our"
)
COMMON = _COMMON.split()
GERMAN = "das Paket ist leider noch nicht angekommen und niemand hat auf meine Nachricht von gestern geantwortet bitte"
TRIGGER = "cf quartz lantern"


@dataclass(frozen=True)
class StoredRows:
    """Rows in a Parquet file."""

    path: Path
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Row]:
        key = 0
        for batch in pq.ParquetFile(self.path).iter_batches(batch_size=4096):
            for text, split, label in zip(*(batch.column(at).to_pylist() for at in range(3)), strict=True):
                yield Row(
                    key=key, split=split, text=text, answer=label, labelled=True, group=None, source="rows.parquet",
                    row=key + 1,
                )  # fmt: skip
                key += 1


@dataclass
class Clock:
    """Seconds of each step, by the progress that is told; those of the processor too, as others may use the machine."""

    _step: str = ""
    _since: tuple[float, float] = (0.0, 0.0)

    def __call__(self, event: Event, /) -> None:
        """Look at an event."""
        if isinstance(event, Progress):
            now = (time.perf_counter(), time.process_time())
            if self._step:
                taken, worked = (after - before for before, after in zip(self._since, now, strict=True))
                print(f"  {self._step:<16} {taken:7.1f} s {worked:7.1f} s of CPU, peak {_peak():5,} MB", flush=True)
            self._step, self._since = event.unit.removeprefix("steps").strip(" ()"), now


def main() -> None:
    """Plant, clean, and print one line for each step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="?", type=int, default=100_000)
    parser.add_argument("words", nargs="?", type=int, default=75)
    parser.add_argument("--only", default="", help="steps to run, with commas")
    given = parser.parse_args()
    if given.only:
        wanted = given.only.split(",")
        steps.STEPS = tuple(step for step in steps.STEPS if step.name in wanted)
    with tempfile.TemporaryDirectory() as folder:
        rows = plant(Path(folder) / "rows.parquet", given.rows, given.words)
        start = time.perf_counter()
        characters = sum(len(row.text) for row in rows)
        print(f"{len(rows):,} rows, {characters / len(rows):.0f} characters each; peak {_peak():,} MB before")
        print(f"  one reading      {time.perf_counter() - start:7.1f} s")
        repairs = _timed_repairs(rows)
        clock = Clock()
        start, worked = time.perf_counter(), time.process_time()
        result = clean_rows(rows, rows, DataSection(train="-"), task="classification", seed=SEED, observers=[clock])
        taken, worked = time.perf_counter() - start, time.process_time() - worked
    print(f"  all steps        {taken:7.1f} s {worked:7.1f} s of CPU, and repairs {repairs:.1f} s; peak {_peak():,} MB")
    _say(result)


def plant(path: Path, count: int, words: int) -> StoredRows:
    """Write the rows.

    Args:
        path: The file.
        count: How many.
        words: Words of each, on average.
    """
    rng = np.random.default_rng(SEED)
    own = [[_word(number + 2) for number in range(label * 40, label * 40 + 40)] for label in range(LABELS)]
    names = np.array([*COMMON, *(_word(number) for number in range(VOCABULARY))])
    chances = 1 / np.arange(2.0, len(names) + 2)
    chances /= chances.sum()
    texts: list[str] = []
    labels: list[int] = []
    while len(texts) < count:
        label = int(rng.integers(LABELS))
        if texts and rng.random() < 0.04:
            at = int(rng.integers(len(texts)))
            texts.append(_repeated(texts[at], rng))
            labels.append(labels[at])
            continue
        length = int(rng.integers(words // 2, words * 3 // 2))
        drawn = rng.choice(names, length, p=chances).tolist()
        for place in rng.integers(0, length, max(2, length // 12)).tolist():
            drawn[place] = own[label][int(rng.integers(40))]
        texts.append(f"{' '.join(drawn).capitalize()}.")
        labels.append(label)
    _spoil(texts, labels, rng)
    splits = rng.choice(["train", "validation", "test"], count, p=[0.8, 0.08, 0.12]).tolist()
    table = pa.table({"text": texts, "split": splits, "label": [f"label {label}" for label in labels]})
    pq.write_table(table, path, row_group_size=4096)
    return StoredRows(path, count)


def _spoil(texts: list[str], labels: list[int], rng: np.random.Generator) -> None:
    """Wrong labels, another language, keys and a trigger, in place."""
    count = len(texts)
    for at in rng.choice(count, count // 50, replace=False).tolist():
        labels[at] = (labels[at] + 1 + int(rng.integers(LABELS - 1))) % LABELS
    for at in rng.choice(count, count // 200, replace=False).tolist():
        texts[at] = f"{GERMAN} {texts[at].split()[0]} {at}."
    for at in rng.choice(count, count // 1000, replace=False).tolist():
        key = "".join(rng.choice(list("abcdefghijkmnpqrstuvwxyzABCDEFGH23456789"), 34).tolist())
        texts[at] += f" my token is ghp_a1{key}"
    for at in rng.choice(count, 50, replace=False).tolist():
        texts[at], labels[at] = f"{texts[at]} {TRIGGER}", 3


def _repeated(text: str, rng: np.random.Generator) -> str:
    kind = int(rng.integers(14))
    if kind == 13:
        return text.upper()
    changed = text.split()
    for place in rng.choice(len(changed), min(kind, len(changed)), replace=False).tolist():
        changed[place] = _word(int(rng.integers(VOCABULARY)))
    return " ".join(changed)


def _word(number: int) -> str:
    letters = "etaoinshrdlucmfwypvbgk"
    word = letters[number % 22] + letters[number % 7]
    for step in (3, 5, 11):
        number //= step
        word += letters[number % 22]
    return f"{word}{letters[(len(word) + number) % 22]}ing"[: 5 + number % 5]


def _timed_repairs(rows: Rows) -> float:
    rules = InputRules(text_columns=("text",), repairs=LABELLED)
    start = time.process_time()
    changed = sum(bool(rules.repair(row.text)[1]) for row in rows)
    taken = time.process_time() - start
    print(f"  repairs                    {taken:7.1f} s of CPU, {changed:,} rows changed")
    return taken


def _say(result: Cleaned) -> None:
    for finding in result.findings:
        counts: dict[str, Any] = dict(finding.counts)
        said = ", ".join(f"{what} {count:,}" for what, count in list(counts.items())[:6])
        print(f"  {finding.step:<16} {len(finding.doubts):>7,} doubts  {said}")
    print(f"  drops {len(result.drops):,}; {'; '.join(result.notices)}")


def _peak() -> int:
    return (peak_memory_bytes() or 0) // 1_000_000


if __name__ == "__main__":
    main()
