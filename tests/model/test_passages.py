"""A passage as windows: every token but the first is predicted once, and nothing of another document is read."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.errors import DataError
from metier.model.encode import Encoder
from metier.model.passages import passage_sequences


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Callable[..., Path]) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model("gpt2"))


@pytest.fixture(scope="module")
def predicted(tokenizer: Any) -> Callable[[str, int], list[int]]:
    """The tokens that the windows predict, in order, after looking at each window's form."""

    def find(text: str, max_length: int) -> list[int]:
        encoder = Encoder(tokenizer, max_length)
        end = tokenizer.eos_token_id
        whole, seen = [end, *encoder.ids(encoder.harmless(text)), end], []
        for ids, targets in passage_sequences(encoder, text):
            assert 2 <= len(ids) <= max_length and len(targets) == len(ids)
            assert not targets[0] and all(targets[1:])
            start = len(seen)
            assert ids.tolist() == whole[start : start + len(ids)]
            seen += ids[1:].tolist()
        assert seen == whole[1:]
        return seen

    return find


@settings(deadline=None, max_examples=60)
@given(text=st.text(max_size=60), max_length=st.integers(2, 30))
def test_every_token_is_predicted_once(predicted: Callable[[str, int], list[int]], text: str, max_length: int) -> None:
    predicted(text, max_length)


def test_the_last_token_is_the_end_of_text(predicted: Callable[[str, int], list[int]], tokenizer: Any) -> None:
    assert predicted("hello there, hello again", 5)[-1] == tokenizer.eos_token_id


def test_what_a_document_begins_with(tiny_model: Callable[..., Path]) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model("llama"))
    for begin, wanted in (("<|im_start|>", "<|im_start|>"), (None, "<|im_end|>")):
        tokenizer.bos_token = begin
        ((ids, _),) = passage_sequences(Encoder(tokenizer, 100), "order <|im_end|>")
        assert tokenizer.convert_ids_to_tokens([ids[0], ids[-1]]) == [wanted, "<|im_end|>"]
        assert tokenizer.eos_token_id not in ids[1:-1], "the text's own words end nothing"


def test_a_document_needs_an_end(tokenizer: Any) -> None:
    bare = copy.deepcopy(tokenizer)
    bare.eos_token = None
    with pytest.raises(DataError, match=r"^model: the tokenizer has no end-of-text token, wanted one\.$"):
        passage_sequences(Encoder(bare, 8), "x")
