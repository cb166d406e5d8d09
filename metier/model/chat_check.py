"""The proof of what is learned: the pieces of a few records as the model reads them, learned or not.

It is made from the very ids that training uses, decoded again, so it cannot show anything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metier.data.records import Conversation
from metier.model.chat_encode import ChatEncoder
from metier.model.chat_prompt import ChatPrompt


@dataclass(frozen=True)
class Piece:
    """A stretch of what the model reads."""

    text: str
    """Control tokens included."""
    learned: bool
    tokens: int


@dataclass(frozen=True, kw_only=True)
class ProvenTurn:
    """One learned turn."""

    message: int
    """Which message of the conversation it is, from 1."""
    pieces: tuple[Piece, ...]
    """What is read, then what is learned. What the turn before ended with is not shown again."""
    continues: bool
    """Whether it goes on where the learned turn before it ended; False for the first, and where the template
    writes earlier turns in another way once later ones are there."""
    end_learned: bool
    """Whether the answer's last token, and no other, ends the turn."""
    how: str
    """How the template's answer was found."""


@dataclass(frozen=True, kw_only=True)
class ProvenRecord:
    """One conversation."""

    source: str
    row: int
    turns: tuple[ProvenTurn, ...]
    cut: bool
    """Whether a text was cut to fit."""
    changed: bool
    """Whether the template leaves out some of what a learned turn says."""
    fault: str | None
    """Why nothing of it is learned."""
    left_out: tuple[tuple[int, str], ...]
    """Messages, from 1, that should be learned and cannot be, and why."""
    tools_unsaid: bool
    """Whether it has tools that the template does not write."""

    @property
    def holds(self) -> bool:
        """Whether something is learned, and every learned turn ends with the end of turn."""
        return bool(self.turns) and all(turn.end_learned for turn in self.turns)


@dataclass(frozen=True, kw_only=True)
class MaskProof:
    """A few records with what is learned in each, and the facts about the template that matter for all."""

    records: tuple[ProvenRecord, ...]
    notices: tuple[str, ...]
    """What the template cannot write and what is done instead."""
    ends: tuple[str, ...]
    """The tokens that end an answer, as text; the first one is the template's end of turn."""

    @property
    def holds(self) -> bool:
        """Whether every record's mask is as it must be."""
        return bool(self.records) and all(record.holds for record in self.records)


def prove_mask(
    encoder: ChatEncoder, prompt: ChatPrompt, records: Sequence[Conversation], loss_on: str, *, room: int = 0
) -> MaskProof:
    """Encode records as training does and say what is learned.

    Args:
        encoder: Of the model that learns.
        prompt: System prompt, instruction and examples.
        records: A few.
        loss_on: `assistant` or `last`, as `training.loss_on`.
        room: Tokens kept for an answer.
    """
    first = encoder.encoder.end_of_turn
    order = [first, *sorted(encoder.stop_ids - {first})]
    return MaskProof(
        records=tuple(_prove(encoder, prompt, record, loss_on, room) for record in records),
        notices=encoder.notices(prompt, records),
        ends=tuple(_text(encoder, [token]) for token in order),
    )


def _prove(encoder: ChatEncoder, prompt: ChatPrompt, record: Conversation, loss_on: str, room: int) -> ProvenRecord:
    encoded = encoder.turns(prompt, record, loss_on, room=room)
    turns: list[ProvenTurn] = []
    shown: list[int] = []
    for (asked, answer), place, how in zip(encoded.sequences, encoded.places, encoded.how, strict=True):
        before, said = asked.tolist(), answer.tolist()
        continues = bool(shown) and before[: len(shown)] == shown
        start = len(shown) if continues else 0
        turns.append(
            ProvenTurn(
                message=place + 1,
                pieces=(
                    Piece(_after(encoder, before[:start], before[start:]), False, len(before) - start),
                    Piece(_after(encoder, before, said), True, len(said)),
                ),
                continues=continues,
                end_learned=[token in encoder.stop_ids for token in said] == [False] * (len(said) - 1) + [True],
                how=how,
            )
        )
        shown = [*before, *said]
    return ProvenRecord(
        source=record.source,
        row=record.row,
        turns=tuple(turns),
        cut=encoded.cut,
        changed=encoded.changed,
        fault=encoded.fault,
        left_out=tuple((place + 1, why) for place, why in encoded.left_out),
        tools_unsaid=record.tools is not None and not encoder.writes_tools,
    )


def _after(encoder: ChatEncoder, before: Sequence[int], ids: Sequence[int]) -> str:
    """The text of ids that come after others: alone, some tokenizers would drop the space before it."""
    lead, whole = _text(encoder, before), _text(encoder, [*before, *ids])
    return whole[len(lead) :] if whole.startswith(lead) else _text(encoder, ids)


def _text(encoder: ChatEncoder, ids: Sequence[int]) -> str:
    decode = encoder.encoder.tokenizer.decode
    return str(decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))
