from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.data.input_rules import (
    LABELLED,
    REPAIRS,
    SECRETS,
    WRITTEN,
    InputRules,
    normalised,
    repairs_of,
    template_columns,
)
from metier.errors import DataError
from metier.recipe.sections import DataSection
from metier.store.files import write_json

RULES = InputRules(text_columns=("text",))


@pytest.mark.parametrize(
    ("text", "cleaned", "repairs"),
    [
        pytest.param("as it is,\n\n  not quite".replace("  ", ""), "as it is,\n\nnot quite", (), id="clean"),
        pytest.param(" a \t b  ", "a b", ("white space",), id="runs of spaces"),
        pytest.param("a\u00a0b\u3000c", "a b c", ("white space",), id="other spaces"),
        pytest.param("a\r\nb\rc\u2028d", "a\nb\nc\nd", ("line ends",), id="line ends"),
        pytest.param("a\x00b\x07c", "abc", ("invisible characters",), id="controls"),
        pytest.param("a\u200bb\ufeff\u202ec", "abc", ("invisible characters",), id="no width"),
        pytest.param("a\U000e0041b", "ab", ("invisible characters",), id="tag characters"),
        pytest.param("e\u0301", "é", ("Unicode form",), id="composed"),
        pytest.param("می\u200cخواهم 👩\u200d🔬", "می\u200cخواهم 👩\u200d🔬", (), id="joiners that mean something"),
        pytest.param("a \u200b b", "a b", ("invisible characters", "white space"), id="two repairs"),
    ],
)
def test_cleaning(text: str, cleaned: str, repairs: tuple[str, ...]) -> None:
    assert RULES.repair(text) == (cleaned, repairs)


@given(st.text(st.characters() | st.sampled_from("\u200b\u00a0\r\n\t e\u0301")))
def test_cleaning_twice_changes_nothing(text: str) -> None:
    once = RULES.clean(text)
    assert RULES.clean(once) == once
    assert once == once.strip()
    once.encode("utf-8")


@pytest.mark.parametrize(
    ("rules", "row", "text"),
    [
        pytest.param(RULES, {"text": " a "}, "a", id="one column"),
        pytest.param(RULES, {"text": None}, "", id="empty"),
        pytest.param(InputRules(text_columns=("s", "b")), {"s": "S", "b": "B"}, "S\n\nB", id="two columns"),
        pytest.param(InputRules(text_columns=("s", "b")), {"s": "  ", "b": "B"}, "B", id="one of two empty"),
        pytest.param(
            InputRules(text_columns=("s", "b"), template="{s}: {{{b}}}"), {"s": "S", "b": "B"}, "S: {B}", id="template"
        ),
        pytest.param(
            InputRules(text_columns=("s", "b"), template="{s}: {b}"), {"s": "", "b": None}, "", id="empty template"
        ),
        pytest.param(RULES, {"text": 7}, "7", id="a number, as prediction may give it"),
        pytest.param(InputRules(text_columns=("s",), template="{s}!"), {"s": "{s}"}, "{s}!", id="braces in data"),
    ],
)
def test_text_of_a_row(rules: InputRules, row: dict[str, object], text: str) -> None:
    assert rules.text_of(row) == text


def test_a_row_without_the_column_is_an_error() -> None:
    with pytest.raises(DataError, match=r"there is no column `text`, wanted one of `texts`\. Did you mean `texts`\?"):
        RULES.text_of({"texts": "a"})


@pytest.mark.parametrize(
    ("template", "names"),
    [("{subject}: {body}", ("subject", "body")), ("{a} {a} {{x}}", ("a",)), ("{Ticket Subject}", ("Ticket Subject",))],
)
def test_template_columns(template: str, names: tuple[str, ...]) -> None:
    assert template_columns(template) == names


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{a", "is a template that cannot be read"),
        ("{}", "has `{}` in its template, wanted a text with columns"),
        ("{0}", "has `{0}` in its template"),
        ("{a.__class__}", "has `{a.__class__}` in its template"),
        ("{a!r}", "has `{a}` in its template"),
    ],
)
def test_templates_that_are_refused(template: str, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        template_columns(template)


def test_rules_are_read_back(tmp_path: Path) -> None:
    rules = InputRules(text_columns=("s", "b"), template="{s}: {b}")
    rules.write(tmp_path / "input.json")
    assert InputRules.read(tmp_path / "input.json") == rules


def test_rules_with_an_unknown_repair_are_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "input.json", {"text_columns": ["a"], "repairs": ["magic"]}, format="input")
    with pytest.raises(DataError, match=f"has the repair `magic`, wanted one of {', '.join(REPAIRS)}"):
        InputRules.read(tmp_path / "input.json")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Where is my Parcel?", "where  is my\nparcel?", True),
        ("ＦＵＬＬ width", "full width", True),
        ("Straße", "STRASSE", True),
        ("my parcel", "my parcels", False),
    ],
)
def test_which_texts_are_the_same(one: str, other: str, same: bool) -> None:
    assert (normalised(one) == normalised(other)) is same


@pytest.mark.parametrize(
    ("text", "cleaned", "repairs"),
    [
        pytest.param("the cafÃ© is shut", "the café is shut", ("mojibake",), id="mojibake"),
        pytest.param("\x1b[31merror\x1b[0m 7", "error 7", ("terminal codes",), id="terminal codes"),
        pytest.param("<p>it is</p><p>late</p>", "it is\nlate", ("leftover markup", "white space"), id="markup"),
        pytest.param("the oﬃce", "the office", ("ligatures",), id="ligatures"),
        pytest.param("caf\u200bÃ©", "café", ("mojibake", "invisible characters"), id="one uncovers another"),
    ],
)
def test_text_repairs_come_first(text: str, cleaned: str, repairs: tuple[str, ...]) -> None:
    done, used = RULES.repair(text)
    assert done == cleaned
    assert set(used) == set(repairs)
    assert list(used) == [name for name in REPAIRS if name in used]


def test_written_texts_keep_their_markup_and_their_spaces() -> None:
    rules = InputRules(text_columns=("text",), repairs=WRITTEN)
    page = "<b>bold</b>\n    indented  twice"
    assert rules.repair(page) == (page, ())


@pytest.mark.parametrize(
    ("fields", "usual", "wanted"),
    [
        ({}, LABELLED, LABELLED),
        ({}, WRITTEN, WRITTEN),
        ({"repairs": []}, LABELLED, ()),
        ({"repairs": ["white space", "mojibake"]}, WRITTEN, ("mojibake", "white space")),
        ({"repairs": [], "secrets": "mask"}, LABELLED, (SECRETS,)),
        ({"secrets": "mask"}, WRITTEN, tuple(name for name in REPAIRS if name in (*WRITTEN, SECRETS))),
    ],
)
def test_the_recipe_chooses_repairs(fields: dict[str, Any], usual: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    assert repairs_of(DataSection(train="d.csv", **fields), usual) == wanted


def test_secrets_are_masked_in_every_text_to_come(tmp_path: Path) -> None:
    pytest.importorskip("detect_secrets")
    key = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    section = DataSection(train="d.csv", secrets="mask")
    InputRules(text_columns=("text",), repairs=repairs_of(section, LABELLED)).write(tmp_path / "input.json")
    rules = InputRules.read(tmp_path / "input.json")
    masked = rules.text_of({"text": f"my  token {key} fails"})
    assert masked == "my token <SECRET> fails"
    assert rules.clean(masked) == masked
