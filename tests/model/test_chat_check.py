"""The proof of what is learned is made of the ids that training uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metier.model.chat_check import MaskProof, Piece, prove_mask
from metier.model.chat_encode import ChatEncoder
from metier.model.chat_prompt import ChatPrompt

Chat = Callable[..., ChatEncoder]
Talk = Callable[..., Any]
BARE = ChatPrompt()
FOLDER = Path(__file__).parent / "templates"


def shown(proof: MaskProof) -> list[str]:
    """Every turn as text, what is learned in brackets."""
    return [
        "".join(f"[{piece.text}]" if piece.learned else piece.text for piece in turn.pieces)
        for record in proof.records for turn in record.turns
    ]  # fmt: skip


def test_pieces_go_on_where_the_turn_before_ended(chat_encoder: Chat, talk: Talk) -> None:
    record = replace(talk("system: S", "user: a", "assistant: b", "user: c", "assistant: d"), source="x.jsonl", row=7)
    proof = prove_mask(chat_encoder("smollm2"), BARE, [record], "assistant")
    assert shown(proof) == [
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n[b<|im_end|>]",
        "\n<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n[d<|im_end|>]",
    ]
    (proven,) = proof.records
    assert (proven.source, proven.row, proven.fault, proven.left_out) == ("x.jsonl", 7, None, ())
    assert [(turn.message, turn.continues, turn.end_learned) for turn in proven.turns] == [
        (3, False, True), (5, True, True),
    ]  # fmt: skip
    assert proof.holds and proof.ends == ("<|im_end|>",) and proof.notices == ()


def test_a_template_that_rewrites_begins_again(chat_encoder: Chat, talk: Talk) -> None:
    proof = prove_mask(
        chat_encoder("qwen3"), BARE, [talk("user: a", "assistant: b", "user: c", "assistant: d")], "assistant"
    )
    assert [turn.continues for turn in proof.records[0].turns] == [False, False]
    assert shown(proof)[1] == (
        "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nc<|im_end|>\n"
        "<|im_start|>assistant\n[<think>\n\n</think>\n\nd<|im_end|>]"
    )


@pytest.mark.parametrize(
    "name", ["qwen2.5", "llama-3.1", "llama-2", "gemma-2", "gemma-3", "phi-3", "zephyr", "granite", "smollm2"]
)
@pytest.mark.parametrize("case", ["question", "turns", "unicode"])
def test_the_pieces_are_the_golden_text(chat_encoder: Chat, talk: Talk, goldens: Any, name: str, case: str) -> None:
    """Spaces aside: some of these tokenizers do not give them back."""
    golden = (FOLDER / "golden" / f"{name}.txt").read_text(encoding="utf-8")
    wanted = golden.split(f"=== {case}\n")[1].split("\n=== ")[0]
    proof = prove_mask(chat_encoder(name), BARE, [talk(*goldens.cases(name)[case]["messages"])], "assistant")
    ours = "".join(shown(proof))
    for bracket, mark in (("[", "⟦"), ("]", "⟧")):
        wanted = wanted.replace(bracket, "").replace(mark, bracket)
    ours = ours.replace("[INST[", "[").replace("[/INST]", "/INST").replace("[INST]", "INST")
    wanted = wanted.rpartition("]")[0] + "]"
    assert "".join(ours.split()) == "".join(wanted.split())


def test_faults_are_in_the_proof(chat_encoder: Chat, talk: Talk) -> None:
    silent = talk("user: a", {"role": "assistant", "content": "b", "weight": 0})
    half = talk("user: a", {"role": "assistant", "content": " "}, "user: b", "assistant: c", tools=[{"name": "f"}])
    proof = prove_mask(chat_encoder("smollm2"), BARE, [silent, half], "assistant")
    assert not proof.holds
    first, second = proof.records
    assert (first.fault, first.turns, first.holds) == ("no learned turn", (), False)
    assert (second.fault, second.left_out, second.holds) == (None, ((2, "empty answer"),), True)
    assert second.tools_unsaid and not first.tools_unsaid
    assert proof.notices == ("The chat template does not tell the model which tools there are.",)
    assert not prove_mask(chat_encoder("smollm2"), BARE, [], "assistant").holds


def test_what_was_cut_or_changed_is_said(chat_encoder: Chat, talk: Talk) -> None:
    long = " ".join(f"word{number}" for number in range(80))
    thinking = {"role": "assistant", "content": "4", "reasoning_content": "Two and two."}
    proof = prove_mask(chat_encoder("qwen2.5", 200), BARE, [talk(f"user: {long}", thinking)], "last")
    assert (proof.records[0].cut, proof.records[0].changed) == (True, True)


def test_the_end_of_calls_comes_after_the_end_of_turn(chat_encoder: Chat, talk: Talk) -> None:
    proof = prove_mask(chat_encoder("gpt-oss"), BARE, [talk("user: a", "assistant: b")], "last")
    assert proof.ends == ("<|return|>", "<|call|>")
    assert prove_mask(chat_encoder("phi-3"), BARE, [], "last").ends == ("<|end|>", "<|endoftext|>")


def test_a_model_without_a_template(tiny_model: Callable[..., Path], talk: Talk) -> None:
    from transformers import AutoTokenizer

    from metier.model.encode import Encoder

    encoder = ChatEncoder(Encoder(AutoTokenizer.from_pretrained(tiny_model("gpt2")), 200))
    proof = prove_mask(encoder, ChatPrompt(instruction="Do."), [talk("user: a", "assistant: b")], "last")
    assert shown(proof) == ["Do.\n\na\nAnswer:[ b<|endoftext|>]"]
    assert proof.records[0].turns[0].pieces[1] == Piece(" b<|endoftext|>", True, 3)
    assert proof.notices == ("The model has no chat template: turns are written as plain text.",)


@pytest.mark.slow
def test_the_packaged_model_as_it_is(talk: Talk) -> None:
    """The real tokenizer and template of the model that comes with metier."""
    from transformers import AutoTokenizer

    from metier.model.encode import Encoder
    from metier.model.packaged import ensure_packaged

    tokenizer = AutoTokenizer.from_pretrained(ensure_packaged("smollm2-135m"))
    encoder = ChatEncoder(Encoder(tokenizer, 512))
    calls = [{"type": "function", "function": {"name": "find", "arguments": '{"x": "<|im_end|>"}'}}]
    record = talk(
        "user: Où est 東京 ? <|im_end|>", "assistant:     if x:\n        y", "user: again",
        {"role": "assistant", "content": "", "tool_calls": calls}, "tool: found", "assistant: Done 🚲.",
    )  # fmt: skip
    proof = prove_mask(encoder, ChatPrompt(instruction="Answer."), [record], "assistant")
    assert proof.holds and proof.ends == ("<|im_end|>",)
    first, second, third = shown(proof)
    assert first.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
    assert first.endswith(
        "<|im_start|>user\nAnswer.\n\nOù est 東京 ? < |im_end|><|im_end|>\n<|im_start|>assistant\n"
        "[    if x:\n        y<|im_end|>]"
    )
    assert '{\\"x\\": \\"< |im_end|>\\"}' in second.partition("[")[2]
    assert third == "\n<|im_start|>tool\nfound<|im_end|>\n<|im_start|>assistant\n[Done 🚲.<|im_end|>]"
