"""What counts as the same: a question by its text, a conversation by what was said up to each answer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from metier.data.input_rules import normalised
from metier.data.records import Conversation, Preference, Record, answer_text
from metier.store.fingerprint import text_sha256

Mark = Callable[[str], str]
"""What stands for a text: 16 hexadecimal digits, equal for equal texts."""


def plain_mark(text: str) -> str:
    """The first digits of a text's SHA-256."""
    return text_sha256(text)[:16]


def record_key(record: Record, mark: Mark = plain_mark) -> str:
    """What stands for a record's normalised text and, where there is one, its system prompt: the same question.

    Args:
        record: After everything that changes its text.
        mark: Makes it.
    """
    messages = record.messages if isinstance(record, Conversation | Preference) else ()
    system = "\0".join(message.content for message in messages if message.role == "system")
    return mark(normalised(record.text) + (f"\0{normalised(system)}" if system else ""))


def exchanges(record: Record) -> list[str]:
    """Hashes of a conversation from its start to each turn of the assistant, that turn included; none of others.

    Two conversations that share one were the same up to there.
    """
    if not isinstance(record, Conversation):
        return []
    so_far, found = hashlib.sha256(), []
    for message in record.messages:
        so_far.update(f"{message.role}\0{normalised(answer_text(message))}\0".encode("utf-8", "surrogatepass"))
        if message.role == "assistant":
            found.append(so_far.hexdigest()[:16])
    return found
