from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.data.cleaning.lengths import AT_ONCE, LengthSettings, screen_lengths
from metier.data.cleaning.rows import Row
from metier.data.cleaning.too_long import LENGTH_POLICIES, Limit, cut_text, split_text
from metier.errors import DataError


def row(key: int, text: str, answer: str = "", *, labelled: bool = True) -> Row:
    return Row(
        key=key, split="train", text=text, answer=answer, labelled=labelled, group=None, source="a.csv", row=key + 1
    )


def count_tokens(texts: Sequence[str]) -> list[int]:
    """A word of n letters is n / 3 tokens, rounded up; every sign is one."""
    return [
        sum(-(-len(word) // 3) for word in re.findall(r"\w+", text)) + len(re.findall(r"[^\w\s]", text))
        for text in texts
    ]


def test_doubts_name_the_reason_and_the_numbers() -> None:
    rows = [
        row(0, "an ordinary text"),
        row(1, " \n "),
        row(2, "?!"),
        row(3, "a"),
        row(4, "one two three four"),
        row(5, "❤"),
        row(6, "ask", "a long answer of seven words here", labelled=False),
        row(7, "ask", "a label of six words counts not", labelled=True),
    ]
    finding = screen_lengths(rows, LengthSettings(shortest_characters=2, longest_words=3))
    assert [(doubt.key, doubt.reason, doubt.detail) for doubt in finding.doubts] == [
        (1, "empty text", "its text is empty"),
        (2, "no words", "its text has no letter and no digit"),
        (3, "too short", "its text has 1 character, fewer than 2"),
        (4, "too long", "it has 4 words, more than 3"),
        (5, "too short", "its text has 1 character, fewer than 2"),
        (6, "too long", "it has 8 words, more than 3"),
    ]
    assert finding.counts == {"empty text": 1, "no words": 1, "too short": 2, "too long": 2}
    assert finding.notes == ()


def test_tokens_are_counted_with_the_answer_and_in_batches() -> None:
    calls: list[int] = []

    def counted(texts: Sequence[str]) -> list[int]:
        calls.append(len(texts))
        return count_tokens(texts)

    rows = [row(key, "abcdef gh", "abc", labelled=False) for key in range(AT_ONCE + 1)]
    finding = screen_lengths(rows, LengthSettings(longest_tokens=3), count_tokens=counted)
    assert calls == [AT_ONCE, AT_ONCE, 1, 1]
    assert len(finding.doubts) == AT_ONCE + 1
    assert finding.doubts[0].detail == "it has 4 tokens, more than 3"
    assert finding.tables["lengths"][2] == {
        "unit": "tokens", "shortest": 4, "5 %": 4.0, "median": 4.0, "mean": 4.0, "95 %": 4.0, "99 %": 4.0,
        "longest": 4, "all": 4 * (AT_ONCE + 1),
    }  # fmt: skip


def test_without_a_tokenizer_a_note_says_so() -> None:
    finding = screen_lengths([row(0, "text")], LengthSettings(longest_tokens=1))
    assert finding.doubts == ()
    assert finding.notes == ("tokens were not counted, because no tokenizer was given: nothing is too long in tokens",)
    assert [cells["unit"] for cells in finding.tables["lengths"]] == ["characters", "words"]


def test_no_rows() -> None:
    assert screen_lengths([]).tables["lengths"] == []


TEXT = 'First paragraph. It has two sentences.\n\nSecond one,\nwith a line. And "more" words! Then the end'


@pytest.mark.parametrize(
    ("most", "pieces"),
    [
        pytest.param(200, (TEXT,), id="fits"),
        pytest.param(
            60,
            ("First paragraph. It has two sentences.", 'Second one,\nwith a line. And "more" words! Then the end'),
            id="paragraph",
        ),
        pytest.param(
            30,
            (
                "First paragraph.", "It has two sentences.", "Second one,\nwith a line.",
                'And "more" words! Then the end',
            ),
            id="sentence",
        ),
        pytest.param(
            20,
            ("First paragraph.", "It has two", "sentences.", "Second one,", "with a line.", 'And "more" words!',
             "Then the end"),
            id="line and word",
        ),
    ],
)  # fmt: skip
def test_a_split_falls_at_good_places(most: int, pieces: tuple[str, ...]) -> None:
    limit = Limit(most=most, unit="characters")
    assert split_text(TEXT, limit) == pieces
    assert cut_text(TEXT, limit) == pieces[0]


PIECES = ["word ", "a", "Wörter", ". ", "! ", "\n", "\n\n", " ", "。", "e\u0301", "👩\u200d🔬", "longer"]


@pytest.mark.parametrize("unit", ["characters", "words", "tokens"])
@given(text=st.lists(st.sampled_from(PIECES), max_size=60).map("".join), most=st.integers(1, 30))
def test_pieces_fit_and_lose_nothing(unit: str, text: str, most: int) -> None:
    limit = Limit(most=most, unit=unit, count_tokens=count_tokens)  # type: ignore[arg-type]
    pieces = split_text(text, limit)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert cut_text(text, limit) == pieces[0]
    if limit.size(text) <= most:
        assert pieces == (text,)
    for piece in pieces:
        assert limit.size(piece) <= most or len(piece) == 1
    assert len(pieces) == 1 or all(piece.strip() for piece in pieces)


def test_a_character_of_several_points_stays_whole() -> None:
    assert split_text("abcde\u0301fgh", Limit(most=5, unit="characters")) == ("abcd", "e\u0301fgh")
    assert split_text("abc👩\u200d🔬def", Limit(most=5, unit="characters")) == ("abc", "👩\u200d🔬de", "f")


def test_a_long_text_costs_what_it_is_long() -> None:
    counted: list[int] = []

    def count(texts: Sequence[str]) -> list[int]:
        counted.extend(len(text) for text in texts)
        return count_tokens(texts)

    text = "some words without an end " * 4000
    pieces = split_text(text, Limit(most=100, unit="tokens", count_tokens=count))
    assert len(pieces) > 200
    assert sum(counted) < 40 * len(text)


def test_policies() -> None:
    limit = Limit(most=10, unit="characters")
    text = "one two three four"
    assert LENGTH_POLICIES["drop"](text, limit) == ()
    assert LENGTH_POLICIES["cut"](text, limit) == ("one two",)
    assert LENGTH_POLICIES["split"](text, limit) == ("one two", "three four")
    with pytest.raises(DataError, match=r"has a text of 18 characters, wanted at most 10\. Choose `drop`, `cut` or"):
        LENGTH_POLICIES["refuse"](text, limit)
    assert tuple(LENGTH_POLICIES) == ("drop", "cut", "split", "refuse")


def test_tokens_need_a_tokenizer() -> None:
    with pytest.raises(
        DataError, match=r"has a limit in tokens, and there is no tokenizer, wanted words or characters"
    ):
        split_text("text", Limit(most=1, unit="tokens"))
