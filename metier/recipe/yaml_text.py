"""YAML text to plain values, safely: nothing is executed, nothing is guessed, every value knows its line.

What differs from PyYAML's safe loader: numbers, booleans and null follow YAML 1.2 (`1e-4` is a number,
`yes` and `on` are text, `010` is ten), duplicate keys are faults, keys are always text, tags other than
the plain ones are refused, and a recipe cannot grow without limit through aliases.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from metier.errors import RecipeError

Place = tuple[str, ...]
_MOST_VALUES = 50_000
_TAG = "tag:yaml.org,2002:"
_PATTERNS: Mapping[str, tuple[str, str]] = {
    "null": (r"(?:~|null|Null|NULL|)$", "~nN\0"),
    "bool": (r"(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    "int": (r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789"),
    "float": (
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        "-+.0123456789",
    ),
}


@dataclass(frozen=True)
class Document:
    """What a YAML text says, and where it says it."""

    value: Any
    places: dict[Place, str] = field(default_factory=dict)
    """Path to where it stands: `line 4`, or `--set`."""
    written: dict[Place, str] = field(default_factory=dict)
    """Path of a plain number or boolean to its letters, for fields that want text (`007`)."""
    faults: tuple[RecipeError, ...] = ()
    """Duplicate keys and the like: reported together with the faults of the values."""


class _Loader(yaml.SafeLoader):
    """Composes nodes with YAML 1.2's plain scalars; constructing is done here, not by PyYAML."""


_Loader.yaml_implicit_resolvers = {}  # without YAML 1.1's
for _name in ("null", "bool", "int", "float"):  # the order matters: an int also looks like a float
    _pattern, _first = _PATTERNS[_name]
    _Loader.add_implicit_resolver(
        _TAG + _name, re.compile(_pattern), ["" if letter == "\0" else letter for letter in _first]
    )
_Loader.add_implicit_resolver(_TAG + "merge", re.compile(r"<<$"), ["<"])


def is_plain_text(text: str) -> bool:
    """Whether `text`, written without quotes, is read back as text."""
    return not any(re.match(pattern, text) for pattern, _ in _PATTERNS.values())


def parse_yaml(text: str, *, where: str) -> Document:
    """Read one YAML document.

    Args:
        text: The YAML.
        where: The file, for messages.

    Returns:
        Its values; `None` when there are none.

    Raises:
        RecipeError: It is no YAML, or holds something that a recipe cannot hold.
    """
    try:
        node = _Loader(text).get_single_node()
        reader = _Reader(where)
        value = None if node is None else reader.value(node, ())
    except yaml.MarkedYAMLError as error:
        raise _in_plain_words(error, text, where) from None
    except yaml.YAMLError:
        raise RecipeError(where, "is not text", "a YAML file in UTF-8") from None
    except (RecursionError, ValueError):
        raise RecipeError(where, "is nested too deeply, or holds a number that is too long", "a recipe") from None
    return Document(value, reader.places, reader.written, tuple(reader.faults))


class _Reader:
    """Turns nodes into values and remembers where each stood."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.places: dict[Place, str] = {}
        self.written: dict[Place, str] = {}
        self.faults: list[RecipeError] = []
        self._open: set[int] = set()
        self._count = 0

    def value(self, node: yaml.Node, path: Place) -> Any:
        """The value of `node`, which stands at `path`."""
        self._count += 1
        if self._count > _MOST_VALUES:
            raise self._refused(node, f"holds more than {_MOST_VALUES:,} values", "a recipe")
        if id(node) in self._open:
            raise self._refused(node, "an alias that contains itself", "plain values")
        self.places.setdefault(path, f"line {node.start_mark.line + 1}")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
                return [self.value(item, (*path, str(index))) for index, item in enumerate(node.value)]
            if isinstance(node, yaml.ScalarNode):
                return self._scalar(node, path)
            raise self._bad_tag(node)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, path: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        lines: dict[str, int] = {}
        merged: dict[str, Any] = {}
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._refused(key, "a list or a mapping as a key", "text")
            if key.tag == _TAG + "merge":
                merged = {**self._merged(item, path), **merged}
                continue
            name, line = key.value, key.start_mark.line + 1
            if name in values:
                found = f"is given twice, in lines {lines[name]} and {line}"
                self.faults.append(RecipeError(".".join((*path, name)), found, "", "Keep one of them."))
                continue
            lines[name] = line
            self._forget((*path, name))
            values[name] = self.value(item, (*path, name))
            self.places[(*path, name)] = f"line {line}"
        return {**merged, **values}

    def _merged(self, node: yaml.Node, path: Place) -> dict[str, Any]:
        # `<<: *name` and `<<: [*first, *second]`: earlier ones win, the mapping's own keys win over all.
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        result: dict[str, Any] = {}
        for each in reversed(nodes):
            value = self.value(each, path)
            if not isinstance(value, dict):
                raise self._refused(each, "a merge key (`<<`) without a mapping", "a mapping")
            result.update(value)
        return result

    def _forget(self, path: Place) -> None:
        # A key of its own stands above what a merge key brought for the same path.
        for known in (self.places, self.written):
            for old in [place for place in known if place[: len(path)] == path]:
                del known[old]

    def _scalar(self, node: yaml.ScalarNode, path: Place) -> Any:
        kind, text = node.tag.removeprefix(_TAG), node.value
        if kind in ("str", "merge"):
            return text
        if kind in _PATTERNS and re.match(_PATTERNS[kind][0], text) and node.style is None:
            if kind != "null":
                self.written[path] = text
            return _CONSTRUCT[kind](text)
        raise self._bad_tag(node)

    def _bad_tag(self, node: yaml.Node) -> RecipeError:
        if "python" in node.tag:
            return self._refused(node, "a YAML tag that would run code", "plain values", "Remove the tag.")
        tag = node.tag.replace(_TAG, "!!")[:40]
        return self._refused(node, f"the YAML tag {tag!r}, which recipes do not have", "plain values")

    def _refused(self, node: yaml.Node, found: str, wanted: str, fix: str = "") -> RecipeError:
        return RecipeError(f"{self.where}, line {node.start_mark.line + 1}", found, wanted, fix)


def _int(text: str) -> int:
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_CONSTRUCT: Mapping[str, Any] = {
    "null": lambda text: None,
    "bool": lambda text: text.lower() == "true",
    "int": _int,
    "float": _float,
}


def _in_plain_words(error: yaml.MarkedYAMLError, text: str, where: str) -> RecipeError:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return RecipeError(where, f"is no YAML: {error.problem or 'unreadable'}")
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    place = f"{where}, line {mark.line + 1}"
    if "\t" in line[: len(line) - len(line.lstrip())] or line[mark.column : mark.column + 1] == "\t":
        return RecipeError(place, "has a tab as indentation", "spaces", "YAML wants spaces, for example two a level.")
    problem = error.problem or ""
    if "python/" in problem or "undefined alias" in problem:
        return RecipeError(place, problem)
    if "mapping values are not allowed" in problem:
        return RecipeError(place, "has a `:` where YAML expects none", "", "Put quotes around text with `: ` in it.")
    if "sequence entries are not allowed" in problem:
        return RecipeError(place, "has a `-` where YAML expects a value", "", "Put quotes around a `-` that is text.")
    if "expected a single document" in (error.context or ""):
        return RecipeError(place, "begins a second document (`---`)", "one recipe in a file")
    found = f"is no YAML: {' '.join(filter(None, (error.context, problem)))}"
    return RecipeError(place, found, "", "Look at the indentation, and at text that needs quotes.")
