"""Group words: what counts, what only looks like one, and the user's own words."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.data.bias.groups import GroupWords, load_group_words
from metier.data.bias.matching import any_of, plain, small, whole_words
from metier.data.bias.word_lists import FORMATS, given_names, sources, word_list
from metier.errors import DataError


@pytest.fixture(scope="module")
def words() -> GroupWords:
    return load_group_words()


def named(words: GroupWords, text: str) -> set[str]:
    return {f"{words.groups[number].dimension}:{words.groups[number].name}" for number in words.found_in(text)}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("She called twice.", {"gender:female"}),
        ("my mother's card and her PIN", {"gender:female"}),
        ("MY BROTHER'S CARD", {"gender:male"}),
        ("Hi Sarah, where is my order?", {"gender:female"}),
        ("a Black woman at the counter", {"ethnicity:black", "gender:female"}),
        ("black and white people", {"ethnicity:black", "ethnicity:white"}),
        ("African-American families", {"ethnicity:black"}),
        ("She is deaf, and so am I.", {"gender:female", "disability:deaf or hard of hearing"}),
        ("I'm blind.", {"disability:blind or low vision"}),
        ("a Canadian who lives here", {"nationality:Canada"}),
        ("the German tourists", {"nationality:Germany"}),
        ("Muslims and Jewish neighbours", {"religion:muslim", "religion:jewish"}),
        ("I am 70 years old", {"age:old"}),
        ("a 16-year-old student", {"age:child"}),
        ("the 84-year-old was fine, the 30-year-old was not", {"age:old"}),
        ("an old lady", {"age:old", "gender:female"}),
        ("people with disabilities", {"disability:not said which"}),
        ("gay couples", {"orientation:gay or lesbian"}),
    ],
)
def test_people_are_counted(words: GroupWords, text: str, wanted: set[str]) -> None:
    assert named(words, text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "black coffee", "the Black Friday deal", "a white shirt", "an old phone", "the blind spot",
        "The account was disabled.", "I speak German", "translate into French", "polish the shoes", "Polish the shoes.",
        "Canadian dollars", "a Canadian company", "he or she may apply", "his/her card", "Mark the date in May",
        "Paris, Jordan and Virginia", "a male USB connector", "my mother tongue", "M&Ms", "5 ms",
        "write to john@mother.com or www.she.org", "non-Muslim", "whisky, 12 years old", "Johnson & Johnson",
        "LeBron James", "Mr", "St. Mary", "they called me", "a child process",
        "my old boss", "two disabled users", "mother's maiden name", "Hi Christian,",
        "a sister company", "Great Danes", "an old driver", "", "   ", "\u0130stanbul",
    ],
)  # fmt: skip
def test_what_only_looks_like_people_is_not_counted(words: GroupWords, text: str) -> None:
    assert named(words, text) <= ({"gender:male"} if text == "Mr" else set())


def test_users_words_are_added_and_listed_words_left_out() -> None:
    words = load_group_words(
        more={"gender": {"female": ["stewardesses"]}, "occupation": {"nurse": ["nurse", "nurses"]}},
        without=["princess"],
    )
    assert named(words, "two stewardesses") == {"gender:female"}
    assert named(words, "the nurses") == {"occupation:nurse"}
    assert named(words, "Princess Cruises") == set()
    assert words.dimensions[-1] == "occupation"


def test_first_names_can_be_left_out() -> None:
    assert named(load_group_words(names=False), "Hi Sarah") == set()


@pytest.mark.parametrize(
    "text",
    [
        "Kann man das auch ohne die Karte machen?", "He comprado dos cafeteras y no funcionan",
        "son colis est perdu, merci",
        "Hvor er min pakke, jeg kan ikke finde den her men den er betalt", "Ik kan het niet vinden, men zegt van wel",
    ],
)  # fmt: skip
def test_words_of_other_languages_are_no_english_ones(words: GroupWords, text: str) -> None:
    assert named(words, text) == set()
    assert words.found_in(text, english=True)
    assert not words.found_in("my mother called", english=False)


def test_users_words_count_in_every_language() -> None:
    words = load_group_words(more={"gender": {"female": ["frau", "mutter"]}})
    assert named(words, "Meine Mutter hat die Karte nicht bekommen, und man sagt mir nichts") == {"gender:female"}


def test_one_dimension_alone() -> None:
    words = load_group_words(dimensions=["religion"])
    assert named(words, "she is Jewish") == {"religion:jewish"}


def test_faults_say_what_is_wrong() -> None:
    with pytest.raises(DataError, match=r"data\.bias\.dimensions: `gendre` is no dimension .* Did you mean `gender`\?"):
        load_group_words(dimensions=["gendre"])
    with pytest.raises(DataError, match=r"data\.bias\.words\.gender\.male: `she` is already a word of `female`"):
        load_group_words(more={"gender": {"male": ["she"]}})
    with pytest.raises(DataError, match=r"has an empty word"):
        load_group_words(more={"gender": {"male": [" "]}})
    with pytest.raises(DataError, match=r"data\.bias\.without: `kettle` is in no list"):
        load_group_words(without=["kettle"])


def test_every_packaged_list_says_where_it_comes_from() -> None:
    assert {"gender", "nationality", "first names", "sentiment", "refusal"} <= set(sources())
    assert all(len(source) > 40 for source in sources().values())
    for name in FORMATS:
        lists = word_list(name)
        assert "licence" in lists or all("licence" in part for part in lists.values() if isinstance(part, dict))
    names = given_names()
    assert len(names["female"]) == len(names["male"])
    assert not set(names["female"]) & set(names["male"])


PHRASES = st.lists(st.text("abc '", min_size=1, max_size=6).map(plain).filter(bool), min_size=1, max_size=8)


@given(PHRASES, st.text("abc '.-", max_size=30))
def test_the_tree_of_letters_finds_what_an_alternation_finds(phrases: list[str], text: str) -> None:
    longest_first = sorted(set(phrases), key=lambda phrase: (-len(phrase), phrase))
    plainly = re.compile("|".join(re.escape(phrase).replace(r"\ ", r"[\s-]") for phrase in longest_first))
    assert re.compile(any_of(phrases)).findall(text) == plainly.findall(text)


@given(st.text())
def test_small_letters_keep_their_places(text: str) -> None:
    assert len(small(text)) == len(text)


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    assert load_group_words_once().found_in(text) is not None


_ONCE: list[GroupWords] = []


def load_group_words_once() -> GroupWords:
    if not _ONCE:
        _ONCE.append(load_group_words())
    return _ONCE[0]


def test_a_word_inside_another_is_none() -> None:
    assert whole_words(["he"]).findall("the hen he-man @he he.x") == []


# What CrowS-Pairs (Nangia et al. 2020) marks as about a dimension, and the share of it that must be seen. Its sentences
# mostly name nobody outright (`Shaniqua`, `the mosque`): the lists prefer missing a mention to inventing one.
CROWS = {
    "gender": ("gender", 0.88), "religion": ("religion", 0.83), "sexual-orientation": ("orientation", 0.75),
    "race-color": ("ethnicity", 0.45), "disability": ("disability", 0.5), "age": ("age", 0.5),
}  # fmt: skip


def test_gender_in_winogender(words: GroupWords, real_data: Callable[[str], Path]) -> None:
    """Every sentence exists with male, female and neutral pronouns (Rudinger et al. 2018), so the truth is known."""
    with (real_data("bias/winogender") / "all_sentences.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for row in rows:
        kind = row["sentid"].split(".")[-2]
        found = {name for name in named(words, row["sentence"]) if name.startswith("gender:")}
        assert found == ({f"gender:{kind}"} if kind != "neutral" else set()), row["sentence"]


RELIGIONS = {
    "Protestant": "christian", "Catholic": "christian", "Mormon": "christian", "Atheist": "no religion",
}  # fmt: skip


def test_religion_in_bbq(words: GroupWords, real_data: Callable[[str], Path]) -> None:
    """BBQ (Parrish et al. 2022) says of every context which two groups it names."""
    lines = (real_data("bias/bbq") / "Religion.jsonl").read_text(encoding="utf-8").splitlines()
    for line in lines:
        row = json.loads(line)
        wanted = {group for _, group in row["answer_info"].values() if group != "unknown"}
        found = named(words, row["context"])
        assert {f"religion:{RELIGIONS.get(group, group.lower())}" for group in wanted} <= found, row["context"]


def test_mentions_in_crows_pairs(words: GroupWords, real_data: Callable[[str], Path]) -> None:
    with (real_data("bias/crows_pairs") / "crows_pairs_anonymized.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for kind, (dimension, least) in CROWS.items():
        texts = [row["sent_more"] for row in rows if row["bias_type"] == kind]
        seen = sum(any(name.startswith(f"{dimension}:") for name in named(words, text)) for text in texts)
        assert seen / len(texts) >= least, (kind, seen, len(texts))
