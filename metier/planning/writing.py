"""What is learned of conversations, token by token, by the functions that training uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from metier.data.prepared import PreparedData
from metier.data.records import Conversation
from metier.data.splits import Split, conversations
from metier.engine.tree import TokenSequence, shared_length
from metier.errors import DataError
from metier.model.chat_check import ProvenRecord, ProvenTurn, prove_mask
from metier.model.chat_encode import NOTHING_LEARNED, ChatEncoder, EncodedConversation, learned_places
from metier.model.chat_prompt import ChatPrompt
from metier.model.encode import Ints
from metier.model.generation import settle_generation
from metier.planning.count import SAMPLED
from metier.planning.results import LearnedTokens, Lengths, LongAnswer, PieceView, RowPlace, ShownPiece
from metier.planning.taught import (
    ANSWER_CHARACTERS,
    OTHER_CHARACTERS,
    TRAIN_CHARACTERS,
    TURN_CHARACTERS,
    Example,
    Taught,
    draw_within,
    place_of,
    rows_by_reason,
    summarise_lengths,
    token_name,
)
from metier.recipe.sections import Recipe

FEWEST_SHOWN, SHOWN = 2, 3
"""Training records that are shown; the third only where it is of another kind."""
LONGEST = 3
"""Longest answers that are named."""
LIKELY_LONG = 0.8
"""Records of more than this share of `max_length`, by their characters, are all turned into tokens."""
APART = "; apart, because what comes before is cut or written in another way there"
REJECTED = "text longer than max_length (data.too_long: reject)"


@dataclass(frozen=True)
class _Seen:
    """One training record as tokens."""

    record: Conversation
    encoded: EncodedConversation

    @property
    def example(self) -> Example:
        """As the training objective gets it."""
        return tuple(TokenSequence.of(prompt.tolist(), answer.tolist()) for prompt, answer in self.encoded.sequences)

    @property
    def learned(self) -> int:
        """Tokens that are learned."""
        return sum(len(answer) for _, answer in self.encoded.sequences)

    @property
    def tokens(self) -> int:
        """All tokens; what turns share counts once."""
        whole = [np.concatenate(pair) for pair in self.encoded.sequences]
        shared = sum(shared_length(before, after) for before, after in pairwise(whole))
        return sum(map(len, whole)) - shared

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt with its answer."""
        return max((len(prompt) + len(answer) for prompt, answer in self.encoded.sequences), default=0)


@dataclass(frozen=True)
class Lesson:
    """How one candidate's model meets conversations."""

    encoder: ChatEncoder
    prompt: ChatPrompt
    recipe: Recipe
    room: int = 0
    """Tokens that are kept for an answer, so that what is learned is cut as when the model is asked."""

    @property
    def loss_on(self) -> str:
        """Which turns are learned."""
        return self.recipe.training.loss_on

    @cached_property
    def end(self) -> str:
        """Name and number of the token that ends an answer."""
        return token_name(self.encoder.encoder, self.encoder.encoder.end_of_turn)

    @property
    def template_ends_turns(self) -> bool:
        """Whether the chat template itself writes the token that ends an answer."""
        encoder, turns = self.encoder.encoder, [{"role": "user", "content": "x"}, {"role": "assistant", "content": "x"}]
        return encoder.end_of_turn in encoder.ids(encoder.apply_template(turns))

    def see(self, record: Conversation) -> _Seen:
        """A record as training gets it."""
        return _Seen(record, self.encoder.turns(self.prompt, record, self.loss_on, room=self.room))

    def uses(self, seen: _Seen) -> bool:
        """Whether training uses a record."""
        rejected = self.recipe.data.too_long == "reject" and seen.encoded.cut
        return seen.encoded.fault is None and not rejected

    def learned_turns(self, record: Conversation) -> list[int]:
        """Which messages are to be learned, from 0."""
        return learned_places(record.messages, self.loss_on)

    def learned_characters(self, record: Conversation) -> int:
        """Characters of the messages that are to be learned, one more each for their ends."""
        turns = [record.messages[place] for place in self.learned_turns(record)]
        return sum(len(turn.content) + len(turn.more) + 1 for turn in turns)

    def cost(self, record: Conversation) -> int:
        """Characters that are turned into tokens: every learned turn with all before it."""
        once = sum(len(turn.content) + len(turn.more) for turn in record.messages) + len(record.tools or "")
        return (once + TURN_CHARACTERS) * max(1, len(self.learned_turns(record)))


