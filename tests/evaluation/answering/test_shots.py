"""Examples in prompts: at random for all alike, or nearest to each input; what is tried, and what it is asked with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metier.data.records import Choice, as_input
from metier.engine.forward import TreeRunner
from metier.engine.score import score_labels
from metier.errors import DataError
from metier.evaluation.answering.language_model import Ground, LabelScorer
from metier.evaluation.answering.score_store import ScoreStore
from metier.evaluation.answering.shots import FIRST_PART, LEAST_FIRST, NearestLabelled, first_part, share_of
from metier.evaluation.answering.text_index import NearestExamples, TextIndex
from metier.evaluation.systems import AnswerOptions, Material, build_system
from metier.model.encode import Encoder
from metier.model.prompt import make_prompt_format
from metier.recipe.sections import EvaluationSection, PromptSection

LABELS = ("card", "parcel", "refund")
TOPICS = ("my card is lost", "where is the parcel", "i want my money back")
RULES = ("sum", "mean_per_byte", "sum_minus_mean")
Make = Callable[..., Material]


def _records(count: int, prefix: str = "t") -> list[Choice]:
    return [
        Choice(id=f"{prefix}{number}", text=f"{TOPICS[number % 3]} {number}", label=LABELS[number % 3])
        for number in range(count)
    ]


@pytest.fixture
def make_material(tiny_base: Callable[..., Any], tmp_path: Path) -> Make:
    """`make_material(k=…, selection=…, validation=…, train=…, observers=…)`: a tiny model before forty commands."""

    def make(
        *, k: Any = (2,), selection: Any = ("random", "nearest"), validation: int = 6, train: Any = None,
        observers: Any = (), listed: bool | None = None,
    ) -> Material:  # fmt: skip
        base = tiny_base("llama")
        ground = Ground(
            name=base.name, context=base.context, runner=TreeRunner(base.network), encoder=Encoder(base.tokenizer, 128),
            prompt=make_prompt_format(PromptSection(), LABELS, "intent"), list_labels=listed,
            parameters=base.parameters, bytes=0, budget=512, store=ScoreStore(tmp_path / "scores.jsonl", "tiny"),
        )  # fmt: skip
        few = {"k": list(k), "selection": list(selection)}
        section = EvaluationSection.model_validate({"few_shot": few, "selection_examples": validation})
        return Material(
            train=_records(40) if train is None else train, validation=_records(validation, "v"), labels=LABELS,
            section=section, seed=1, extras={"ground": ground}, observers=observers,
        )  # fmt: skip

    return make


def test_the_nearest_come_nearest_first_never_the_input_itself_nor_a_text_twice() -> None:
    records = [
        Choice(id="a", text="red house on the hill", label="card"),
        Choice(id="b", text="red house", label="card"),
        Choice(id="c", text="red house", label="refund"),
        Choice(id="d", text="blue car", label="parcel"),
    ]
    near = NearestExamples(records)
    places = near.places([as_input(records[0]), as_input(Choice(id="x", text="red house", label=""))], 3)
    assert [records[place].id for place in places[0]] == ["b", "d"]  # c is b's text again
    assert [records[place].id for place in places[1]] == ["b", "a", "d"]


def test_neighbours_are_those_of_scikit_learn() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]
    from sklearn.neighbors import NearestNeighbors  # type: ignore[import-untyped]

    texts = [record.text for record in _records(30)]
    asked = ["the lost parcel 7", "money for my card"]
    mine = TextIndex(texts, fix="").nearest(asked, "words", 4)
    vectoriser = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    found = NearestNeighbors(n_neighbors=4, metric="cosine").fit(vectoriser.fit_transform(texts))
    distances, _ = found.kneighbors(vectoriser.transform(asked))
    cosines = np.asarray((vectoriser.transform(asked) @ vectoriser.transform(texts).T).todense())
    np.testing.assert_allclose(np.take_along_axis(cosines, mine, axis=1), 1 - distances, atol=1e-4)


@pytest.mark.parametrize("name", ["zero_shot", "few_shot"])
def test_every_scoring_rule_is_tried_with_every_way_to_ask(name: str, make_material: Make) -> None:
    tried = build_system(name, make_material(k=(1, 2))).settings["tried"]
    ways: dict[str, set[str]] = {}
    for about in tried:
        way, rule = about.split(", rule=")
        ways.setdefault(way, set()).add(rule)
    assert all(rules == set(RULES) for rules in ways.values())
    wanted = {"list_labels=false", "list_labels=true"}
    if name == "few_shot":
        wanted = {f"k={k}, draw=0, {listed}" for k in (1, 2) for listed in wanted}
        nearest = {way for way in ways if "nearest" in way}
        assert {way.split(", list")[0] for way in nearest} == {"k=1, nearest", "k=2, nearest"}
        assert len({way.split(", ")[2] for way in nearest}) == 1  # the listing that did best with random examples
        wanted |= nearest
    assert set(ways) == wanted


def test_nearest_examples_are_scored_as_if_each_prompt_were_the_only_one(make_material: Make) -> None:
    material = make_material(k=(3,), selection=("nearest",), listed=False)
    system: Any = build_system("few_shot", material)
    assert isinstance(system.shots_for, NearestLabelled)
    assert (system.settings["shots"], system.settings["selection"]) == (3, "nearest")
    assert system.kind == "base model, the 3 nearest examples in each prompt"
    assert system.trained_on == "40 examples, the 3 nearest in each prompt"
    inputs = [as_input(record) for record in _records(5, "x")]
    prompts = system._prompts(inputs)
    near = NearestExamples(material.train).places(inputs, 3)
    for prompt, places in zip(prompts, near, strict=True):
        shown = [(material.train[place].text, material.train[place].label) for place in reversed(places)]
        assert list(prompt.shots) == shown  # the most alike stands next to the question
    together = np.stack([scored.sums for scored in system.score(inputs)])
    runner, labels = material.extras["ground"].runner, system.encoder.answers(system.prompt)
    for prompt, given, row in zip(prompts, inputs, together, strict=True):
        alone, _ = score_labels(runner, [system.encoder.prompt(prompt, given.text).ids], labels, budget=4096)
        np.testing.assert_allclose(row, alone[0], rtol=1e-4, atol=1e-4)


def test_an_answer_depends_on_its_input_alone(make_material: Make) -> None:
    system = build_system("few_shot", make_material(selection=("nearest",)))
    inputs = [as_input(record) for record in _records(7, "x")]
    whole = {answer.id: answer.label_logprobs for answer in system.answer(inputs, AnswerOptions())}
    for given in reversed(inputs):
        (answer,) = system.answer([given], AnswerOptions())
        assert answer.label_logprobs == whole[given.id]


@pytest.mark.parametrize(
    ("selection", "kind"),
    [("random", "base model, 2 examples in the prompt"), ("nearest", "base model, the 2 nearest examples in each")],
)
def test_only_what_the_recipe_names_is_tried(selection: str, kind: str, make_material: Make) -> None:
    system: Any = build_system("few_shot", make_material(selection=(selection,)))
    assert system.kind.startswith(kind) and system.settings["selection"] == selection
    assert all(("nearest" in about) == (selection == "nearest") for about in system.settings["tried"])
    assert (len(system.prompt.shots) == 2) == (selection == "random")


def test_of_several_costly_ways_the_best_on_a_part_goes_on(
    make_material: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Any = []
    sums = LabelScorer.sums
    monkeypatch.setattr(LabelScorer, "sums", lambda self, records: asked.append(len(records)) or sums(self, records))
    material = make_material(k=(1, 2, 3), selection=("nearest",), validation=30, listed=False)
    settings = build_system("few_shot", material).settings
    assert asked == [10, 10, 10, 30]
    whole = {about.split(", rule=")[0] for about in settings["tried"] if "first" not in about}
    lost = {about.split(", rule=")[0] for about in settings["tried"] if about.count("first 10")}
    assert whole == {f"k={settings['shots']}, nearest, list_labels=false"} and len(lost) == 2
    assert settings["chosen_on"] == "validation macro_f1, n = 30"


def test_the_first_part_is_never_tiny() -> None:
    assert first_part(100, 2) == -(-100 // FIRST_PART) == 34
    assert first_part(20, 3) == LEAST_FIRST and first_part(5, 3) == 5
    assert first_part(100, 1) == 100


def test_long_examples_are_cut_to_their_share(make_material: Make) -> None:
    train = [
        Choice(id=f"t{number}", text=f"{number} " + "please where is my order " * 40, label=LABELS[number % 3])
        for number in range(9)
    ]
    material = make_material(k=(2,), selection=("nearest",), train=train)
    system: Any = build_system("few_shot", material)
    encoder = material.extras["ground"].encoder
    assert all("examples cut" in about for about in system.settings["tried"])
    (prompt,) = system._prompts([as_input(_records(1, "x")[0])])
    most = share_of(material.extras["ground"].context // 2, 2)
    assert all(len(encoder.tokenizer(text, add_special_tokens=False)["input_ids"]) <= most for text, _ in prompt.shots)
    assert share_of(10_000, 4) == 96 and share_of(8, 4) == 1


def test_texts_that_cannot_be_compared_leave_random_examples_and_it_is_said(make_material: Make) -> None:
    train = [Choice(id=f"t{number}", text=" ", label=LABELS[number % 3]) for number in range(9)]
    events: list[Any] = []
    system = build_system("few_shot", make_material(train=train, observers=(events.append,)))
    assert system.settings["selection"] == "random"
    said = [event.message for event in events if getattr(event, "topic", "") == "baselines"]
    assert said == ["few_shot: nearest examples are not tried: train no text has a word or two characters."]
    with pytest.raises(DataError, match=r"no text has a word.*Set `evaluation\.few_shot\.selection: \[random\]`"):
        build_system("few_shot", make_material(train=train, selection=("nearest",)))


def test_its_hash_tells_nearest_examples_from_none(make_material: Make) -> None:
    hashes = {
        build_system("few_shot", make_material(k=(k,), selection=("nearest",), listed=False)).settings["prompt_hash"]
        for k in (1, 2)
    }
    zero = build_system("zero_shot", make_material(listed=False)).settings["prompt_hash"]
    assert len({*hashes, zero}) == 3 and all(len(each) == 16 for each in hashes)
