"""How a conversation becomes token ids: one function for training, scoring, writing and `check`.

Every learned turn is a pair of its own, prompt and answer. The prompt is rendered exactly as it is
when the model is asked, so a template that rewrites earlier turns (Qwen3 drops their reasoning) is
learned as it is used; the token tree stores the shared beginnings once. The prompt's ids never
depend on the answer, and the answer ends with the token that ends a turn.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from metier.data.records import Conversation, Message, answer_text
from metier.errors import DataError
from metier.model.chat_prompt import ChatPrompt
from metier.model.chat_template import AnswerText, ChatTemplate, PlainTurns
from metier.model.encode import EncodedPrompt, Encoder, Ints

NOTHING_LEARNED = "no learned turn"
EMPTY_ANSWER = "empty answer"
LONG_ANSWER = "answer longer than max_length"


@dataclass(frozen=True, eq=False)
class EncodedConversation:
    """What is learned of one conversation: a pair of prompt and answer for every learned turn."""

    sequences: tuple[tuple[Ints, Ints], ...]
    """Prompt ids and answer ids, one pair for every turn that is learned."""
    cut: bool
    """Whether a text had to be cut to fit."""
    fault: str | None
    """Why nothing can be learned; None where something can."""
    places: tuple[int, ...] = ()
    """For each pair, which message it is, from 0."""
    how: tuple[str, ...] = ()
    """For each pair, how the answer's text was found (`chat_template.py`)."""
    changed: bool = False
    """Whether the template leaves out some of what a learned turn says."""
    left_out: tuple[tuple[int, str], ...] = ()
    """Turns that should be learned and cannot be, with the reason."""


