"""What is trained, token by token, and how long the texts are: by the functions that training uses."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from metier.data.records import Choice
from metier.data.splits import Split
from metier.engine.tree import TokenSequence
from metier.model.base import BaseModel
from metier.model.encode import Encoder
from metier.model.prompt import PromptFormat
from metier.planning.results import Lengths, RowPlace, ShownToken, TokenView

SHOWN = 3
"""Training records that are shown, of different labels."""
FIRST_CUT = 10
MARGIN = 16
"""Tokens by which a count of the bare text may miss that of the whole prompt: nearer ones are encoded."""
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
MOST_OF_A_CHARACTER = 4
"""Bytes of the longest character in UTF-8, each of which may be a token."""
PROBE = "a"
"""A text that fits under any limit."""


@dataclass(frozen=True)
class Asking:
    """How one candidate's model meets a record."""

    base: BaseModel
    encoder: Encoder
    prompt: PromptFormat | None
    """None: the model has a head and reads the bare text."""
    labels: tuple[str, ...]

    def sequence(self, record: Choice) -> TokenSequence:
        """The record's tokens and which of them are trained, as the training objective gets them."""
        ids = self.prompt_ids(record.text)
        if self.prompt is None:
            return TokenSequence(ids, np.zeros(len(ids), dtype=np.bool_))
        answers = dict(zip(self.prompt.labels, self.encoder.answers(self.prompt), strict=True))
        return TokenSequence.of(ids.tolist(), answers[record.label].tolist())

    def prompt_ids(self, text: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """What is read of a text, cut where it must be."""
        return self._encoded(text)[0]

    def is_cut(self, text: str) -> bool:
        """Whether the text does not fit."""
        return self._encoded(text)[1]

    @property
    def longest_answer(self) -> int:
        """Tokens of the longest label; 0 with a head."""
        return max(map(len, self.encoder.answers(self.prompt))) if self.prompt is not None else 0

    def _encoded(self, text: str) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], bool]:
        done = self.encoder.text(text) if self.prompt is None else self.encoder.prompt(self.prompt, text)
        return done.ids, done.cut


@dataclass(frozen=True)
class Measured:
    """The lengths of one split: for a person, and every record's own."""

    about: Lengths
    tokens: tuple[int, ...]
    """Tokens read of each record, instruction included and cut to the limit."""


def show_tokens(asking: Asking, train: Sequence[Choice], *, with_text: bool) -> tuple[TokenView, ...]:
    """The first training records of different labels, token by token.

    Args:
        asking: The candidate.
        train: Training records.
        with_text: Whether texts may be shown.
    """
    chosen: dict[str, Choice] = {}
    for record in train:
        if len(chosen) < SHOWN:
            chosen.setdefault(record.label, record)
    return tuple(_view(asking, record, with_text) for record in chosen.values())


def faults_of_answers(asking: Asking) -> tuple[str, ...]:
    """Labels that cannot be learned in words: nothing to say, no end, or the same tokens as another.

    Args:
        asking: The candidate.
    """
    if asking.prompt is None:
        return ()
    faults = []
    seen: dict[tuple[int, ...], str] = {}
    for label, ids in zip(asking.prompt.labels, asking.encoder.answers(asking.prompt), strict=True):
        sequence = TokenSequence.of([0], ids.tolist())
        if not len(ids) or int(ids[-1]) != asking.encoder.end_of_turn or not sequence.targets[-1]:
            faults.append(
                f"the answer `{label}` does not end with the end of turn, so the model would not learn to stop"
            )
        if len(ids) < 2:
            faults.append(f"the answer `{label}` has no token of its own: nothing would be trained")
        elif (other := seen.setdefault(tuple(map(int, ids)), label)) != label:
            faults.append(
                f"the answers `{other}` and `{label}` are the same tokens; prompt.label_texts can tell them apart"
            )
    return tuple(faults)


def trained_part(asking: Asking) -> str:
    """What is trained, as a sentence; call it when `faults_of_answers` found none.

    Args:
        asking: The candidate.
    """
    if asking.prompt is None:
        return "All tokens are read; what is trained is the choice of the class."
    token = asking.encoder.end_of_turn
    name = asking.encoder.tokenizer.convert_ids_to_tokens(token)
    return f"The prompt is only read; the answer is trained. End of turn is trained ({name}, token {token})."


def measure_lengths(asking: Asking, split: Split) -> Measured:
    """Count the tokens of every record of a split; its labels are not looked at.

    Args:
        asking: The candidate.
        split: Any split, the test set too.
    """
    records = [(record.text, RowPlace(source=record.source, row=record.row)) for record in split.records()]
    bare = asking.base.count_tokens([text for text, _ in records])
    extra = _extra_tokens(asking)
    room = asking.encoder.max_length - asking.longest_answer
    cut: list[RowPlace] = []
    lengths: list[int] = []
    for (text, place), count in zip(records, bare, strict=True):
        if count + extra > room - MARGIN and asking.is_cut(text):
            cut.append(place)
        lengths.append(min(count + extra, room))
    about = Lengths(
        split=split.name, rows=len(records), median=round(statistics.median(lengths or [0])),
        longest=max(lengths, default=0), limit=asking.encoder.max_length, cut=len(cut),
        cut_first=tuple(cut[:FIRST_CUT]),
    )  # fmt: skip
    return Measured(about, tuple(lengths))


def _extra_tokens(asking: Asking) -> int:
    """Tokens that instruction and special tokens add to a text."""
    return len(asking.prompt_ids(PROBE)) - asking.base.count_tokens([PROBE])[0]


def _view(asking: Asking, record: Choice, with_text: bool) -> TokenView:
    sequence = asking.sequence(record)
    tokenizer, last = asking.encoder.tokenizer, len(sequence.ids) - 1
    texts = token_texts([int(token) for token in sequence.ids], lambda ids: str(tokenizer.decode(ids)))
    tokens = tuple(
        ShownToken(
            id=int(token),
            text=texts[place] if with_text else None,
            trained=bool(trained),
            end_of_turn=asking.prompt is not None and place == last and int(token) == asking.encoder.end_of_turn,
        )
        for place, (token, trained) in enumerate(zip(sequence.ids, sequence.targets, strict=True))
    )
    return TokenView(
        place=RowPlace(source=record.source, row=record.row),
        label=record.label if with_text else None,
        tokens=tokens,
        target_class=asking.labels.index(record.label) if asking.prompt is None else None,
    )


def token_texts(ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> list[str]:
    """Each token's text. Where several tokens make up one character, the first has it and the others are empty."""
    texts: list[str] = []
    while len(texts) < len(ids):
        rest = ids[len(texts) : len(texts) + MOST_OF_A_CHARACTER]
        whole = next((n for n in range(1, len(rest) + 1) if REPLACEMENT not in decode(rest[:n])), 1)
        texts += [decode(rest[:whole]), *[""] * (whole - 1)]
    return texts
