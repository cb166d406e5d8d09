"""Texts that are unlike the others in how they look: lengths, kinds of characters, how well they compress.

No model of what texts mean: a screen for tables, logs, keyboards hit at random, encoded files, one word again and
again, among ordinary messages. What is usual is what most of these rows are, by median and median absolute deviation,
which odd rows do not move.
"""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metier.data.cleaning.rows import Doubt, Finding, Rows

STEP = "odd texts"
VERSION = 1
AT_ONCE = 512
"""Rows whose characters are counted in one go."""
LEAST_ROWS = 50
"""Fewer say nothing about what is usual."""
LEAST_BYTES = 100
"""Shorter texts are not compressed: the format's own bytes would be most of the result."""
COMPRESSED = 20_000
"""Bytes of a text that are compressed, from its beginning; the format looks back no further than 32,768."""
Floats = NDArray[np.float32]

_UPPER, _LOWER, _DIGIT, _SPACE, _SIGN, _BEYOND, _INSIDE = range(7)
"""Kinds of bytes of UTF-8: five of ASCII, the first byte of any other character, and its further bytes."""


def _kinds() -> NDArray[np.uint8]:
    kinds = np.full(256, _SIGN, np.uint8)
    for kind, (first, last) in (
        (_UPPER, (0x41, 0x5A)), (_LOWER, (0x61, 0x7A)), (_DIGIT, (0x30, 0x39)), (_SPACE, (0x09, 0x0D)),
        (_SPACE, (0x20, 0x20)), (_INSIDE, (0x80, 0xBF)), (_BEYOND, (0xC0, 0xFF)),
    ):  # fmt: skip
        kinds[first : last + 1] = kind
    return kinds


_KIND_OF_BYTE = _kinds()

FEATURES: dict[str, tuple[str, float]] = {
    "length": ("number of characters", 0.35),
    "word length": ("mean length of words", 0.10),
    "longest word": ("longest word", 0.25),
    "capitals": ("share of capitals among Latin letters", 0.03),
    "digits": ("share of digits", 0.03),
    "signs": ("share of punctuation and signs", 0.03),
    "other scripts": ("share of characters beyond ASCII", 0.03),
    "compression": ("compressed size beside texts of like length", 0.05),
}
"""Name -> what it is, and the smallest scale that counts: shares as they are, lengths and compression as natural
logarithms. Without such a floor one digit would be odd where most texts have none."""
SHARES = ("capitals", "digits", "signs", "other scripts")


@dataclass(frozen=True, kw_only=True)
class OddSettings:
    """How odd a text has to be."""

    least_score: float = 6.0
    """Distance from the median in robust standard deviations (1.4826 times the median absolute deviation)."""
    most_share: float = 0.01
    """Share of the rows that is named at most, the oddest first: with more, that is what this data is like."""


def screen_odd_texts(rows: Rows, settings: OddSettings | None = None) -> Finding:
    """Doubt texts that are far from what is usual in one of `FEATURES`; the reason names the oddest of them.

    Args:
        rows: All rows; their texts are looked at, not their answers. 40 bytes are kept of each.
        settings: Default: `OddSettings()`.
    """
    start = time.perf_counter()
    settings = settings or OddSettings()
    keys, features = _measure(rows)
    if len(keys) < LEAST_ROWS:
        note = f"{len(keys)} rows are too few to say what is usual; {LEAST_ROWS} are needed"
        return Finding(step=STEP, version=VERSION, looked_at=len(keys), notes=(note,))
    _take_length_off(features)
    middles, distances = _distances(features)
    furthest = np.argmax(np.abs(distances), axis=1)
    odd = np.abs(distances[np.arange(len(keys)), furthest])
    over = np.flatnonzero(odd > settings.least_score)
    most = max(1, int(settings.most_share * len(keys)))
    # Stable, so that rows of equal oddness are named in their order.
    named = np.sort(over[np.argsort(-odd[over], kind="stable")][:most])
    doubts = tuple(
        _doubt(int(keys[at]), int(furthest[at]), float(distances[at, furthest[at]])) for at in named.tolist()
    )
    notes = [f"{len(over):,} rows are odd, of which the oddest {len(named):,} are named"] if len(over) > most else []
    return Finding(
        step=STEP,
        version=VERSION,
        looked_at=len(keys),
        doubts=doubts,
        counts={**Counter(doubt.reason for doubt in doubts), "rows beyond the limit": len(over)},
        tables={"usual texts": _table(middles, features)},
        notes=(*notes, "odd is not wrong: the screen sees how a text looks, not what it says"),
        seconds=time.perf_counter() - start,
    )


def _measure(rows: Rows) -> tuple[NDArray[np.int64], Floats]:
    """Keys, shape (rows,), and features, shape (rows, features); what cannot be measured is not a number."""
    keys = np.zeros(len(rows), np.int64)
    features = np.full((len(rows), len(FEATURES)), np.nan, np.float32)
    position = 0
    for batch in _batches(rows):
        some = slice(position, position + len(batch))
        keys[some] = [key for key, _ in batch]
        features[some] = _features([text for _, text in batch])
        position += len(batch)
    return keys[:position], features[:position]