@dataclass(eq=False)
class ChatEncoder:
    """Turns conversations into ids of one model."""

    encoder: Encoder
    _counts: dict[str, int] = field(default_factory=dict, init=False, repr=False)

    @property
    def max_length(self) -> int:
        """Longest prompt and answer together, in tokens."""
        return self.encoder.max_length

    def count(self, text: str) -> int:
        """Tokens of a text alone; counted once, since lengths of all training records are wanted more than once."""
        if text not in self._counts:
            self._counts[text] = len(self.encoder.ids(self.encoder.harmless(text)))
        return self._counts[text]

    def prompt(
        self, prompt: ChatPrompt, turns: Sequence[Message], tools: str | None = None, *, room: int
    ) -> EncodedPrompt:
        """Ids up to where the answer begins; the longest text is cut by the policy until an answer has room.

        Args:
            prompt: System prompt, instruction and examples.
            turns: The turns before the answer.
            tools: Tools as a JSON list.
            room: Tokens kept for the answer.

        Raises:
            DataError: what cannot be cut does not fit, or the chat template refuses the turns.
        """
        ids = self._ask(prompt, turns, tools)
        limit = self.max_length - room
        if len(ids) <= limit:
            return EncodedPrompt(np.array(ids, dtype=np.int64), cut=False)
        turns = [replace(turn, content=self.encoder.harmless(turn.content)) for turn in turns]
        lengths = [0 if turn.role == "system" else len(self.encoder.ids(turn.content)) for turn in turns]
        excess = len(ids) - limit
        while (level := cut_level(lengths, excess)) > 0:
            shorter = [
                replace(turn, content=self.encoder.cut(turn.content, level)) if length > level else turn
                for turn, length in zip(turns, lengths, strict=True)
            ]
            ids = self._ask(prompt, shorter, tools)
            if len(ids) <= limit:
                return EncodedPrompt(np.array(ids, dtype=np.int64), cut=True)
            excess += len(ids) - limit
        raise self._no_room(prompt, turns, tools, room)

    def answer(self, prompt: ChatPrompt, messages: Sequence[Message], tools: str | None = None) -> Ints:
        """Ids of the last turn as the template writes it after the prompt, end of turn included.

        Raises:
            DataError: the template refuses the turns, or does not write this one.
        """
        return self._answer(prompt, messages, tools)[0]

    def turns(
        self, prompt: ChatPrompt, conversation: Conversation, loss_on: str, *, room: int = 0
    ) -> EncodedConversation:
        """Prompt and answer of every learned turn.

        Args:
            prompt: System prompt, instruction and examples.
            conversation: The record.
            loss_on: `assistant`: all turns of the assistant but those of weight 0; `last`: the last one alone.
            room: Tokens that are kept for an answer when the model is asked, so that both cut alike.
        """
        done: list[tuple[Ints, Ints]] = []
        places, how, left_out = [], [], []
        cut = changed = False
        for place in learned_places(conversation.messages, loss_on):
            try:
                answer, found = self._answer(prompt, conversation.messages[: place + 1], conversation.tools)
                if len(answer) >= self.max_length:
                    raise DataError("record", LONG_ANSWER)
                if len(answer) < 2 or not answer_text(conversation.messages[place]).strip():
                    raise DataError("record", EMPTY_ANSWER)
                before = conversation.messages[:place]
                asked = self.prompt(prompt, before, conversation.tools, room=max(room, len(answer)))
            except DataError as fault:
                left_out.append((place, fault.found))
                continue
            done.append((asked.ids, answer))
            places.append(place)
            how.append(found.how)
            cut, changed = cut or asked.cut, changed or found.changed
        reason = None if done else left_out[0][1] if left_out else NOTHING_LEARNED
        return EncodedConversation(tuple(done), cut, reason, tuple(places), tuple(how), changed, tuple(left_out))

    def read(self, ids: Sequence[int]) -> str:
        """The text of an answer: control tokens, and what the template writes before every answer, left out."""
        words = [int(token) for token in ids if int(token) not in self.stop_ids]
        if self._lead and words[: len(self._lead)] == self._lead:
            words = words[len(self._lead) :]
        text = self.encoder.tokenizer.decode(words, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text).strip()

    @cached_property
    def _lead(self) -> list[int]:
        """What the template writes before the words of an answer: Qwen3's empty think block, a channel's name."""
        if not self.encoder.is_chat:
            return []
        try:
            text = self._template.lead()
        except DataError:
            return []
        return [int(token) for token in self.encoder.ids(text.rstrip())]

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """The tokens that end an answer."""
        ends = {self.encoder.end_of_turn, self.encoder.tokenizer.eos_token_id}
        if isinstance(template := self._writer(()), ChatTemplate):
            ends.add(template.end_of_calls)
        return frozenset(int(end) for end in ends if end is not None)

    def notices(self, prompt: ChatPrompt, records: Iterable[Conversation]) -> tuple[str, ...]:
        """What the model's template cannot write of these records and what is done instead, as sentences.

        Args:
            prompt: System prompt, instruction and examples.
            records: Those that the model learns from or answers.
        """
        if not self.encoder.is_chat:
            return ("The model has no chat template: turns are written as plain text.",)
        template, system, calls, tools = self._template, bool(prompt.system), False, False
        for record in records:
            tools = tools or record.tools is not None
            system = system or any(turn.role == "system" for turn in record.messages)
            calls = calls or any("tool_calls" in turn.as_chat() for turn in record.messages if turn.more)
        told = {
            "The chat template has no system turn: a system prompt goes before the user's first text.":
                system and not template.writes_system,
            "The chat template does not tell the model which tools there are.":
                tools and not template.writes_tools,
            "The chat template does not write tool calls: they are written as JSON text.":
                calls and not template.writes_calls,
            "The chat template ends the prompt with words that it does not write before a given answer "
            "(an opened think block); answers are learned after them.": template.adds_to_prompt,
        }  # fmt: skip
        return tuple(sentence for sentence, true in told.items() if true)

    @property
    def writes_tools(self) -> bool:
        """Whether the model is told which tools it may call."""
        return not self.encoder.is_chat or self._template.writes_tools

    def render(self, prompt: ChatPrompt, turns: Sequence[Message], tools: str | None = None) -> str:
        """The whole prompt as text, up to where the answer begins, nothing cut."""
        return self._writer(turns).render(prompt.messages(turns), _listed(tools), ask=True)

    @cached_property
    def _template(self) -> ChatTemplate:
        return ChatTemplate(self.encoder)

    def _writer(self, turns: Sequence[Message]) -> ChatTemplate | PlainTurns:
        if self.encoder.is_chat:
            return self._template
        return PlainTurns(self.encoder, [turn.role for turn in turns if turn.role != "system"] == ["user"])

    def _ask(self, prompt: ChatPrompt, turns: Sequence[Message], tools: str | None) -> Sequence[int]:
        return self.encoder.rendered_ids(self.render(prompt, turns, tools))

    def _answer(self, prompt: ChatPrompt, messages: Sequence[Message], tools: str | None) -> tuple[Ints, AnswerText]:
        """Ids of the last turn, and how its text was found."""
        before, offered = messages[:-1], _listed(tools)
        writer = self._writer(before)
        asked = writer.render(prompt.messages(before), offered, ask=True)
        found = writer.find_answer([*prompt.messages(before), messages[-1].as_chat()], offered, asked)
        ids = self._continuation(asked, found.text)
        end = next((place for place, token in enumerate(ids) if token in self.stop_ids), None)
        ids = [*ids, self.encoder.end_of_turn] if end is None else ids[: end + 1]
        return np.array(ids, dtype=np.int64), found

    def _continuation(self, asked: str, text: str) -> Sequence[int]:
        """Ids of `text` after a prompt, whose own ids stay as they are.

        Read alone, the text would get the space that some tokenizers (Llama 2's) put before every text.
        """
        tail = asked[self.encoder.last_control(asked) :]
        before, both = self.encoder.ids(tail), self.encoder.ids(tail + text)
        return both[len(before) :] if both[: len(before)] == before else self.encoder.ids(text)

    def _no_room(self, prompt: ChatPrompt, turns: Sequence[Message], tools: str | None, room: int) -> DataError:
        empty = [turn if turn.role == "system" else replace(turn, content="") for turn in turns]
        needed = len(self._ask(prompt, empty, tools)) + room + 16
        return DataError(
            "training.max_length",
            f"{self.max_length} tokens leave no room for the text beside system prompt, instruction and answer",
            f"at least {needed} with an answer of {room}",
            "Raise it, shorten system prompt or instruction, or lower generation.max_new_tokens.",
        )  # fmt: skip


def learned_places(messages: Sequence[Message], loss_on: str) -> list[int]:
    """Which messages are learned: the assistant's, without those of weight 0 and those that answer nobody."""
    asked = next((place for place, turn in enumerate(messages) if turn.role in ("user", "tool")), len(messages))
    last = len(messages) - 1
    return [
        place for place, turn in enumerate(messages)
        if turn.role == "assistant" and turn.learned and place > asked and (loss_on != "last" or place == last)
    ]  # fmt: skip


def cut_level(lengths: Sequence[int], excess: int) -> int:
    """The length to which longer texts are cut so that together they lose `excess` tokens; 0 where none remains."""
    ordered = sorted(lengths, reverse=True)
    for count, length in enumerate(ordered, start=1):
        shorter = ordered[count] if count < len(ordered) else 0
        level = (sum(ordered[:count]) - excess) // count
        if level >= shorter or count == len(ordered):
            return max(0, min(level, length))
    return 0


def _listed(tools: str | None) -> list[Any] | None:
    return list(json.loads(tools)) if tools else None
