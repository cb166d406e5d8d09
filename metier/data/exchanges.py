"""Conversations by what was said up to each answer: two that share it were the same up to there."""

from __future__ import annotations

import hashlib

from metier.data.input_rules import normalised
from metier.data.records import Conversation, Record, answer_text


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