def teach_writing(lesson: Lesson, data: PreparedData, train: Sequence[Conversation], *, with_text: bool) -> Taught:
    """Turn training records into tokens as training does, and count what is learned.

    Args:
        lesson: The candidate.
        data: The other splits.
        train: All training records.
        with_text: Whether texts may be shown.
    """
    lesson = replace(lesson, room=_longest_answer(lesson, train))
    costs = [lesson.cost(record) for record in train]
    drawn = draw_within(costs, TRAIN_CHARACTERS, lesson.recipe.seed)
    seen = [lesson.see(train[place]) for place in drawn]
    more = _outstanding(lesson, train, costs, drawn, seen)
    used = [each for each in seen if lesson.uses(each)]
    about = _count(lesson, train, seen, more)
    every = [*seen, *more]
    cut = [place_of(each.record) for each in every if each.encoded.cut and not each.encoded.fault]
    limit = lesson.encoder.max_length
    long = summarise_lengths("train", len(train), limit, [each.longest for each in every], cut, len(every))
    validation, test = _measure_prompts(lesson, data.validation), _measure_prompts(lesson, data.test)
    golds = [lesson.encoder.count(each.record.gold) + 1 for each in seen[:SAMPLED]]
    faults = _faults(about)
    return Taught(
        about=about, sample=tuple(each.example for each in used[:SAMPLED]),
        examples=max(1, about.used),
        asked={"train": _mean_prompt(used), "validation": _mean(validation[1]), "test": _mean(test[1])},
        answer=_mean(golds), shared=_shared([each.encoded.sequences[0][0] for each in used[:SAMPLED]]),
        pieces=_pieces(lesson, used, with_text=with_text), lengths=(long, validation[0], test[0]),
        trained_part="" if faults else _trained_part(lesson, about), faults=faults,
        notices=_notices(lesson, used, (validation[2], test[2])),
    )  # fmt: skip


def _longest_answer(lesson: Lesson, train: Sequence[Conversation]) -> int:
    """Longest answer that will be written, settled as a run does it; of many long answers by a sample."""
    golds = [record.gold for record in train]
    drawn = draw_within([len(gold) for gold in golds], ANSWER_CHARACTERS, lesson.recipe.seed)
    settled = settle_generation(lesson.recipe.generation, lesson.encoder, [golds[place] for place in drawn])
    return int(settled["max_new_tokens"])


def _outstanding(
    lesson: Lesson, train: Sequence[Conversation], costs: Sequence[int], drawn: Sequence[int], seen: Sequence[_Seen]
) -> list[_Seen]:
    """Records outside the sample that may not fit, the longest first, and those of the longest answers."""
    outside = sorted(set(range(len(train))) - set(drawn), key=lambda place: (-costs[place], place))
    if not outside:
        return []
    tokens, characters = sum(each.longest for each in seen), sum(_length(each.record) for each in seen)
    limit = LIKELY_LONG * lesson.encoder.max_length * characters / max(1, tokens)
    chosen = sorted(outside, key=lambda place: -len(train[place].gold))[: 2 * LONGEST]
    spent = 0
    for place in outside:
        if _length(train[place]) > limit and spent <= TRAIN_CHARACTERS:
            spent += costs[place]
            chosen.append(place)
    return [lesson.see(train[place]) for place in dict.fromkeys(chosen)]


def _length(record: Conversation) -> int:
    return sum(len(turn.content) for turn in record.messages) + len(record.tools or "")


