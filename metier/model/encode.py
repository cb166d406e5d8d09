"""How a prompt and its answer become token ids: one function for training, scoring, prediction and `check`.

Prompt and answer are tokenised separately, so the prompt's ids never depend on the answer, and the
answer ends with the token that ends a turn. That token is trained like any other: a model that was
never taught to stop does not stop.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from metier.errors import DataError
from metier.model.prompt import PromptFormat

Ints = npt.NDArray[np.int64]
_MARK = "ANSWERMARK"
TEMPLATE_DATE = "26 Jul 2024"
"""The date that chat templates with a date are given: Llama 3.1's own default."""


def cut_policy(too_long: str) -> str:
    """How every system cuts a text that is too long for it; `reject` is for training records only."""
    return "cut_end" if too_long == "reject" else too_long


@dataclass(frozen=True, eq=False)
class EncodedPrompt:
    """Token ids of a prompt, and whether the record's text had to be cut to fit."""

    ids: Ints
    cut: bool


@dataclass(eq=False)
class Encoder:
    """Turns prompts and answers of one model into ids.

    `tokenizer` is a transformers tokenizer; with a chat template, prompts are rendered by it.
    """

    tokenizer: Any
    max_length: int
    """Longest prompt and answer together, in tokens."""
    too_long: str = "cut_end"
    """`cut_end`, `cut_start` or `cut_middle` of the record's text."""
    _answers: dict[str, Ints] = field(default_factory=dict, init=False, repr=False)

    @property
    def is_chat(self) -> bool:
        """Whether the model has a chat template."""
        return bool(self.tokenizer.chat_template)

    @cached_property
    def end_of_turn(self) -> int:
        """The token that ends an answer: the first one that the template puts after it, else end of text.

        Raises:
            DataError: the tokenizer has neither.
        """
        if self.is_chat:
            turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": _MARK}]
            after = self.ids(self.apply_template(turns).rpartition(_MARK)[2])
            for token in after:
                if token in self.marks:
                    return int(token)
        if self.tokenizer.eos_token_id is None:
            raise DataError("model", "the tokenizer has no end-of-turn and no end-of-text token", "one of them")
        return int(self.tokenizer.eos_token_id)

    def answer(self, text: str) -> Ints:
        """Ids of an answer, end of turn included; at least two tokens."""
        if text not in self._answers:
            words = text if self.is_chat else f" {text}"
            self._answers[text] = np.array([*self.ids(words), self.end_of_turn], dtype=np.int64)
        return self._answers[text]

    def answers(self, prompt: PromptFormat) -> list[Ints]:
        """Ids of all label texts of a prompt format, in its order."""
        return [self.answer(text) for text in prompt.label_texts]

    def render(self, prompt: PromptFormat, text: str) -> str:
        """The whole prompt as the model sees it, up to where its answer begins."""
        turns = [{**turn, "content": self.harmless(turn["content"])} for turn in prompt.messages(text)]
        if self.is_chat:
            return self.apply_template(turns, ask=True)
        parts = [f"{turn['content']}\nAnswer:" if turn["role"] == "user" else turn["content"] for turn in turns]
        lines = [f"{asked} {said}" for asked, said in zip(parts[::2], parts[1::2], strict=False)]
        return "\n\n".join([*lines, parts[-1]])

    def apply_template(
        self, chat: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None = None, *, ask: bool = False
    ) -> str:
        """Chat messages as the model's chat template writes them.

        Args:
            chat: The messages.
            tools: What the assistant may call.
            ask: Whether the text ends where the assistant's answer begins.

        Raises:
            DataError: the template refuses the messages.
        """
        from jinja2 import TemplateError

        try:
            # Llama's templates write a date; without one they would take today's, and no run could be repeated.
            text = self.tokenizer.apply_chat_template(
                list(chat), tools=list(tools) if tools else None, tokenize=False, add_generation_prompt=ask,
                date_string=TEMPLATE_DATE,
            )  # fmt: skip
        except (TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
            raise DataError("chat template", f"the chat template refuses these turns ({said})") from error
        return str(text)

    def prompt(self, prompt: PromptFormat, text: str) -> EncodedPrompt:
        """Ids of the prompt for one text, cut by the policy where it would not fit with the longest answer.

        Raises:
            DataError: instruction and examples alone are longer than `max_length`.
        """
        longest = max(len(ids) for ids in self.answers(prompt))
        ids = self._prompt_ids(prompt, text)
        room = self.max_length - longest
        if len(ids) <= room:
            return EncodedPrompt(np.array(ids, dtype=np.int64), cut=False)
        shorter = len(self.ids(text)) - (len(ids) - room)
        while shorter > 0:
            ids = self._prompt_ids(prompt, self.cut(text, shorter))
            if len(ids) <= room:
                return EncodedPrompt(np.array(ids, dtype=np.int64), cut=True)
            shorter -= max(1, len(ids) - room)
        raise DataError(
            "training.max_length", f"{self.max_length} tokens leave no room for the text after the instruction",
            f"at least {len(self._prompt_ids(prompt, '')) + longest + 16}", "Raise it, or shorten the instruction.",
        )  # fmt: skip

    def text(self, text: str) -> EncodedPrompt:
        """Ids of a bare text with the tokenizer's own special tokens, as encoders read it."""
        text = self.harmless(text)
        ids = self.tokenizer(text, truncation=False)["input_ids"]
        if len(ids) <= self.max_length:
            return EncodedPrompt(np.array(ids, dtype=np.int64), cut=False)
        extra = len(ids) - len(self.ids(text))
        shorter = self.max_length - extra
        ids = self.tokenizer(self.cut(text, shorter), truncation=False)["input_ids"]
        while len(ids) > self.max_length:
            shorter -= len(ids) - self.max_length
            ids = self.tokenizer(self.cut(text, shorter), truncation=False)["input_ids"]
        return EncodedPrompt(np.array(ids, dtype=np.int64), cut=True)

    def harmless(self, text: str) -> str:
        """`text` with a space in every word that the tokenizer would read as a control token.

        A record that says `<|im_end|>` must not be able to end its own turn.
        """
        return self._control.sub(lambda found: f"{found.group()[0]} {found.group()[1:]}", text)

    @cached_property
    def _control(self) -> re.Pattern[str]:
        words = sorted((word for word in self._control_words() if len(word) > 1), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, words)) or r"(?!)")

    def last_control(self, text: str) -> int:
        """Where the last control token of a rendered text begins; 0 without any.

        Tokenizers read what follows a control token as they would read it alone.
        """
        return max((found.start() for found in self._control.finditer(text)), default=0)

    @cached_property
    def marks(self) -> frozenset[int]:
        """Ids of all tokens that were added to the vocabulary as whole words: control tokens are among them."""
        added = {number for number, word in self.tokenizer.added_tokens_decoder.items() if word.content.strip()}
        return frozenset(added | set(self.tokenizer.all_special_ids))

    def _control_words(self) -> set[str]:
        """Special tokens, and what begins and ends a turn where that is not called special.

        The list of named special tokens is not enough: Llama 3.1 leaves `<|start_header_id|>` out of it.
        Added words that a model itself may write (`<think>`, `<tool_call>`) are no control tokens.
        """
        added = self.tokenizer.added_tokens_decoder
        words = {word.content for word in added.values() if word.special} | set(self.tokenizer.all_special_tokens)
        if self.is_chat:
            user = [{"role": "user", "content": "x"}]
            around, asked = self.ids(self.apply_template(user)), self.ids(self.apply_template(user, ask=True))
            same = next((n for n, (one, two) in enumerate(zip(around, asked, strict=False)) if one != two), len(around))
            header = [token for token in asked[same:] if token in self.marks][:1]
            words |= {added[token].content for token in (*around, *header, self.end_of_turn) if token in added}
        return {word for word in words if word.strip()}

    def cut(self, text: str, tokens: int) -> str:
        """`text` shortened to about `tokens` tokens by the policy, at token borders."""
        spans = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        if len(spans) <= tokens:
            return text
        if tokens <= 0:
            return ""
        if self.too_long == "cut_start":
            return text[spans[len(spans) - tokens][0] :]
        if self.too_long == "cut_middle" and tokens > 2:
            head = (tokens - 1) // 2
            tail = tokens - 1 - head
            return f"{text[: spans[head - 1][1]]} … {text[spans[len(spans) - tail][0] :]}"
        return text[: spans[tokens - 1][1]]

    def passage(self, text: str) -> Ints:
        """Ids of a whole document, between the token that begins a text (else the one that ends it) and the one that
        ends it.

        Raises:
            DataError: the tokenizer has no token that ends a text.
        """
        begin, end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        if end is None:
            raise DataError("model", "the tokenizer has no end-of-text token", "one")
        return np.array([end if begin is None else begin, *self.ids(self.harmless(text)), end], dtype=np.int64)

    def _prompt_ids(self, prompt: PromptFormat, text: str) -> Sequence[int]:
        return self.rendered_ids(self.render(prompt, text))

    def rendered_ids(self, rendered: str) -> Sequence[int]:
        """Ids of a rendered prompt. A chat template writes its own beginning; a plain text gets the tokenizer's."""
        return self.ids(rendered) if self.is_chat else self._begun(rendered)

    def _begun(self, text: str) -> Sequence[int]:
        ids, bare = list(self.tokenizer(text, truncation=False)["input_ids"]), self.ids(text)
        # Some tokenizers end every text with a special token, after which a model would say nothing more.
        while len(ids) > len(bare) and ids[-len(bare) :] != bare:
            ids.pop()
        return ids

    def ids(self, text: str) -> Sequence[int]:
        """Ids of a piece of text, nothing added."""
        return list(self.tokenizer(text, add_special_tokens=False, truncation=False)["input_ids"])
