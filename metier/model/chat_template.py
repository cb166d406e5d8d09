"""How turns become the text that a model reads: its own chat template, or plain text for models without one.

Both render with or without the beginning of the next answer; `find_answer` says which part of the
text with the answer is learned, and how that was found.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from metier.errors import DataError
from metier.model.encode import Encoder

Chat = Sequence[Mapping[str, Any]]

TEMPLATE = "what the chat template writes after the prompt"
HEADER = "what the chat template writes after the header that it shares with the prompt"
CONTENT = "the content and the end of turn"
PLAIN = "plain text, the end of text after it"
_MARK, _CALLED = "ANSWERMARK", "CALLEDNAME"
_CALL = {"type": "function", "id": "callcall1", "function": {"name": _CALLED, "arguments": {}}}
_CALLING: Mapping[str, Any] = {"role": "assistant", "content": "", "tool_calls": [_CALL]}


@dataclass(frozen=True)
class AnswerText:
    """The learned text of a turn."""

    text: str
    """Up to the end of the rendered conversation; the encoder ends it at the end of turn."""
    how: str
    """How it was found: `TEMPLATE`, `HEADER`, `CONTENT` or `PLAIN`."""
    changed: bool = False
    """Whether the template leaves something out that the turn says (Qwen3 and others drop reasoning)."""


@dataclass(eq=False)
class ChatTemplate:
    """The model's chat template."""

    encoder: Encoder

    def render(self, chat: Chat, tools: Sequence[Any] | None, *, ask: bool) -> str:
        """The turns as the model reads them; with `ask`, up to where its answer begins.

        Raises:
            DataError: the template refuses the turns.
        """
        ready = [{name: _broken(self.encoder, value, name) for name, value in turn.items()} for turn in chat]
        if not self.writes_calls:
            ready = [{**turn, "content": _spoken(turn), "tool_calls": None} for turn in ready]
        if not self.writes_system:
            ready = fold_system(ready)
        if self.drops_results and any(turn["role"] == "tool" for turn in ready):
            raise DataError("chat template", "the chat template does not write the results of tools")
        return self._write(ready, _broken(self.encoder, tools), ask=ask)

    def _write(self, chat: Chat, tools: Sequence[Any] | None, *, ask: bool) -> str:
        """Rendered with the arguments of tool calls as the template wants them.

        OpenAI writes arguments as JSON text. Most templates expect values, and would quote the text
        again; DeepSeek's joins the text to other text, and fails on values.
        """
        try:
            return self.encoder.apply_template([_with_arguments(turn, json.loads) for turn in chat], tools, ask=ask)
        except DataError:
            if not any(turn.get("tool_calls") for turn in chat):
                raise
            return self.encoder.apply_template([_with_arguments(turn, _as_text) for turn in chat], tools, ask=ask)

    @cached_property
    def writes_system(self) -> bool:
        """Whether the template writes a system prompt; Gemma 2's refuses, others leave it out without a word."""
        return self._writes([{"role": "system", "content": _MARK}, {"role": "user", "content": "x"}])

    @cached_property
    def writes_tools(self) -> bool:
        """Whether the template tells the model which tools it may call."""
        parameters = {"type": "object", "properties": {}}
        tool = {"type": "function", "function": {"name": _MARK, "description": "x", "parameters": parameters}}
        return self._writes([{"role": "user", "content": "x"}], [tool])

    @cached_property
    def writes_calls(self) -> bool:
        """Whether the template writes the calls of tools; for one that does not they are written as JSON text."""
        try:
            return _CALLED in self._write([{"role": "user", "content": "x"}, _CALLING], None, ask=False)
        except DataError:
            return False

    @cached_property
    def adds_to_prompt(self) -> bool:
        """Whether the prompt ends with what a given answer does not have before it (an opened think block)."""
        asked: list[dict[str, Any]] = [{"role": "user", "content": "x"}]
        said = {"role": "assistant", "content": _MARK}
        try:
            return self.find_answer([*asked, said], None, self.render(asked, None, ask=True)).how != TEMPLATE
        except DataError:
            return False

    @cached_property
    def drops_results(self) -> bool:
        """Whether the template leaves out what tools answered, without a word. One that refuses them does not."""
        turns = [{"role": "user", "content": "x"}, _CALLING]
        result = {"role": "tool", "content": _MARK, "tool_call_id": "callcall1", "name": _CALLED}
        try:
            return _MARK not in self._write([*turns, result], None, ask=True)
        except DataError:
            return False

    def _writes(self, chat: Chat, tools: Sequence[Any] | None = None) -> bool:
        try:
            return _MARK in self.encoder.apply_template(chat, tools, ask=True)
        except DataError:
            return False

    @cached_property
    def end_of_calls(self) -> int | None:
        """The token that ends a turn of tool calls, where it is not one that ends an answer (Llama's `<|eom_id|>`)."""
        try:
            text = self.render([{"role": "user", "content": "x"}, _CALLING], None, ask=False)
        except DataError:
            return None
        after = self.encoder.ids(text.rpartition(_CALLED)[2]) if _CALLED in text else []
        ends = [token for token in after if token in self.encoder.marks]
        known = {self.encoder.end_of_turn, self.encoder.tokenizer.eos_token_id}
        return None if not ends or known & set(ends) else ends[-1]

    def lead(self) -> str:
        """What the template writes between the prompt and the words of an answer.

        Raises:
            DataError: the template refuses the simplest conversation.
        """
        asked: list[dict[str, Any]] = [{"role": "user", "content": "x"}]
        said = {"role": "assistant", "content": _MARK}
        found = self.find_answer([*asked, said], None, self.render(asked, None, ask=True))
        return found.text.partition(_MARK)[0]

    def find_answer(self, chat: Chat, tools: Sequence[Any] | None, asked: str) -> AnswerText:
        """The text of the last turn as the template writes it after the prompt `asked`.

        Raises:
            DataError: the template refuses the turn, or does not write its tool calls where the prompt leads to.
        """
        whole = self.render(chat, tools, ask=False)
        calls = chat[-1].get("tool_calls") or []
        if whole.startswith(asked):
            found = AnswerText(whole[len(asked) :], TEMPLATE)
        else:
            found = self._after_header(whole, chat, tools, asked)
        names = [str(call.get("function", call).get("name", "")) for call in calls]
        if any(self.encoder.harmless(name) not in found.text for name in names):
            raise DataError("chat template", "the chat template leaves out a tool call")
        said = (str(chat[-1].get(part) or "") for part in ("content", "reasoning_content"))
        changed = any(self.encoder.harmless(words).strip() not in found.text for words in said)
        return AnswerText(found.text, found.how, changed)

    def _after_header(self, whole: str, chat: Chat, tools: Sequence[Any] | None, asked: str) -> AnswerText:
        """The answer in a text that does not begin with the prompt.

        Some templates add to the prompt what they never write before a given answer (an empty think
        block), or write earlier turns in another way once there is an answer. The turn's header begins at
        the last control token before the answer; one of the two texts may go on after it.
        """
        content = str(chat[-1].get("content") or "")
        marked = self.render([*chat[:-1], {"role": "assistant", "content": _MARK}], tools, ask=False)
        before = marked.rpartition(_MARK)[0]
        start = self.encoder.last_control(before)
        written, wanted = before[start:], asked[self.encoder.last_control(asked) :]
        header = min(written, wanted, key=len)
        if header and written[: len(header)] == wanted[: len(header)] and whole.startswith(before[:start] + header):
            return AnswerText(whole[start + len(header) :], HEADER)
        if chat[-1].get("tool_calls"):
            found = "the chat template writes tool calls where the prompt does not lead to"
            raise DataError("chat template", found)
        return AnswerText(self.encoder.harmless(content), CONTENT)


