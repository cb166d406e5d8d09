"""From what a system wrote to the label that it means: whole answers first, then marked ones, then one mention.

A text that names no label, or several, is an invalid answer: counted as wrong, and told. Nothing is guessed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cached_property

from metier.errors import DataError
from metier.evaluation.labels.label_metrics import ABSTAINED, INVALID, MISSING

ABSTAIN_WORDS = ("abstain", "i don't know", "i do not know", "unknown", "not sure", "unsure", "cannot tell")
"""Whole answers that say that there is none, where no label has these words."""
_THINKING = re.compile(r"^.*?</think>", re.DOTALL)
_EDGES = " \t\r\n\"'`*_.,:;!?()[]{}<>#-"
_MARK = re.compile(
    r"\b(?:final |correct |predicted )?(?:answer|label|category|class|intent)\b(?: is| would be)?\s*[:=]?",
    re.IGNORECASE,
)
_FIELDS = ("label", "answer", "category", "class", "intent")


@dataclass(frozen=True)
class LabelFound:
    """What a text was read as."""

    label: str | None
    how: str
    """`whole`, `marked` or `mentioned` of a label; else why there is none, as an answer's reason says it."""


@dataclass(frozen=True, kw_only=True)
class LabelReader:
    """Reads labels from text."""

    labels: tuple[str, ...]
    texts: tuple[str, ...] = ()
    """Another name of each label, in their order: what the prompt calls it. Empty: none."""
    mentions: bool = True
    """Whether one label named inside a longer text is an answer; False: the text has to be the label."""
    abstain: tuple[str, ...] = field(default=ABSTAIN_WORDS)

    def read(self, text: str | None) -> LabelFound:
        """The label that `text` means, or why it means none."""
        if text is None or not (said := without_thinking(text).strip()):
            return LabelFound(None, MISSING if text is None else f"{INVALID}: empty")
        said = _value_of(said)
        whole = self._names.get(plain(said))
        if whole is not None:
            return LabelFound(whole, "whole")
        if plain(said) in {plain(words) for words in self.abstain}:
            return LabelFound(None, ABSTAINED)
        if not self.mentions:
            return LabelFound(None, f"{INVALID}: no label")
        for found in reversed(list(_MARK.finditer(said))):
            rest = said[found.end() :].strip()
            marked = self._names.get(plain(rest.splitlines()[0])) if rest else None
            if marked is not None:
                return LabelFound(marked, "marked")
        return self._mentioned(said)

    def _mentioned(self, said: str) -> LabelFound:
        """The one label that the text names; a name inside a longer name does not count."""
        words = f" {plain(said)} "
        found: set[str] = set()
        for name in sorted(self._names, key=len, reverse=True):
            if f" {name} " in words:
                found.add(self._names[name])
                words = words.replace(f" {name} ", "  ")
        if len(found) == 1:
            return LabelFound(found.pop(), "mentioned")
        return LabelFound(None, f"{INVALID}: {'several labels' if found else 'no label'}")

    @cached_property
    def _names(self) -> dict[str, str]:
        """Plain name -> label. The label's own name wins over another label's text."""
        if self.texts and len(self.texts) != len(self.labels):
            raise DataError("label texts", f"{len(self.texts)} for {len(self.labels)} labels", "one for each")
        names: dict[str, str] = {}
        for label, words in [*zip(self.labels, self.labels, strict=True), *zip(self.labels, self.texts, strict=False)]:
            key = plain(words)
            if key:
                names.setdefault(key, label)
        clear = {plain(label) for label in self.labels}
        if len(clear) < len(self.labels):
            raise DataError(
                "labels", "two labels differ only in case, spaces or punctuation", "labels that can be told apart",
                "Give them other names in data.label_names.",
            )  # fmt: skip
        return names


def without_thinking(text: str) -> str:
    """What a text says behind what a model thought aloud (`<think>…</think>`)."""
    return _THINKING.sub("", text)


def plain(text: str) -> str:
    """A text as names are compared: lower case, dashes and underscores as spaces, no punctuation at word edges."""
    spaced = re.sub(r"[\s_\-/]+", " ", text.casefold())
    words = (word.strip(_EDGES) for word in spaced.split())
    return " ".join(word for word in words if word)


def _value_of(said: str) -> str:
    """The label's text of an answer that is a JSON object, in a code fence or not; else the answer itself."""
    inner = re.sub(r"^```[a-z]*\s*|\s*```$", "", said).strip()
    if not inner.startswith("{"):
        return said
    try:
        value = json.loads(inner)
    except (ValueError, RecursionError):
        return said
    if not isinstance(value, dict):
        return said
    named = [value[name] for name in _FIELDS if isinstance(value.get(name), str)]
    texts = [each for each in value.values() if isinstance(each, str)]
    if len(named) == 1:
        return str(named[0])
    return str(texts[0]) if len(texts) == 1 else said
