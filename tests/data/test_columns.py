from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from metier.data.columns import choose_columns, plain_name
from metier.data.sources import read_table
from metier.errors import DataError
from metier.recipe.sections import DataSection

LONG = ["the parcel is late again", "please send me the invoice", "my grinder does not work", "where is the box now"]


def table(tmp_path: Path, header: list[str], cells: Callable[[int], list[object]], count: int = 40) -> Path:
    path = tmp_path / "file.csv"
    lines = [",".join(header), *(",".join(str(cell) for cell in cells(i)) for i in range(count))]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def words(i: int) -> str:
    return f"{LONG[i % 4]} {i}"


@pytest.mark.parametrize(
    ("header", "cells", "text", "label"),
    [
        pytest.param(["text", "label"], lambda i: [words(i), i % 2], ("text",), "label", id="usual"),
        pytest.param(["Label", "Sentence"], lambda i: [i % 2, words(i)], ("Sentence",), "Label", id="capitals"),
        pytest.param(["id", "text", "category"], lambda i: [i, words(i), i % 3], ("text",), "category", id="category"),
        pytest.param(
            ["subject", "body", "intent"], lambda i: ["hi", words(i), i % 2], ("subject", "body"), "intent", id="pair"
        ),
        pytest.param(["text", "label", "intent"], lambda i: [words(i), i % 2, i % 3], ("text",), "label", id="best"),
        pytest.param(
            ["medical_abstract", "condition_label"], lambda i: [words(i), i % 5], ("medical_abstract",),
            "condition_label", id="endings",
        ),
        pytest.param(["v1", "v2"], lambda i: ["spam" if i % 3 else "ham", words(i)], ("v2",), "v1", id="by looks"),
        pytest.param(
            ["conversationId", "utterance", "intent"], lambda i: [i // 4, words(i), i % 3], ("utterance",), "intent",
            id="id beside",
        ),
    ],
)  # fmt: skip
def test_columns_are_found(
    tmp_path: Path, header: list[str], cells: Callable[[int], list[object]], text: tuple[str, ...], label: str
) -> None:
    columns = choose_columns(DataSection(train="-"), [read_table(table(tmp_path, header, cells))])
    assert (columns.text, columns.label) == (text, label)
    assert columns.found_by_itself == ("text", "label")
    assert columns.notices[1] == f"data.label found by itself: `{label}`"


def test_given_columns_are_taken_and_nothing_is_said(tmp_path: Path) -> None:
    path = table(tmp_path, ["a", "b", "c"], lambda i: [words(i), words(i), i % 2])
    columns = choose_columns(DataSection(train="-", text="{a} / {b}", label="c"), [read_table(path)])
    assert (columns.text, columns.template, columns.found_by_itself, columns.notices) == (
        ("a", "b"),
        "{a} / {b}",
        (),
        (),
    )


@pytest.mark.parametrize(
    ("header", "cells", "fields", "message"),
    [
        pytest.param(
            ["text", "intent", "category"], lambda i: [words(i), i % 2, i % 3], {},
            r"data.label: is not set, and file.csv has 2 columns that could be it, wanted `intent` \(2 values, "
            r"1 characters on average\) or `category` \(3 values.*\)\. Set data.label to the column of the answer",
            id="two labels",
        ),
        pytest.param(
            ["question", "dialogue", "label"], lambda i: [words(i), words(i), i % 2], {},
            r"data.text: is not set, and file.csv has 2 columns .* `question` .* or `dialogue`", id="two texts",
        ),
        pytest.param(
            ["text", "n"], lambda i: [words(i), i * 7.5], {},
            r"data.label: is not set, and no column of file.csv looks like a label, wanted one of `text`, `n`",
            id="no label",
        ),
        pytest.param(
            ["x", "label"], lambda i: [i, i % 2], {}, "data.text: is not set, and no column of file.csv", id="no text"
        ),
        pytest.param(
            ["text", "label"], lambda i: [words(i), i % 2], {"label": "lable"},
            r"data.label: there is no column `lable` in file.csv, wanted one of .*, `label`\. Did you mean `label`\?",
            id="typo",
        ),
        pytest.param(
            ["text", "label"], lambda i: [words(i), i % 2], {"group": "zzz"}, "data.group: there is no column `zzz`",
            id="group missing",
        ),
        pytest.param(
            ["text", "label"], lambda i: [words(i), i % 2], {"text": "label", "label": "label"},
            "data.label: `label` is also the text", id="text is label",
        ),
        pytest.param(
            ["text", "label"], lambda i: [words(i), i % 2], {"text": []}, "data.text: is an empty list", id="empty list"
        ),
        pytest.param(
            ["text", "label"], lambda i: [words(i), i % 2], {"text": "{{text}}"},
            "data.text: is a template without a column", id="template without column",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_decided_is_asked_for(
    tmp_path: Path,
    header: list[str],
    cells: Callable[[int], list[object]],
    fields: dict[str, object],
    message: str,
) -> None:
    tables = [read_table(table(tmp_path, header, cells))]
    with pytest.raises(DataError, match=message):
        choose_columns(DataSection.model_validate({"train": "-", **fields}), tables)


@pytest.mark.parametrize(
    ("name", "plain"),
    [("conversationId", "conversation_id"), ("Ticket Subject", "ticket_subject"), ("slot-labels", "slot_labels")],
)
def test_plain_names(name: str, plain: str) -> None:
    assert plain_name(name) == plain
