"""Counterfactual copies: grammar, case, ways back, and what is left out."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.data.bias.counterfactuals import BOUND, LABEL_NAMES_GROUP, PARTIAL, QUOTED, SwappedParts, Swapper
from metier.data.bias.swaps import Swap, packaged_swaps, swapped
from metier.errors import DataError

SWAPS = packaged_swaps()
GENDER = SWAPS["gender"][0]


def swapped_by(swapper: Swapper, text: str, turn: int = 0) -> tuple[list[SwappedParts], dict[str, str]]:
    return swapper.swap_parts([text], turn=turn)


def swap_between(dimension: str, one: str, other: str) -> Swap:
    return next(swap for swap in SWAPS[dimension] if set(swap.groups) == {one, other})


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Mary lost her keys and told him about her.", "James lost his keys and told her about him."),
        ("He gave her his book; it was hers.", "She gave him her book; it was his."),
        ("The book is his.", "The book is hers."),
        ("A friend of his has called her back.", "A friend of hers has called him back."),
        ("HE IS MY FATHER", "SHE IS MY MOTHER"),
        ("My mother-in-law, an actress", "My father-in-law, an actor"),
        ("She's an heiress and he’ll be an heir", "He's an heir and she’ll be an heiress"),
        ("Dear Mr. Smith, dear madam", "Dear Ms. Smith, dear sir"),
        ("the women's and the boy's room", "the men's and the girl's room"),
        ("Is she herself? No: her sister is.", "Is he himself? No: his brother is."),
        ("Uncle John and I", "Aunt Jennifer and I"),
    ],
)
def test_gender(text: str, wanted: str) -> None:
    assert swapped(text, GENDER).text == wanted
    assert swapped(wanted, GENDER).text == text


@pytest.mark.parametrize(
    "text",
    ["he or she may apply", "Mark the date", "LeBron James", "john@mary.com", "they", "St. Mary hospital", "", "M&Ms"],
)
def test_nothing_to_swap(text: str) -> None:
    found = swapped(text, GENDER)
    assert (found.text, found.words) == (text, 0)


@pytest.mark.parametrize(
    ("dimension", "pair", "text", "wanted"),
    [
        ("religion", ("Christian", "Jewish"), "a Christian who knows Jews", "a Jew who knows Christians"),
        ("religion", ("Christian", "Jewish"), "a Christian family", "a Jewish family"),
        ("religion", ("Muslim", "Jewish"), "Islam and Judaism", "Judaism and Islam"),
        ("ethnicity", ("white", "Asian"), "An Asian man met a white woman", "A white man met an Asian woman"),
        ("ethnicity", ("black", "white"), "a black woman with black coffee", "a white woman with black coffee"),
        ("nationality", ("American", "Mexican"), "An American tourist", "A Mexican tourist"),
        (
            "nationality",
            ("Mexican", "Indian"),
            "A MEXICAN TOURIST AND AN INDIAN GUEST",
            "AN INDIAN TOURIST AND A MEXICAN GUEST",
        ),
        ("nationality", ("Canadian", "Indian"), "Canadians pay in Canadian dollars", "Indians pay in Canadian dollars"),
        ("age", ("young", "old"), "an old man with an old car", "a young man with an old car"),
        ("sight", ("blind", "sighted"), "a blind woman on a blind date", "a sighted woman on a blind date"),
        ("names by ethnicity", ("white", "black"), "Emily and Jamal called", "Lakisha and Brad called"),
    ],
)
def test_other_groups(dimension: str, pair: tuple[str, str], text: str, wanted: str) -> None:
    swap = swap_between(dimension, *pair)
    if dimension == "names by ethnicity":
        assert swapped(swapped(text, swap).text, swap).text == text
        assert swapped("Emily called", swap).text == "Keisha called" or swapped("Emily called", swap).words == 1
    else:
        assert swapped(text, swap).text == wanted


def test_winogender_sentences_are_swapped_as_their_authors_wrote_them(real_data: Callable[[str], Path]) -> None:
    """Rudinger et al. 2018 wrote every sentence with male and with female pronouns: 240 of each."""
    with (real_data("bias/winogender") / "all_sentences.tsv").open(encoding="utf-8") as file:
        by_id = {row["sentid"]: row["sentence"] for row in csv.DictReader(file, delimiter="\t")}
    women = [name for name in by_id if ".female." in name]
    assert len(women) == 240
    for name in women:
        man = by_id[name.replace(".female.", ".male.")]
        assert swapped(by_id[name], GENDER).text == man
        assert swapped(man, GENDER).text == by_id[name]


def test_copies_say_what_they_are() -> None:
    made, _ = swapped_by(Swapper(("refund", "other"), partners=2), "A Muslim man asked for his money")
    assert [(copy.dimension, copy.parts) for copy in made] == [
        ("gender", ("A Muslim woman asked for her money",)),
        ("religion", ("A Christian man asked for his money",)),
        ("religion", ("A Jewish man asked for his money",)),
    ]
    assert all(copy.reversible for copy in made)
    assert (made[0].swap, made[0].words) == ("gender: male and female", 2)
    second, _ = swapped_by(Swapper(), "Mrs Jones called")
    assert [(copy.parts, copy.reversible) for copy in second] == [(("Mr Jones called",), False)]


def test_partners_go_around() -> None:
    swapper = Swapper(dimensions=["religion"], partners=1)
    assert len({swapped_by(swapper, "a Muslim neighbour", turn)[0][0].parts for turn in range(8)}) == 4


def test_written_answers_are_swapped_along() -> None:
    parts = ["Where is my wife's parcel?", "Tell her that it is on its way to her office."]
    (copy,), _ = Swapper().swap_parts(parts, answers=1)
    assert copy.parts == ("Where is my husband's parcel?", "Tell him that it is on its way to his office.")
    assert copy.reversible
    assert Swapper().swap_parts(["Where is it?", "She has it."], answers=1) == ([], {})


@pytest.mark.parametrize(
    ("text", "reason"),
    [('What does "her" mean?', QUOTED), ("She is pregnant", BOUND), ("He needs a prostate exam", BOUND)],
)
def test_what_a_swap_would_change_is_left_out(text: str, reason: str) -> None:
    assert swapped_by(Swapper(dimensions=["gender"]), text) == ([], {"gender": reason})


@pytest.mark.parametrize(
    ("dimension", "text"),
    [
        ("orientation", "a straight and a gay couple"),
        ("ethnicity", "a black woman with black coffee"),
        ("nationality", "Canadians pay in Canadian dollars"),
        ("gender", "James told LeBron James"),
    ],
)
def test_no_copy_is_swapped_in_part(dimension: str, text: str) -> None:
    assert swapped_by(Swapper(dimensions=[dimension]), text) == ([], {dimension: PARTIAL})


def test_a_name_after_a_full_stop_is_a_first_name() -> None:
    assert swapped("More than Mary. Mary has five.", GENDER).text == "More than James. James has five."
    assert swapped("Mr. James", GENDER).text == "Ms. James"


@pytest.mark.parametrize("label", ["womens_clothing", "WomensClothing", "for women", "female", "Mother's Day"])
def test_labels_that_name_a_group(label: str) -> None:
    swapper = Swapper((label, "other"))
    assert swapped_by(swapper, "a gift for my wife") == ([], {"gender": LABEL_NAMES_GROUP})
    assert swapped_by(swapper, "a Muslim family")[0]
    assert swapper.refused.keys() == {"gender"}


def test_turns_of_a_conversation_are_swapped_one_by_one() -> None:
    parts = ["You help shoppers.", "My wife lost her card.", "Did she block it?", "She did. Was it hers?"]
    (found,), left_out = Swapper(dimensions=["gender"]).swap_parts(parts, answers=1)
    assert found.parts == (
        "You help shoppers.", "My husband lost his card.", "Did he block it?", "He did. Was it his?",
    )  # fmt: skip
    assert (found.words, found.reversible, left_out) == (5, True, {})


def test_other_languages_are_left_alone() -> None:
    assert swapped_by(Swapper(), "Kann man das auch ohne die Karte machen?") == ([], {})


def test_unknown_dimension() -> None:
    with pytest.raises(
        DataError, match=r"data\.bias\.counterfactuals: `gendr` cannot be swapped.*Did you mean `gender`\?"
    ):
        Swapper(dimensions=["gendr"])


def test_a_tagger_decides_where_there_is_one() -> None:
    text = "I gave her flowers"
    (ruled,), _ = swapped_by(Swapper(dimensions=["gender"]), text)
    (tagged,), _ = swapped_by(Swapper(dimensions=["gender"], tagger=lambda text: {7: "PRP"}), text)
    assert (ruled.parts, tagged.parts) == (("I gave his flowers",), ("I gave him flowers",))


SINGLE = sorted(word for word, target in GENDER.targets.items() if target.written and not target.name and word not in (
    "mum", "mums", "mummy", "mrs", "ma'am", "granny", "granddad", "auntie"))  # fmt: skip
FILLER = ("the", "parcel", "came", "to", "a", "shop", ",", ".", "and", "late", "is", "here")


@given(
    st.lists(st.sampled_from([*SINGLE, *FILLER]), max_size=12), st.sampled_from([str.lower, str.upper, str.capitalize])
)
def test_the_way_back_is_exact_for_words_with_a_partner(words: list[str], case: Callable[[str], str]) -> None:
    text = " ".join(case(word) for word in words)
    assert swapped(swapped(text, GENDER).text, GENDER).text == text


@given(st.text(max_size=120))
def test_any_text_can_be_swapped(text: str) -> None:
    for swaps in SWAPS.values():
        found = swapped(text, swaps[0])
        assert found.words > 0 or found.text == text
