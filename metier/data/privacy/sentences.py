"""Counts how much of the records' text stands in the files of a run, for the report's `0 sentences of record text`.

The files are read first and the records afterwards, one by one, so that two million of them need no memory: of each
file only the hashes of all runs of words are kept. Eight words in a row that a file shares with a record are no
chance; a record of five to seven words is looked for whole; what is shorter cannot be told, and is counted as that.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from metier.data.privacy.account import SharedText
from metier.data.privacy.contents import Contents

WORDS = 8
"""Words in a row that count as a sentence."""
FEWEST = 5
"""Words of a record that is looked for whole."""
PLACES = 5
"""Files that are named."""
_AT_ONCE = 2000
"""Records that are hashed together."""
_MOST_WORDS = 500_000
"""Different words whose hashes are remembered."""
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_WORD = re.compile(r"\w+")
_ESCAPES = re.compile(r"\\u([0-9a-fA-F]{4})|\\[nrt\"/\\]")
_MARKS = re.compile(r"<[^<>]{0,300}>")
Hashes = npt.NDArray[np.uint64]


@dataclass
class _Vocabulary:
    """The hash of each word, as it was computed before."""

    known: dict[str, int] = field(default_factory=dict)

    def hashes(self, text: str) -> Hashes:
        """One hash a word, letters and digits only, without case."""
        return np.array([self._hash(word) for word in _WORD.findall(text.casefold())], dtype=np.uint64)

    def _hash(self, word: str) -> int:
        found = self.known.get(word)
        if found is None:
            if len(self.known) >= _MOST_WORDS:
                self.known.clear()
            digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            found = self.known[word] = int.from_bytes(digest, "little")
        return found


def count_shared(
    folder: Path,
    texts: Iterable[str],
    *,
    known: Sequence[str] = (),
    skip: Callable[[str], bool] = lambda place: False,
) -> SharedText:
    """Count sentences of records in the files of a folder.

    Files with zero bytes (weights, pictures) hold no words; what is packed, and Parquet, is unpacked and read.

    Args:
        folder: Of a run.
        texts: Of all records; questions and written answers apart.
        known: Texts that may stand there: the recipe, the system prompt, names of labels.
        skip: Places that are left out, by their path in the folder.
    """
    words, contents = _Vocabulary(), Contents(folder)
    allowed = {length: _windows_of(words.hashes("\n".join(known)), length) for length in range(FEWEST, WORDS + 1)}
    by_place: dict[str, dict[int, Hashes]] = {}
    for place, blocks in contents.parts():
        if not skip(place):
            found = _windows_of_file(blocks, words)
            left = {length: np.setdiff1d(found[length], allowed[length]) for length in found}
            if any(len(each) for each in left.values()):
                by_place[place] = left
    lookup = {
        length: np.unique(np.concatenate([each[length] for each in by_place.values()] or [_none()]))
        for length in range(FEWEST, WORDS + 1)
    }
    return _count(texts, words, lookup, by_place, contents)


def _count(
    texts: Iterable[str], words: _Vocabulary, lookup: dict[int, Hashes], by_place: dict[str, dict[int, Hashes]],
    contents: Contents,
) -> SharedText:  # fmt: skip
    sentences, records, too_short = 0, 0, 0
    hits: dict[int, list[Hashes]] = {length: [] for length in lookup}
    for some in _batches(texts):
        records += len(some)
        hashed = [words.hashes(text) for text in some]
        too_short += sum(len(each) < FEWEST for each in hashed)
        for length in lookup:
            fitting = [each for each in hashed if len(each) == length or (length == WORDS and len(each) > WORDS)]
            runs, found = _runs(fitting, length, lookup[length])
            sentences += runs
            hits[length].append(found)
    places = [
        place for place, windows in by_place.items()
        if any(np.isin(windows[length], np.concatenate([_none(), *hits[length]])).any() for length in hits)
    ]  # fmt: skip
    return SharedText(
        sentences=sentences, words=WORDS, records=records, too_short=too_short, files=contents.files,
        unread=tuple(contents.unread), places=tuple(places[:PLACES]),
    )  # fmt: skip


def _runs(records: Sequence[Hashes], length: int, lookup: Hashes) -> tuple[int, Hashes]:
    """How many runs of shared windows the records have, and the windows that are shared."""
    if not records or not len(lookup):
        return 0, _none()
    owner = np.repeat(np.arange(len(records)), [len(each) for each in records])
    windows = _windows(np.concatenate(records), length)
    whole = owner[: len(windows)] == owner[length - 1 :]  # a window that lies in one record
    shared = np.isin(windows, lookup) & whole
    # A run begins where the window before is not shared, or is another record's.
    begins = shared & ~np.concatenate([[False], shared[:-1] & (owner[: len(windows) - 1] == owner[1 : len(windows)])])
    return int(begins.sum()), np.unique(windows[shared])


def _windows(hashes: Hashes, length: int) -> Hashes:
    """A hash of every `length` words in a row, in order."""
    if len(hashes) < length:
        return _none()
    total = np.zeros(len(hashes) - length + 1, dtype=np.uint64)
    for place in range(length):
        total = total * _PRIME + hashes[place : place + len(total)]
    return total


def _windows_of(hashes: Hashes, length: int) -> Hashes:
    return np.unique(_windows(hashes, length))


def _windows_of_file(blocks: Iterable[bytes], words: _Vocabulary) -> dict[int, Hashes]:
    """The windows of every length in one file."""
    found: dict[int, list[Hashes]] = {length: [] for length in range(FEWEST, WORDS + 1)}
    tail, rest = _none(), b""
    for block in blocks:
        if b"\0" in block[:4096]:
            tail, rest = _none(), b""
            continue
        # A word that the block's end cuts is read with the next block.
        whole, space, rest = (rest + block).rpartition(b" ") if len(block) >= 1 << 16 else (rest + block, b"", b"")
        hashes = np.concatenate([tail, words.hashes(_readable(whole + space))])
        for length, windows in found.items():
            windows.append(_windows_of(hashes, length))
        tail = hashes[-WORDS + 1 :]
    if rest:
        last = np.concatenate([tail, words.hashes(_readable(rest))])
        for length, windows in found.items():
            windows.append(_windows_of(last, length))
    return {length: np.unique(np.concatenate([_none(), *windows])) for length, windows in found.items()}


def _readable(data: bytes) -> str:
    """The words of a file without what JSON and HTML write around and into them."""
    text = _ESCAPES.sub(lambda match: chr(int(match[1], 16)) if match[1] else " ", data.decode("utf-8", "replace"))
    return html.unescape(_MARKS.sub(" ", text))


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    left = iter(texts)
    while some := list(islice(left, _AT_ONCE)):
        yield some


def _none() -> Hashes:
    return np.zeros(0, dtype=np.uint64)
