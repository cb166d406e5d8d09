"""Plain text: a file whose lines are rows, or a file that is one document."""

from __future__ import annotations

import re

from metier.data.decoding import decode_text
from metier.data.table import Content, ReadOptions

DOCUMENTS = (".md", ".markdown", ".txt", ".rst", ".text")
"""Endings of files that are read as documents."""
FRONT_MATTER = "front matter set aside"
# It begins with a key: text between two rulers stays.
_FRONT_MATTER = re.compile(
    r"\A---[ \t]*\n(?=(?:[ \t]*(?:#.*)?\n)*[\w\"'-][^\n:]*:)(?:.*\n)*?(?:---|\.\.\.)[ \t]*(?:\n|\Z)"
)


def read_lines(data: bytes, options: ReadOptions) -> Content:
    """Every line a row, empty ones too: another file may be aligned with it.

    Args:
        data: The file's bytes.
        options: Encoding, where the recipe names it.
    """
    decoded = decode_text(data, name=options.name, encoding=options.encoding)
    lines = decoded.text.removesuffix("\n").split("\n")
    return Content(
        columns=("text",),
        rows=[{"text": line} for line in lines],
        row_numbers=list(range(1, len(lines) + 1)),
        encoding=decoded.encoding,
    )


def read_document(data: bytes, options: ReadOptions) -> Content:
    """The whole file as one row; YAML front matter at its start is set aside.

    Args:
        data: The file's bytes.
        options: Encoding, where the recipe names it.
    """
    decoded = decode_text(data, name=options.name, encoding=options.encoding)
    text = _FRONT_MATTER.sub("", decoded.text, count=1)
    return Content(
        columns=("text",),
        rows=[{"text": text.strip("\n")}],
        row_numbers=[1],
        repaired={1: FRONT_MATTER} if text != decoded.text else {},
        encoding=decoded.encoding,
    )
