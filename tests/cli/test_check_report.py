"""What `metier check` prints about a recipe."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROWS = [("Where is my parcel?", "order_status"), ("I want my money back", "refund"), ("It is broken", "damaged")]


@pytest.fixture
def recipe(tmp_path: Path, tiny_model: Callable[..., Path]) -> Path:
    """Two candidates on tiny models, and a table with a row that cannot be used."""
    rows = [f"{text} ({number}),{label}" for number in range(20) for text, label in ROWS]
    (tmp_path / "tickets.csv").write_text("\n".join(["text,label", *rows, ",refund"]) + "\n", encoding="utf-8")
    values = {
        "name": "small",
        "data": {"train": "tickets.csv"},
        "candidates": {
            "words": {"model": str(tiny_model("llama")), "adaptation": {"method": "lora", "layers": "top 1"}},
            "encoder": {"model": str(tiny_model("bert")), "adaptation": {"method": "full"}},
        },
        "evaluation": {"systems": ["majority", "tfidf"], "resamples": 200},
        "output": {"dir": str(tmp_path / "run")},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return path


def test_the_report_says_everything_in_order(recipe: Path, tmp_path: Path, metier: Callable[..., Any]) -> None:
    outcome = metier("check", recipe)
    assert outcome.code == 0
    text = " ".join(outcome.out.split())
    places = [
        text.index(part)
        for part in (
            "small: classification of 3 labels",
            "text: text label: label",
            "1 row will not be used: 1 empty text: tickets.csv:61",
            f"All of them, with their content, will be in {tmp_path / 'run' / 'data' / 'rejected.jsonl'}",
            "Candidate words:",
            "The lower 2 of 3 blocks never change and are computed once.",
            "with what is trained in [brackets]. The prompt is only read; the answer is trained. End of turn is "
            "trained (<|im_end|>, token 2).",
            "<|im_end|> = end of turn]",
            "Candidate encoder:",
            "All tokens are read; what is trained is the choice of the class.",
            "→ class",
            "Plan Time: about",
            "Memory: about",
            "Can training pay?",
            "n-grams alone reach macro F1",
        )
    ]
    assert places == sorted(places)
    assert not (tmp_path / "run").exists()


def test_without_colour_there_are_no_escapes_and_no_line_is_too_wide(recipe: Path, metier: Callable[..., Any]) -> None:
    lines = metier("check", recipe).out.splitlines()
    assert not any("\x1b" in line for line in lines)
    assert not any(line != line.rstrip() for line in lines)
    assert max(len(line) for line in lines if "tickets" not in line and "──" not in line) <= 115


def test_json_has_it_all(recipe: Path, metier: Callable[..., Any]) -> None:
    outcome = metier("check", recipe, "--json")
    plain = json.loads(outcome.out)
    assert (outcome.code, plain["format"], plain["faults"]) == (0, "metier.check", [])
    assert [candidate["name"] for candidate in plain["candidates"]] == ["words", "encoder"]
    tokens = plain["candidates"][0]["views"][0]["tokens"]
    assert tokens[-1]["end_of_turn"] and tokens[-1]["trained"] and not tokens[0]["trained"]
    assert plain["plan"]["seconds"] > 0 and plain["plan"]["memory_bytes"] > 0
    assert plain["paying"]["verdict"] in ("can pay", "can hardly pay", "cannot tell")


def test_the_plan_says_what_is_known_and_what_is_not(recipe: Path, metier: Callable[..., Any]) -> None:
    said = " ".join(metier("check", recipe).out.split())
    assert "Cost: not known; hardware.price_per_hour tells it." in said
    assert "Energy: not known; hardware.watts tells it." in said
    assert "no three runs on this machine stand behind it yet" in said
    assert "fullest during" in said and "(libraries " in said
    assert "Other ways, estimated on this machine:" in said and "as it is" in said
    settings = ("--set", "hardware.price_per_hour=3.5", "--set", "hardware.currency=EUR", "--set", "hardware.watts=40")
    priced = " ".join(metier("check", recipe, *settings).out.split())
    assert "EUR, " in priced and "at the price of the recipe." in priced
    assert "Wh, " in priced and "(hardware.watts of the recipe, assumed)" in priced


def test_other_ways_stand_side_by_side(recipe: Path, metier: Callable[..., Any]) -> None:
    plain = json.loads(metier("check", recipe, "--json").out)["plan"]
    ways = {way["name"]: way for way in plain["alternatives"]}
    assert {"as it is", "lora, all layers", "full, all layers", "half the micro-batch"} <= set(ways)
    assert ways["as it is"]["memory_bytes"] == plain["memory_bytes"]
    assert ways["as it is"]["seconds"] == plain["seconds"] and ways["as it is"]["settings"] == {}
    assert ways["lora, all layers"]["settings"] == {"adaptation.layers": "all"}
    assert ways["full, all layers"]["settings"] == {"adaptation.method": "full", "adaptation.layers": "all"}
    assert not ways["full, all layers"]["measured"] and ways["lora, all layers"]["measured"]
    assert all(way["fits"] for way in ways.values())
    moments = [moment["moment"] for moment in plain["moments"]]
    assert moments == ["baselines", "training", "validation", "loading", "test"]


def test_texts_stay_out_where_the_recipe_says_so(recipe: Path, metier: Callable[..., Any]) -> None:
    outcome = metier("check", recipe, "--set", "report.examples=false")
    assert outcome.code == 0
    assert "parcel" not in outcome.out and "= end of turn]" in outcome.out


def test_a_fault_ends_with_2_and_is_named(
    recipe: Path, metier: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from metier.model.encode import Encoder

    original = Encoder.answer
    monkeypatch.setattr(Encoder, "answer", lambda self, text: original(self, text)[-1:])
    outcome = metier("check", recipe)
    assert outcome.code == 2
    assert "FAULT: the answer `damaged` has no token of its own: nothing would be trained" in outcome.out
    assert "This recipe cannot work: 3 faults, named above." in outcome.out


def test_data_that_cannot_be_used_ends_with_2(recipe: Path, metier: Callable[..., Any]) -> None:
    outcome = metier("check", recipe, "--set", "data.label=lable")
    assert outcome.code == 2
    assert "Did you mean `label`?" in outcome.err


def test_real_data(real_data: Callable[[str], Path], recipe: Path, tmp_path: Path, metier: Callable[..., Any]) -> None:
    table = real_data("customer_support/banking77") / "train.csv"
    outcome = metier(
        "check", recipe, "--set", f"data.train={table}", "--set", "data.examples_per_label=4",
        "--set", "data.max_test_examples=200",
    )  # fmt: skip
    assert outcome.code == 0
    assert "classification of 77 labels" in outcome.out
