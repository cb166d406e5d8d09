"""Repairs of texts beyond those of `input_rules.REPAIRS`: pure, idempotent functions by name, in a stated order.

Each may run on every future input, so each only undoes damage that is certain, and leaves what a person may have
meant. Decided, with the reason:

    mojibake              repaired: `CafÃ©` was never meant
    codes of a terminal   removed: colours of a log, which would lose their first character as a control and stay
                          behind as `[31m`
    ﬀ ﬁ ﬂ ﬃ ﬄ ﬅ ﬆ         taken apart: made by typesetting and in Unicode only for compatibility; a text from a PDF
                          file has other words than the same text typed. Letters that look joined but belong to a
                          language (ĳ, ǆ, ŉ, æ, œ) stay.
    ＦＵＬＬ width         stays: the usual punctuation of Chinese and Japanese
    “curly” quotes        stay: they are typography, and say where a quotation begins and ends
    ², ½, ™, №            stay: 10² is not 102, which is why the Unicode form is NFC and not NFKC
    markup                see `markup.py`
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from metier.data.cleaning.markup import without_markup
from metier.errors import MissingPackage

ROUNDS = 20
"""How often a chain of repairs goes over one text at most; ordinary texts need one round, or two."""

# What mojibake needs at least: two characters beyond ASCII side by side, a C1 control, or one of four letters that
# ftfy judges by an ASCII neighbour. U+0085 alone is a line end of old systems (`line ends` makes it one).
_SUSPECT = re.compile("[^\x00-\x7f]{2}|[\x80-\x84\x86-\x9f]|[ÃÂŒœ]")
# A sequence that was cut off goes as well, so that no escape is left to make a new one.
_TERMINAL_CODE = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]?)?")
_LIGATURE = re.compile("[\ufb00-\ufb06]")
_LETTERS = {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"}


def without_terminal_codes(text: str) -> str:
    r"""`text` without ANSI escape sequences (ECMA-48, section 5.4), such as `\x1b[31m`."""
    return _TERMINAL_CODE.sub("", text) if "\x1b" in text else text


def decoded_right(text: str) -> str:
    """`text` with mojibake undone by ftfy, line by line: UTF-8 that was read as some other encoding.

    Only ftfy's `fix_encoding` is used, with its defaults: its other fixes (quotes, width, entities, ligatures)
    are decided in this file.

    Raises:
        MissingPackage: ftfy is not installed, and the text has to be looked at with it.
    """
    if text.isascii() or _SUSPECT.search(text) is None:
        return text
    fix_encoding = _ftfy()
    lines = text.split("\n")
    return "\n".join(fix_encoding(line) if _SUSPECT.search(line) else line for line in lines)


def without_ligatures(text: str) -> str:
    """`text` with typesetters' ligatures (U+FB00 to U+FB06) as letters."""
    if text.isascii():
        return text
    return _LIGATURE.sub(lambda found: _LETTERS[found[0]], text)


TEXT_REPAIRS: dict[str, Callable[[str], str]] = {
    "terminal codes": without_terminal_codes,
    "mojibake": decoded_right,
    "leftover markup": without_markup,
    "ligatures": without_ligatures,
}
"""By name, in the order in which they run.

The first three come before `line ends` and `invisible characters` of `input_rules.REPAIRS`, which take away the
controls that mojibake and terminal codes are recognised by and would not see what references stand for;
`ligatures` comes before `Unicode form`.
"""


def repair_text(
    text: str, names: Iterable[str], table: Mapping[str, Callable[[str], str]] = TEXT_REPAIRS
) -> tuple[str, tuple[str, ...]]:
    """`text` after all repairs, again and again until none has anything left to do.

    One repair can make work for one before it: a removed invisible character may have hidden mojibake. Without the
    further rounds, cleaning twice would not be cleaning once. A text that nothing changes costs one round.

    Args:
        text: The text.
        names: Repairs in order.
        table: By these names.

    Returns:
        The text, and the names of the repairs that changed it, in their order. A text that is built to need more
        than `ROUNDS` rounds comes back as far as it got.
    """
    names = tuple(names)
    used: set[str] = set()
    for _ in range(ROUNDS):
        before = text
        for name in names:
            repaired = table[name](text)
            if repaired != text:
                used.add(name)
                text = repaired
        if text == before:
            break
    return text, tuple(name for name in names if name in used)


def _ftfy() -> Callable[[str], str]:
    try:
        from ftfy import fix_encoding
    except ImportError as error:
        raise MissingPackage(
            "data.repairs", "the repair `mojibake` needs the package ftfy", "", "Run `pip install ftfy`."
        ) from error
    return fix_encoding
