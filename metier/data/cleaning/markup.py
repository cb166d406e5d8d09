r"""Leftover markup of scraped text: HTML tags, comments and character references become what a reader would see.

Carefully: what may be meant stays. A text with signs of code or of templates (`\"`, `$(`, `{{`, a line that ends with
a brace) stays whole, and so does a whole page (`<html>`), which is no leftover. Nothing is touched in Markdown code
(`x`, ```x```); `a < b`, `<me@here.org>`, `List<T>` and `<your name>` are no HTML elements in the syntax of HTML; an
element that could be a word or a type (`vector<b>`, `<source>`) is markup only where its closing tag is in the text or
it has attributes; one bare tag between spaces or quotes is spoken of (`use <br> to part lines`); a tag inside an
unfinished one (`<a <b>`) stays. Still, HTML that was written on purpose can look like text that was scraped: for
written answers this repair should be off unless the recipe asks for it.

Elements: the HTML Living Standard, section 4, and its obsolete elements (16.2). References: the character sets
Latin-1 and special of HTML 4.01 (24.2 and 24.4) and a few signs by name, all by number; not the mathematical and Greek
ones, whose names are those of variables (`p = &sum;` is C).
"""

from __future__ import annotations

import html
import re
import unicodedata
from html.entities import name2codepoint

_BLOCKS_NAMES = (
    "address article aside blockquote body br caption center dd details dialog dir div dl dt fieldset figcaption "
    "figure footer form frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html legend li main menu nav noscript ol "
    "optgroup option p pre section summary table tbody tfoot thead title tr ul"
)
_BLOCKS = frozenset(_BLOCKS_NAMES.split())
_CELLS = frozenset({"td", "th"})
_INLINE_NAMES = (
    "a abbr acronym area audio b base bdi bdo big button canvas cite code col colgroup data datalist del dfn em embed "
    "font frame i iframe img input ins kbd label link map mark meta meter nobr o:p object output param picture "
    "progress q ruby rp rt s samp script select small source span strike strong style sub sup svg template textarea "
    "time track tt u var video wbr"
)
_INLINE = frozenset(_INLINE_NAMES.split())
_ELEMENTS = _BLOCKS | _CELLS | _INLINE
_ALONE = frozenset({"br", "hr", "li", "p", "wbr"})
"""Elements that web pages leave unclosed and that are no word or type: markup even when alone and bare."""

# Escaped quotes, variables of a shell, templates, lines that end as statements do, and pages from their beginning.
_IS_CODE = re.compile(
    r"""\\["'/<]|\$[({]|\{[{%]|(?:[{}]|["')];)[^\S\n]*(?:\n|\Z)|<\?|<!doctype\b|<html\b""", re.IGNORECASE
)
_CODE = r"(?P<code>```.*?```|`[^`\n]+`)"
_ATTRIBUTE = r"""\s+[A-Za-z_:@][\w:.\-]*\s*=\s*(?:"[^"`<>]*"|'[^'`<>]*'|[^\s"'=<>`]+)"""
# An attribute without a value has to be one of those that exist: `<b and c>` is a comparison.
_SWITCH = (
    r"\s+(?:allowfullscreen|async|autoplay|checked|compact|controls|defer|disabled|hidden|ismap|itemscope|loop|multiple"
    r"|muted|nohref|noshade|novalidate|nowrap|open|readonly|required|reversed|selected)\b"
)
# Without backticks, so that what is code stays code; none inside another, so that many openings cost no more than one.
_UNSEEN = (
    r"<!--(?:(?!<!--)[^`])*?-->"
    r"|<(?P<kind>script|style)\b[^<>`]*>(?:(?!<(?:script|style)\b)[^`])*?</(?P=kind)\s*>"
)
_MARKUP = re.compile(
    rf"{_CODE}|(?P<unseen>{_UNSEEN})"
    rf"|<(?P<close>/)?(?P<name>[a-z][a-z0-9:]*)(?P<attributes>(?:{_ATTRIBUTE}|{_SWITCH})*)\s*/?>",
    re.DOTALL | re.IGNORECASE,
)
_REFERENCE = re.compile(
    rf"{_CODE}|&(?:(?:amp|#0*38|#x0*26);)*(?:(?P<name>#\d{{1,7}}|#x[0-9a-f]{{1,6}}|[a-z]{{2,8}}[0-9]{{0,2}});)?",
    re.DOTALL | re.IGNORECASE,
)
# What could become a tag or a reference if the tag behind it went.
_UNFINISHED = re.compile(r"(?:&#?\w{0,31}|<|<[/!?A-Za-z][^<>]*)\Z")
_SPECIAL_NAMES = (
    "quot lt gt OElig oelig Scaron scaron Yuml circ tilde ensp emsp thinsp zwnj zwj lrm rlm ndash mdash lsquo rsquo "
    "sbquo ldquo rdquo bdquo dagger Dagger permil lsaquo rsaquo euro hellip bull trade prime Prime larr rarr"
)
_SPECIAL = frozenset(_SPECIAL_NAMES.split())
_NAMED = {name: chr(point) for name, point in name2codepoint.items() if 0xA0 <= point <= 0xFF or name in _SPECIAL} | {
    "apos": "'",
    "nbsp": " ",
}


