"""The card of a model that writes, or reads on: what the hub reads, how to ask, and nothing of a record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import yaml

from metier.report.card import front_matter, render_card
from metier.report.markdown import code_block
from metier.report.summary import RunSummary


def test_front_matter_is_about_texts(make_summary: Callable[..., RunSummary]) -> None:
    front = front_matter(make_summary(task="chat"))
    assert front["pipeline_tag"] == "text-generation"
    assert front["tags"] == ["metier", "text-generation", "conversational", "lora"]
    (result,) = front["model-index"][0]["results"]
    assert result["task"] == {"type": "text-generation", "name": "Text generation"}
    assert result["metrics"][0]["type"] == "chrf"
    assert result["metrics"][0]["name"].startswith("chrF (95 % interval ")
    assert {"bleu", "rouge", "exact_match", "loss"} <= {metric["type"] for metric in result["metrics"]}


def test_the_hub_library_reads_the_results(make_summary: Callable[..., RunSummary]) -> None:
    hub = pytest.importorskip("huggingface_hub")
    data = hub.ModelCard(render_card(make_summary())).data
    assert data.pipeline_tag == "text-generation"
    assert "chrf" in {result.metric_type for result in data.eval_results}


def test_the_card_says_how_to_ask(make_summary: Callable[..., RunSummary]) -> None:
    body = render_card(make_summary()).split("\n---\n", 1)[1]
    for part in (
        "### How to ask it", "apply_chat_template(messages, add_generation_prompt=True)",
        '"content": "You are a `clerk` of\\nLarkmoor."', '"content": "Answer the mail.\\n\\nWHAT YOU ASK"',
        "- max\\_new\\_tokens: 96", "metier chat run", "Nobody judged whether an answer is true or useful",
        "whether the answers are true", "chrF: chrF2\\|nrefs:1",
    ):  # fmt: skip
        assert part in body
    assert "labels:" not in body


def test_system_prompts_of_the_data_are_told(make_summary: Callable[..., RunSummary]) -> None:
    found = make_summary()
    made = replace(found, data=replace(found.data, counts={"with a system prompt": 7}))
    assert "bring system prompts of their own, which take the place of this one." in render_card(made)


def test_no_text_of_a_record_is_in_the_card(make_summary: Callable[..., RunSummary]) -> None:
    card = render_card(make_summary())
    assert "parcel 1" not in card
    assert "rambl" not in card and "I am an assistant" not in card


def test_a_card_of_passages(make_reading: Callable[..., RunSummary]) -> None:
    card = render_card(make_reading())
    front: dict[str, Any] = yaml.safe_load(card.removeprefix("---\n").split("\n---\n", 1)[0])
    assert [metric["type"] for metric in front["model-index"][0]["results"][0]["metrics"]] == ["bits_per_byte", "loss"]
    assert "Reads on: it continues text" in card
    assert "metier predict" not in card
    assert "handbook.md, row 1 " in card


@pytest.mark.parametrize(
    ("text", "fence"), [("a", "```"), ("a ``` b", "````"), ("`" * 5, "`" * 6)], ids=["plain", "fenced", "longer"]
)
def test_a_fence_is_longer_than_any_that_it_holds(text: str, fence: str) -> None:
    lines = code_block(text, "json").splitlines()
    assert (lines[0], lines[-1]) == (f"{fence}json", fence)
