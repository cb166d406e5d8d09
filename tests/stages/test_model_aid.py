"""`data.screening_model`: a model's features and losses reach the steps, are stored, and never come from test rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metier.data.cleaning.look import Aids
from metier.data.cleaning.rows import Row
from metier.data.lent import Lent
from metier.data.model_aid import AnswerLoss, ModelAid, with_model
from metier.data.prepare import prepare_data
from metier.data.prepared import PreparedData
from metier.data.record.findings import read_doubts
from metier.data.records import Conversation, Message, Record
from metier.errors import ArgumentError, ModelError, RecipeError
from metier.events import Event, Notice
from metier.planning.check import check_recipe
from metier.recipe.load import recipe_from_values
from metier.recipe.sections import Recipe
from metier.stages.model_aid import model_aid, screening_identity, screening_model
from metier.team import Team, current_team

Make = Callable[..., Recipe]


@pytest.fixture
def make(tmp_path: Path, tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Make:
    """`make(task, rows, **data)`: a recipe on rows as JSON lines, with an empty cache."""
    monkeypatch.setenv("METIER_CACHE", str(tmp_path / "cache"))
    models = {"encoder": str(tiny_model("bert")), "writer": str(tiny_model("llama"))}

    def recipe(task: str, rows: Sequence[dict[str, Any]], *, privacy: Any = None, **data: Any) -> Recipe:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        name = data.get("screening_model")
        values = {
            "task": task, "model": models["writer"],
            "data": {"train": str(path), **data, **({"screening_model": models.get(name, name)} if name else {})},
            "hardware": {"device": "cpu", "dtype": "float32", "threads": 1},
            **({"privacy": privacy} if privacy else {}),
        }  # fmt: skip
        return recipe_from_values(values, base=tmp_path, where="recipe.yaml")

    return recipe


def mails(count: int = 60) -> list[dict[str, Any]]:
    return [{"text": f"please {word} number {n}", "label": word} for n in range(count // 2) for word in ("pay", "open")]


def questions(count: int = 60) -> list[dict[str, Any]]:
    return [{"question": f"what is {n} and {n + 1}", "answer": f"it is {2 * n + 1}"} for n in range(count)]


def prepare(recipe: Recipe, folder: Path, aid: ModelAid | None) -> PreparedData:
    return prepare_data(recipe.data, seed=17, folder=folder, task=recipe.task, lent=Lent(aid=aid))


def rows_of(splits: Sequence[str]) -> list[Row]:
    return [
        Row(key=3 * n, split=split, text=f"t{n}", answer="a", labelled=True, group=None, source="f", row=n + 1)
        for n, split in enumerate(splits)
    ]


def no_losses(records: Sequence[Conversation]) -> list[AnswerLoss | None]:
    raise AssertionError("not asked for")


def test_features_stand_at_the_place_of_their_row_and_test_rows_are_not_read() -> None:
    seen: list[str] = []

    def embed(texts: Sequence[str]) -> Any:
        seen.extend(texts)
        return np.array([[float(text[1:]) + 1, 5.0] for text in texts])

    aid = ModelAid(name="m", identity="i", embed=embed, sequence_loss=no_losses)
    rows = rows_of(["train", "test", "validation", "test", "train"])
    aids, said = with_model(Aids(), aid, rows, iter(()), "classification")
    assert seen == ["t0", "t2", "t4"]
    assert aids.features is not None
    assert aids.features.tolist() == [[1, 5], [0, 0], [3, 5], [0, 0], [5, 5]]
    assert said == (
        "data.screening_model: wrong labels and outliers were sought by features of m, of 3 texts; no row of test "
        "went through it",
    )


def test_losses_have_the_keys_of_their_rows_and_test_answers_are_not_read() -> None:
    rows = rows_of(["train", "test", "train", "validation"])
    records: list[tuple[int, Record]] = [
        (row.key, Conversation(id="", text=row.text, messages=(Message(role="user", content=row.text),)))
        for row in rows
    ]

    def losses(asked: Sequence[Conversation]) -> list[AnswerLoss | None]:
        return [AnswerLoss(after=float(one.text[1:]), alone=9.0) if one.text != "t2" else None for one in asked]

    aid = ModelAid(name="m", identity="i", embed=lambda texts: np.zeros((0, 0)), sequence_loss=losses)
    aids, said = with_model(Aids(), aid, rows, iter(records), "generation")
    assert aids.losses == {0: 0.0, 9: 3.0} and aids.alone == {0: 9.0, 9: 9.0} and aids.features is None
    assert "m read 2 written answers" in said[0] and "1 answer could not be asked for" in said[0]


def test_without_a_model_nothing_changes() -> None:
    before = Aids()
    assert with_model(before, None, rows_of(["train"]), iter(()), "classification") == (before, ())


def test_a_recipe_that_names_a_model_is_refused_without_one(make: Make, tmp_path: Path) -> None:
    recipe = make("classification", mails(), screening_model="encoder")
    message = r"prepare_data: data.screening_model is .*wanted lent=Lent\(aid=model_aid\(recipe\)\)"
    with pytest.raises(ArgumentError, match=message):
        prepare(recipe, tmp_path / "out", None)


def test_features_are_stored_and_give_the_same_data_again(make: Make, tmp_path: Path) -> None:
    recipe = make("classification", mails(), screening_model="encoder")
    heard: list[list[Event]] = [[], []]
    found = []
    for number, events in enumerate(heard):
        with screening_model(recipe, (events.append,)) as aid:
            found.append(prepare(recipe, tmp_path / f"out{number}", aid))
    first, second = (next(e.message for e in events if isinstance(e, Notice)) for events in heard)
    rows = len(found[0].train) + len(found[0].validation)
    assert "read 0 texts" not in first and "a second" in first
    assert f"read 0 texts, in 0.0 s; {rows} more were known" in second
    assert found[0].card.fingerprint == found[1].card.fingerprint
    assert any(notice.startswith("data.screening_model: wrong labels and outliers") for notice in found[0].card.notices)
    assert (tmp_path / "out0" / "doubts.jsonl").read_bytes() == (tmp_path / "out1" / "doubts.jsonl").read_bytes()


def test_losses_are_those_of_a_plain_forward(make: Make, tmp_path: Path) -> None:
    import torch

    from metier.device import choose_hardware
    from metier.model.base import load_base_model
    from metier.model.chat_encode import ChatEncoder
    from metier.model.chat_prompt import ChatPrompt
    from metier.model.encode import Encoder

    recipe = make("generation", questions(4), screening_model="writer")
    base = load_base_model(recipe.model, choose_hardware(recipe.hardware))
    chat = ChatEncoder(Encoder(base.tokenizer, base.context))
    asked = [
        Conversation(id=str(n), text=f"what is {n}", messages=(
            Message(role="user", content=f"what is {n}"), Message(role="assistant", content=f"it is {n}"),
        )) for n in range(3)
    ]  # fmt: skip
    aid = model_aid(recipe)
    assert aid is not None
    for record, found in zip(asked, aid.sequence_loss(asked), strict=True):
        assert found is not None
        answer = chat.answer(ChatPrompt(), record.messages)
        for turns, loss in ((record.context, found.after), ((Message(role="user", content=""),), found.alone)):
            prompt = chat.prompt(ChatPrompt(), turns, room=len(answer)).ids
            ids = torch.tensor([[*prompt.tolist(), *answer.tolist()]])
            with torch.no_grad():
                logits = base.network(input_ids=ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
            plain = -float(logits[torch.arange(len(answer)), torch.tensor(answer)].mean())
            assert loss == pytest.approx(plain, rel=1e-4)


def test_answers_are_ranked_in_a_run_of_the_data_room(make: Make, tmp_path: Path) -> None:
    recipe = make("generation", questions(), screening_model="writer")
    with screening_model(recipe) as aid:
        prepared = prepare(recipe, tmp_path / "out", aid)
    said = json.loads((tmp_path / "out" / "findings.json").read_text(encoding="utf-8"))
    notes = next(step for step in said["steps"] if step["step"] == "wrong_answers")["notes"]
    assert any("a hard answer is not a wrong one" in note for note in notes)
    assert not any("no model's losses were given" in note for note in notes)
    assert all(doubt.place.split != "test" for doubt in read_doubts(tmp_path / "out") if "believe" in doubt.reason)
    assert len(prepared.train)


def test_an_encoder_cannot_say_how_probable_an_answer_is(make: Make) -> None:
    recipe = make("generation", questions(), screening_model="encoder")
    with pytest.raises(ModelError, match=r"data.screening_model: .* is an encoder, .* wanted a language model"):
        model_aid(recipe)


def test_identity_is_of_weights_and_prompt(make: Make, tiny_model: Callable[..., Path]) -> None:
    plain = make("generation", questions(), screening_model="writer")
    other = plain.model_copy(update={"prompt": plain.prompt.model_copy(update={"instruction": "Add."})})
    assert screening_identity(plain) == screening_identity(plain) != screening_identity(other)
    assert screening_identity(make("generation", questions())) is None


@pytest.mark.parametrize(
    ("task", "data", "message"),
    [
        ("classification", {"wrong_labels": "off", "outliers": "off"}, "has no effect with `data.wrong_labels: off`"),
        ("generation", {"wrong_answers": "off"}, "has no effect with `data.wrong_answers: off`"),
        ("preference", {}, "has no effect with `task: preference`"),
        ("classification", {"screening_model": " "}, "is empty"),
    ],
)
def test_a_field_without_effect_is_a_fault(make: Make, task: str, data: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make(task, mails(), **{"screening_model": "encoder", **data})


def test_the_model_works_for_one_process_while_the_others_wait(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metier.team._team", Team(rank=0, size=2))
    with screening_model(make("classification", mails(), screening_model="encoder")) as aid:
        assert aid is not None and current_team().size == 1
        assert aid.embed(["hello world"]).shape == (1, 32)  # would wait for the other process for ever
    assert current_team().size == 2


def test_check_hands_the_model_in(make: Make) -> None:
    recipe = make("classification", mails(), screening_model="encoder")
    recipe = recipe.model_copy(update={"evaluation": recipe.evaluation.model_copy(update={"systems": ["majority"]})})
    report = check_recipe(recipe, screening=screening_model)
    assert any("sought by features of" in notice for notice in report.data.notices)
    with pytest.raises(ArgumentError, match="no model was handed in"):
        check_recipe(recipe)
