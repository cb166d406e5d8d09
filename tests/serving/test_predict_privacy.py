"""A model whose training hid personal data is asked without it too: files, single texts, conversations."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from metier.data.input_rules import WRITTEN, InputRules
from metier.data.privacy import presidio
from metier.data.privacy.hiding import Hiding, make_hiding
from metier.data.privacy.saved import InputProtection
from metier.data.privacy.search import find_texts
from metier.data.records import Conversation, Input, Message
from metier.device import Hardware, choose_hardware
from metier.errors import ArgumentError, MissingPackage
from metier.evaluation.results import Answer
from metier.evaluation.systems import AnswerOptions, System
from metier.events import Event, Notice
from metier.recipe.load import recipe_from_values
from metier.recipe.privacy_section import PrivacySection
from metier.recipe.sections import HardwareSection
from metier.run import run_recipe
from metier.serving.predict import load_run, predict_file
from metier.serving.specialist import Specialist
from metier.serving.talk import Speaker, Talk

KEY = "a secret of many characters"
MASK = {"policy": "mask", "detector": "patterns"}
SURROGATE = {"policy": "surrogate", "detector": "patterns", "key_env": "STAND_INS"}


class Echo:
    """Answers with what it was asked."""

    name = "tuned"

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """One answer for every input."""
        for each in inputs:
            yield Answer(id=each.id, label=None, text=" | ".join(turn.content for turn in each.turns))


@pytest.fixture(scope="module")
def hardware() -> Hardware:
    return choose_hardware(HardwareSection(device="cpu", threads=1))


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_INS", KEY)


def trained(**fields: Any) -> Hiding:
    hiding = make_hiding(PrivacySection.model_validate(fields))
    assert hiding is not None
    return hiding


def saved(**fields: Any) -> InputProtection:
    protection = trained(**fields).for_inputs()
    assert protection is not None
    return protection


@pytest.fixture
def make(tmp_path: Path, hardware: Hardware) -> Callable[..., Specialist]:
    """`make(protection, **rules)`: a model that says what it was asked."""

    def specialist(protection: InputProtection | None, **rules: Any) -> Specialist:
        made = InputRules(
            **{"text_columns": ("q",), "repairs": WRITTEN, "task": "generation", "protection": protection, **rules}
        )
        return Specialist(
            folder=tmp_path, system=cast(System, Echo()), labels=(), hardware=hardware, task="generation", rules=made
        )

    return specialist


def test_a_file_is_asked_without_personal_data_and_given_back_with_it(
    make: Callable[..., Specialist], tmp_path: Path
) -> None:
    (tmp_path / "in.csv").write_text("q,nr\nI am a@b.org\u200b,1\nnothing,2\nI am a@b.org,3\n", encoding="utf-8")
    told: list[Event] = []
    done = predict_file(make(saved(**MASK)), tmp_path / "in.csv", tmp_path / "out.jsonl", observers=(told.append,))
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["answer"] for row in rows] == ["I am <EMAIL_ADDRESS>", "nothing", "I am <EMAIL_ADDRESS>"]
    assert rows[0]["q"] == "I am a@b.org\u200b"  # the user's own rows stay as they are
    assert done.answered == 3
    notices = [event.message for event in told if isinstance(event, Notice)]
    assert any("names of persons and places are not covered" in notice for notice in notices)


def test_all_turns_of_a_conversation_are_hidden(make: Callable[..., Specialist], tmp_path: Path) -> None:
    turns = [
        {"role": "system", "content": "You help a@b.org."}, {"role": "user", "content": "call +49 30 901820"},
        {"role": "assistant", "content": "+49 30 901820?"}, {"role": "user", "content": "yes"},
    ]  # fmt: skip
    (tmp_path / "in.jsonl").write_text(json.dumps({"messages": turns}) + "\n", encoding="utf-8")
    specialist = make(saved(**MASK), text_columns=(), task="chat", shape="messages", fields={"messages": "messages"})
    predict_file(specialist, tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    row = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8"))
    assert row["answer"] == "You help <EMAIL_ADDRESS>. | call <PHONE_NUMBER> | <PHONE_NUMBER>? | yes"


@pytest.mark.parametrize("fields", [MASK, SURROGATE], ids=["mask", "surrogate"])
def test_the_model_meets_what_it_was_trained_on(fields: dict[str, Any], make: Callable[..., Specialist]) -> None:
    asked, said = "I am c@d.org, call +49 30 901820.", "Thank you."
    record = Conversation(
        id="", text=asked,
        messages=(Message(role="user", content=asked), Message(role="assistant", content=said)),
    )  # fmt: skip
    in_training = trained(**fields).hide([record])[0].record
    assert "c@d.org" not in in_training.text
    assert next(make(saved(**fields)).answer([asked])).text == in_training.text


def test_single_texts_keep_their_places(make: Callable[..., Specialist]) -> None:
    answers = list(make(saved(**MASK)).answer(["a@b.org", " ", "x", "c@d.org!"]))
    assert [answer.text for answer in answers] == ["<EMAIL_ADDRESS>", None, "x", "<EMAIL_ADDRESS>!"]
    assert answers[1].reason == "empty text"


def test_without_a_policy_inputs_stay_as_they_are(make: Callable[..., Specialist]) -> None:
    assert next(make(None).answer(["a@b.org"])).text == "a@b.org"


def test_what_finds_names_has_to_be_there(
    make: Callable[..., Specialist], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presidio, "PACKAGES", ("a_package_that_nobody_has",))
    specialist = make(InputProtection(policy="mask", detector="presidio", kinds=("PERSON",)))
    (tmp_path / "in.csv").write_text("q\nAnna\n", encoding="utf-8")
    with pytest.raises(MissingPackage, match=r'pip install "metier\[pii\]"'):
        predict_file(specialist, tmp_path / "in.csv", tmp_path / "out.jsonl")
    assert not list(tmp_path.glob("out.jsonl*"))
    with pytest.raises(MissingPackage):
        next(specialist.answer(["Anna"]))


def test_the_key_has_to_be_there_and_another_one_is_told(
    make: Callable[..., Specialist], monkeypatch: pytest.MonkeyPatch
) -> None:
    protection = saved(**SURROGATE)
    monkeypatch.delenv("STAND_INS")
    with pytest.raises(ArgumentError, match=r"\$STAND_INS: is not set, wanted the key of surrogates"):
        next(make(protection).answer(["a@b.org"]))
    monkeypatch.setenv("STAND_INS", f"not {KEY}")
    hiding = make(protection).hiding
    assert hiding is not None
    assert "$STAND_INS holds another key than in training" in hiding.notices[0]


class Remembers:
    """A model that writes back what it was asked last, and keeps all of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[Message, ...]] = []

    def answer(self, inputs: Sequence[Input], options: AnswerOptions) -> Iterator[Answer]:
        """One answer for every input."""
        for each in inputs:
            self.asked.append(each.messages)
            yield Answer(id=each.id, label=None, text=each.messages[-1].content)


