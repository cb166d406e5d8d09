"""How a record becomes a prompt: instruction, label texts, examples. Hashed, and saved with the model.

Shared text comes first (instruction, labels, examples) and the record's own text last, so that the
engine computes the beginning once. Instruction and text go into one user turn because not every
chat template has a system turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from metier.errors import DataError
from metier.recipe.sections import PromptSection
from metier.store.fingerprint import fingerprint
from metier.store.values import to_plain


@dataclass(frozen=True, kw_only=True)
class PromptFormat:
    """Everything that decides the words of a prompt, except the record's text."""

    instruction: str
    labels: tuple[str, ...]
    label_texts: tuple[str, ...]
    """What the model answers for each label, in the order of `labels`; all different."""
    list_labels: bool = False
    """Whether the instruction names the labels."""
    shots: tuple[tuple[str, str], ...] = ()
    """Examples before the record, as text and label."""

    @property
    def hash(self) -> str:
        """Fingerprint of all fields, 16 hex digits; kept with every answered item."""
        return fingerprint(to_plain(self))[:16]

    def messages(self, text: str) -> list[dict[str, str]]:
        """The prompt as chat messages, the examples as earlier turns."""
        words = dict(zip(self.labels, self.label_texts, strict=True))
        lead = self.instruction
        if self.list_labels:
            lead = f"{lead}\nThe possible answers are: {', '.join(self.label_texts)}."
        turns: list[dict[str, str]] = []
        for shot, label in (*self.shots, (text, None)):
            content = f"{lead}\n\n{shot}" if not turns else shot
            turns.append({"role": "user", "content": content})
            if label is not None:
                turns.append({"role": "assistant", "content": words[label]})
        return turns

    def with_choices(self, *, list_labels: bool, shots: Sequence[tuple[str, str]] = ()) -> PromptFormat:
        """The same prompt with other examples, naming the labels or not."""
        return replace(self, list_labels=list_labels, shots=tuple(shots))


def make_prompt_format(section: PromptSection, labels: Sequence[str], label_column: str) -> PromptFormat:
    """Resolve the prompt section for a set of labels.

    Raises:
        DataError: two labels would be answered with the same words, or a text names no label.
    """
    unknown = sorted(set(section.label_texts) - set(labels))
    if unknown:
        raise DataError(
            "prompt.label_texts", f"names {', '.join(map(repr, unknown))}, which no training row has",
            f"labels among {', '.join(labels)}",
        )  # fmt: skip
    texts = [section.label_texts.get(label) or readable(label) for label in labels]
    for text in texts:
        if texts.count(text) > 1:
            same = [label for label, words in zip(labels, texts, strict=True) if words == text]
            raise DataError(
                "prompt.label_texts", f"the labels {', '.join(map(repr, same))} are all answered {text!r}",
                "different words for different labels", "Give them texts of their own in prompt.label_texts.",
            )  # fmt: skip
    noun = readable(label_column)
    instruction = section.instruction or f"Read the text and answer with its {noun}."
    return PromptFormat(
        instruction=instruction,
        labels=tuple(labels),
        label_texts=tuple(texts),
        list_labels=bool(section.list_labels),
    )


def readable(name: str) -> str:
    """A label or column name as words: `card_arrival` becomes `card arrival`."""
    words = " ".join(name.replace("_", " ").replace("-", " ").split())
    return words or name


def prompt_from_plain(plain: Mapping[str, Any]) -> PromptFormat:
    """The prompt format that `store.values.to_plain` wrote."""
    return PromptFormat(
        instruction=str(plain["instruction"]),
        labels=tuple(plain["labels"]),
        label_texts=tuple(plain["label_texts"]),
        list_labels=bool(plain["list_labels"]),
        shots=tuple((str(text), str(label)) for text, label in plain["shots"]),
    )