def _count(
    lesson: Lesson, train: Sequence[Conversation], seen: Sequence[_Seen], more: Sequence[_Seen]
) -> LearnedTokens:
    """The totals over all training records, scaled by characters where some were not turned into tokens."""
    every = [*seen, *more]
    used = [each for each in seen if lesson.uses(each)]
    left_out = _left_out(lesson, train, every)
    gone = {id(record) for _, record in left_out}
    kept = [record for record in train if id(record) not in gone]
    learned, read = sum(each.learned for each in used), sum(each.tokens - each.learned for each in used)
    answers = [answer for each in used for _, answer in each.encoded.sequences]
    turns = len(answers)
    if len(seen) < len(train):
        looked_at, turns = [each.record for each in used], sum(len(lesson.learned_turns(record)) for record in kept)
        learned = round(learned * _ratio(kept, looked_at, lesson.learned_characters))
        read = round(read * _ratio(kept, looked_at, lesson.cost))
    longest = sorted(
        (LongAnswer(place=place_of(each.record), tokens=len(answer))
         for each in (*used, *more) for _, answer in each.encoded.sequences),
        key=lambda long: -long.tokens,
    )  # fmt: skip
    return LearnedTokens(
        records=len(train), encoded=len(every), used=len(kept), sequences=turns, learned=learned, read=read,
        ends=sum(int(answer[-1]) in lesson.encoder.stop_ids for answer in answers), looked_at=len(answers),
        end_token=lesson.end, left_out=rows_by_reason(left_out), longest=tuple(longest[:LONGEST]),
        max_new_tokens=lesson.room, max_new_tokens_given=lesson.recipe.generation.max_new_tokens is not None,
        longer_answers=sum(long.tokens > lesson.room for long in longest),
    )  # fmt: skip


def _left_out(lesson: Lesson, train: Sequence[Conversation], every: Sequence[_Seen]) -> list[tuple[str, Conversation]]:
    """Records of which nothing is learned, with the reason; nobody needs tokens to see that no turn is."""
    known = {id(each.record) for each in every}
    found = [(each.encoded.fault or REJECTED, each.record) for each in every if not lesson.uses(each)]
    rest = (record for record in train if id(record) not in known)
    return [*found, *((NOTHING_LEARNED, record) for record in rest if not lesson.learned_turns(record))]


def _ratio(every: Sequence[Conversation], some: Sequence[Conversation], size: Callable[[Conversation], int]) -> float:
    """How much larger all records are than some of them."""
    return sum(map(size, every)) / max(1, sum(map(size, some)))


def _measure_prompts(lesson: Lesson, split: Split) -> tuple[Lengths, list[int], int]:
    """Lengths of a split's prompts as they are asked, and how many cannot be asked; answers are not looked at."""
    records = conversations(split.records())
    costs = [_length(record) + TURN_CHARACTERS for record in records]
    lengths, cut, unasked = [], [], 0
    drawn = draw_within(costs, OTHER_CHARACTERS, lesson.recipe.seed)
    for record in (records[place] for place in drawn):
        try:
            asked = lesson.encoder.prompt(lesson.prompt, record.context, record.tools, room=lesson.room)
        except DataError:
            unasked += 1
            continue
        lengths.append(len(asked.ids))
        if asked.cut:
            cut.append(place_of(record))
    limit = lesson.encoder.max_length - lesson.room
    return summarise_lengths(split.name, len(records), limit, lengths, cut, len(drawn)), lengths, unasked


def _faults(about: LearnedTokens) -> tuple[str, ...]:
    if not about.looked_at:
        reasons = ", ".join(each.reason for each in about.left_out) or "there are none"
        return (f"nothing would be learned: no training record has an answer that can be learned ({reasons})",)
    faults = []
    if about.ends < about.looked_at:
        open_ends = about.looked_at - about.ends
        faults.append(
            f"{open_ends:,} of {about.looked_at:,} answers do not end with the end of turn, so the model would not "
            "learn to stop"
        )
    if about.learned <= about.sequences:
        faults.append("the answers have no token of their own: nothing but the end of turn would be learned")
    return tuple(faults)


