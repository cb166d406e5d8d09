"""The base systems: what is asked always fits into the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from metier.data.records import Choice, as_input
from metier.engine.forward import TreeRunner
from metier.evaluation.answering.language_model import Ground, build_few_shot, fit_shots
from metier.evaluation.answering.score_store import ScoreStore
from metier.evaluation.systems import AnswerOptions, Material
from metier.model.encode import Encoder
from metier.model.prompt import make_prompt_format
from metier.recipe.sections import EvaluationSection, PromptSection


def _records(count: int, words: int) -> list[Choice]:
    labels = ("card", "refund")
    return [
        Choice(
            id=f"{number}-0", text=f"{number} " + "please where is my order " * (words // 5), label=labels[number % 2]
        )
        for number in range(count)
    ]


def test_examples_that_are_too_long_together_are_cut_and_it_is_said(
    tiny_base: Callable[..., Any], tmp_path: Path
) -> None:
    """Else a model with learned positions breaks, and one without answers beyond what it ever saw."""
    base, records = tiny_base("gpt2"), _records(30, 150)
    labels = ("card", "refund")
    encoder = Encoder(base.tokenizer, base.context)
    ground = Ground(
        name=base.name, context=base.context, runner=TreeRunner(base.network), encoder=encoder,
        prompt=make_prompt_format(PromptSection(), labels, "intent"), list_labels=False, parameters=base.parameters,
        bytes=0, budget=2048, store=ScoreStore(tmp_path / "scores.jsonl", "tiny"),
    )  # fmt: skip
    few_shot = {"k": [8], "selection": ["random"]}
    section = EvaluationSection.model_validate({"selection_examples": 4, "few_shot": few_shot})
    material = Material(
        train=records, validation=records[:4], labels=labels, section=section, seed=1, extras={"ground": ground}
    )
    system = build_few_shot(material)
    assert len(system.prompt.shots) == 8
    assert system.settings["model"] == base.name
    assert all("examples cut" in tried for tried in system.settings["tried"])
    answers = list(system.answer([as_input(record) for record in records[:2]], AnswerOptions()))
    assert [answer.reason for answer in answers] == ["cut", "cut"]


def test_examples_that_fit_stay_as_they_are(tiny_base: Callable[..., Any]) -> None:
    encoder = Encoder(tiny_base("llama").tokenizer, 256)
    shots = [("where is my order", "card"), ("hello world", "refund")]
    assert fit_shots(shots, encoder, 128) == shots
    assert fit_shots([], encoder, 128) == []


def test_a_damaged_file_of_scores_is_removed_and_said(tmp_path: Path) -> None:
    """The cache can be computed again: it must not end a run."""
    path = tmp_path / "scores.jsonl"
    store = ScoreStore(path, "tiny")
    store.keep("a", np.array([-1.0, -2.0]), 0.5, "of a")
    store.keep("b", np.array([-3.0, -4.0]), 0.5, "of b")
    found = ScoreStore(path, "tiny").find("b")
    assert found is not None and found[0].tolist() == [-3.0, -4.0]
    for damage in (b"\x00" * 20 + b"\n", b'{"key": "a", "seconds": 1}\n'):
        path.write_bytes(damage + b'{"key": "b", "sums": [-3, -4], "seconds": 0.5}\n')
        events: list[Any] = []
        assert ScoreStore(path, "tiny", (events.append,)).find("b") is None
        assert "damaged file of stored label scores, removed" in events[0].message
        assert not path.exists()
