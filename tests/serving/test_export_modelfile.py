"""Chat templates translated to Go: exactly the same text, or no template at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.errors import DataError
from metier.serving.modelfile import PROBES, Chat, Render, modelfile, render_go, translate

TEMPLATES = Path(__file__).resolve().parents[1] / "model" / "templates"
FAMILIES = (
    "gemma-2", "gemma-3", "granite", "llama-2", "llama-3.1", "mistral", "phi-3", "qwen2.5", "qwen3", "smollm2",
    "zephyr",
)  # fmt: skip
WITHOUT_SYSTEM = {"gemma-2", "mistral"}
"""One refuses a system prompt, one writes it into the last turn of the user."""


@pytest.fixture
def family() -> Callable[[str], tuple[Render, str]]:
    """`family(name)`: a real chat template of the tests of the model room, and its beginning of text."""

    def make(name: str) -> tuple[Render, str]:
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template

        source = (TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")
        about = json.loads((TEMPLATES / "families.json").read_text(encoding="utf-8"))[name]

        def render(chat: Chat, ask: bool) -> str:
            try:
                texts, _ = render_jinja_template(
                    conversations=[list(chat)], chat_template=source, add_generation_prompt=ask,
                    bos_token=about["bos"] or "", eos_token=about["eos"], date_string="26 Jul 2024",
                )  # fmt: skip
            except (TemplateError, TypeError) as error:
                raise DataError("template", str(error)) from error
            return str(texts[0])

        begun = about["bos"] and name not in ("smollm2", "granite") and _begins(render, about["bos"])
        return render, about["bos"] if begun else ""

    return make


def _begins(render: Render, bos: str) -> bool:
    return render([{"role": "user", "content": "x"}], True).startswith(bos)


@pytest.mark.parametrize("name", FAMILIES)
def test_real_templates_are_translated_and_say_the_same(name: str, family: Any) -> None:
    render, begin = family(name)
    translation = translate(render, begin=begin)
    assert translation is not None
    assert translation.system == (name not in WITHOUT_SYSTEM)
    chat = [
        {"role": "user", "content": "Erste Frage\nmit Zeile"}, {"role": "assistant", "content": "Antwort <b>1</b>"},
        {"role": "user", "content": "又一个 \"question\""}, {"role": "assistant", "content": "`two`"},
        {"role": "user", "content": "and now?"},
    ]  # fmt: skip
    assert begin + render_go(translation.template, chat) == render(chat, True)
    if translation.system:
        chat = [{"role": "system", "content": "You answer in French.\n\nAlways."}, *chat]
        assert begin + render_go(translation.template, chat) == render(chat, True)


def test_the_template_of_chatml_is_what_ollama_users_know(family: Any) -> None:
    render, begin = family("qwen3")
    translation = translate(render, begin=begin)
    assert translation is not None and translation.probes == len(PROBES)
    assert translation.template == (
        '{{ $first := true }}{{ range .Messages }}{{ if eq .Role "user" }}{{ if $first }}{{ if $.System }}'
        "<|im_start|>system\n{{ $.System }}<|im_end|>\n<|im_start|>user\n{{ else }}<|im_start|>user\n{{ end }}"
        "{{ else }}"
        '<|im_start|>user\n{{ end }}{{ $first = false }}{{ .Content }}<|im_end|>\n{{ else if eq .Role "assistant" }}'
        "<|im_start|>assistant\n{{ .Content }}<|im_end|>\n{{ end }}{{ end }}<|im_start|>assistant\n"
    )


def test_the_instruction_of_the_training_stands_before_the_first_text_only(family: Any) -> None:
    render, begin = family("zephyr")
    translation = translate(render, begin=begin, instruction="Answer politely.")
    assert translation is not None
    chat = [{"role": role, "content": text} for role, text in (("user", "A"), ("assistant", "B"), ("user", "C"))]
    told = [{"role": "user", "content": "Answer politely.\n\nA"}, *chat[1:]]
    assert begin + render_go(translation.template, chat) == render(told, True)


def _numbered(chat: Chat, ask: bool) -> str:
    return "".join(f"[{number}] {turn['content']}\n" for number, turn in enumerate(chat)) + ("> " if ask else "")


def _shouted(chat: Chat, ask: bool) -> str:
    return "".join(f"{turn['role']}: {turn['content'].upper()}\n" for turn in chat) + ("assistant: " if ask else "")


def _braces(chat: Chat, ask: bool) -> str:
    return "".join(f"{{{{{turn['role']}}}}} {turn['content']}\n" for turn in chat)


@pytest.mark.parametrize("render", [_numbered, _shouted, _braces], ids=["numbered turns", "changed texts", "braces"])
def test_what_cannot_be_said_in_go_gets_no_template(render: Render) -> None:
    assert translate(render) is None


def test_a_modelfile_says_where_to_stop_and_how_long() -> None:
    text = modelfile(
        "model-f16.gguf", None, stops=["<|im_end|>", '"'], parameters={"num_ctx": 4096, "temperature": 0.7},
        system="Be kind.", comments=["A model."],
    )  # fmt: skip
    assert text.splitlines() == [
        "# A model.", "# LEFT OUT: 1 of the texts that end an answer; a Modelfile cannot quote them.",
        "FROM ./model-f16.gguf", 'SYSTEM """Be kind."""', "PARAMETER num_ctx 4096", "PARAMETER temperature 0.7",
        'PARAMETER stop "<|im_end|>"',
    ]  # fmt: skip


def test_a_system_prompt_that_cannot_be_quoted_is_said_to_be_missing() -> None:
    text = modelfile("m.gguf", None, stops=[], parameters={}, system='Say """hi""".', comments=[])
    assert text == "# LEFT OUT: the system prompt; a Modelfile cannot quote it. See README.md.\nFROM ./m.gguf\n"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ range .Messages }}{{ .Content }}", "has no end"),
        ("{{ end }}", "an `end` too many"),
        ("{{ .Tools }}", "is not understood"),
        ("{{ if .Prompt }}x{{ end }}", "is not understood"),
        ("{{ if $.System }}a{{ else }}b", "has no end"),
    ],
)
def test_go_that_we_do_not_write_is_not_guessed(template: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render_go(template, [{"role": "user", "content": "x"}])