def _trained_part(lesson: Lesson, about: LearnedTokens) -> str:
    which = {"assistant": "the assistant's turns", "last": "the last turn"}[lesson.loss_on]
    return f"What is asked is only read; {which} is learned. ".replace("turns is", "turns are") + (
        f"End of turn is learned in all {about.looked_at:,} answers looked at ({about.end_token})."
    )


def _notices(lesson: Lesson, used: Sequence[_Seen], unasked: Sequence[int]) -> tuple[str, ...]:
    """What the template does to the records, as sentences."""
    said = list(lesson.encoder.notices(lesson.prompt, [each.record for each in used]))
    if lesson.encoder.encoder.is_chat and not lesson.template_ends_turns:
        said.append(f"The chat template does not end a turn: the end of text ({lesson.end}) is learned in its place.")
    changed = sum(each.encoded.changed for each in used)
    if changed:
        said.append(f"The chat template leaves out some of what answers say in {changed:,} records.")
    turns = sum(len(each.encoded.left_out) for each in used)
    if turns:
        said.append(f"{turns:,} turns of records that are used cannot be learned themselves.")
    for split, count in zip(("validation", "test"), unasked, strict=True):
        if count:
            said.append(f"{count:,} records of {split} cannot be asked under max_length and count as wrong.")
    return tuple(said)


def _pieces(lesson: Lesson, used: Sequence[_Seen], *, with_text: bool) -> tuple[PieceView, ...]:
    """The first training records of different kinds, in the order of their rows, as the model reads them."""
    ordered = [each.record for each in sorted(used, key=lambda each: (each.record.source, each.record.row))]
    chosen: dict[object, Conversation] = {}
    for record in ordered:
        chosen.setdefault(_kind(record), record)
    shown = list({record.id: record for record in (*chosen.values(), *ordered[:FEWEST_SHOWN])}.values())
    shown = shown[: max(FEWEST_SHOWN, min(SHOWN, len(chosen)))]
    proof = prove_mask(lesson.encoder, lesson.prompt, shown, lesson.loss_on, room=lesson.room)
    return tuple(
        view
        for proven, record in zip(proof.records, shown, strict=True)
        for view in _views(proven, len(record.messages), with_text=with_text)
    )


def _views(proven: ProvenRecord, messages: int, *, with_text: bool) -> list[PieceView]:
    """One view of the record; the first and the last of several, where later prompts do not go on from earlier ones."""
    parts: list[list[ProvenTurn]] = []
    for turn in proven.turns:
        if turn.continues:
            parts[-1].append(turn)
        else:
            parts.append([turn])
    return [
        PieceView(
            place=RowPlace(source=proven.source, row=proven.row),
            about=_turns_said(messages, [turn.message for turn in turns]) + (APART if turns is not parts[0] else ""),
            pieces=tuple(
                ShownPiece(
                    text=piece.text if with_text else None, learned=piece.learned, tokens=piece.tokens,
                    end=piece.learned and turn.end_learned,
                )
                for turn in turns
                for piece in turn.pieces
            ),
        )
        for turns in parts[:1] + parts[1:][-1:]
    ]  # fmt: skip


def _turns_said(messages: int, learned: Sequence[int]) -> str:
    if messages <= 2:
        return ""
    several = len(learned) > 1
    named = ", ".join(map(str, learned[:6])) + (", …" if len(learned) > 6 else "")
    return f"message{'s' * several} {named} of {messages} {'are' if several else 'is'} learned"


def _kind(record: Conversation) -> object:
    """What makes a record look different to the template."""
    roles = {turn.role for turn in record.messages}
    return ("system" in roles, "tool" in roles, record.tools is not None, len(record.messages) > 3)


def _shared(prompts: Sequence[Ints]) -> int:
    """Tokens that all prompts begin with."""
    if len(prompts) < 2:
        return 0
    return min(shared_length(prompts[0], other) for other in prompts[1:])


def _mean_prompt(used: Sequence[_Seen]) -> float:
    return _mean([len(each.encoded.sequences[-1][0]) for each in used])


def _mean(lengths: Sequence[int]) -> float:
    return sum(lengths) / len(lengths) if lengths else 0.0
