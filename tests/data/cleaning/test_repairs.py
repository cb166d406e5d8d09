from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.data.cleaning.repairs import (
    TEXT_REPAIRS,
    decoded_right,
    repair_text,
    without_ligatures,
    without_terminal_codes,
)
from metier.data.input_rules import REPAIRS
from metier.errors import MissingPackage

ALL = {**TEXT_REPAIRS, **REPAIRS}
PIECES = ["Ã", "Â", "©", "â€œ", "â€", "\x9d", "\x85", "\x1b", "[31m", "ﬁ", "\u200b", "&lt;", "<br>", "&", "l", "t;",
          "e\u0301", "\u0301", "œ", " ", "\n", "\r", "a", "é", "<b>", "</b>", "`", "\xa0", "�", "?", "Ã©"]  # fmt: skip


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "cp1251", "cp1250", "mac-roman", "cp437"])
@pytest.mark.parametrize("text", ["Das schöne Mädchen – «très» naïve", "“Straße” und Café…"])
def test_text_read_in_a_wrong_encoding_comes_back(text: str, encoding: str) -> None:
    try:
        wrong = text.encode("utf-8").decode(encoding)
    except UnicodeDecodeError:
        pytest.skip(f"{encoding} has no character for some of these bytes")
    assert wrong != text
    assert decoded_right(wrong) == text


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "l’été à Århus, “naïve” – 5 € ½ 10² … «œuvre» ÅÄÖ Ñandú",
        "Это обычный текст. 这是普通的文字，没有问题！ ＦＵＬＬ　ｗｉｄｔｈ ﾊﾝｶｸ",
        "ĳ ǆ ŉ æ œ",
        "‘a’ „b“ ‚c‘ 'd' \"e\"",
        "first\x85second",
        "me\u0301lange",
        "π ≈ 3,14 ± ½ °C µm × ÷ ∑ ∂",
    ],
)
def test_what_is_meant_stays(text: str) -> None:
    assert repair_text(text, TEXT_REPAIRS) == (text, ())


def test_only_wrong_lines_are_changed() -> None:
    assert decoded_right("rÃ©sumÃ©\nAÇÃO à la carte\n") == "résumé\nAÇÃO à la carte\n"


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("\x1b[1;31mError\x1b[0m: \x1b[?25lx", "Error: x"),
        ("\x1b\x1b[", ""),
        ("\x1b[\x1b[31m31m", "31m"),
        ("[31m", "[31m"),
    ],
)
def test_terminal_codes_go(text: str, bare: str) -> None:
    assert without_terminal_codes(text) == bare


def test_ligatures_are_taken_apart() -> None:
    assert without_ligatures("eﬃcient ﬁnal ﬂow, oﬀ, waﬄe, ﬅ, ﬆ") == "efficient final flow, off, waffle, st, st"


def test_repairs_are_named_in_their_order() -> None:
    text, used = repair_text("\x1b[1m<p>CafÃ© ﬁn</p>", TEXT_REPAIRS)
    assert (text, used) == ("\nCafé fin\n", ("terminal codes", "mojibake", "leftover markup", "ligatures"))


def test_work_that_a_later_repair_makes_is_done() -> None:
    text, used = repair_text("CafÃ\u200b© &l\u200bt;br>", ALL, ALL)
    assert text == "Café"
    assert used == ("mojibake", "leftover markup", "invisible characters", "white space")


@pytest.mark.parametrize("name", TEXT_REPAIRS)
@given(text=st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=20).map("".join))
def test_each_repair_twice_is_once(name: str, text: str) -> None:
    once = TEXT_REPAIRS[name](text)
    assert TEXT_REPAIRS[name](once) == once


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=20).map("".join))
def test_all_repairs_twice_are_once(text: str) -> None:
    once, _ = repair_text(text, ALL, ALL)
    assert repair_text(once, ALL, ALL) == (once, ())


@pytest.mark.parametrize(
    ("name", "most"),
    [("customer_support/banking77/train.csv", 0), ("technical/nl2bash/all.cm", 0), ("technical/nl2bash/all.nl", 0)],
)
def test_clean_text_and_code_stay(real_data: Callable[[str], Path], name: str, most: int) -> None:
    lines = real_data(name).read_text(encoding="utf-8").splitlines()
    assert sum(bool(repair_text(line, TEXT_REPAIRS)[1]) for line in lines) <= most


def test_real_mojibake_is_repaired(real_data: Callable[[str], Path]) -> None:
    files = sorted(real_data("general/mmlu_redux").glob("*.csv"))
    found = [path for path in files if "‚Äì" in path.read_text(encoding="utf-8")]
    assert found
    assert "‚Äì" not in decoded_right(found[0].read_text(encoding="utf-8"))


def test_without_ftfy_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def refuse(name: str, *rest: Any, **options: Any) -> Any:
        if name == "ftfy":
            raise ImportError(name)
        return imported(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert decoded_right("needs no look: é") == "needs no look: é"
    with pytest.raises(MissingPackage, match=r"`mojibake` needs the package ftfy\. Run `pip install ftfy`\."):
        decoded_right("CafÃ©")