def without_markup(text: str) -> str:
    """`text` without leftover tags and with references as their characters; ends of blocks and `<br>` end a line.

    Running it on its own result changes nothing. A space that may not break (`&nbsp;`) becomes a space.
    """
    if ("&" not in text and "<" not in text) or _IS_CODE.search(text):
        return text
    if "&" in text:
        text = _REFERENCE.sub(_dereferenced, text)
    return _without_tags(text) if "<" in text else text


def _dereferenced(found: re.Match[str]) -> str:
    if found["code"] is not None:
        return found["code"]
    name = found["name"]
    if name is None:
        return "&"
    return _character(name) or f"&{name};"


def _character(name: str) -> str | None:
    """What a reference stands for; None if it stays: unknown, no character, or one that could make a new reference."""
    if not name.startswith("#"):
        return _NAMED.get(name)
    found = html.unescape(f"&{name.lower()};")
    if len(found) != 1 or found in "`#;&\ufffd" or (found.isascii() and found.isalnum()):
        return None
    if found == "\xa0":
        return " "
    kind = unicodedata.category(found)
    return found if found in "\n\t" or kind[0] != "C" or kind == "Cf" else None


def _without_tags(text: str) -> str:
    matches = [found for found in _MARKUP.finditer(text) if _is_known(found)]
    tags = [found for found in matches if found["code"] is None]
    if not tags or (len(tags) == 1 and _is_spoken_of(tags[0], text)):
        return text
    closed = frozenset(found["name"].lower() for found in matches if found["close"])
    parts: list[str] = []
    end, tail, on_new_line, comment_begun = 0, "", False, False
    for found in matches:
        gap = text[end : found.start()]
        parts.append(gap)
        tail = _tail(tail + gap)
        comment_begun = comment_begun or "<!--" in gap
        on_new_line = on_new_line and not gap.strip()
        end = found.end()
        inside = comment_begun and found["unseen"] is not None
        if not _is_markup(found, closed) or inside or _would_join(tail, text[end : end + 1]):
            parts.append(found[0])
            tail, on_new_line = "", False
            continue
        seen = _instead(found, (gap or " ")[-1], text[end : end + 1])
        if seen == "\n":
            seen, on_new_line = ("" if on_new_line else "\n"), True
        parts.append(seen)
        tail += seen
    parts.append(text[end:])
    return "".join(parts)


def _is_known(found: re.Match[str]) -> bool:
    return found["name"] is None or found["name"].lower() in _ELEMENTS


def _is_spoken_of(found: re.Match[str], text: str) -> bool:
    bare = found["name"] is not None and not found["attributes"]
    around = text[found.start() - 1 : found.start()] + text[found.end() : found.end() + 1]
    return bare and around in ("  ", '""', "''", "“”", "‘’", "()")


def _is_markup(found: re.Match[str], closed: frozenset[str]) -> bool:
    if found["code"] is not None:
        return False
    if found["unseen"] is not None or found["close"]:
        return True
    name = found["name"].lower()
    return name in _ALONE or name in closed or "=" in found["attributes"]


def _tail(text: str) -> str:
    """The end of `text` that could be the beginning of a tag or reference."""
    return text[text.rindex("<") :] if "<" in text else text[-34:]


def _would_join(tail: str, following: str) -> bool:
    # The dashes: what is left must not end a comment that had no end.
    return _UNFINISHED.search(tail) is not None or (tail.endswith("-") and following in ("-", ">"))


def _instead(found: re.Match[str], before: str, after: str) -> str:
    """What a reader sees in the place of a tag."""
    if found["unseen"] is not None or found["name"].lower() in _BLOCKS:
        return "\n"
    # Two backticks must not become neighbours: three of them begin a block of code.
    return " " if found["name"].lower() in _CELLS or "`" in (before, after) else ""
