"""Models without a chat template, and templates that do odd things."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from metier.errors import DataError
from metier.model.chat_encode import ChatEncoder
from metier.model.chat_prompt import ChatPrompt
from metier.model.encode import Encoder
from metier.model.prompt import PromptFormat

Chat = Callable[..., ChatEncoder]
Talk = Callable[..., Any]
BARE = ChatPrompt()


def texts(encoder: ChatEncoder, encoded: Any) -> list[tuple[str, str]]:
    decode = encoder.encoder.tokenizer.decode
    return [(decode(prompt), decode(answer)) for prompt, answer in encoded.sequences]


# Models without a chat template.


def test_one_question_without_a_template_is_written_as_in_classification(without_template: Chat, talk: Talk) -> None:
    encoder = without_template()
    prompt = ChatPrompt(instruction="Which one?", shots=(("one", "b"),))
    labels = PromptFormat(instruction="Which one?", labels=("b",), label_texts=("b",), shots=prompt.shots)
    encoded = encoder.turns(prompt, talk("user: two", "assistant: b"), "last")
    ((asked, answer),) = encoded.sequences
    assert asked.tolist() == encoder.encoder.prompt(labels, "two").ids.tolist()
    assert answer.tolist() == encoder.encoder.answer("b").tolist()
    assert encoded.how == ("plain text, the end of text after it",)
    assert encoder.notices(BARE, []) == ("The model has no chat template: turns are written as plain text.",)


def test_turns_without_a_template(without_template: Chat, talk: Talk) -> None:
    encoder = without_template()
    tools = [{"name": "f"}]
    calls = [{"function": {"name": "f", "arguments": {}}}]
    conversation = talk(
        "system: S", "user: a", {"role": "assistant", "content": "", "tool_calls": calls}, "tool: r", "assistant: b",
        tools=tools,
    )  # fmt: skip
    encoded = encoder.turns(ChatPrompt(instruction="Do."), conversation, "assistant")
    written = json.dumps(calls)
    assert texts(encoder, encoded) == [
        ('Tools: [{"name": "f"}]\n\nS\n\nDo.\n\na\nAnswer:', f" {written}<|endoftext|>"),
        (
            f'Tools: [{{"name": "f"}}]\n\nS\n\nUser: Do.\n\na\n\nAssistant: {written}\n\nTool: r\n\nAssistant:',
            " b<|endoftext|>",
        ),
    ]
    assert [encoder.read(answer.tolist()) for _, answer in encoded.sequences] == [written, "b"]
    assert encoder.writes_tools and encoder.stop_ids == {encoder.encoder.tokenizer.eos_token_id}


def test_reasoning_without_a_template_is_left_out_and_that_is_said(without_template: Chat, talk: Talk) -> None:
    thinking = {"role": "assistant", "content": "4", "reasoning_content": "Two and two."}
    encoded = without_template().turns(BARE, talk("user: 2+2?", thinking), "last")
    assert encoded.changed and texts(without_template(), encoded) == [("2+2?\nAnswer:", " 4<|endoftext|>")]


# Odd templates.


def odd(family: Any, template: str) -> ChatEncoder:
    tokenizer = copy.deepcopy(family("smollm2"))
    tokenizer.chat_template = template
    return ChatEncoder(Encoder(tokenizer, 400))


PART = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"


def test_an_answer_that_does_not_follow_the_prompt_is_content_and_end_of_turn(family: Any, talk: Talk) -> None:
    unlike = odd(family, f"{{% if add_generation_prompt %}}ask {PART}{{% else %}}tell {PART}{{% endif %}}")
    encoded = unlike.turns(BARE, talk("user: a", "assistant: b"), "last")
    assert encoded.how == ("the content and the end of turn",)
    assert texts(unlike, encoded) == [("ask <|im_start|>user\na<|im_end|>\n", "b<|im_end|>")]


def test_calls_that_do_not_follow_the_prompt_are_a_fault(family: Any, talk: Talk) -> None:
    body = "{% for m in messages %}{{ m.role }}{{ m.content }}{{ m.tool_calls | tojson if m.tool_calls }}{% endfor %}"
    unlike = odd(family, f"{{{{ 'ask ' if add_generation_prompt else 'tell ' }}}}{body}")
    calls = [{"type": "function", "function": {"name": "f", "arguments": {}}}]
    turn = {"role": "assistant", "content": "", "tool_calls": calls}
    encoded = unlike.turns(BARE, talk("user: a", turn), "last")
    assert encoded.fault == "the chat template writes tool calls where the prompt does not lead to"


def test_one_call_of_two_is_a_fault(family: Any, talk: Talk) -> None:
    first = "{{ m.tool_calls[0] | tojson if m.tool_calls }}"
    body = (
        f"{{% for m in messages %}}<|im_start|>{{{{ m.role }}}}\n{{{{ m.content }}}}{first}<|im_end|>\n{{% endfor %}}"
    )
    prompt = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    calls = [{"type": "function", "function": {"name": name, "arguments": {}}} for name in ("one", "two")]
    encoded = odd(family, body + prompt).turns(
        BARE, talk("user: a", {"role": "assistant", "content": "", "tool_calls": calls}), "last"
    )
    assert encoded.fault == "the chat template leaves out a tool call"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ raise_exception('Only prose.\nSecond line') }}", "Only prose."),
        ("{{ messages[0].content + 1 }}", 'can only concatenate str (not "int") to str'),
        ("{{ messages[0].nothing.more }}", "'dict object' has no attribute 'nothing'"),
    ],
    ids=["raises", "type", "undefined"],
)
def test_a_template_that_fails_is_an_error_of_the_data(family: Any, talk: Talk, template: str, said: str) -> None:
    encoder = odd(family, "{% if messages | length < 3 %}" + PART + "{% else %}" + template + "{% endif %}")
    with pytest.raises(
        DataError, match=f"^{re.escape(f'chat template: the chat template refuses these turns ({said})')}"
    ):
        encoder.prompt(BARE, talk("user: a", "assistant: b", "user: c").messages, room=8)


def test_the_date_of_a_prompt_is_always_the_same(family: Any, talk: Talk) -> None:
    dated = odd(family, "{% if date_string is not defined %}{% set date_string = strftime_now('%Y') %}{% endif %}"
                        "{{ date_string + ' ' }}" + PART)  # fmt: skip
    assert dated.render(BARE, talk("user: a").messages).startswith("26 Jul 2024 ")


def test_a_template_that_never_begins_an_answer_lets_the_model_do_it(family: Any, talk: Talk) -> None:
    """Some old templates know no generation prompt: the header is then learned with the answer, and not read."""
    silent = odd(family, PART)
    encoded = silent.turns(BARE, talk("user: a", "assistant: b"), "last")
    assert texts(silent, encoded) == [("<|im_start|>user\na<|im_end|>\n", "<|im_start|>assistant\nb<|im_end|>")]
    assert silent.read(encoded.sequences[0][1].tolist()) == "b"


def test_a_template_that_always_begins_an_answer_ends_it_all_the_same(family: Any, talk: Talk) -> None:
    eager = odd(family, PART + "{{ '<|im_start|>assistant\n' }}")
    encoded = eager.turns(BARE, talk("user: a", "assistant: b"), "last")
    assert texts(eager, encoded) == [("<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n", "b<|im_end|>")]


def test_a_template_of_its_own_for_tools(family: Any, talk: Talk) -> None:
    prompt = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    both = odd(family, "")
    both.encoder.tokenizer.chat_template = {
        "default": PART + prompt,
        "tool_use": "{{ tools | tojson }}" + PART + prompt,
    }
    tools = [{"type": "function", "function": {"name": "f"}}]
    with_tools = talk("user: a", "assistant: b", tools=tools)
    assert both.writes_tools
    ((asked, _),) = texts(both, both.turns(BARE, with_tools, "last"))
    assert asked.startswith(json.dumps(tools)) and asked.endswith("<|im_start|>assistant\n")
    ((asked, _),) = texts(both, both.turns(BARE, talk("user: a", "assistant: b"), "last"))
    assert asked == "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"
