"""A JSON list of any length, item by item: the text passes in a window, and a broken item is given up alone.

Items are parsed by Python's own decoder (`JSONDecoder.raw_decode`). One that does not parse ends where its
brackets close, counted outside of strings, or before a line that begins as its own line does, whichever comes first:
so a lost bracket or quote costs one item where items begin on lines of their own. Where all is one line it may take
neighbours along, up to where the counting is right again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from metier.data.decoding import MOST_LINE
from metier.data.text_window import Window, in_pieces
from metier.errors import DataError

_SPACE = re.compile(r"[ \t\n\r]*")
_TOKEN = re.compile(r'"(?:[^"\\\n]++|\\.)*+"|[\[\]{},]')
_PIECE = 2**15
"""Characters of the window, where items are no longer: an error of Python's decoder costs as much as the window."""
_NEAR_END = 16
"""A parser that fails this near to the end of the window may have met the middle of a word or an escape."""


class Unreadable(NamedTuple):
    """What stands for an item that is no JSON."""

    content: str
    """As it was."""
    why: str = ""
    """What is wrong, where it is not simply no JSON."""


Element = tuple[int, int, Any]
"""Number of an item from 1, its line from 1 (0: not known), and its value or an `Unreadable`."""


class JsonText:
    """The text of a JSON file, read from front to back."""

    def __init__(self, blocks: Iterable[str], *, name: str) -> None:
        """Nothing is fetched yet.

        Args:
            blocks: The text, cut anywhere.
            name: The file, for messages.
        """
        self._window = Window(in_pieces(blocks, _PIECE))
        self._decode = json.JSONDecoder(parse_constant=no_number).raw_decode
        self._name = name
        self._lines = 0
        """Line ends before `_counted`, which is a place in the window."""
        self._counted = 0
        self._column_gone = 0
        """Characters of the current line that are no longer in the window."""

    def next_character(self) -> str:
        """The next character that is no white space, which then is where reading stands; empty at the end."""
        window = self._window
        while True:
            found = _SPACE.match(window.text, window.position)
            window.position = found.end() if found else window.position
            if window.position < len(window.text):
                return window.text[window.position]
            if not self._grow():
                return ""

    def rest(self, most: int) -> str | None:
        """All that is left, with as many line ends before it as it had, so that a parser's places are right.

        Args:
            most: None is given for a text longer than this.
        """
        while self._grow():
            if len(self._window.text) > most:
                return None
        return "\n" * self._lines + self._window.text

    def elements(self) -> Iterator[Element]:
        """The items of the list that begins here.

        Raises:
            DataError: It ends too early, goes on after its end, or an item has no end.
        """
        window = self._window
        window.position += 1
        number = 0
        character = self.next_character()
        while character != "]":
            # Where a comma is missing, what follows is an item of its own.
            if not character:
                raise self._error("the list has no end")
            number += 1
            yield number, self._line(), self._element()
            character = self.next_character()
            if character == ",":
                window.position += 1
                character = self.next_character()
                if character == "]":
                    raise self._error("Illegal trailing comma before end of array")
        window.position += 1
        if self.next_character():
            raise self._error("Extra data")

    def _element(self) -> Any:
        """The item that begins here, or an `Unreadable`; reading then stands behind it."""
        window, decode = self._window, self._decode
        margin: str | None = None
        while True:
            deep, fault, cut = False, "", True
            try:
                value, end = decode(window.text, window.position)
            except json.JSONDecodeError as error:
                fault = error.msg
                cut = fault.startswith("Unterminated string") or error.pos >= len(window.text) - _NEAR_END
            except RecursionError:
                deep, cut = True, False
            except ValueError:
                fault, cut = "a number that is too long", False
            else:
                if end < len(window.text) or window.ended:  # a number might go on
                    window.position = end
                    return value
            margin = self._margin() if margin is None else margin
            if cut and window.may_grow and (self._grow() or not fault):
                continue
            end = self._end_of_broken(margin)
            if end > window.position:
                content, window.position = window.text[window.position : end], end
                if len(window.text) - end > 4 * _PIECE:
                    self._leave()
                    window.shrink(_PIECE)
                return Unreadable(content.rstrip().removesuffix(","), "nested too deeply" if deep else "")
            if not (window.may_grow and self._grow()):
                raise self._endless(fault, deep)

    def _margin(self) -> str:
        """What stands before the item on its line, where that is white space; `-` where it is not, or not known."""
        window = self._window
        start = window.text.rfind("\n", 0, window.position) + 1
        if not start and (self._line() > 1 or self._column_gone):
            return "-"
        before = window.text[start : window.position].removeprefix("[")
        return "-" if before.strip() or window.text[window.position] not in "[{" else before

    def _end_of_broken(self, margin: str) -> int:
        """Where the broken item that begins here ends; -1: not in the window."""
        text, position = self._window.text, self._window.position
        beginning = f"\n{margin}{text[position]}"
        line = text.find(beginning, position) + 1 if margin != "-" else 0
        depth = 0
        for token in _TOKEN.finditer(text, position, line or len(text)):
            character = token[0]
            if character in "[{":
                depth += 1
            elif depth and character in "]}":
                depth -= 1
            elif not depth and character in ",]":
                return token.start()
        rest = text.rstrip()
        if not line and margin != "-" and self._window.ended and rest.endswith("]") and len(rest) - 1 > position:
            return len(rest) - 1  # the last item: what closes the list is not its own
        return line or -1

    def _grow(self) -> bool:
        self._leave()
        return self._window.grow()

    def _leave(self) -> None:
        """Count what lies before the position, which the window is about to let go."""
        self._line()
        gone = self._window.text[: self._window.position]
        self._column_gone = len(gone) - gone.rfind("\n") - 1 if "\n" in gone else self._column_gone + len(gone)
        self._counted = 0

    def _line(self) -> int:
        """The line where reading stands."""
        self._lines += self._window.text.count("\n", self._counted, self._window.position)
        self._counted = self._window.position
        return self._lines + 1

    def _endless(self, fault: str, deep: bool) -> DataError:
        if deep:
            return DataError(self._name, "is nested too deeply", "a list of objects")
        if not self._window.ended:
            fault = f"an item has no end within {MOST_LINE:,} characters"
        return self._error(fault)

    def _error(self, fault: str) -> DataError:
        gone = self._window.text[: self._window.position]
        column = len(gone) - gone.rfind("\n") if "\n" in gone else self._column_gone + len(gone) + 1
        found = f"is not valid JSON at line {self._line()}, column {column} ({fault})"
        return DataError(self._name, found, "", "Repair it, or save it again.")


def no_number(_: str) -> None:
    """What NaN and Infinity become: a missing value."""
    return
