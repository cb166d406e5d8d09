"""What is learned under the chat templates of thirteen families, held against transformers' own mask.

`templates/golden` shows the same as text. Two comparisons: every learned turn with the mask of the
conversation up to that turn (what the model is asked with), and all turns with the mask of the whole
conversation, where a template writes earlier turns the same way once later ones are there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from metier.model.chat_encode import ChatEncoder
from metier.model.chat_prompt import ChatPrompt
from metier.model.chat_template import HEADER, TEMPLATE

FOLDER = Path(__file__).parent / "templates"
FAMILIES = list(json.loads((FOLDER / "families.json").read_text(encoding="utf-8")))
CASES = list(json.loads((FOLDER / "cases.json").read_text(encoding="utf-8")))
BARE = ChatPrompt()

REWRITES = {
    "qwen3": "drops the think block of turns before the last question",
    "mistral": "moves the tools and the system prompt to the user's last turn",
    "deepseek-r1": "opens a think block in the prompt that earlier answers do not have",
    "gpt-oss": "ends the last answer with another token than earlier ones, and drops their reasoning",
}
"""Family -> why its earlier turns are not learned as the whole conversation has them, but as they are asked for."""
NOT_COMPARED = {
    ("gemma-2", "system"): "transformers refuses a system turn; metier puts it before the first question",
    ("smollm2", "tools"): "the template leaves calls out, so transformers learns an empty answer; metier writes JSON",
    ("phi-3", "tools"): "the template leaves calls and results out",
    ("zephyr", "tools"): "the template leaves calls and results out",
    ("phi-3", "spaces"): "transformers' mask takes the whole token <|assistant|>, which swallows the answer's spaces",
}
"""Where the two differ on purpose."""
REFUSED = {
    ("llama-2", "tools"): "does not write tool calls, refuses tools",
    ("gemma-2", "tools"): "does not write tool calls, refuses tools",
    ("gemma-3", "tools"): "does not write tool calls, refuses tools",
}
"""Conversations that the template itself refuses beyond the first answer."""
COMPARED = [
    (family, case) for family in FAMILIES for case in CASES
    if (family, case) not in NOT_COMPARED and (family, case) not in REFUSED
]  # fmt: skip


STEADY = [pair for pair in COMPARED if pair[0] not in REWRITES]


def named(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Names of tests: family and case."""
    return [" ".join(pair) for pair in pairs]


def masked(tokenizer: Any, messages: list[Any], tools: Any) -> tuple[list[int], list[int]]:
    """Token ids of a conversation, and which of them transformers calls the assistant's."""
    done = tokenizer.apply_chat_template(
        messages, tools=tools, return_dict=True, return_assistant_tokens_mask=True, date_string="26 Jul 2024"
    )
    return done["input_ids"], done["assistant_masks"]


def last_span(mask: list[int]) -> tuple[int, int]:
    """Where the last run of ones begins and ends."""
    end = len(mask) - mask[::-1].index(1)
    start = end
    while start and mask[start - 1]:
        start -= 1
    return start, end


def test_the_golden_files_are_current(goldens: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["template_goldens.py", "--check"])
    assert goldens.main() == 0, "run: python tools/template_goldens.py"
    assert {path.stem for path in (FOLDER / "golden").glob("*.txt")} == set(FAMILIES)
    assert {path.stem for path in FOLDER.glob("*.jinja")} == set(FAMILIES)


@pytest.mark.parametrize("name", FAMILIES)
def test_markers_change_nothing_that_is_written(family: Callable[..., Any], goldens: ModuleType, name: str) -> None:
    assert "generation %}" in family(name, markers=True).chat_template
    assert "endgeneration" not in family(name).chat_template
    for case in goldens.cases(name).values():
        texts = []
        for markers in (True, False):
            try:
                texts.append(family(name, markers=markers).apply_chat_template(case["messages"], tokenize=False))
            except Exception as refusal:
                texts.append(str(refusal))
        assert texts[0] == texts[1]


