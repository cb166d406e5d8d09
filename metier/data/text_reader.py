"""Plain text: a file whose lines are rows, or a file that is one document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from metier.data.batches import FileFacts, ReadRow
from metier.data.decoding import LONG_LINE, MOST_LINE, TextBlocks, line_blocks
from metier.data.records import Rejected
from metier.data.table import ReadOptions
from metier.errors import DataError

DOCUMENTS = (".md", ".markdown", ".txt", ".rst", ".text")
"""Endings of files that are read as documents."""
FRONT_MATTER = "front matter set aside"
# It begins with a key: text between two rulers stays.
_FRONT_MATTER = re.compile(
    r"\A---[ \t]*\n(?=(?:[ \t]*(?:#.*)?\n)*[\w\"'-][^\n:]*:)(?:.*\n)*?(?:---|\.\.\.)[ \t]*(?:\n|\Z)"
)
_MOST_DOCUMENT = 2**26
"""Characters of the longest file that is read as one document."""


def line_rows(file: BinaryIO, options: ReadOptions, facts: FileFacts) -> Iterator[ReadRow | Rejected]:
    """Every line a row, empty ones too, one by one.

    Args:
        file: The file, at its start.
        options: Encoding, where the recipe names it.
        facts: Filled while reading.
    """
    facts.columns["text"] = None
    blocks = TextBlocks(file, name=options.name, encoding=options.encoding)
    number = 0
    for block in line_blocks(blocks):
        for line in block.removesuffix("\n").split("\n"):
            number += 1
            if line == LONG_LINE:
                detail = f"line {number}: more than {MOST_LINE:,} characters"
                yield Rejected(source=options.name, row=number, reason="broken row", detail=detail)
            else:
                yield ReadRow(number, {"text": line})
    if not number:  # an empty file is one empty line
        yield ReadRow(1, {"text": ""})
    facts.encoding = blocks.encoding


def document_rows(file: BinaryIO, options: ReadOptions, facts: FileFacts) -> Iterator[ReadRow | Rejected]:
    """The whole file as one row; YAML front matter at its start is set aside.

    Args:
        file: The file, at its start.
        options: Encoding, where the recipe names it.
        facts: Filled while reading.

    Raises:
        DataError: It is too large for one document.
    """
    facts.columns["text"] = None
    blocks = TextBlocks(file, name=options.name, encoding=options.encoding)
    parts, size = [], 0
    for block in blocks:
        parts.append(block)
        size += len(block)
        if size > _MOST_DOCUMENT:
            found = f"has more than {_MOST_DOCUMENT:,} characters, too many for one document"
            raise DataError(options.name, found, "", "Cut it, or read it with `data.format: lines`.")
    whole = "".join(parts)
    text = _FRONT_MATTER.sub("", whole, count=1)
    yield ReadRow(1, {"text": text.strip("\n")}, FRONT_MATTER if text != whole else "")
    facts.encoding = blocks.encoding
