"""What `metier check` prints about models that write or read on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, tiny_model: Callable[..., Path]) -> Write:
    """`write(task, rows)`: a recipe on a tiny model and these rows."""

    def make(task: str, rows: Sequence[dict[str, Any]]) -> Path:
        (tmp_path / "talks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        values = {
            "name": "small",
            "task": task,
            "model": str(tiny_model("llama")),
            "data": {"train": "talks.jsonl"},
            "adaptation": {"method": "lora", "layers": "top 1"},
            "training": {"max_length": 128},
            "evaluation": {"resamples": 200},
            "output": {"dir": str(tmp_path / "run")},
        }
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
        return path

    return make


def _questions(answer: str = "order {n} is at the shop") -> list[dict[str, str]]:
    return [{"question": f"where is order {n} please", "answer": answer.format(n=n)} for n in range(40)]


def _in_order(text: str, *parts: str) -> bool:
    said = " ".join(text.split())
    places = [said.index(" ".join(part.split())) for part in parts]
    return places == sorted(places)


def test_generation_is_told_in_order(write: Write, tmp_path: Path, metier: Callable[..., Any]) -> None:
    outcome = metier("check", write("generation", _questions()))
    assert outcome.code == 0
    assert _in_order(
        outcome.out,
        "small: generation",
        "text: question answer: answer",
        "Conversations: 2 turns in the median, 2 at most; answers of",
        "test", "drawn by metier, sealed",
        "The lower 2 of 3 blocks never change and are computed once.",
        "Learned: ",
        "tokens are only read.",
        "Longest answers: ",
        "tokens at the latest (from the training answers",
        "As the model reads it, with what is learned in [brackets]. What is asked is only read; the assistant's turns "
        "are learned. End of turn is learned in all",
        "<|im_start|>assistant⏎[order",
        "is at the shop<|im_end|> = end of turn]",
        "Cut records",
        "Plan Time: about",
        "few_shot: ",
        "answers are as long as the training answers (",
        "Can training pay?",
        "chrF",
    )  # fmt: skip
    assert not (tmp_path / "run").exists()
    lines = outcome.out.splitlines()
    assert not any(line != line.rstrip() for line in lines)
    assert max(len(line) for line in lines if "──" not in line) <= 115


def test_a_long_conversation_is_shown_from_both_ends(write: Write, metier: Callable[..., Any]) -> None:
    rows = [
        {
            "messages": [
                {"role": role, "content": f"{said} {turn} of {n}"}
                for turn in range(6)
                for role, said in (("user", "ask"), ("assistant", "say"))
            ]
        }
        for n in range(30)
    ]
    outcome = metier("check", write("chat", rows), "--training.max_length", "256")
    assert outcome.code == 0
    text = " ".join(outcome.out.split())
    assert "read as messages" in text
    assert "messages 2, 4, 6, 8, 10, 12 of 12 are learned" in text
    assert "more tokens, " in text and "of them learned)…" in text
    assert "[say 0 of" in text and "[say 5 of" in text and "[say 2 of" not in text


def test_text_is_told_in_order(write: Write, metier: Callable[..., Any]) -> None:
    rows = [{"text": f"Chapter {n}. " + "my card was declined at the shop. " * (8 + n)} for n in range(30)]
    outcome = metier("check", write("text", rows))
    assert outcome.code == 0
    assert _in_order(
        outcome.out,
        "small: text",
        "Texts: ",
        "windows of",
        "No window holds text of two documents: each begins anew, and the end of text is learned in all",
        "window 1 of",
        "= end of text]",
        "zero_shot: ",
        "Can training pay?",
        "Not known: what reading these texts gains cannot be known without training.",
    )


def test_preferences_have_no_plan_yet(write: Write, metier: Callable[..., Any]) -> None:
    rows = [
        {"prompt": f"where is order {n}", "chosen": f"order {n} is at the shop", "rejected": f"no idea {n}"}
        for n in range(30)
    ]
    outcome = metier("check", write("preference", rows))
    assert outcome.code == 0
    text = " ".join(outcome.out.split())
    assert "small: preference" in text and "read as preference" in text
    assert (
        "warning: This version reads, checks and splits data of `task: preference`; training on it comes in a" in text
    )
    assert "Plan" not in text and "Can training pay?" not in text


def test_where_nothing_is_learned_it_ends_with_2(write: Write, metier: Callable[..., Any]) -> None:
    outcome = metier("check", write("generation", _questions("the shop has order {n} " * 40)))
    assert outcome.code == 2
    text = " ".join(outcome.out.split())
    assert "Left out, answer longer than max_length: " in text
    assert "FAULT: nothing would be learned: no training record has an answer that can be learned" in text
    assert "This recipe cannot work: 1 fault, named above." in text
    assert "[brackets]" not in text


def test_texts_stay_out_where_the_recipe_says_so(write: Write, metier: Callable[..., Any]) -> None:
    outcome = metier("check", write("generation", _questions()), "--set", "report.examples=false")
    assert outcome.code == 0
    text = " ".join(outcome.out.split())
    assert "at the shop" not in text and "tokens = end of turn]" in text


def test_json_has_it_all(write: Write, metier: Callable[..., Any]) -> None:
    outcome = metier("check", write("generation", _questions()), "--json")
    plain = json.loads(outcome.out)
    assert (outcome.code, plain["format"], plain["faults"]) == (0, "metier.check", [])
    candidate = plain["candidates"][0]
    assert candidate["learned"]["learned"] > 0 and candidate["learned"]["left_out"] == []
    assert candidate["pieces"][0]["pieces"][-1]["end"] is True
    assert plain["data"]["texts"]["turns"] == [2, 2]
    assert plain["paying"]["verdict"] in ("can pay", "can hardly pay", "cannot tell")


@pytest.mark.parametrize(
    ("task", "data"),
    [
        ("generation", {"train": "technical/nl2bash/all.nl", "answers": "technical/nl2bash/all.cm"}),
        ("generation", {"train": "general/gsm8k/train_2000.jsonl", "test": "general/gsm8k/test.jsonl"}),
        ("chat", {"train": "instruction/sharegpt_demo/glaive_toolcall_en_demo.json"}),
        ("text", {"train": "technical/handbook_18f/docs"}),
    ],
    ids=["nl2bash", "gsm8k", "glaive", "handbook"],
)
def test_real_data(
    task: str, data: dict[str, str], real_data: Callable[[str], Path], write: Write, metier: Callable[..., Any]
) -> None:
    recipe = write(task, [{"text": "x"}])
    places = [f"data.{name}={real_data(path)}" for name, path in data.items()]
    settings = [part for place in places for part in ("--set", place)]
    outcome = metier("check", recipe, *settings, "--training.max_length", "256", "--set", "data.max_examples=60")
    assert outcome.code == 0, outcome.err
    assert "Learned: " in outcome.out and "= end of t" in outcome.out
