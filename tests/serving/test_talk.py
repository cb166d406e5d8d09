"""Talking with a model in turns, the base model beside it: `serving/talk.py` and `metier chat`."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from metier.cli.main import run_command_line
from metier.device import Hardware
from metier.errors import ArgumentError
from metier.model.adapt import adapt_model
from metier.model.base import load_base_model
from metier.model.chat_prompt import ChatPrompt
from metier.model.prompt import PromptFormat
from metier.model.saved import save_model
from metier.recipe.sections import AdaptationSection, GenerationSection, ModelSection
from metier.serving.talk import open_talk

CPU = Hardware(device="cpu", dtype="float32", threads=1, reason="a test")
SUM = {"name": "sum", "divisors": [1.0, 1.0], "offsets": [0.0, 0.0]}
LABELS = PromptFormat(instruction="Which?", labels=("a", "b"), label_texts=("a", "b"))


@pytest.fixture
def model(tiny_model: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """`model(prompt, method="lora")`: the folder of a tiny model whose training changed it a lot."""

    def make(prompt: Any = None, method: str = "lora") -> Path:
        base = load_base_model(ModelSection(name=str(tiny_model("llama"))), CPU)
        model = adapt_model(AdaptationSection(method=method), base, seed=1)  # type: ignore[arg-type]
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in model.trainable().values():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        labels = isinstance(prompt, PromptFormat)
        generation = GenerationSection(max_new_tokens=8).model_dump(mode="json")
        save_model(
            model, tmp_path / "model", prompt=prompt or ChatPrompt(system="be kind"), max_length=400,
            too_long="cut_start", rule=SUM if labels else None, examples=7,
            generation=None if labels else generation, task="classification" if labels else "chat",
        )  # fmt: skip
        return tmp_path / "model"

    return make


@pytest.mark.parametrize("method", ["lora", "full"])
def test_base_and_tuned_answer_side_by_side_and_remember_their_own_turns(
    model: Callable[..., Path], method: str
) -> None:
    talk = open_talk(model(method=method), with_base=True)
    assert talk.base is not None
    first, untrained = talk.say("hello there")
    assert untrained is not None and first.text is not None
    assert first.text != untrained.text  # the adapter is set aside, or the base is another network
    talk.say("and now?")
    assert [turn.role for turn in talk.tuned.turns] == ["user", "assistant"] * 2
    assert talk.tuned.turns[1].content == first.text and talk.base.turns[1].content == untrained.text
    talk.forget()
    assert (talk.tuned.turns, talk.base.turns) == ([], [])
    again, _ = talk.say("hello there")
    assert again.text == first.text


def test_a_system_prompt_of_ones_own_stays_when_the_conversation_begins_again(model: Callable[..., Path]) -> None:
    talk = open_talk(model(), system="be brief")
    talk.say("hello")
    talk.forget()
    assert [(turn.role, turn.content) for turn in talk.tuned.turns] == [("system", "be brief")]
    assert talk.base is None


def test_a_model_of_labels_is_not_talked_with(model: Callable[..., Path]) -> None:
    with pytest.raises(ArgumentError, match=r"answers with labels, wanted a model that writes.*metier predict"):
        open_talk(model(LABELS))


def test_the_command_reads_lines_until_the_end(
    model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = model()
    monkeypatch.setattr("sys.stdin", io.StringIO("hello there\n\n/new\nhello there\n/quit\nnever read\n"))
    assert run_command_line(["chat", str(folder), "--base"]) == 0
    said = capsys.readouterr()
    tuned = [line for line in said.out.splitlines() if line.startswith("tuned: ")]
    base = [line for line in said.out.splitlines() if line.startswith("base: ")]
    assert len(tuned) == len(base) == 2 and tuned[0] == tuned[1]
    assert "(a new conversation)" in said.err