@pytest.mark.parametrize(("name", "case"), COMPARED, ids=named(COMPARED))
def test_every_turn_is_learned_as_transformers_marks_it(
    family: Callable[..., Any], chat_encoder: Callable[..., ChatEncoder], talk: Callable[..., Any],
    goldens: ModuleType, name: str, case: str,
) -> None:  # fmt: skip
    """The stock template against the same template with markers, on the conversation up to each answer."""
    row = goldens.cases(name)[case]
    messages, tools = row["messages"], row.get("tools")
    encoded = chat_encoder(name).turns(BARE, talk(*messages, tools=tools), "assistant")
    assert encoded.fault is None and not encoded.left_out and not encoded.cut
    assert list(encoded.places) == [place for place, turn in enumerate(messages) if turn["role"] == "assistant"]
    marked = family(name, markers=True)
    for place, how, (prompt, answer) in zip(encoded.places, encoded.how, encoded.sequences, strict=True):
        ids, mask = masked(marked, messages[: place + 1], tools)
        start, end = last_span(mask)
        assert answer.tolist() == ids[start:end]
        asked = marked.apply_chat_template(
            messages[:place], tools=tools, add_generation_prompt=True, date_string="26 Jul 2024"
        )["input_ids"]
        assert prompt.tolist() == asked, "the prompt is the one that the model is asked with"
        if how == TEMPLATE:
            assert ids[:start] == asked, "and what comes before the answer"
        else:
            assert how == HEADER and name in REWRITES and ids[:start] != asked


@pytest.mark.parametrize(("name", "case"), STEADY, ids=named(STEADY))
def test_all_turns_together_are_transformers_mask(
    family: Callable[..., Any], chat_encoder: Callable[..., ChatEncoder], talk: Callable[..., Any],
    goldens: ModuleType, name: str, case: str,
) -> None:  # fmt: skip
    row = goldens.cases(name)[case]
    ids, mask = masked(family(name, markers=True), row["messages"], row.get("tools"))
    ours = [0] * len(ids)
    for prompt, answer in (
        chat_encoder(name).turns(BARE, talk(*row["messages"], tools=row.get("tools")), "assistant").sequences
    ):
        end = len(prompt) + len(answer)
        assert [*prompt, *answer] == ids[:end], "each turn is the beginning of the conversation"
        ours[len(prompt) : end] = [1] * len(answer)
    assert ours == mask


@pytest.mark.parametrize("name", list(REWRITES))
def test_templates_that_rewrite_earlier_turns_do(
    chat_encoder: Callable[..., ChatEncoder], talk: Callable[..., Any], goldens: ModuleType, name: str
) -> None:
    row = goldens.cases(name)["system" if name == "mistral" else "turns"]
    sequences = chat_encoder(name).turns(BARE, talk(*row["messages"]), "assistant").sequences
    (first, said), (second, _) = sequences
    assert [*first, *said] != second[: len(first) + len(said)].tolist(), REWRITES[name]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("case", CASES)
def test_the_end_of_turn_is_learned_once_and_the_prompt_is_not(
    chat_encoder: Callable[..., ChatEncoder], talk: Callable[..., Any], goldens: ModuleType, name: str, case: str
) -> None:
    encoder, row = chat_encoder(name), goldens.cases(name)[case]
    end = encoder.encoder.tokenizer.convert_tokens_to_ids(goldens.families()[name]["end"])
    call = encoder.encoder.tokenizer.convert_tokens_to_ids("<|call|>") if name == "gpt-oss" else end
    assert encoder.encoder.end_of_turn == end
    encoded = encoder.turns(BARE, talk(*row["messages"], tools=row.get("tools")), "assistant")
    for place, (_, answer) in zip(encoded.places, encoded.sequences, strict=True):
        calls = bool(row["messages"][place].get("tool_calls"))
        assert answer[-1] == (call if calls else end)
        assert not encoder.stop_ids & set(answer[:-1].tolist())
    for (before, _), (after, _) in pairwise(encoded.sequences):
        assert len(before) < len(after)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("case", ["question", "turns", "system", "unicode", "spaces"])
def test_answers_are_read_back(
    chat_encoder: Callable[..., ChatEncoder], talk: Callable[..., Any], goldens: ModuleType, name: str, case: str
) -> None:
    encoder, row = chat_encoder(name), goldens.cases(name)[case]
    encoded = encoder.turns(BARE, talk(*row["messages"]), "assistant")
    wanted = [turn["content"].strip() for turn in row["messages"] if turn["role"] == "assistant"]
    assert [encoder.read(answer.tolist()) for _, answer in encoded.sequences] == wanted


@pytest.mark.parametrize(("name", "case"), [*REFUSED], ids=named(REFUSED))
def test_what_a_template_refuses_is_a_fault_and_no_traceback(
    chat_encoder: Callable[..., ChatEncoder], talk: Callable[..., Any], goldens: ModuleType, name: str, case: str
) -> None:
    row = goldens.cases(name)[case]
    encoded = chat_encoder(name).turns(BARE, talk(*row["messages"], tools=row["tools"]), "last")
    alternate = "Conversation roles must alternate user/assistant/user/assistant/..."
    assert encoded.fault == f"the chat template refuses these turns ({alternate})"
    assert encoded.sequences == () and encoded.left_out == ((3, encoded.fault),)


