"""What is the same test set: the same questions, in any order, beside any train, whatever their answers were."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from metier.data.prepared import PreparedData
from metier.data.sealing import sealed_fingerprint

Prepare = Callable[..., PreparedData]
TEST = [("where is my parcel", "order"), ("my card was refused", "card"), ("please pay me back", "refund"),
        ("the shop refused my card", "card")]  # fmt: skip
TRAIN = [(f"{word} number {number}", label) for number in range(4) for word, label in
         (("parcel", "order"), ("card", "card"), ("money", "refund"))]  # fmt: skip


@pytest.fixture
def sealed(prepare: Prepare, tmp_path: Path) -> Callable[..., str]:
    """`sealed(test, train=TRAIN, task=…)`: the fingerprint of these rows as a test set."""
    made: list[Path] = []

    def seal(
        test: Sequence[tuple[str, str]], train: Sequence[tuple[str, str]] = TRAIN, task: str = "classification",
        name: str = "test.csv",
    ) -> str:  # fmt: skip
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(folder)
        for file, rows in (("train.csv", train), (name, test)):
            lines = "\n".join(f"{text},{label}" for text, label in rows)
            (folder / file).write_text(f"text,label\n{lines}\n", encoding="utf-8")
        fields = {"label": "label"} if task == "classification" else {"answer": "label"}
        data = prepare(
            folder=f"{len(made)}-prepared", task=task, train=folder / "train.csv", test=folder / name, text="text",
            **fields,
        )  # fmt: skip
        return sealed_fingerprint(data.card, data.test)

    return seal


@pytest.mark.parametrize(
    ("rows", "same"),
    [
        pytest.param(TEST[::-1], True, id="another order"),
        pytest.param([*TEST[:3], ("the shop refused my card", "order")], True, id="a corrected answer"),
        pytest.param(TEST[:3], False, id="a row less"),
        pytest.param([*TEST, ("hello", "order")], False, id="a row more"),
        pytest.param([*TEST[:3], ("the shop took my card", "card")], False, id="a row in other words"),
        pytest.param([*TEST, TEST[0]], False, id="a row twice"),
    ],
)
def test_the_same_questions_are_the_same_set(
    sealed: Callable[..., str], rows: Sequence[tuple[str, str]], same: bool
) -> None:
    assert (sealed(rows) == sealed(TEST)) is same


def test_train_and_the_name_of_the_file_do_not_count(sealed: Callable[..., str]) -> None:
    other = [(f"{text} please", label) for text, label in TRAIN]
    assert sealed(TEST, train=other, name="held-out.csv") == sealed(TEST)


def test_another_question_about_the_same_texts_is_another_set(sealed: Callable[..., str]) -> None:
    urgent = {"order": "later", "card": "now", "refund": "later"}
    by_urgency = [[(text, urgent[label]) for text, label in rows] for rows in (TEST, TRAIN)]
    assert sealed(by_urgency[0], train=by_urgency[1]) != sealed(TEST)
    assert sealed(TEST, task="generation") != sealed(TEST)