def _batches(rows: Rows) -> Iterator[list[tuple[int, str]]]:
    batch: list[tuple[int, str]] = []
    for row in rows:
        batch.append((row.key, row.text))
        if len(batch) == AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _features(texts: Sequence[str]) -> Floats:
    """Features of some texts, in the order of `FEATURES`."""
    raw = [text.encode("utf-8", "replace") for text in texts]
    words = [text.split() for text in texts]
    counts = _count_kinds(raw)
    characters = counts.sum(axis=1) - counts[:, _INSIDE]
    letters = counts[:, _UPPER] + counts[:, _LOWER]
    number = np.array([len(some) for some in words], np.float64)
    longest = np.array([max(map(len, some), default=0) for some in words], np.float64)
    columns = [
        np.log1p(characters),
        np.log1p(_over(characters - counts[:, _SPACE], number)),
        np.log1p(longest),
        np.where(letters >= 10, _over(counts[:, _UPPER], letters), np.nan),
        _over(counts[:, _DIGIT], characters),
        _over(counts[:, _SIGN], characters),
        _over(counts[:, _BEYOND], characters),
        _compression(raw),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _count_kinds(raw: Sequence[bytes]) -> NDArray[np.float64]:
    """Bytes of each kind, shape (texts, kinds): all texts at once."""
    ends = np.cumsum([len(one) for one in raw])
    kinds = _KIND_OF_BYTE[np.frombuffer(b"".join(raw), np.uint8)]
    owner = np.repeat(np.arange(len(raw)), np.diff(ends, prepend=0))
    found = np.bincount(owner * 7 + kinds, minlength=7 * len(raw))
    return found.reshape(len(raw), 7).astype(np.float64)


def _over(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """`part / whole`; not a number where there is nothing."""
    share = np.full(len(part), np.nan)
    np.divide(part, whole, out=share, where=whole > 0)
    return share


def _compression(raw: Sequence[bytes]) -> NDArray[np.float64]:
    """Logarithm of the compressed length over the length, by deflate, of the first `COMPRESSED` bytes."""
    found = np.full(len(raw), np.nan)
    for position, one in enumerate(raw):
        if len(one) >= LEAST_BYTES:
            beginning = one[:COMPRESSED]
            found[position] = np.log(len(zlib.compress(beginning, 1)) / len(beginning))
    return found


def _take_length_off(features: Floats) -> None:
    """Make the last column the difference from what compresses like texts of like length, in place.

    A longer text compresses better whatever it says, so texts are compared with those of the same power of two of
    characters; where these are fewer than `LEAST_ROWS`, with none.
    """
    powers = np.floor(features[:, 0] / np.log(2)).astype(np.int64)
    column = features[:, -1]
    for power in np.unique(powers).tolist():
        alike = powers == power
        measured = alike & ~np.isnan(column)
        enough = int(measured.sum()) >= LEAST_ROWS
        column[alike] = column[alike] - np.median(column[measured]) if enough else np.nan


def _distances(features: Floats) -> tuple[Floats, Floats]:
    """Median of each feature, and of each row the distance from it in scales; 0 where it was not measured."""
    middles = np.zeros(features.shape[1], np.float32)
    distances = np.zeros_like(features)
    for column, (name, (_, floor)) in enumerate(FEATURES.items()):
        values = features[:, column]
        measured = values[~np.isnan(values)]
        if len(measured) >= LEAST_ROWS:
            middles[column] = np.median(measured)
            scale = max(float(1.4826 * np.median(np.abs(measured - middles[column]))), floor)
            # A share of few characters varies by chance alone, at most as a coin does.
            chance = 0.25 / np.maximum(np.expm1(features[:, 0]), 1) if name in SHARES else 0.0
            distances[:, column] = np.nan_to_num((values - middles[column]) / np.sqrt(scale**2 + chance))
    return middles, distances


def _doubt(key: int, column: int, distance: float) -> Doubt:
    name = tuple(FEATURES)[column]
    side = "far above" if distance > 0 else "far below"
    return Doubt(
        key=key,
        step=STEP,
        reason=f"odd {name}",
        detail=f"its {FEATURES[name][0]} is {side} what is usual here, by {abs(distance):.0f} robust deviations",
    )


def _table(middles: Floats, features: Floats) -> list[dict[str, object]]:
    """What is usual, in units that a person reads."""
    rows = []
    for column, (name, (meaning, _)) in enumerate(FEATURES.items()):
        values = features[:, column]
        values = values[~np.isnan(values)]
        if len(values):
            low, high = np.percentile(values, [1, 99])
            readable = np.expm1 if name in ("length", "word length", "longest word") else np.asarray
            cells = [round(float(readable(value)), 3) for value in (low, middles[column], high)]
            rows.append({"feature": name, "means": meaning, "1 %": cells[0], "median": cells[1], "99 %": cells[2]})
    return rows
