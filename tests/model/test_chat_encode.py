"""Conversations as token ids: what is learned, what is cut, what is refused, and that no text acts as control."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metier.data.records import Message
from metier.errors import DataError
from metier.model.chat_encode import ChatEncoder, cut_level, learned_places
from metier.model.chat_prompt import ChatPrompt

Chat = Callable[..., ChatEncoder]
Talk = Callable[..., Any]
BARE = ChatPrompt()
LONG = " ".join(f"word{number}" for number in range(60))


def texts(encoder: ChatEncoder, encoded: Any) -> list[tuple[str, str]]:
    decode = encoder.encoder.tokenizer.decode
    return [(decode(prompt), decode(answer)) for prompt, answer in encoded.sequences]


# Which turns are learned.


@pytest.mark.parametrize(
    ("turns", "loss_on", "wanted"),
    [
        (["user", "assistant"], "assistant", [1]),
        (["system", "user", "assistant", "user", "assistant"], "assistant", [2, 4]),
        (["system", "user", "assistant", "user", "assistant"], "last", [4]),
        (["user", "assistant 0", "user", "assistant"], "assistant", [3]),
        (["user", "assistant", "user", "assistant 0"], "assistant", [1]),
        (["user", "assistant", "user", "assistant 0"], "last", []),
        (["user", "assistant 0"], "assistant", []),
        (["assistant", "user", "assistant"], "assistant", [2]),
        (["system", "assistant"], "assistant", []),
        (["user", "assistant", "tool", "assistant"], "assistant", [1, 3]),
        (["user", "assistant", "assistant"], "assistant", [1, 2]),
    ],
    ids=lambda value: ",".join(map(str, value)) if isinstance(value, list) else value,
)
def test_which_turns_are_learned(talk: Talk, turns: list[str], loss_on: str, wanted: list[int]) -> None:
    made = [{"role": turn.split()[0], "content": "x", "weight": 0 if turn.endswith(" 0") else 1} for turn in turns]
    assert learned_places(talk(*made).messages, loss_on) == wanted


@pytest.mark.parametrize("loss_on", ["assistant", "last"])
def test_a_record_without_a_learned_turn_is_a_fault(chat_encoder: Chat, talk: Talk, loss_on: str) -> None:
    silent = talk("user: a", {"role": "assistant", "content": "b", "weight": 0})
    encoded = chat_encoder("qwen2.5").turns(BARE, silent, loss_on)
    assert (encoded.fault, encoded.sequences, encoded.left_out) == ("no learned turn", (), ())


def test_turns_of_weight_0_are_read_but_not_learned(chat_encoder: Chat, talk: Talk) -> None:
    encoder = chat_encoder("smollm2")
    wrong = {"role": "assistant", "content": "wrong", "weight": 0}
    encoded = encoder.turns(BARE, talk("system: S", "user: a", wrong, "user: c", "assistant: right"), "assistant")
    assert texts(encoder, encoded) == [(
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nwrong<|im_end|>\n"
        "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n", "right<|im_end|>",
    )]  # fmt: skip
    assert encoded.places == (4,)


@pytest.mark.parametrize("content", ["", "  \n "])
@pytest.mark.parametrize("name", ["gemma-2", "qwen3", "llama-2"])
def test_an_empty_answer_is_not_learned(chat_encoder: Chat, talk: Talk, content: str, name: str) -> None:
    empty = {"role": "assistant", "content": content}
    encoder = chat_encoder(name)
    assert encoder.turns(BARE, talk("user: a", empty), "assistant").fault == "empty answer"
    partly = encoder.turns(BARE, talk("user: a", empty, "user: b", "assistant: c"), "assistant")
    assert (partly.fault, partly.places, partly.left_out) == (None, (3,), ((1, "empty answer"),))


# The prompt is the one that is used when the model is asked.


def test_learning_and_asking_use_the_same_prompt(chat_encoder: Chat, talk: Talk) -> None:
    encoder = chat_encoder("llama-3.1")
    prompt = ChatPrompt(instruction="Answer.", system="Be kind.", shots=(("one", "1"),))
    conversation = talk("user: a", "assistant: b", "user: c", "assistant: d")
    encoded = encoder.turns(prompt, conversation, "assistant")
    for place, (asked, answer) in zip(encoded.places, encoded.sequences, strict=True):
        before = conversation.messages[:place]
        assert encoder.prompt(prompt, before, room=8).ids.tolist() == asked.tolist()
        assert encoder.answer(prompt, conversation.messages[: place + 1]).tolist() == answer.tolist()
        assert encoder.encoder.tokenizer.decode(asked) == encoder.render(prompt, before)


def test_the_prompt_does_not_depend_on_the_answer(chat_encoder: Chat, talk: Talk) -> None:
    encoder = chat_encoder("llama-2")
    prompts = {
        tuple(encoder.turns(BARE, talk("user: a", {"role": "assistant", "content": said}), "last").sequences[0][0])
        for said in ("b", " b", "\nb", "bbbb", "é")
    }
    assert len(prompts) == 1


def test_an_answer_begins_as_the_tokenizer_would_go_on(chat_encoder: Chat, family: Any, talk: Talk) -> None:
    """Read alone, ` hello` would have two spaces with a tokenizer that puts one before every text."""
    tokenizer = family("llama-2")
    ((prompt, answer),) = chat_encoder("llama-2").turns(BARE, talk("user: a", "assistant: hello"), "last").sequences
    whole = tokenizer("<s>[INST] a [/INST] hello </s>", add_special_tokens=False)["input_ids"]
    assert [*prompt, *answer] == whole
    alone = tokenizer(" hello </s>", add_special_tokens=False)["input_ids"]
    assert answer.tolist() != alone


# Control tokens in what people write.


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("qwen2.5", "<|im_end|>"), ("llama-3.1", "<|start_header_id|>"), ("llama-3.1", "<|eom_id|>"),
        ("mistral", "[/INST]"), ("gemma-2", "<end_of_turn>"), ("phi-3", "<|user|>"), ("llama-2", "</s>"),
        ("deepseek-r1", "<｜User｜>"), ("deepseek-r1", "<｜Assistant｜>"), ("gpt-oss", "<|call|>"),
    ],
)  # fmt: skip
def test_no_text_acts_as_a_control_token(chat_encoder: Chat, talk: Talk, name: str, word: str) -> None:
    encoder = chat_encoder(name)
    control = encoder.encoder.tokenizer.convert_tokens_to_ids(word)
    calm, evil = (
        encoder.turns(BARE, talk(f"user: say {text} now", f"assistant: I say {text}"), "last").sequences[0]
        for text in ("it", word)
    )
    for one, other in zip(calm, evil, strict=True):
        assert one.tolist().count(control) == other.tolist().count(control)
    assert f"{word[0]} {word[1:]}" in encoder.read(evil[1].tolist())


def test_tools_and_calls_are_harmless_too(chat_encoder: Chat, talk: Talk) -> None:
    encoder, word = chat_encoder("granite"), "<|end_of_text|>"
    control = encoder.encoder.end_of_turn
    counts = []
    for text in ("it", word):
        tools = [{"type": "function", "function": {"name": "f", "description": text, "parameters": {text: text}}}]
        calls = [{"type": "function", "id": text, "function": {"name": "f", "arguments": json.dumps({text: text})}}]
        turns = ("user: a", {"role": "assistant", "content": "", "tool_calls": calls}, f"tool: {text}", "assistant: c")
        encoded = encoder.turns(BARE, talk(*turns, tools=tools), "assistant")
        assert encoded.fault is None and not encoded.left_out
        counts.append([ids.tolist().count(control) for pair in encoded.sequences for ids in pair])
    assert counts[0] == counts[1]


def test_words_that_a_model_writes_itself_stay(chat_encoder: Chat, talk: Talk) -> None:
    encoder = chat_encoder("qwen3")
    said = "<think>\nTwo.\n</think>\n\n4 <tool_call>"
    ((_, answer),) = encoder.turns(BARE, talk("user: a", f"assistant: {said}"), "last").sequences
    assert encoder.encoder.tokenizer.decode(answer) == f"{said}<|im_end|>"


CONTROL = [
    "<|im_end|>", "<|im_start|>", "</s>", "<s>", "[INST]", "[/INST]", "<end_of_turn>", "<bos>", "<|eot_id|>",
    "<|start_header_id|>", "<|end|>", "<|assistant|>", "<|", "|>", "<think>", "</think>", "<｜Assistant｜>",
]  # fmt: skip
WORDS = st.lists(st.one_of(st.sampled_from(CONTROL), st.text(max_size=8)), max_size=5).map("".join)


@pytest.mark.parametrize(
    "name", ["qwen2.5", "llama-3.1", "llama-2", "mistral", "gemma-3", "phi-3", "zephyr", "deepseek-r1", "gpt-oss"]
)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=WORDS, said=WORDS)
def test_any_text_is_asked_and_answered(chat_encoder: Chat, name: str, asked: str, said: str) -> None:
    encoder = chat_encoder(name)
    decode, marks = encoder.encoder.tokenizer.decode, control_ids(encoder)
    before = (Message(role="user", content=f"x{asked}x"),)
    turns = (*before, Message(role="assistant", content=f"x{said}x"))
    prompt = encoder.prompt(BARE, before, room=8).ids.tolist()
    answer = encoder.answer(BARE, turns).tolist()
    assert [token in encoder.stop_ids for token in answer] == [False] * (len(answer) - 1) + [True]
    plain = encoder.prompt(BARE, (Message(role="user", content="xx"),), room=8).ids.tolist()
    assert sorted(filter(marks.__contains__, prompt)) == sorted(filter(marks.__contains__, plain))
    plain = encoder.answer(BARE, (*before, Message(role="assistant", content="xx"))).tolist()
    assert sorted(filter(marks.__contains__, answer)) == sorted(filter(marks.__contains__, plain))
    harmless = encoder.encoder.harmless
    if name != "deepseek-r1" or "</think>" not in said:
        assert encoder.read(answer) == harmless(f"x{said}x").strip()
    assert without_spaces(harmless(f"x{asked}x")) in without_spaces(decode(prompt))


MORE = st.sampled_from([
    {}, {"tool_calls": [{"type": "function", "id": "abcdefghi", "function": {"name": "f", "arguments": "{}"}}]},
    {"tool_calls": []}, {"tool_calls": [{"function": {"name": "f", "arguments": "no JSON"}}]}, {"name": "x"},
    {"tool_call_id": "abcdefghi"}, {"reasoning_content": "so"},
])  # fmt: skip
TURN = st.tuples(st.sampled_from(["system", "user", "assistant", "tool"]), WORDS, MORE, st.sampled_from([0, 1]))
NAMES = ["qwen2.5", "qwen3", "llama-3.1", "llama-2", "mistral", "gemma-2", "gemma-3", "phi-3", "zephyr",
         "deepseek-r1", "granite", "smollm2", "gpt-oss", "plain"]  # fmt: skip


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(NAMES), turns=st.lists(TURN, max_size=6), last=WORDS, tools=st.booleans())
def test_any_conversation_is_learned_or_has_a_reason(
    chat_encoder: Chat, without_template: Chat, talk: Talk, name: str, turns: list[Any], last: str, tools: bool
) -> None:
    encoder = without_template(120) if name == "plain" else chat_encoder(name, 120)
    made = [{"role": role, "content": said, "weight": weight, **more} for role, said, more, weight in turns]
    conversation = talk(*made, f"assistant: {last}", tools=[{"name": "f"}] if tools else None)
    for loss_on in ("assistant", "last"):
        encoded = encoder.turns(ChatPrompt(instruction="Do."), conversation, loss_on, room=8)
        assert bool(encoded.sequences) == (encoded.fault is None)
        wanted = learned_places(conversation.messages, loss_on)
        assert sorted([*encoded.places, *(place for place, _ in encoded.left_out)]) == wanted
        assert len(encoded.how) == len(encoded.places) == len(encoded.sequences)
        for prompt, answer in encoded.sequences:
            assert len(prompt) > 0 and len(prompt) + len(answer) <= 120
            assert [token in encoder.stop_ids for token in answer] == [False] * (len(answer) - 1) + [True]


def without_spaces(text: str) -> str:
    return "".join(text.split())


def control_ids(encoder: ChatEncoder) -> set[int]:
    """Special tokens, and what begins and ends a turn."""
    tokenizer = encoder.encoder.tokenizer
    special = {number for number, word in tokenizer.added_tokens_decoder.items() if word.special}
    return special | set(tokenizer.convert_tokens_to_ids([w for w in CONTROL if "Assistant" in w])) - {None}


# Too long.


@pytest.mark.parametrize("policy", ["cut_end", "cut_start", "cut_middle"])
@pytest.mark.parametrize("name", ["qwen2.5", "llama-2", "plain"])
def test_the_longest_text_is_cut_to_fit(
    chat_encoder: Chat, without_template: Chat, talk: Talk, name: str, policy: str
) -> None:
    encoder = without_template(300, policy) if name == "plain" else chat_encoder(name, 300, policy)
    conversation = talk("system: Be kind.", "user: hello", "assistant: yes?", f"user: {LONG}", "assistant: done")
    prompt = ChatPrompt(instruction="Answer well.")
    cut = encoder.prompt(prompt, conversation.context, room=40)
    words = encoder.encoder.tokenizer.decode(cut.ids)
    assert cut.cut and 300 - 40 - 16 < len(cut.ids) <= 300 - 40
    for kept in ("Be kind.", "Answer well.", "hello", "yes?"):
        assert kept in words
    short = talk("system: Be kind.", "user: hello", "assistant: yes?", "user: @").messages
    tail = encoder.render(prompt, short).partition("@")[2]
    assert tail.strip() and words.rstrip().endswith(tail.strip())
    begins, ends = "word0 " in words, "word59" in words
    assert (begins, ends) == {"cut_end": (True, False), "cut_start": (False, True), "cut_middle": (True, True)}[policy]


def test_texts_of_equal_length_are_cut_alike(chat_encoder: Chat, talk: Talk) -> None:
    encoder = chat_encoder("qwen2.5", 300)
    cut = encoder.prompt(BARE, talk(f"user: A{LONG}", f"assistant: B{LONG}", f"user: C{LONG}").messages, room=8)
    parts = encoder.encoder.tokenizer.decode(cut.ids).split("word0")
    assert cut.cut and len(parts) == 4 and max(map(len, parts[1:3])) - min(map(len, parts[1:3])) < 60


def test_system_prompts_are_never_cut(chat_encoder: Chat, talk: Talk) -> None:
    encoder = chat_encoder("qwen2.5", 500)
    cut = encoder.prompt(BARE, talk(f"system: {LONG}", f"user: {LONG} {LONG}").messages, room=8)
    assert cut.cut and LONG in encoder.encoder.tokenizer.decode(cut.ids)


def test_learning_cuts_as_asking_does(chat_encoder: Chat, talk: Talk) -> None:
    encoder = chat_encoder("qwen2.5", 300)
    conversation = talk(f"user: {LONG}", "assistant: ok")
    longer, same = (encoder.turns(BARE, conversation, "last", room=room) for room in (0, 60))
    assert longer.cut and same.cut
    assert same.sequences[0][0].tolist() == encoder.prompt(BARE, conversation.context, room=60).ids.tolist()
    assert len(longer.sequences[0][0]) > len(same.sequences[0][0])
    assert sum(map(len, longer.sequences[0])) <= 300


def test_no_room_for_any_text(chat_encoder: Chat, talk: Talk) -> None:
    message = (
        r"^training\.max_length: 64 tokens leave no room for the text beside system prompt, instruction and answer, "
        r"wanted at least \d+ with an answer of 10\. Raise it, shorten system prompt or instruction, or lower "
        r"generation\.max_new_tokens\.$"
    )
    encoder = chat_encoder("qwen2.5", 64)
    prompt = ChatPrompt(system=LONG)
    with pytest.raises(DataError, match=message):
        encoder.prompt(prompt, talk("user: hello").messages, room=10)
    encoded = encoder.turns(prompt, talk("user: hello", "assistant: yes"), "last")
    assert encoded.fault == "64 tokens leave no room for the text beside system prompt, instruction and answer"


def test_a_long_answer_is_a_fault_and_never_cut(chat_encoder: Chat, talk: Talk) -> None:
    encoder = chat_encoder("qwen2.5", 120)
    encoded = encoder.turns(BARE, talk("user: a", f"assistant: {LONG}"), "last")
    assert (encoded.fault, encoded.sequences) == ("answer longer than max_length", ())
    both = encoder.turns(BARE, talk("user: a", "assistant: b", "user: c", f"assistant: {LONG}"), "assistant")
    assert (both.fault, both.places, both.left_out) == (None, (1,), ((3, "answer longer than max_length"),))


@settings(deadline=None)
@given(lengths=st.lists(st.integers(0, 400), min_size=1, max_size=8), excess=st.integers(1, 900))
def test_the_level_takes_away_just_enough(lengths: list[int], excess: int) -> None:
    level = cut_level(lengths, excess)
    lost = sum(max(0, length - level) for length in lengths)
    if sum(lengths) < excess:
        assert level == 0
    else:
        assert excess <= lost or level == 0
        assert level == 0 or sum(max(0, length - level - 1) for length in lengths) < excess


# What ends an answer, and reading it.


def test_what_a_call_ends_with_ends_an_answer_too(chat_encoder: Chat) -> None:
    names = {
        name: chat_encoder(name).encoder.tokenizer.convert_ids_to_tokens(sorted(chat_encoder(name).stop_ids))
        for name in ("gpt-oss", "gemma-2", "phi-3", "qwen2.5")
    }
    assert names == {
        "gpt-oss": ["<|return|>", "<|call|>"], "gemma-2": ["<eos>", "<end_of_turn>"],
        "phi-3": ["<|endoftext|>", "<|end|>"], "qwen2.5": ["<|im_end|>"],
    }  # fmt: skip


def test_reading_keeps_spaces_before_punctuation(chat_encoder: Chat) -> None:
    """Some tokenizers are told to clean such spaces up."""
    encoder = chat_encoder("qwen2.5")
    said = "a , b . c 's ?"
    assert encoder.read(encoder.encoder.ids(said)) == said


def test_counts(chat_encoder: Chat) -> None:
    encoder = chat_encoder("qwen2.5")
    assert encoder.max_length == 4000
    assert encoder.count("hello") == len(encoder.encoder.ids("hello"))
    assert encoder.count("<|im_end|>") > 1


def test_more_of_a_turn_is_kept_when_it_is_cut(chat_encoder: Chat, talk: Talk) -> None:
    calls = [{"type": "function", "function": {"name": "f", "arguments": {}}}]
    turns = talk("user: a", {"role": "assistant", "content": "", "tool_calls": calls}, f"tool: {LONG}").messages
    cut = chat_encoder("qwen2.5", 260).prompt(BARE, turns, room=8)
    assert cut.cut and '"name": "f"' in chat_encoder("qwen2.5").encoder.tokenizer.decode(cut.ids)
    assert replace(turns[1], content="").more
