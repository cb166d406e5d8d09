"""How a conversation is put before a language model: system prompt, instruction, examples. Hashed, saved with it.

As in `prompt.py`, what all records share comes first, so that the engine computes it once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from metier.data.records import Message
from metier.recipe.sections import PromptSection
from metier.store.fingerprint import fingerprint
from metier.store.values import to_plain


@dataclass(frozen=True)
class ChatPrompt:
    """Everything that decides the words of a prompt, except the record's own turns."""

    instruction: str | None = None
    """What the model is asked to do, before the first text of the user. None: the text alone."""
    system: str | None = None
    """System prompt of conversations that bring none of their own. None: none."""
    shots: tuple[tuple[str, str], ...] = ()
    """Examples before the record, as what the user says and what the assistant answers."""

    @property
    def hash(self) -> str:
        """Fingerprint of all fields, 16 hex digits; kept with every answered item."""
        return fingerprint({"kind": "chat", **to_plain(self)})[:16]

    def messages(self, turns: Sequence[Message]) -> list[dict[str, Any]]:
        """The turns as chat templates read them, with system prompt, examples and instruction in place.

        A system prompt of the turns wins over the recipe's.
        """
        head, rest = split_system(turns)
        chat = [turn.as_chat() for turn in head]
        if not chat and self.system:
            chat = [{"role": "system", "content": self.system}]
        for asked, said in self.shots:
            chat += [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
        chat += [turn.as_chat() for turn in rest]
        if self.instruction:
            first = next((turn for turn in chat if turn["role"] == "user"), None)
            if first is None:
                # Nobody asks anything (only a system prompt, or a greeting): the instruction is the question.
                chat.insert(len(head) or bool(self.system), {"role": "user", "content": self.instruction})
            else:
                first["content"] = f"{self.instruction}\n\n{first['content']}"
        return chat

    def with_shots(self, shots: Sequence[tuple[str, str]]) -> ChatPrompt:
        """The same prompt with other examples."""
        return replace(self, shots=tuple((str(asked), str(said)) for asked, said in shots))


def split_system(turns: Sequence[Message]) -> tuple[Sequence[Message], Sequence[Message]]:
    """The leading system turns, and all others."""
    count = next((place for place, turn in enumerate(turns) if turn.role != "system"), len(turns))
    return turns[:count], turns[count:]


def make_chat_prompt(section: PromptSection) -> ChatPrompt:
    """Resolve the prompt section: empty texts are none."""
    return ChatPrompt(instruction=section.instruction or None, system=section.system or None)


def chat_prompt_from_plain(plain: Mapping[str, Any]) -> ChatPrompt:
    """The prompt that `store.values.to_plain` wrote."""
    return ChatPrompt(
        instruction=plain["instruction"],
        system=plain["system"],
        shots=tuple((str(asked), str(said)) for asked, said in plain["shots"]),
    )
