"""Looks for given texts in every file of a folder, in every form that a program writes a text in.

For the test of `privacy: strict`: identifiers and sentences that were planted in the data must be in no file that
a run leaves. What is found is told by number and place, never by its text.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import numpy as np
import numpy.typing as npt

from metier.data.input_rules import normalised
from metier.data.privacy.contents import Contents
from metier.errors import ArgumentError
from metier.store.fingerprint import text_sha256

SHORTEST = 5
"""Characters of a text that is not found by chance."""
_FEWEST_TOKENS, _FEWEST_LETTERS = 4, 8
"""Tokens, and letters of base64, that are not found by chance."""
_SEPARATORS = re.compile(r"(?:\s|\\[nrt]|<[^<>]{0,300}>)+")
_LONGEST_MARK = 512
"""Bytes at the end of a block that the beginning of the next one may change."""
_PRIME, _OTHER_PRIME = np.uint32(0x9E3779B1), np.uint32(0x85EBCA6B)  # as in Fibonacci hashing and MurmurHash3
_BITS = 20


@dataclass(frozen=True, kw_only=True)
class Found:
    """A text in a file."""

    place: str
    """File, relative to the folder; `file!member` inside of something packed."""
    needle: int
    """Which text, counted from 0."""
    form: str
    """How it is written there: `utf-8`, `json`, `base64`, `folded`, `tokens`, `hash`, …"""
    offset: int
    """Of the first one, in bytes of what is unpacked; of folded text, of the block."""
    times: int = 1


@dataclass(frozen=True, kw_only=True)
class Search:
    """What was found, and what was looked at."""

    found: tuple[Found, ...]
    files: int
    bytes: int
    """Unpacked."""
    unread: tuple[str, ...]
    """What could not be looked into: nothing is known of it."""

    @property
    def places(self) -> tuple[str, ...]:
        """The places in which anything was found, each once."""
        return tuple(dict.fromkeys(each.place for each in self.found))


def find_texts(
    folder: Path,
    needles: Sequence[str],
    *,
    encode: Callable[[str], Sequence[int]] | None = None,
    hashes: bool = False,
    skip: Callable[[str], bool] = lambda place: False,
) -> Search:
    """Look for texts in all files of a folder, in their names, and in what is packed in them.

    Args:
        folder: With all that is in it.
        needles: The texts, each of at least `SHORTEST` characters.
        encode: From a text to token ids: then stored tokens are looked for too.
        hashes: Whether a plain SHA-256 of a whole text counts as found: who has a list of likely texts can look it up.
        skip: Places that are left out, by their path in the folder; for what is encrypted, or known to hold texts.

    Returns:
        One entry for each text, form and place.

    Raises:
        ArgumentError: A text is too short, or the folder is none.
    """
    if not folder.is_dir():
        raise ArgumentError(str(folder), "is no folder", "the folder of a run")
    exact = _Matcher([pattern for each in _numbered(needles) for pattern in _forms(*each, encode, hashes)])
    folded = _Matcher([(number, "folded", _fold(text.encode())) for number, text in _numbered(needles)])
    contents = Contents(folder)
    found: dict[tuple[str, int, str], Found] = {}
    for place, blocks in contents.parts():
        if skip(place):
            continue
        for number, form, offset in _in_blocks(blocks, exact, folded):
            key = (place, number, form)
            known = found.get(key)
            times = 1 if known is None else known.times + 1
            first = offset if known is None else known.offset
            found[key] = Found(place=place, needle=number, form=form, offset=first, times=times)
    return Search(found=tuple(found.values()), files=contents.files, bytes=contents.size, unread=tuple(contents.unread))


def _numbered(needles: Sequence[str]) -> Iterator[tuple[int, str]]:
    for number, text in enumerate(needles):
        if len(text.strip()) < SHORTEST:
            found = f"has {len(text.strip())} characters"
            raise ArgumentError(f"needle {number}", found, f"{SHORTEST} or more: less is found by chance")
        yield number, text.strip()


def _in_blocks(blocks: Iterable[bytes], exact: _Matcher, folded: _Matcher) -> Iterator[tuple[int, str, int]]:
    """What is found in the blocks of one file: each block is looked at with the end of the one before."""
    begin, tail, text_tail = 0, b"", b""
    for block in blocks:
        data = tail + block
        # What lies wholly in the tail was found with the block before.
        yield from ((*hit[:2], begin + hit[2]) for hit in exact.find(data) if hit[3] > len(tail))
        begin += len(data) - min(len(data), exact.longest - 1)
        tail = data[len(data) - min(len(data), exact.longest - 1) :]
        if b"\0" in block[:4096]:
            text_tail = b""
            continue
        plain, new = _fold(text_tail + block), len(_fold(text_tail)) - _LONGEST_MARK
        yield from (hit[:3] for hit in folded.find(plain) if hit[3] > new)
        text_tail = (text_tail + block)[-4 * folded.longest :]


def _fold(data: bytes) -> bytes:
    """Text in small letters with single spaces, without marks and escapes: as pages and wrapped lines have it."""
    text = html.unescape(data.decode("utf-8", "replace"))
    return _SEPARATORS.sub(" ", text).casefold().encode("utf-8", "replace")


def _forms(
    number: int, text: str, encode: Callable[[str], Sequence[int]] | None, hashes: bool
) -> Iterator[tuple[int, str, bytes]]:
    """Every way in which a text may stand in a file, each once."""
    data = text.encode("utf-8", "surrogatepass")
    forms: dict[bytes, str] = {data: "utf-8"}

    def add(form: str, *written: str | bytes) -> None:
        for each in written:
            forms.setdefault(each.encode("utf-8", "surrogatepass") if isinstance(each, str) else each, form)

    inner = (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
    add("json", *inner, *(json.dumps(each, ensure_ascii=False)[1:-1] for each in inner))
    add("python", repr(text)[1:-1], ascii(text)[1:-1])
    escaped = html.escape(text, quote=False)
    marks = [html.escape(text), escaped.replace('"', "&#34;").replace("'", "&#39;"), escaped]
    add("html", *marks, *(each.encode("ascii", "xmlcharrefreplace") for each in marks))
    add("url", quote(text, safe=""), quote(text), quote_plus(text))
    add("utf-16", text.encode("utf-16-le", "surrogatepass"), text.encode("utf-16-be", "surrogatepass"))
    for shift in range(3):
        # The first and last letters of base64 depend on what stands around.
        encoded = base64.b64encode(bytes(shift) + data)[4 if shift else 0 : -4]
        if len(encoded) >= _FEWEST_LETTERS:
            add("base64", encoded, encoded.replace(b"+", b"-").replace(b"/", b"_"))
    if encode is not None:
        ids = [int(each) for each in encode(text)][1:-1]  # what stands around a text changes its ends
        if len(ids) >= _FEWEST_TOKENS:
            kinds = ["<i4", "<i8"] + (["<u2"] if max(ids) < 1 << 16 else [])
            add("tokens", *(np.array(ids, kind).tobytes() for kind in kinds))
            add("tokens", ", ".join(map(str, ids)), ",".join(map(str, ids)))
    if hashes:
        add("hash", text_sha256(text)[:16], text_sha256(normalised(text))[:16])
    yield from ((number, form, pattern) for pattern, form in forms.items())


@dataclass
class _Matcher:
    """Finds many byte strings at once: a table of their first bytes rules almost every place out (Rabin and Karp)."""

    patterns: Sequence[tuple[int, str, bytes]]
    longest: int = field(init=False)
    _width: int = field(init=False)
    _table: npt.NDArray[np.bool_] = field(init=False, repr=False)
    _by_start: dict[bytes, list[tuple[int, str, bytes]]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Index the patterns by their first 8 bytes, or 4 where one is shorter than 8."""
        lengths = [len(pattern) for _, _, pattern in self.patterns] or [8]
        self.longest, self._width = max(lengths), 8 if min(lengths) >= 8 else 4
        self._by_start = {}
        for each in self.patterns:
            self._by_start.setdefault(each[2][: self._width], []).append(each)
        self._table = np.zeros(1 << _BITS, dtype=bool)
        for start in self._by_start:
            self._table[self._slots(np.frombuffer(start, dtype=np.uint8))] = True

    def find(self, data: bytes) -> Iterator[tuple[int, str, int, int]]:
        """Number and form of each pattern that occurs, where it begins, and where it ends."""
        if len(data) < self._width:
            return
        slots = self._slots(np.frombuffer(data, dtype=np.uint8))
        for place in np.flatnonzero(self._table[slots]).tolist():
            for number, form, pattern in self._by_start.get(data[place : place + self._width], ()):
                if data.startswith(pattern, place):
                    yield number, form, place, place + len(pattern)

    def _slots(self, letters: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """The place in the table of every window of `_width` bytes."""
        pairs = letters[:-1].astype(np.uint32) | letters[1:].astype(np.uint32) << np.uint32(8)
        fours = pairs[:-2] | pairs[2:] << np.uint32(16)
        mixed = fours * _PRIME
        if self._width == 8:
            mixed = mixed[:-4] ^ fours[4:] * _OTHER_PRIME
        return np.asarray(mixed >> np.uint32(32 - _BITS))