@pytest.mark.parametrize("name", ["phi-3", "zephyr"])
def test_a_template_that_drops_results_of_tools_is_a_fault(
    chat_encoder: Callable[..., ChatEncoder], talk: Callable[..., Any], goldens: ModuleType, name: str
) -> None:
    row = goldens.cases(name)["tools"]
    encoded = chat_encoder(name).turns(BARE, talk(*row["messages"], tools=row["tools"]), "last")
    assert encoded.fault == "the chat template does not write the results of tools"


def test_calls_that_a_template_cannot_write_are_json(
    chat_encoder: Callable[..., ChatEncoder], talk: Callable[..., Any], goldens: ModuleType
) -> None:
    row = goldens.cases("smollm2")["tools"]
    encoder = chat_encoder("smollm2")
    conversation = talk(*row["messages"], tools=row["tools"])
    encoded = encoder.turns(BARE, conversation, "assistant")
    assert json.loads(encoder.read(encoded.sequences[0][1].tolist())) == row["messages"][1]["tool_calls"]
    assert encoder.notices(BARE, [conversation]) == (
        "The chat template does not tell the model which tools there are.",
        "The chat template does not write tool calls: they are written as JSON text.",
    )


@pytest.mark.parametrize("name", ["qwen2.5", "qwen3", "llama-3.1", "mistral", "deepseek-r1", "granite", "gpt-oss"])
def test_arguments_of_calls_as_json_text_are_the_same(
    chat_encoder: Callable[..., ChatEncoder], talk: Callable[..., Any], goldens: ModuleType, name: str
) -> None:
    row = goldens.cases("deepseek-r1")["tools"]
    values = goldens.cases()["tools"]
    assert isinstance(row["messages"][1]["tool_calls"][0]["function"]["arguments"], str)
    encoder = chat_encoder(name)
    one, other = (
        encoder.turns(BARE, talk(*case["messages"], tools=case["tools"]), "assistant").sequences
        for case in (row, values)
    )
    assert [[a.tolist() for a in pair] for pair in one] == [[b.tolist() for b in pair] for pair in other]


def test_notices_say_what_a_template_cannot_do(
    chat_encoder: Callable[..., ChatEncoder], talk: Callable[..., Any]
) -> None:
    asked = talk("user: hello", "assistant: hi")
    assert chat_encoder("gemma-2").notices(BARE, [asked]) == ()
    folded = "The chat template has no system turn: a system prompt goes before the user's first text."
    assert chat_encoder("gemma-2").notices(ChatPrompt(system="Be kind."), [asked]) == (folded,)
    assert chat_encoder("gemma-2").notices(BARE, [talk("system: Be kind.", "user: a", "assistant: b")]) == (folded,)
    assert chat_encoder("gemma-3").notices(ChatPrompt(system="Be kind."), [asked]) == ()
    assert chat_encoder("deepseek-r1").notices(BARE, [asked]) == (
        "The chat template ends the prompt with words that it does not write before a given answer "
        "(an opened think block); answers are learned after them.",
    )


def test_a_folded_system_prompt_reads_like_gemma_3(
    family: Callable[..., Any], chat_encoder: Callable[..., ChatEncoder], talk: Callable[..., Any]
) -> None:
    conversation = talk("system: Be kind.", "user: a", "assistant: b", "user: c", "assistant: d")
    texts = [
        [family(name).decode([*prompt, *answer]) for prompt, answer in
         chat_encoder(name).turns(BARE, conversation, "assistant").sequences]
        for name in ("gemma-2", "gemma-3")
    ]  # fmt: skip
    assert texts[0] == texts[1] and "Be kind.\n\na" in texts[0][0]


def test_reasoning_that_a_template_drops_is_said(
    chat_encoder: Callable[..., ChatEncoder], talk: Callable[..., Any]
) -> None:
    thinking = {"role": "assistant", "content": "4", "reasoning_content": "Two and two."}
    inline = {"role": "assistant", "content": "<think>\nTwo and two.\n</think>\n\n4"}
    changed = {
        (name, kind): chat_encoder(name).turns(BARE, talk("user: 2+2?", turn), "assistant").changed
        for name in ("qwen3", "qwen2.5", "deepseek-r1")
        for kind, turn in (("field", thinking), ("inline", inline))
    }
    assert changed == {
        ("qwen3", "field"): False, ("qwen3", "inline"): False, ("qwen2.5", "field"): True,
        ("qwen2.5", "inline"): False, ("deepseek-r1", "field"): True, ("deepseek-r1", "inline"): True,
    }  # fmt: skip
