"""Names by lists, titles and neighbours; without a model."""

from __future__ import annotations

import time

import pytest

from metier.data.privacy.name_cues import cued_names, names_beside, names_in_small_letters
from metier.data.privacy.names import listed_names, name_lists, repeated_names
from metier.data.privacy.spans import Span
from metier.data.privacy.street_addresses import street_addresses

WORDS = frozenset({
    "the", "in", "my", "is", "and", "called", "name", "doctor", "was", "with", "he", "she", "met", "good", "morning",
    "a", "of", "to", "are", "on", "late", "i",
})  # fmt: skip


def is_word(word: str) -> bool:
    return word in WORDS


def listed(text: str) -> list[str]:
    return [text[span.start : span.end] for span in listed_names(text, is_word)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("I met Johanna Schmidt in the park.", ["Johanna Schmidt"]),
        ("Dr. Fanucci was late", ["Fanucci"]),
        ("Mrs. B. Yudina and Mr Smith", ["B. Yudina", "Smith"]),
        ("Johanna van Beethoven", ["Johanna van Beethoven"]),
        ("called Christina.", ["Christina"]),
        ("Christina's parcel", ["Christina"]),
        ("Smith Street and Johnson Inc are on the list", []),
        ("In May we will be late", []),
        ("Good Morning", []),
        ("my parcel is late", []),
    ],
)
def test_names_by_lists_and_titles(text: str, names: list[str]) -> None:
    assert listed(text) == names


def test_a_name_that_is_also_a_place_gives_way_to_the_model() -> None:
    (span,) = listed_names("she was in Florence", is_word)
    assert span.score < 0.85


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("My name is Csanád Gere.", ["Csanád Gere"]),
        ("Name: Irenke Sörös", ["Irenke Sörös"]),
        ("people call me višeslav", ["višeslav"]),
        ("my name is on the list", []),
        ("Hi Doctor", []),
        ("Zarina said that", ["Zarina"]),
        ("He said that", []),
    ],
)
def test_names_where_one_is_expected(text: str, names: list[str]) -> None:
    assert [text[span.start : span.end] for span in cued_names(text, is_word)] == names


def test_a_list_of_names_names_them_all() -> None:
    text = "They had three: Efimiya, Christina and Hleb."
    found = [Span(25, 34, "PERSON", 0.9)]
    assert [text[span.start : span.end] for span in names_beside(text, found, is_word)] == [
        "Efimiya",
        "Christina",
        "Hleb",
    ]
    assert list(names_beside(text, [], is_word)) == []


def test_small_letters_count_for_what_is_only_a_name() -> None:
    assert [span.start for span in names_in_small_letters("hi frederikke, will may rose", is_word)] == [3]


def test_a_name_is_found_again_in_the_answer() -> None:
    parts = ["I am Irenke Sörös.", "Dear Sörös, thank you. Irenke S."]
    again = repeated_names(parts, [[Span(5, 17, "PERSON", 0.9)], []], is_word)
    assert [parts[1][span.start : span.end] for span in again[1]] == ["Sörös", "Irenke"]


def test_the_lists_know_what_they_are_asked() -> None:
    lists = name_lists()
    assert lists.gender("Maria") == "f"
    assert lists.gender("JOHN") == "m"
    assert "l" in lists.uses["schmidt"]
    assert lists.is_word("will")
    assert not lists.is_only_a_name("Paris")
    assert min(len(lists.frequent(use)) for use in "mfl") >= 90
    assert all(name.isalpha() for use in "mfl" for name in lists.frequent(use))


@pytest.mark.parametrize(
    "unit", ["1 A ", "Maria ", "Maria, ", "Dr. ", "name is ", "A. ", "12 Oak ", "Box 1 ", "van ", "address of "]
)
def test_no_text_takes_long(unit: str) -> None:
    text = unit * 5000
    started = time.process_time()
    found = [*listed_names(text, is_word), *cued_names(text, is_word), *street_addresses(text)]
    list(names_beside(text, found, is_word))
    repeated_names([text], [found], is_word)
    assert time.process_time() - started < 4.0  # linear: well below a second
