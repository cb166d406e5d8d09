"""Base models that write: stored answers are those of the same question, and few-shot is chosen honestly."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metier.data.records import Conversation, Input, Message, as_input
from metier.engine.forward import TreeRunner
from metier.engine.sampling import Decoding
from metier.evaluation.answering.answer_store import AnswerStore, StoredAnswer
from metier.evaluation.answering.shots import TURN_TOKENS
from metier.evaluation.answering.text_index import NearestExamples
from metier.evaluation.answering.writers import SHOT_TOKENS, NearestWritten, Writer, WritingGround, draw_examples
from metier.evaluation.evaluate import RecordSet, evaluate_system
from metier.evaluation.files import read_evaluations, write_evaluation
from metier.evaluation.systems import AnswerOptions, Material, build_system
from metier.model.chat_encode import ChatEncoder
from metier.model.chat_prompt import ChatPrompt
from metier.model.encode import Encoder
from metier.recipe.sections import EvaluationSection

Dialogues = Callable[..., list[Conversation]]
DECODING = Decoding(max_new_tokens=6, stop_ids=frozenset({2}), seed=5)


@pytest.fixture
def make_material(tiny_base: Callable[..., Any], make_dialogues: Dialogues, tmp_path: Path) -> Callable[..., Material]:
    """`make_material(metric="chrf", k=[1, 2], golds=…, decoding=…, family="llama")`: a tiny model, twelve dialogues."""

    def make(
        metric: str = "chrf",
        k: Sequence[int] = (1, 2),
        golds: Sequence[str] = (),
        decoding: Decoding = DECODING,
        family: str = "llama",
    ) -> Material:
        base = tiny_base(family)
        encoder = ChatEncoder(Encoder(base.tokenizer, 128))
        ground = WritingGround(
            name=base.name, context=base.context, runner=TreeRunner(base.network), encoder=encoder,
            prompt=ChatPrompt("be short"), decoding=replace(decoding, stop_ids=encoder.stop_ids),
            parameters=base.parameters, bytes=0, budget=512, store=AnswerStore(tmp_path / "answers.jsonl", "tiny"),
        )  # fmt: skip
        records = make_dialogues(golds or [f"on its way {number}" for number in range(12)])
        section = EvaluationSection.model_validate(
            {"primary_metric": metric, "few_shot": {"k": list(k)}, "selection_examples": 3, "resamples": 200}
        )
        return Material(
            train=records[4:], validation=records[:4], labels=(), section=section, seed=1, task="generation",
            extras={"ground": ground},
        )  # fmt: skip

    return make


@pytest.mark.parametrize("metric", ["chrf", "loss"])
def test_few_shot_tells_what_it_tried_in_the_metric_itself(make_material: Callable[..., Material], metric: str) -> None:
    material = make_material(metric)
    system: Any = build_system("few_shot", material)
    tried = system.settings["tried"]
    assert set(tried) == {"k=1, draw=0", "k=2, draw=0", "k=1, nearest", "k=2, nearest"}
    assert all(value >= 0 for value in tried.values())
    best = (max if metric == "chrf" else min)(tried, key=lambda about: tried[about])
    how = {"random": "draw=0", "nearest": "nearest"}[system.settings["selection"]]
    assert f"k={system.settings['shots']}, {how}" == best
    assert system.settings["chosen_on"] == f"validation {metric}, n = 3"


def test_few_shot_by_a_metric_that_validation_cannot_give(
    make_material: Callable[..., Material], tmp_path: Path
) -> None:
    """No gold answer is JSON: nothing is known, nothing breaks, and the first one tried is taken."""
    material = make_material("json_valid")
    system = build_system("few_shot", material)
    assert set(system.settings["tried"].values()) == {None}
    asked = RecordSet(name="selection", records=material.validation, task="generation")
    evaluation = evaluate_system(system, asked, section=material.section, seed=1)
    write_evaluation(evaluation, tmp_path / "selection")
    assert read_evaluations(tmp_path / "selection")[0].metrics["json_valid"].value is None


def test_examples_stand_before_the_question_and_keep_their_room(make_material: Callable[..., Material]) -> None:
    material = make_material(k=[3])
    random = material.section.few_shot.model_copy(update={"selection": ["random"]})
    material = replace(material, section=material.section.model_copy(update={"few_shot": random}))
    zero, few = (build_system(name, material) for name in ("zero_shot", "few_shot"))
    assert isinstance(zero, Writer) and isinstance(few, Writer)
    assert zero.prompt.shots == () and len(few.prompt.shots) == 3
    known = {(record.text, record.gold) for record in material.train}
    assert set(few.prompt.shots) <= known and few.settings["prompt_hash"] != zero.settings["prompt_hash"]
    assert zero.encoder.max_length == 128 < few.encoder.max_length <= material.extras["ground"].context
    given = as_input(material.validation[0])
    prompts = [each.encoder.prompt(each.prompt, given.turns, room=6) for each in (zero, few)]
    assert not prompts[1].cut and len(prompts[1].ids) > len(prompts[0].ids)


def _nearest(material: Material, **more: Any) -> Material:
    few = material.section.few_shot.model_copy(update={"selection": ["nearest"]})
    return replace(material, section=material.section.model_copy(update={"few_shot": few, **more}))


def test_nearest_examples_stand_before_their_own_question_in_answers_and_in_losses(
    make_material: Callable[..., Material], monkeypatch: pytest.MonkeyPatch
) -> None:
    import metier.evaluation.answering.writers

    module: Any = metier.evaluation.answering.writers
    material = _nearest(make_material(k=[2]))
    system: Any = build_system("few_shot", material)
    assert (system.settings["shots"], system.settings["selection"]) == (2, "nearest")
    assert system.trained_on == f"{len(material.train)} examples, the 2 nearest in each prompt"
    inputs = [as_input(record) for record in material.validation]
    places = NearestExamples(material.train).places(inputs, 2)
    prompts = system._prompts(inputs)
    assert [list(prompt.shots) for prompt in prompts] == [
        [(material.train[place].text, material.train[place].gold) for place in reversed(near)] for near in places
    ]
    wanted = [system.encoder.prompt(each, given.turns, room=6).ids for each, given in zip(prompts, inputs, strict=True)]
    asked: Any = []
    generate, score = module.generate, module.target_log_probabilities
    monkeypatch.setattr(
        module, "generate", lambda runner, ids, *a, **k: asked.extend(ids) or generate(runner, ids, *a, **k)
    )
    system.store = None
    list(system.answer(inputs, AnswerOptions()))
    assert [ids.tolist() for ids in asked] == [ids.tolist() for ids in wanted]
    scored: Any = []
    monkeypatch.setattr(
        module, "target_log_probabilities", lambda runner, each, **k: scored.extend(each) or score(runner, each, **k)
    )
    system.target_logprobs(material.validation)
    for sequence, ids in zip(scored, wanted, strict=True):
        assert sequence.ids[: len(ids)].tolist() == ids.tolist()


def test_examples_that_are_too_long_together_are_left_out_the_farthest_first() -> None:
    records = [
        Conversation(
            id=str(number), text=text,
            messages=(Message(role="user", content=text), Message(role="assistant", content="x")),
        )
        for number, text in enumerate(("red house", "red house hill", "red car"))
    ]  # fmt: skip
    near = NearestWritten(NearestExamples(records), [10, 10, 10], 3, room=2 * (10 + TURN_TOKENS))
    (shots,) = near([Input(id="x", text="red house")])
    assert [text for text, _ in shots] == ["red house hill", "red house"]
    assert near.most == near.room


def test_costly_ways_to_write_are_tried_on_a_part_first(make_material: Callable[..., Material]) -> None:
    material = make_material(k=[1, 2], golds=[f"on its way {number}" for number in range(40)])
    records = [*material.validation, *material.train]
    material = replace(_nearest(material, selection_examples=12), validation=records[:12], train=records[12:])
    settings = build_system("few_shot", material).settings
    kept = [about for about in settings["tried"] if "first" not in about]
    assert kept == [f"k={settings['shots']}, nearest"] and len(settings["tried"]) == 2
    assert [about for about in settings["tried"] if about.endswith(", first 8")]
    assert settings["chosen_on"] == "validation chrf, n = 12"


@pytest.mark.parametrize("name", ["zero_shot", "few_shot"])
def test_a_model_without_turns_is_stopped_before_it_asks_itself(
    make_material: Callable[..., Material], name: str
) -> None:
    """It knows no end of turn: what comes after its answer would be the next example."""
    plain: Any = build_system(name, make_material(k=[1], family="gpt2"))
    assert plain.decoding.stop_texts == ("\n\n",) and plain.settings["stop"] == ["\n\n"]
    paragraphs: Any = build_system(name, make_material(k=[1], family="gpt2", golds=["one\n\ntwo"] * 12))
    assert paragraphs.decoding.stop_texts == () and "stop" not in paragraphs.settings
    chat: Any = build_system(name, make_material(k=[1]))
    assert chat.decoding.stop_texts == () and "stop" not in chat.settings


def test_long_examples_are_taken_only_where_short_ones_are_few(
    make_material: Callable[..., Material], make_dialogues: Dialogues
) -> None:
    material = make_material()
    encoder: ChatEncoder = material.extras["ground"].encoder
    long = make_dialogues(["on its way " * SHOT_TOKENS] * 6, prefix="long")
    mixed = replace(material, train=[*long, *material.train])
    drawn = draw_examples(mixed, encoder, 4, 0, room=20_000)
    assert all(encoder.count(said) <= SHOT_TOKENS for _, said in drawn) and len(drawn) == 4
    assert drawn == draw_examples(mixed, encoder, 4, 0, room=20_000) != draw_examples(mixed, encoder, 4, 1, room=20_000)
    assert len(draw_examples(replace(material, train=long), encoder, 4, 0, room=20_000)) == 4
    assert len(draw_examples(replace(material, train=long), encoder, 4, 0, room=10)) == 0


@pytest.mark.parametrize("temperature", [0.0, 1.0], ids=["greedy", "sampled"])
def test_what_was_written_before_is_not_written_again(
    make_material: Callable[..., Material], temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoding = replace(DECODING, temperature=temperature)
    material = make_material(decoding=decoding)
    inputs = [as_input(record) for record in material.train]
    first = list(build_system("zero_shot", material).answer(inputs, AnswerOptions()))
    monkeypatch.setattr("metier.evaluation.answering.writers.generate", _refuse)
    again = list(build_system("zero_shot", make_material(decoding=decoding)).answer(inputs, AnswerOptions()))
    assert [(each.text, each.stop, each.seconds) for each in again] == [
        (each.text, each.stop, each.seconds) for each in first
    ]
    with pytest.raises(AssertionError, match="written again"):
        list(build_system("few_shot", make_material(k=[1], decoding=decoding)).answer(inputs, AnswerOptions()))


def _refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("written again")


@pytest.mark.parametrize(
    "change",
    [
        {"max_new_tokens": 7}, {"stop_ids": frozenset({2, 3})}, {"stop_texts": ("x",)}, {"repetition_penalty": 1.1},
        {"temperature": 0.5},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_other_settings_are_another_question(tmp_path: Path, change: dict[str, Any]) -> None:
    store, prompt = AnswerStore(tmp_path / "a.jsonl", "model"), np.array([1, 2, 3])
    assert store.key(prompt, DECODING, 0) != store.key(prompt, replace(DECODING, **change), 0)


def test_a_key_knows_model_prompt_and_place_but_not_the_batch(tmp_path: Path) -> None:
    store, prompt = AnswerStore(tmp_path / "a.jsonl", "model"), np.array([1, 2, 3])
    key = store.key(prompt, DECODING, 0)
    assert key == store.key(prompt, replace(DECODING, batch_size=1, seed=9, top_p=0.5), 4)
    assert key != store.key(np.array([1, 2]), DECODING, 0)
    assert key != AnswerStore(tmp_path / "a.jsonl", "another").key(prompt, DECODING, 0)
    sampled = replace(DECODING, temperature=1.0)
    keys = {store.key(prompt, replace(sampled, **change), 0) for change in ({}, {"seed": 9}, {"top_p": 0.5})}
    assert len({*keys, store.key(prompt, sampled, 1)}) == 4


def test_a_store_gives_back_what_was_kept_and_survives_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    said = StoredAnswer(text="naïve\nline", stop="length", seconds=0.5)
    AnswerStore(path, "model").keep("k", said, "mine")
    path.write_bytes(path.read_bytes() + b'{"key": "torn", "te')
    store = AnswerStore(path, "model")
    assert store.find("k") == said and store.find("torn") is None
    store.keep("next", said, "yours")
    assert AnswerStore(path, "model").find("next") == said


def test_a_damaged_store_is_removed_and_said(tmp_path: Path) -> None:
    path, events = tmp_path / "a.jsonl", list[Any]()
    path.write_bytes(b'{"key": "k", "text": "x"}\n{"key": "l", "text": "x", "stop": "length", "seconds": 1}\n')
    assert AnswerStore(path, "model", (events.append,)).find("l") is None
    assert "damaged file of stored answers, removed" in events[0].message and not path.exists()


def test_the_loss_of_the_right_answer_is_transformers_loss(make_material: Callable[..., Material]) -> None:
    """Mean over the answer's tokens, end of turn included, nothing of the prompt."""
    import torch

    material = make_material()
    writer: Any = build_system("zero_shot", material)
    network = material.extras["ground"].runner.network
    for record, scored in zip(material.train, writer.target_logprobs(material.train), strict=True):
        [(prompt, answer)] = writer.encoder.turns(writer.prompt, record, "last", room=6).sequences
        ids = torch.from_numpy(np.concatenate([prompt, answer]))[None]
        wanted = torch.where(torch.arange(ids.shape[1]) < len(prompt), -100, ids)
        with torch.no_grad():
            loss = float(network(input_ids=ids, labels=wanted).loss)
        assert scored is not None and scored[1] == len(answer)
        assert math.isclose(-scored[0] / scored[1], loss, rel_tol=1e-4)
