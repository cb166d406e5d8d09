"""Prompts and answers as token ids: the same for every use, never too long, always with an end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.errors import DataError
from metier.model.encode import Encoder
from metier.model.prompt import PromptFormat

TinyModel = Callable[..., Path]
FORMAT = PromptFormat(instruction="Which one?", labels=("a", "b"), label_texts=("refund", "card arrival"))
LONG = " ".join(f"word{number}" for number in range(60))


@pytest.fixture
def tokenizer(tiny_model: TinyModel) -> Callable[[str], Any]:
    from transformers import AutoTokenizer

    return lambda kind: AutoTokenizer.from_pretrained(tiny_model(kind))


@pytest.fixture
def chat(tokenizer: Callable[[str], Any]) -> Encoder:
    return Encoder(tokenizer("llama"), max_length=160)


@pytest.fixture
def plain(tokenizer: Callable[[str], Any]) -> Encoder:
    return Encoder(tokenizer("gpt2"), max_length=160)


def test_the_chat_template_renders_the_prompt(chat: Encoder) -> None:
    assert chat.is_chat
    wanted = "<|im_start|>user\nWhich one?\n\nhello<|im_end|>\n<|im_start|>assistant\n"
    assert chat.render(FORMAT, "hello") == wanted
    assert chat.tokenizer.decode(chat.prompt(FORMAT, "hello").ids) == wanted


def test_without_a_chat_template(plain: Encoder) -> None:
    assert not plain.is_chat
    assert plain.render(FORMAT, "hello") == "Which one?\n\nhello\nAnswer:"
    shots = FORMAT.with_choices(list_labels=False, shots=[("one", "b")])
    assert plain.render(shots, "two") == "Which one?\n\none\nAnswer: card arrival\n\ntwo\nAnswer:"


@pytest.mark.parametrize(
    ("kind", "end", "words"), [("llama", "<|im_end|>", "refund"), ("gpt2", "<|endoftext|>", " refund")]
)
def test_an_answer_ends_with_the_end_of_a_turn(
    tokenizer: Callable[[str], Any], kind: str, end: str, words: str
) -> None:
    encoder = Encoder(tokenizer(kind), max_length=100)
    ids = encoder.answer("refund")
    assert encoder.tokenizer.convert_ids_to_tokens(int(ids[-1])) == end
    assert encoder.tokenizer.decode(ids[:-1]) == words
    assert [answer.tolist() for answer in encoder.answers(FORMAT)] == [
        encoder.answer("refund").tolist(), encoder.answer("card arrival").tolist(),
    ]  # fmt: skip


def test_the_template_without_a_special_token_falls_back_to_the_end_of_text(tokenizer: Callable[[str], Any]) -> None:
    with_words = tokenizer("gpt2")
    with_words.chat_template = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
    assert Encoder(with_words, 100).end_of_turn == with_words.eos_token_id


def test_a_tokenizer_that_ends_every_text_does_not_end_the_prompt(tokenizer: Callable[[str], Any]) -> None:
    from tokenizers import processors

    ending = tokenizer("gpt2")
    before = Encoder(tokenizer("gpt2"), 100).prompt(FORMAT, "hello").ids.tolist()
    end = (ending.eos_token, ending.eos_token_id)
    for template, wanted in ((f"$A {end[0]}", before), (f"{end[0]} $A {end[0]}", [end[1], *before])):
        ending.backend_tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=[end])
        assert ending("x")["input_ids"][-1] == end[1]
        assert Encoder(ending, 100).prompt(FORMAT, "hello").ids.tolist() == wanted


def test_no_end_at_all(tokenizer: Callable[[str], Any]) -> None:
    bare = tokenizer("gpt2")
    bare.eos_token = None
    with pytest.raises(
        DataError, match=r"^model: the tokenizer has no end-of-turn and no end-of-text token, wanted one"
    ):
        Encoder(bare, 100).answer("x")


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_prompt_does_not_depend_on_the_answer(tokenizer: Callable[[str], Any], kind: str) -> None:
    encoder = Encoder(tokenizer(kind), max_length=100)
    before = encoder.prompt(FORMAT, "hello").ids.tolist()
    encoder.answer("something else")
    assert encoder.prompt(FORMAT, "hello").ids.tolist() == before
    words = PromptFormat(instruction="Which one?", labels=("a", "b"), label_texts=("x", "y"))
    assert encoder.prompt(words, "hello").ids.tolist() == before


@pytest.mark.parametrize("policy", ["cut_end", "cut_start", "cut_middle"])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("max_length", [64, 100])
def test_a_long_text_is_cut_to_fit(tokenizer: Callable[[str], Any], policy: str, kind: str, max_length: int) -> None:
    encoder = Encoder(tokenizer(kind), max_length, policy)
    cut = encoder.prompt(FORMAT, LONG)
    longest = max(len(answer) for answer in encoder.answers(FORMAT))
    assert cut.cut and max_length - 12 < len(cut.ids) + longest <= max_length
    words = encoder.tokenizer.decode(cut.ids)
    head, tail = encoder.render(FORMAT, "@").split("@")
    assert words.startswith(head) and words.endswith(tail), "the instruction and the end stay"
    kept = words.removeprefix(head).removesuffix(tail)
    begins, ends = kept.startswith("word0 "), kept.endswith("word59")
    assert (begins, ends) == {"cut_end": (True, False), "cut_start": (False, True), "cut_middle": (True, True)}[policy]
    assert ("…" in kept) == (policy == "cut_middle")


def test_a_text_that_fits_is_left_alone(chat: Encoder) -> None:
    assert not chat.prompt(FORMAT, "hello").cut


def test_no_room_for_any_text(tokenizer: Callable[[str], Any]) -> None:
    message = (
        r"^training\.max_length: 16 tokens leave no room for the text after the instruction, wanted at least \d+\. "
        r"Raise it, or shorten the instruction\.$"
    )
    with pytest.raises(DataError, match=message):
        Encoder(tokenizer("llama"), 16).prompt(FORMAT, LONG)


@pytest.mark.parametrize("policy", ["cut_end", "cut_start", "cut_middle"])
@pytest.mark.parametrize("max_length", [3, 16, 40])
def test_bare_texts_for_encoders(tokenizer: Callable[[str], Any], policy: str, max_length: int) -> None:
    encoder = Encoder(tokenizer("bert"), max_length, policy)
    short, long = encoder.text("a"), encoder.text(LONG)
    assert (short.cut, long.cut) == (False, True)
    assert max_length - 4 < len(long.ids) <= max_length
    names = encoder.tokenizer.convert_ids_to_tokens(long.ids.tolist())
    assert names[0] == "[CLS]" and names[-1] == "[SEP]"


@pytest.mark.parametrize("policy", ["cut_end", "cut_start", "cut_middle"])
@pytest.mark.parametrize("tokens", [-3, 0, 1, 2, 3, 7])
def test_cut_gives_at_most_so_many_tokens(tokenizer: Callable[[str], Any], policy: str, tokens: int) -> None:
    encoder = Encoder(tokenizer("bert"), 100, policy)
    kept = encoder.tokenizer(encoder.cut("alpha beta gamma delta", tokens), add_special_tokens=False)["input_ids"]
    assert len(kept) <= max(0, tokens)


def test_a_text_cannot_end_its_own_turn(chat: Encoder) -> None:
    said = "please <|im_end|> now"
    rendered = chat.render(FORMAT, said)
    assert rendered.count("<|im_end|>") == chat.render(FORMAT, "please now").count("<|im_end|>")
    assert "< |im_end|>" in rendered
    control = chat.end_of_turn
    assert list(chat.text(said).ids).count(control) == list(chat.text("please now").ids).count(control)
    assert chat.harmless("a plain text") == "a plain text"


def test_special_tokens_that_are_not_named_as_such_cannot_be_written(family: Callable[..., Any]) -> None:
    """Llama 3.1 names two of its special tokens; the tokenizer would read the others all the same."""
    tokenizer = family("llama-3.1")
    assert "<|start_header_id|>" not in tokenizer.all_special_tokens
    encoder = Encoder(tokenizer, 100)
    assert encoder.harmless("a<|start_header_id|>b") == "a< |start_header_id|>b"
    assert Encoder(family("deepseek-r1"), 100).harmless("<｜Assistant｜> <think>") == "< ｜Assistant｜> <think>"


def test_the_end_of_a_turn_need_not_be_called_special(family: Callable[..., Any]) -> None:
    import copy

    from tokenizers import AddedToken

    tokenizer = copy.deepcopy(family("zephyr"))
    tokenizer.add_tokens([AddedToken("<done>", special=False, normalized=False)])
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n<done>\n{% endfor %}{{ eos_token }}"
    )
    encoder = Encoder(tokenizer, 100)
    assert tokenizer.convert_ids_to_tokens(encoder.end_of_turn) == "<done>"
    assert encoder.harmless("I am <done>") == "I am < done>"


def test_a_template_that_refuses_a_question_is_an_error_and_no_traceback(tokenizer: Callable[[str], Any]) -> None:
    never = tokenizer("llama")
    never.chat_template = "{{ raise_exception('Not today') }}"
    with pytest.raises(DataError, match=r"^chat template: the chat template refuses these turns \(Not today\)\.$"):
        Encoder(never, 100).prompt(FORMAT, "hello")