def test_a_conversation_has_the_same_stand_in_in_every_turn(make: Callable[..., Specialist]) -> None:
    specialist = make(saved(**SURROGATE))
    writer = Remembers()
    talk = Talk(tuned=Speaker(cast(Any, writer)), base=None, rules=specialist.rules, hiding=specialist.hiding)
    first = talk.say("I am c@d.org.")[0].text
    second = talk.say("Write to c@d.org!")[0].text
    assert first is not None and second is not None
    stand_in = first.removeprefix("I am ").removesuffix(".")
    assert stand_in != "c@d.org" and second == f"Write to {stand_in}!"
    assert not any("c@d.org" in turn.content for asked in writer.asked for turn in asked)
    talk.forget()
    assert talk.say("I am c@d.org.")[0].text == first


@pytest.mark.slow
def test_a_run_hides_in_training_in_its_files_and_in_prediction(
    tiny_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cache", "state"):
        monkeypatch.setenv(f"METIER_{name.upper()}", str(tmp_path / name))
    words = {"refund": "give me my money back", "card": "my card was declined"}
    rows = [f"{said} {n} or call person{n}@clinic.org,{label}" for n in range(24) for label, said in words.items()]
    (tmp_path / "mails.csv").write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    values = {
        "model": str(tiny_model("bert")), "data": {"train": "mails.csv", "leaks": "allow", "duplicates": "keep"},
        "privacy": {**MASK, "kinds": ["EMAIL_ADDRESS"]}, "adaptation": {"method": "full"},
        "training": {"max_steps": 2}, "hardware": {"device": "cpu", "dtype": "float32", "threads": 1},
        "evaluation": {"systems": ["majority", "tfidf"], "resamples": 200, "selection_examples": 4},
    }  # fmt: skip
    recipe = recipe_from_values(values, base=tmp_path, where="recipe.yaml")
    run = run_recipe(recipe, output=tmp_path / "run").folder
    found = find_texts(run.path, [f"person{n}@clinic.org" for n in range(24)])
    assert found.files and not found.found, found.found[:5]
    specialist = load_run(run.path)
    assert specialist.hiding is not None
    named, masked = specialist.answer(["my card 7 or call anna@posteo.net", "my card 7 or call <EMAIL_ADDRESS>"])
    assert named.label_logprobs == masked.label_logprobs
