"""Duplicates, contradictions, leaks and contamination among planted rows: time, peak memory, recall, precision.

    python bench/data_duplicates.py [ROWS] [WORDS] [ITEMS]

ROWS rows to learn from (default 100000) of WORDS words (100) drawn by rank as in natural text, and ITEMS evaluation
items (5000). 4 % of the rows repeat an earlier one: as it is, in capitals, or with 1 to 12 words replaced. 2 % of the
items stand in a row: word for word, with up to 10 % of their words replaced, or inside a longer text. Rows lie in a
Parquet file and are read anew in each pass.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from metier.data.cleaning.conflicts import screen_contradictions
from metier.data.cleaning.given_away import find_contamination
from metier.data.cleaning.leakage import screen_leakage
from metier.data.cleaning.near_duplicates import screen_duplicates
from metier.data.cleaning.rows import Row
from metier.data.cleaning.same_texts import SameTexts, find_same_texts
from metier.data.cleaning.shingles import jaccard, shingles_of
from metier.data.cleaning.words import hash_words, plain_words
from metier.device import peak_memory_bytes

SEED = 17
VOCABULARY = 30_000
Result = TypeVar("Result")


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
                    key=key, split=split, text=text, answer=label, labelled=True, group=None,
                    source=f"{split}.parquet", row=key + 1,
                )  # fmt: skip
                key += 1


@dataclass(frozen=True)
class Planted:
    """What was planted: pairs of rows, and items with whether they stand in a row."""

    rows: StoredRows
    pairs: list[tuple[int, int]]
    items: list[tuple[int, str]]
    """Key of an item, and how it was planted."""


def main(rows: str = "100000", words: str = "100", items: str = "5000") -> None:
    """Plant, search, and print one line for each step."""
    with tempfile.TemporaryDirectory() as folder:
        planted = plant(Path(folder), int(rows), int(words), int(items))
        start = time.perf_counter()
        count = sum(1 for _ in planted.rows)
        print(f"{count:,} rows of about {words} words; one reading takes {time.perf_counter() - start:.1f} s")
        _say("before", 0.0)
        same = _timed("same texts", lambda: find_same_texts(planted.rows))
        _timed("duplicates", lambda: screen_duplicates(planted.rows, same=same))
        _timed("contradictions", lambda: screen_contradictions(planted.rows, same=same))
        _timed("leakage", lambda: screen_leakage(planted.rows, same=same))
        _judge_pairs(planted, same)
        found = _timed("contamination", lambda: find_contamination(planted.rows))
        at = {found.places.key(item): item for item in range(len(found.places))}
        for how in sorted({how for _, how in planted.items}):
            hits = [found.reason[at[key]] > 0 for key, kind in planted.items if kind == how]
            print(f"  items {how}: {np.mean(hits):.2%} of {len(hits):,} found")
        clean = [key for key in at if key not in dict(planted.items)]
        print(f"  other items: {np.mean([found.reason[at[key]] > 0 for key in clean]):.2%} of {len(clean):,} named")


def plant(folder: Path, rows: int, words: int, items: int) -> Planted:
    """Write rows with planted repetitions.

    Args:
        folder: Where the file goes.
        rows: Rows to learn from.
        words: Words in each, on average.
        items: Rows of test.
    """
    rng = np.random.default_rng(SEED)
    chances = 1 / np.arange(2.0, VOCABULARY + 2)
    chances /= chances.sum()

    def fresh() -> Any:
        length = int(rng.integers(words // 2, words * 3 // 2))
        return rng.choice(VOCABULARY, length, p=chances).astype(np.int32)

    texts = [fresh() for _ in range(rows + items)]
    loud: set[int] = set()
    pairs: list[tuple[int, int]] = []
    shuffled = rng.permutation(rows)
    half = rows // 25
    for one, other in zip(shuffled[:half].tolist(), shuffled[half : 2 * half].tolist(), strict=True):
        kind = int(rng.integers(14))
        texts[other] = _edited(texts[one], 0 if kind == 13 else kind, rng)
        if kind == 13:
            loud.add(other)
        pairs.append((one, other))
    given: list[tuple[int, str]] = []
    for item, row in zip(range(rows, rows + items // 50), shuffled[2 * half :].tolist(), strict=False):
        how = ("verbatim", "edited", "inside")[item % 3]
        edits = int(rng.integers(1, max(2, len(texts[item]) // 10))) if how == "edited" else 0
        copy = _edited(texts[item], edits, rng)
        texts[row] = np.concatenate([fresh(), copy, fresh()]) if how == "inside" else copy
        given.append((item, how))
    _write(folder / "rows.parquet", texts, loud, rows)
    return Planted(StoredRows(folder / "rows.parquet", rows + items), pairs, given)


def _write(path: Path, texts: list[Any], loud: set[int], rows: int) -> None:
    """Write texts, given as numbers of words; those in `loud` in capitals; the first `rows` are train."""
    names = [_word(number) for number in range(VOCABULARY)]
    schema = pa.schema([(name, pa.string()) for name in ("text", "split", "label")])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, len(texts), 4096):
            keys = range(start, min(start + 4096, len(texts)))
            said = [" ".join([names[number] for number in texts[key].tolist()]) for key in keys]
            content = {
                "text": [text.upper() if key in loud else text for key, text in zip(keys, said, strict=True)],
                "split": ["train" if key < rows else "test" for key in keys],
                "label": [f"label {key * 7919 % 20}" for key in keys],
            }
            writer.write_table(pa.table(content, schema=schema))


def _word(number: int) -> str:
    letters = "etaoinshrdlucmfwypvbgk"
    word = letters[number % 22]
    while number := number // 22:
        word += letters[number % 22]
    return f"{word}{letters[(len(word) * 7) % 22]}"


def _edited(text: Any, edits: int, rng: np.random.Generator) -> Any:
    """The text with so many words replaced."""
    changed = text.copy()
    places = rng.choice(len(text), min(edits, len(text)), replace=False)
    changed[places] = rng.integers(0, VOCABULARY, len(places))
    return changed


def _judge_pairs(planted: Planted, same: SameTexts) -> None:
    """Recall over planted pairs by their true likeness; precision over all pairs found, by their true likeness."""
    texts = {key: "" for pair in planted.pairs for key in pair}
    texts |= {row.key: row.text for row in planted.rows if row.key in texts}
    keys = sorted(texts)
    place = {key: at for at, key in enumerate(keys)}
    shingles = shingles_of(hash_words([plain_words(texts[key]) for key in keys]), same.settings.width)
    likeness = jaccard(shingles, shingles, np.array([[place[a], place[b]] for a, b in planted.pairs]))
    together = np.array([same.cluster[same.text[a]] == same.cluster[same.text[b]] for a, b in planted.pairs])
    for low in (0.9, same.settings.threshold):
        wanted = likeness >= low
        print(f"  recall at a Jaccard index of {low} or more: {together[wanted].mean():.2%} of {wanted.sum():,}")
    wrong = together & (likeness < same.settings.threshold)
    print(f"  precision over planted pairs: {1 - wrong.sum() / together.sum():.2%} of {together.sum():,}")
    print(f"  near pairs: {len(same.pairs):,}, the least alike {same.likeness.min(initial=1):.3f}")


def _timed(name: str, work: Callable[[], Result]) -> Result:
    start = time.perf_counter()
    result = work()
    _say(name, time.perf_counter() - start)
    return result


def _say(what: str, seconds: float) -> None:
    print(f"{what:>15}: {seconds:6.1f} s, peak {(peak_memory_bytes() or 0) / 1e6:,.0f} MB")


if __name__ == "__main__":
    main(*sys.argv[1:])