@dataclass(eq=False)
class PlainTurns:
    """Turns as plain text, for models without a chat template.

    One question is written as in classification (`{text}` and `Answer:` below it), more turns with their speakers.
    """

    encoder: Encoder
    single: bool
    """Whether the record is one turn of the user; examples before it are written in the same way."""

    def render(self, chat: Chat, tools: Sequence[Any] | None, *, ask: bool) -> str:
        """The turns as text; with `ask`, up to where the answer begins."""
        parts = [f"Tools: {json.dumps(_broken(self.encoder, tools), ensure_ascii=False)}"] if tools else []
        for turn in chat:
            said = self.encoder.harmless(_spoken(turn))
            if turn["role"] == "system":
                parts.append(said)
            elif not self.single:
                parts.append(f"{str(turn['role']).capitalize()}: {said}")
            elif turn["role"] == "assistant":
                parts[-1] = f"{parts[-1]}\nAnswer: {said}"
            else:
                parts.append(said)
        if not ask:
            return "\n\n".join(parts)
        return "\n\n".join(parts) + "\nAnswer:" if self.single else "\n\n".join([*parts, "Assistant:"])

    def find_answer(self, chat: Chat, tools: Sequence[Any] | None, asked: str) -> AnswerText:
        """The text of the last turn, after the prompt `asked`."""
        changed = bool(chat[-1].get("reasoning_content"))
        return AnswerText(f" {self.encoder.harmless(_spoken(chat[-1]))}", PLAIN, changed)


def fold_system(chat: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same turns with the leading system prompt in front of the user's first text."""
    if not chat or chat[0]["role"] != "system":
        return chat
    system, rest = chat[0]["content"], list(chat[1:])
    place = next((place for place, turn in enumerate(rest) if turn["role"] == "user"), None)
    if place is None:
        return [{"role": "user", "content": system}, *rest]
    rest[place] = {**rest[place], "content": f"{system}\n\n{rest[place]['content']}"}
    return rest


def _spoken(turn: Mapping[str, Any]) -> str:
    """What a turn says as plain text, the calls of tools as JSON."""
    calls = turn.get("tool_calls")
    parts = (str(turn["content"] or ""), json.dumps(calls, ensure_ascii=False) if calls else "")
    return "\n".join(part for part in parts if part)


def _with_arguments(turn: Mapping[str, Any], change: Callable[[Any], Any]) -> Mapping[str, Any]:
    """The turn with the arguments of its tool calls changed, where they can be."""
    if not isinstance(turn.get("tool_calls"), list):
        return turn
    return {**turn, "tool_calls": [_with_argument(call, change) for call in turn["tool_calls"]]}


def _with_argument(call: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(call, dict) and isinstance(call.get("function"), dict):
        return {**call, "function": _with_argument(call["function"], change)}
    if not isinstance(call, dict) or "arguments" not in call:
        return call
    try:
        changed = change(call["arguments"])
    except (TypeError, ValueError):
        return call
    return {**call, "arguments": changed} if isinstance(changed, dict | str) else call


def _as_text(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def _broken(encoder: Encoder, value: Any, name: str = "") -> Any:
    """The same value with every text in it `harmless`; a role is left alone."""
    if isinstance(value, str) and name != "role":
        return encoder.harmless(value)
    if isinstance(value, Mapping):
        return {_broken(encoder, name): _broken(encoder, each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_broken(encoder, each) for each in value]
    return value
