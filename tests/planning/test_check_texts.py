"""What is known before a model is trained to write, to converse, or to read on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metier.data.records import Conversation, Message
from metier.device import Hardware
from metier.errors import DataError, ModelError
from metier.model.base import load_base_model
from metier.model.chat_encode import ChatEncoder
from metier.model.chat_prompt import ChatPrompt
from metier.model.encode import Encoder
from metier.planning.check import check_recipe
from metier.planning.results import CandidateFindings, LearnedTokens, PieceView
from metier.recipe.sections import ModelSection, Recipe
from metier.store.values import to_plain

Make = Callable[..., Recipe]
Rows = list[dict[str, Any]]
Endless = Callable[..., Path]


@dataclass(frozen=True)
class Judged:
    verdict: str
    sentence: str


def _learned(about: CandidateFindings) -> LearnedTokens:
    assert about.learned is not None
    return about.learned


def _chat_encoder(recipe: Recipe) -> ChatEncoder:
    hardware = Hardware(device="cpu", dtype="float32", threads=1, reason="test")
    base = load_base_model(ModelSection(name=recipe.model.name), hardware)
    return ChatEncoder(Encoder(base.tokenizer, min(recipe.training.max_length, base.context)))


def _talk(number: int, turns: int = 2, **more: Any) -> dict[str, Any]:
    said: list[dict[str, Any]] = []
    for turn in range(turns):
        said.append({"role": "user", "content": f"where is order {number}.{turn}"})
        said.append({"role": "assistant", "content": f"order {number}.{turn} is at the shop", **more})
    return {"messages": said}


def _spans(view: PieceView) -> list[tuple[bool, str]]:
    return [(piece.learned, piece.text or "") for piece in view.pieces]


def test_all_tokens_are_counted_as_training_gets_them(make_texts: Make, questions: Rows) -> None:
    recipe = make_texts("generation", questions, data={"train": "talks.jsonl", "test_size": 0.2})
    report = check_recipe(recipe)
    learned = _learned(report.candidates[0])
    encoder = _chat_encoder(recipe)
    rows = {each["question"]: each["answer"] for each in questions}
    counts = {answer: len(encoder.answer(ChatPrompt(), _turns("x", answer))) for answer in rows.values()}
    train = next(split for split in report.data.splits if split.name == "train").rows
    assert (learned.records, learned.encoded, learned.used, learned.sequences) == (train,) * 4
    assert (learned.ends, learned.looked_at, learned.left_out) == (train, train, ())
    # Which rows are in train is not told; no split's answers have another mean than all by more than a token.
    assert learned.learned / train == pytest.approx(np.mean(list(counts.values())), abs=1.5)
    longest = max(counts.values())
    assert learned.longest[0].tokens <= longest
    assert learned.max_new_tokens == int(np.ceil(1.25 * learned.longest[0].tokens / 8)) * 8
    assert not learned.max_new_tokens_given
    assert report.faults == ()


def test_the_mask_is_shown_in_pieces_with_its_end(make_texts: Make, questions: Rows) -> None:
    candidate = check_recipe(make_texts("generation", questions, prompt={"instruction": "Say where."})).candidates[0]
    assert 2 <= len(candidate.pieces) <= 3 and candidate.views == ()
    for view in candidate.pieces:
        row = questions[view.place.row - 1]
        assert _spans(view) == [
            (False, f"<|im_start|>user\nSay where.\n\n{row['question']}<|im_end|>\n<|im_start|>assistant\n"),
            (True, f"{row['answer']}<|im_end|>"),
        ]
        assert [piece.end for piece in view.pieces] == [False, True]
        assert view.about == ""
    assert candidate.trained_part.startswith("What is asked is only read; the assistant's turns are learned. End of ")
    assert "(<|im_end|>, token 2)" in candidate.trained_part


@pytest.mark.parametrize(
    ("loss_on", "wanted", "about"),
    [("assistant", 2, "messages 2, 4 of 4 are learned"), ("last", 1, "message 4 of 4 is learned")],
)
def test_which_turns_are_learned(loss_on: str, wanted: int, about: str, make_texts: Make) -> None:
    recipe = make_texts("chat", [_talk(n) for n in range(40)], training={"max_length": 128, "loss_on": loss_on})
    report = check_recipe(recipe)
    candidate = report.candidates[0]
    assert (report.data.shape, report.data.texts and report.data.texts.turns) == ("messages", (4, 4))
    view = candidate.pieces[0]
    number = view.place.row - 1
    assert view.about == about
    said = [text for learned, text in _spans(view) if learned]
    turns = [f"order {number}.{turn} is at the shop<|im_end|>" for turn in (0, 1)]
    assert said == turns[-wanted:]
    assert _learned(candidate).sequences == wanted * _learned(candidate).used


def test_turns_of_weight_0_are_read_and_counted(make_texts: Make) -> None:
    rows = [_talk(n) for n in range(40)]
    for row in rows:
        row["messages"][1]["weight"] = 0
    report = check_recipe(make_texts("chat", rows))
    assert report.data.texts is not None
    assert report.data.texts.not_learned == report.data.texts.records
    assert _learned(report.candidates[0]).sequences == _learned(report.candidates[0]).used
    assert [piece.learned for piece in report.candidates[0].pieces[0].pieces] == [False, True]


def test_an_answer_that_does_not_fit_is_left_out_with_its_row(make_texts: Make, questions: Rows) -> None:
    for place in (3, 17, 31, 44):
        questions[place]["answer"] = "the shop has it " * 40
    learned = _learned(check_recipe(make_texts("generation", questions)).candidates[0])
    assert [left.reason for left in learned.left_out] == ["answer longer than max_length"]
    assert {place.row for place in learned.left_out[0].first} <= {4, 18, 32, 45}
    assert learned.used == learned.records - learned.left_out[0].count


def test_where_no_answer_fits_it_is_a_fault(make_texts: Make, questions: Rows) -> None:
    for number, row in enumerate(questions):
        row["answer"] = f"number {number} " + "the shop has it " * 40
    report = check_recipe(make_texts("generation", questions))
    assert report.faults == (
        "tuned: nothing would be learned: no training record has an answer that can be learned "
        "(answer longer than max_length)",
    )
    assert report.candidates[0].trained_part == "" and report.candidates[0].pieces == ()


def test_long_questions_are_cut_and_named(make_texts: Make, questions: Rows) -> None:
    for number, row in enumerate(questions[:20]):
        # Each other than the others: what is nearly the same as a test row would leave.
        row["question"] += "".join(f" where is {number}{item} please" for item in range(30))
    candidate = check_recipe(make_texts("generation", questions)).candidates[0]
    assert sum(each.cut for each in candidate.lengths) == 20
    assert all(place.row <= 20 for each in candidate.lengths for place in each.cut_first)
    rejecting = make_texts("generation", questions, data={"train": "talks.jsonl", "too_long": "reject"})
    learned = _learned(check_recipe(rejecting).candidates[0])
    assert [left.reason for left in learned.left_out] == ["text longer than max_length (data.too_long: reject)"]
    assert learned.used + learned.left_out[0].count == learned.records


def test_a_model_that_could_not_stop_is_a_fault(
    make_texts: Make, questions: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = ChatEncoder._answer

    def endless(self: ChatEncoder, *given: Any) -> Any:
        ids, found = original(self, *given)
        return ids[:-1], found

    monkeypatch.setattr(ChatEncoder, "_answer", endless)
    report = check_recipe(make_texts("generation", questions))
    rows = _learned(report.candidates[0]).looked_at
    assert report.faults == (
        f"tuned: {rows} of {rows} answers do not end with the end of turn, so the model would not learn to stop",
    )


def test_a_model_without_any_end_cannot_be_used(make_texts: Make, questions: Rows, endless_model: Endless) -> None:
    with pytest.raises(DataError, match="the tokenizer has no end-of-turn and no end-of-text token"):
        check_recipe(make_texts("generation", questions, model=str(endless_model(eos=False))))


def test_a_template_that_ends_no_turn_is_told(make_texts: Make, questions: Rows, endless_model: Endless) -> None:
    candidate = check_recipe(make_texts("generation", questions, model=str(endless_model(eos=True)))).candidates[0]
    said = "The chat template does not end a turn: the end of text (<|im_end|>, token 2) is learned in its place."
    assert candidate.notices == (said,)
    assert [piece.text for piece in candidate.pieces[0].pieces][-1].endswith("at the shop<|im_end|>")  # type: ignore[union-attr]
    assert candidate.faults == ()


@pytest.fixture
def endless_model(tiny_model: Callable[..., Path], tmp_path: Path) -> Endless:
    """`endless_model(eos)`: a model whose template ends no turn; its tokenizer may know an end of text."""

    def make(*, eos: bool) -> Path:
        folder = tmp_path / "endless"
        shutil.copytree(tiny_model("llama"), folder)
        config = json.loads((folder / "tokenizer_config.json").read_text())
        config.pop("chat_template", None)
        if not eos:
            config.pop("eos_token", None)
            (folder / "special_tokens_map.json").unlink(missing_ok=True)
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        template = "{% for turn in messages %}{{ turn['role'] + ': ' + turn['content'] }}{% endfor %}"
        template += "{% if add_generation_prompt %}assistant: {% endif %}"
        (folder / "chat_template.jinja").write_text(template)
        return folder

    return make


def test_of_many_records_a_sample_is_encoded_and_says_so(
    make_texts: Make, questions: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{**row, "question": f"{row['question']} in {n}"} for n in range(5) for row in questions]
    rows[7]["answer"] = rows[8]["answer"] = "the shop has it " * 60
    exact = _learned(check_recipe(make_texts("generation", rows)).candidates[0])
    monkeypatch.setattr("metier.planning.writing.TRAIN_CHARACTERS", 20_000)
    some = _learned(check_recipe(make_texts("generation", rows)).candidates[0])
    assert 64 <= some.encoded < some.records == exact.records == exact.encoded
    assert some.learned == pytest.approx(exact.learned, rel=0.05)
    assert some.read == pytest.approx(exact.read, rel=0.05)
    assert (some.sequences, some.max_new_tokens) == (exact.sequences, exact.max_new_tokens)
    # What is likely to be too long is looked at in any case.
    assert some.left_out == exact.left_out
    assert [each.tokens for each in some.longest] == [each.tokens for each in exact.longest]


def test_the_recipe_may_say_how_long_answers_become(make_texts: Make, questions: Rows) -> None:
    recipe = make_texts("generation", questions, generation={"max_new_tokens": 9})
    learned = _learned(check_recipe(recipe).candidates[0])
    assert (learned.max_new_tokens, learned.max_new_tokens_given) == (9, True)
    assert learned.longer_answers == learned.used


def test_texts_stay_out_where_the_recipe_says_so(make_texts: Make, questions: Rows) -> None:
    report = check_recipe(make_texts("generation", questions, report={"examples": False}))
    pieces = [piece for view in report.candidates[0].pieces for piece in view.pieces]
    assert {piece.text for piece in pieces} == {None} and all(piece.tokens for piece in pieces)
    assert "declined" not in json.dumps(to_plain(report))


def test_an_encoder_cannot_write(make_texts: Make, questions: Rows, tiny_model: Callable[..., Path]) -> None:
    recipe = make_texts("generation", questions, model=str(tiny_model("bert")), adaptation={"method": "lora"})
    with pytest.raises(ModelError, match="is an encoder, which cannot write, wanted a language model"):
        check_recipe(recipe)


def test_whether_it_pays_is_asked_with_conversations(make_texts: Make, questions: Rows) -> None:
    seen: dict[str, Any] = {}

    def pay(train: Sequence[Any], test_size: int) -> Any:
        seen.update(train=train, test=test_size)
        return Judged("can pay", "It can.")

    report = check_recipe(make_texts("generation", questions), pay=pay)
    sizes = {split.name: split.rows for split in report.data.splits}
    assert all(isinstance(record, Conversation) for record in seen["train"])
    assert (len(seen["train"]), seen["test"]) == (sizes["train"], sizes["test"])
    assert report.paying is not None and report.paying.sentence == "It can."


def test_several_candidates_share_the_baselines(make_texts: Make, questions: Rows) -> None:
    ways = {"top": {"adaptation": {"layers": "top 1"}}, "all": {"adaptation": {"layers": "all"}}}
    report = check_recipe(make_texts("generation", questions, candidates=ways))
    assert report.plan is not None
    works = [(stage.stage, stage.what) for stage in report.plan.stages]
    selection = min(32, next(split.rows for split in report.data.splits if split.name == "validation"))
    assert ("baselines", f"zero_shot: {selection} answers of validation") in works
    assert ("baselines", f"few_shot: {selection} answers of validation, 2 ways") in works
    assert ("attempt top", "lower 2 blocks, computed once") in works
    assert not [what for stage, what in works if stage == "attempt all" and "computed once" in what]
    assert len([what for stage, what in works if stage == "test" and what.startswith("tuned")]) == 1
    assert {each.moment: each.keys_values > 0 for each in report.plan.moments}["test"]
    assert report.plan.seconds > 0
    assert any(said.startswith("answers are as long as the training answers (") for said in report.plan.assumptions)
    json.dumps(to_plain(report))


def test_passages_are_cut_into_windows_of_one_document(make_texts: Make) -> None:
    rows = [{"text": f"Chapter {n}. " + "my card was declined at the shop. " * (8 + n)} for n in range(30)]
    recipe = make_texts("text", rows, training={"max_length": 64})
    report = check_recipe(recipe)
    candidate, learned = report.candidates[0], _learned(report.candidates[0])
    assert learned.max_new_tokens is None and learned.longest == ()
    assert (learned.used, learned.ends) == (learned.records, learned.records)
    assert learned.sequences > learned.records and learned.read == learned.records
    start = next(place for place, view in enumerate(candidate.pieces) if view.about != "window 1 of 1")
    first, last = candidate.pieces[start : start + 2]
    assert not first.pieces[0].learned and first.pieces[1].learned
    assert not any(piece.end for piece in first.pieces)
    assert last.pieces[-1].end and (last.pieces[-1].text or "").endswith("<|im_end|>")
    assert "No window holds text of two documents" in candidate.trained_part
    assert report.paying is None
    assert report.paying_reason is not None and "cannot be known without training" in report.paying_reason
    assert report.data.texts is not None and report.data.texts.turns is None


def test_windows_that_cross_documents_are_a_fault(make_texts: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from metier.model.passages import passage_sequences

    def joined(encoder: Encoder, text: str) -> Any:
        windows = passage_sequences(encoder, text)
        ids = np.concatenate([ids for ids, _ in (*windows, *windows)])
        return [(ids, np.arange(len(ids)) > 0)]

    monkeypatch.setattr("metier.planning.passages.passage_sequences", joined)
    rows = [{"text": f"Chapter {n}. my card was declined at the shop."} for n in range(30)]
    report = check_recipe(make_texts("text", rows))
    assert len(report.faults) == 1 and "go on after the end of a text (talks.jsonl:" in report.faults[0]


def test_preferences_are_read_and_checked_only(make_texts: Make) -> None:
    rows = [
        {"prompt": f"where is order {n}", "chosen": f"order {n} is at the shop", "rejected": f"no idea {n}"}
        for n in range(30)
    ]
    report = check_recipe(make_texts("preference", rows, evaluation={}))
    assert (report.candidates, report.plan, report.paying, report.faults) == ((), None, None, ())
    assert report.data.texts is not None
    assert "training on it comes in a later version. `metier run RECIPE --until data`" in report.warnings[0]


def test_what_is_merged_is_what_training_gets(make_texts: Make) -> None:
    """The pieces side by side are the last prompt with its answer, and the learned ones all answers."""
    recipe = make_texts("chat", [_talk(n, turns=3) for n in range(30)], training={"max_length": 250})
    view = check_recipe(recipe).candidates[0].pieces[0]
    encoder = _chat_encoder(recipe)
    row = _talk(view.place.row - 1, turns=3)["messages"]
    messages = tuple(Message(role=turn["role"], content=turn["content"]) for turn in row)
    record = Conversation(id="x", text="", messages=messages)
    turns = encoder.turns(ChatPrompt(), record, "assistant")
    whole = np.concatenate(turns.sequences[-1])
    assert sum(piece.tokens for piece in view.pieces) == len(whole)
    assert "".join(piece.text or "" for piece in view.pieces) == encoder.encoder.tokenizer.decode(whole)
    learned = [piece.tokens for piece in view.pieces if piece.learned]
    assert learned == [len(answer) for _, answer in turns.sequences]


def test_a_conversation_that_is_cut_is_shown_in_two_parts(make_texts: Make) -> None:
    candidate = check_recipe(make_texts("chat", [_talk(n, turns=9) for n in range(30)])).candidates[0]
    first, last = candidate.pieces[:2]
    assert first.place == last.place and first.about.startswith("messages 2, 4, ")
    assert last.about.startswith("message ")
    assert last.about.endswith(" is learned; apart, because what comes before is cut or written in another way there")
    assert any(
        said.endswith("turns of records that are used cannot be learned themselves.") for said in candidate.notices
    )
    assert len(candidate.pieces) == 4


def _turns(asked: str, said: str) -> tuple[Message, ...]:
    return (Message(role="user", content=asked), Message(role="assistant", content=said))


def test_a_candidate_of_labels_has_no_pieces(make_recipe: Make) -> None:
    candidate = check_recipe(make_recipe()).candidates[0]
    assert (candidate.learned, candidate.pieces) == (None, ())
    assert replace(candidate, pieces=()) == candidate
