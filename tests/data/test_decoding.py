from __future__ import annotations

import codecs
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.data.decoding import TextBlocks
from metier.errors import DataError


def decode(data: bytes, encoding: str | None = None) -> tuple[str, str, tuple[int, ...]]:
    """The text of a file, its encoding, and the numbers of lines that were read as Windows-1252 against the rest."""
    blocks = TextBlocks(io.BytesIO(data), name="f", encoding=encoding)
    text = "".join(blocks)
    return text, blocks.encoding, tuple(blocks.odd_lines)


TEXT = "text,label\ngrüße aus Köln,x\nцена 5 €,y\n"


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        pytest.param(TEXT.encode(), "utf-8", id="utf-8"),
        pytest.param(codecs.BOM_UTF8 + TEXT.encode(), "utf-8-sig", id="utf-8 with mark"),
        pytest.param(TEXT.encode("utf-16"), "utf-16", id="utf-16 with mark"),
        pytest.param(codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), "utf-16", id="utf-16 big end first"),
        pytest.param(codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"), "utf-32", id="utf-32 with mark"),
    ],
)
def test_unicode_is_found(data: bytes, encoding: str) -> None:
    assert decode(data) == (TEXT, encoding, ())


def test_utf_16_without_a_mark() -> None:
    assert decode("text,label\nabc,x\n".encode("utf-16-le"))[0] == "text,label\nabc,x\n"


def test_windows_1252() -> None:
    assert decode("prix,é\n“5 €”,x\n".encode("cp1252"))[:2] == ("prix,é\n“5 €”,x\n", "windows-1252")


def test_single_lines_of_another_encoding_are_counted() -> None:
    data = b"\n".join(["é".encode(), "ü".encode("cp1252"), b"plain", "ß".encode()])
    text, _, odd_lines = decode(data)
    assert (text, odd_lines) == ("é\nü\nplain\nß", (2,))


@given(st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"])))
def test_utf_8_survives(text: str) -> None:
    text = "x" + text
    assert decode(text.encode())[0] == text


@pytest.mark.parametrize("line_end", ["\r\n", "\r", "\n"], ids=["crlf", "cr", "lf"])
def test_line_ends_become_line_feeds(line_end: str) -> None:
    assert decode(f"a{line_end}b".encode())[0] == "a\nb"


@pytest.mark.parametrize(
    ("data", "encoding", "message"),
    [
        pytest.param(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0", None, "f: is a binary file, wanted csv", id="binary"),
        pytest.param(b"a\nb\xff", "utf-8", r"f: is not valid utf-8 in line 2 \(byte 3\)", id="not what was said"),
        pytest.param(b"a", "utf-9", "data.encoding: is `utf-9`, wanted a known text encoding", id="unknown"),
    ],
)
def test_what_is_no_text_is_an_error(data: bytes, encoding: str | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        decode(data, encoding)


def test_the_recipe_can_name_the_encoding() -> None:
    assert decode("Ω".encode("cp1253"), "cp1253")[0] == "Ω"
