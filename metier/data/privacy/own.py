"""Recognisers of the recipe: the user's own kinds of personal data, such as record numbers and contract ids.

A regular expression from outside can take for ever on a harmless text. Two things stand against that: expressions
whose form allows it are refused (`check_recogniser`), and the search itself runs under a time limit.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from metier.data.privacy.checks import CHECKS
from metier.data.privacy.spans import KINDS, Span
from metier.errors import DataError

MAX_LENGTH = 500
"""Characters of an expression."""
MAX_WAYS = 32
"""How often a part that can match in several lengths may be repeated."""
MAX_OPEN = 3
"""Repetitions without an upper bound that one match may go through."""
MAX_SECONDS = 2.0
"""For one expression on one text; a usual one takes far below a millisecond."""
NEAR = 60
"""Characters before and after a match in which a context word may stand."""
_NAME = re.compile(r"[A-Z][A-Z0-9_]{1,39}\Z")


@dataclass(frozen=True, kw_only=True)
class OwnRecogniser:
    """One kind of the user's own."""

    name: str
    """Capitals, digits and `_`, such as `PATIENT_NUMBER`: what masks and counts call it."""
    regex: str
    """A regular expression of Python's `re`; a whole match is the value."""
    context: tuple[str, ...] = ()
    """Words of which one has to stand within 60 characters of a match, in any case; none: every match counts."""
    check: str | None = None
    """A name in `CHECKS` (`luhn`, `mod97`, `mod11`) that a match has to pass."""
    ignore_case: bool = False
    """Whether `regex` is blind to upper and lower case."""

    def find(self, text: str) -> Iterator[Span]:
        """Its spans in a text.

        Raises:
            DataError: The expression took longer than `MAX_SECONDS`.
        """
        check = CHECKS[self.check] if self.check else None
        try:
            for match in self._compiled.finditer(text, timeout=MAX_SECONDS):
                if match.end() > match.start() and (check is None or check(match[0])):
                    around = text[max(0, match.start() - NEAR) : match.end() + NEAR]
                    if not self.context or self._words.search(around):
                        yield Span(match.start(), match.end(), self.name, 1.0 if check else 0.96)
        except TimeoutError as error:
            found = f"the expression took more than {MAX_SECONDS:g} s on a text of {len(text)} characters"
            raise DataError(self._where, found, "", "Give its repetitions an upper bound, such as {1,12}.") from error

    @property
    def _where(self) -> str:
        return f"privacy.recognisers.{self.name}"

    @cached_property
    def _compiled(self) -> Any:
        # `regex` and not `re`: it can stop a search. transformers and sacrebleu bring it.
        regex = importlib.import_module("regex")
        return regex.compile(self.regex, regex.VERSION0 | (regex.IGNORECASE if self.ignore_case else 0))

    @cached_property
    def _words(self) -> re.Pattern[str]:
        return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, self.context))})(?!\w)", re.IGNORECASE)


def check_recognisers(own: Sequence[OwnRecogniser]) -> None:
    """Refuse what is not safe to run or cannot be meant.

    Args:
        own: Recognisers of a recipe.

    Raises:
        DataError: A name is taken or has other characters; an expression cannot be read, is too long, matches the
            empty text, uses back-references, or can take more than a small power of a text's length; a check is
            unknown; a context word is empty.
    """
    names: set[str] = set()
    for each in own:
        where = f"privacy.recognisers.{each.name}"
        if not _NAME.match(each.name):
            raise DataError(where, "is no name of a recogniser", "capitals, digits and `_`, such as PATIENT_NUMBER")
        if each.name in KINDS or each.name in names:
            raise DataError(where, "is the name of another recogniser", "a name of its own")
        names.add(each.name)
        if each.check is not None and each.check not in CHECKS:
            raise DataError(f"{where}.check", f"is `{each.check}`", f"one of {', '.join(CHECKS)}")
        if not all(word.strip() for word in each.context):
            raise DataError(f"{where}.context", "has an empty word")
        _check_expression(f"{where}.regex", each.regex)


def _check_expression(where: str, expression: str) -> None:
    if len(expression) > MAX_LENGTH:
        raise DataError(where, f"has {len(expression)} characters", f"at most {MAX_LENGTH}")
    try:
        re.compile(expression)
    except re.error as error:
        raise DataError(where, f"cannot be read ({error})", "a regular expression") from error
    # The parser of the standard library: not public, there under this name since Python 3.11.
    parsed = importlib.import_module("re._parser").parse(expression)
    if parsed.getwidth()[0] == 0:
        raise DataError(where, "matches the empty text", "an expression that needs at least one character")
    fault = _fault(parsed, 1) or (_too_open(parsed) if _open_ends(parsed) > MAX_OPEN else None)
    if fault:
        fix = "Give repetitions fixed separators and upper bounds, such as (?:-[0-9]{4}){3}."
        raise DataError(where, f"{fault}, which can take for ever on some texts", "", fix)


def _too_open(parsed: Any) -> str:
    return f"has {_open_ends(parsed)} repetitions without an upper bound"


_REPEATS = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")


def _fault(parsed: Any, ways: int) -> str | None:
    """What makes a parsed expression unsafe, or None.

    A part that can match the same text in several ways, repeated n times, has several^n ways to fail. Refused is
    any part of variable length, or choice between longer parts, inside repetitions whose upper bounds multiply to
    more than `MAX_WAYS`: stricter than needed, and decided without running anything.

    Args:
        parsed: Of `re._parser`.
        ways: Product of the upper bounds of the repetitions around it.
    """
    for code, value in parsed:
        name = str(code)
        if name.startswith("GROUPREF"):
            return "refers back to a group"
        if name in _REPEATS:
            low, high, body = value
            # A repetition of one character class, not within another repetition, has one way to match.
            varies = int(low) != int(high)
            if ways > 1 and varies and ways * int(high) > MAX_WAYS:
                return "repeats a repetition"
            inner = ways * int(high) if varies or ways > 1 or not _is_fixed(body) else 1
            fault = _fault(body, min(inner, MAX_WAYS + 1))
        elif name == "BRANCH":
            if ways > MAX_WAYS:
                return "repeats a choice between longer parts"
            fault = next((found for each in value[1] if (found := _fault(each, ways))), None)
        else:
            fault = next((found for each in _inner(value) if (found := _fault(each, ways))), None)
        if fault:
            return fault
    return None


def _open_ends(parsed: Any) -> int:
    """Repetitions without an upper bound, as many as one match goes through at most."""
    total = 0
    for code, value in parsed:
        name = str(code)
        if name in _REPEATS:
            total += int(int(value[1]) > 1000) + _open_ends(value[2])
        elif name == "BRANCH":
            total += max(_open_ends(each) for each in value[1])
        else:
            total += sum(_open_ends(each) for each in _inner(value))
    return total


def _is_fixed(parsed: Any) -> bool:
    low, high = parsed.getwidth()
    return bool(low == high)


def _inner(value: Any) -> Iterator[Any]:
    """The expressions within a parsed group or look-around."""
    if hasattr(value, "getwidth"):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            if hasattr(each, "getwidth"):
                yield each
