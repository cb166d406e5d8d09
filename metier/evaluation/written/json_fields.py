"""Answers that are JSON objects: strict reading, fields by their paths, how alike two values are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

SHORT_VALUE = 10
"""Words up to which a value is right or wrong; longer ones are compared word by word."""
_PLACE = re.compile(r"\[[0-9]+\]")


def read_object(text: str | None) -> dict[str, Any] | None:
    """The JSON object that `text` is, or None.

    Strict: nothing stands around it, so an object in a code fence (```json) is not valid, and neither
    are NaN, Infinity, a list or a bare value. White space at both ends is.
    """
    try:
        value = json.loads(text or "", parse_constant=_refuse)
    except (ValueError, RecursionError):  # ValueError: no JSON, or a number of thousands of digits
        return None
    return value if isinstance(value, dict) else None


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def fields_of(value: Mapping[str, Any]) -> dict[str, str]:
    """The leaves of an object as text by their path: `customer.name`, `items[0].price`; empty ones are leaves too."""
    leaves: dict[str, str] = {}
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        path, inner = waiting.pop()
        if isinstance(inner, Mapping) and inner:
            waiting += [(f"{path}.{_name(key)}" if path else _name(key), held) for key, held in inner.items()]
        elif isinstance(inner, list) and inner:
            waiting += [(f"{path}[{place}]", held) for place, held in enumerate(inner)]
        elif path:
            leaves[path] = _as_text(inner)
    return dict(sorted(leaves.items()))


def field_of(path: str) -> str:
    """The field that a path belongs to: all items of a list are one field, `items[].price`."""
    return _PLACE.sub("[]", path)


def alike(gold: str, answer: str, token_f1: Callable[[str, str], float]) -> float:
    """How alike two values are, 0 to 1: equal or not for short gold values, token F1 for longer ones.

    Args:
        gold: The right value as text.
        answer: The answered value as text.
        token_f1: From (gold, answer) to their token F1.
    """
    if len(gold.split()) > SHORT_VALUE:
        return token_f1(gold, answer)
    return float(gold.split() == answer.split())


def _name(key: str) -> str:
    # A lone surrogate can stand in JSON, but in no file of ours.
    return key.encode("utf-8", "replace").decode("utf-8")


def _as_text(value: Any) -> str:
    """A leaf as text; 1.0 is 1, and a number is the same as its digits in quotes."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value)
