"""How tokens are shown."""

from __future__ import annotations

from collections.abc import Sequence

from metier.planning.tokens import token_texts


def _decode(ids: Sequence[int]) -> str:
    return bytes(ids).decode("utf-8", "replace")


def test_a_character_of_several_tokens_is_shown_whole() -> None:
    texts = token_texts(list("aü😀b".encode()), _decode)
    assert texts == ["a", "ü", "", "😀", "", "", "", "b"]


def test_broken_bytes_are_shown_one_by_one() -> None:
    assert token_texts([0xC3, 0x61], _decode) == ["\ufffd", "a"]
