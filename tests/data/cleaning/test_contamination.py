"""Evaluation items that train gives away: planted ones are found, others are left alone."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.data.cleaning.contamination import screen_contamination
from metier.data.cleaning.evidence import REASONS, SAME
from metier.data.cleaning.given_away import ContaminationSettings, find_contamination
from metier.data.cleaning.grams import GramIndex
from metier.data.cleaning.rows import Row
from metier.data.cleaning.words import hash_words
from metier.errors import ArgumentError


def row(key: int, text: str, split: str = "train") -> Row:
    return Row(key=key, split=split, text=text, answer="a", labelled=True, group=None, source=f"{split}.csv", row=key)


def said(rng: random.Random, count: int) -> list[str]:
    """Words by rank, as in natural text: a few are everywhere."""
    return [f"w{int(20_000 ** rng.random())}" for _ in range(count)]


def edited(words: Sequence[str], share: float, rng: random.Random) -> list[str]:
    """So many words replaced, left out, or followed by another one."""
    changed = list(words)
    for at in sorted(rng.sample(range(len(words)), int(len(words) * share)), reverse=True):
        kind = rng.randrange(3)
        changed[at : at + 1] = [["other"], [], [changed[at], "more"]][kind]
    return changed


def test_planted_items_are_found_and_others_are_clean() -> None:
    """EV-4: verbatim at least 99 %, up to 10 % of the words edited at least 95 %, false alarms at most 0.5 %."""
    rng = random.Random(13)
    items = [said(rng, rng.randrange(4, 120)) for _ in range(900)]
    train = [" ".join(said(rng, rng.randrange(4, 160))) for _ in range(2500)]
    for at in range(150):
        train[at] = " ".join(items[at])
        train[200 + at] = " ".join(edited(items[200 + at], 0.1, rng))
        train[400 + at] = " ".join([*said(rng, 60), *items[400 + at], *said(rng, 60)])
    rows = [row(at, text) for at, text in enumerate([*train, *(" ".join(item) for item in items)])]
    rows = [*rows[:2500], *(row(each.key, each.text, "test") for each in rows[2500:])]
    given = ~find_contamination(rows).clean
    assert given[:150].mean() >= 0.99
    assert given[200:350].mean() >= 0.95
    inside = [at for at in range(400, 550) if len(items[at]) >= 8]
    assert given[inside].mean() >= 0.99
    others = [at for at in range(900) if at % 200 >= 150]
    assert given[others].mean() <= 0.005


def test_what_is_said_of_each_item() -> None:
    item = "my grandmother bought this kettle in march and it began to leak after only nine days of careful use"
    rows = [
        row(1, f"{item.upper()}!"), row(2, f"dear team i write because {item} so please send me another one"),
        row(3, item.replace("nine", "ten")), row(4, "an order that has nothing to do with any of it"),
        row(5, item, "test"), row(6, "short one", "test"), row(7, "Short one.", "train"),
        row(8, "please tell me where the nearest shop is and when it opens", "validation"),
    ]  # fmt: skip
    finding = screen_contamination(rows)
    doubts = {doubt.key: doubt for doubt in finding.doubts}
    assert {key: doubt.reason for key, doubt in doubts.items()} == {
        1: "gives away test: same text", 2: "gives away test: shared runs", 3: "gives away test: nearly the same",
        5: "given away: same text", 6: "given away: same text", 7: "gives away test: same text",
    }  # fmt: skip
    assert doubts[1].detail == "same text, case and punctuation aside, as row 5 of test.csv"
    assert doubts[2].detail == "100% of the item's words lie in runs of 8 shared with row 5 of test.csv"
    assert doubts[5].detail == "same text, case and punctuation aside, as row 1 of train.csv, and 2 more rows"
    assert doubts[5].suggestion is None and doubts[2].suggestion == "drop" and doubts[2].others == (5,)
    assert finding.counts["items"] == 3 and finding.counts["items clean"] == 1
    assert finding.tables["items given away"][0] == {
        "item": "row 5 of test.csv", "verdict": "same text", "words in runs of 8": 1.0, "words in runs of 13": 1.0,
        "jaccard": 1.0, "rows": 3, "row": "row 1 of train.csv",
    }  # fmt: skip
    assert finding.notes[0].startswith("1 of 3 items of test and validation are clean; a score on them alone")
    assert "kettle" not in f"{finding.doubts}{finding.tables}{finding.notes}"


def test_a_supplied_file_is_compared_with_train_alone() -> None:
    text = "one two three four five six seven eight nine ten eleven twelve"
    rows = [row(1, text), row(2, text, "test"), row(3, "something else entirely", "unsplit")]
    finding = screen_contamination(rows, evaluation=[row(9, text), row(10, "other")], name="board.jsonl")
    (doubt,) = finding.doubts
    assert (doubt.key, doubt.reason, doubt.others) == (1, "gives away evaluation: same text", ())
    assert finding.looked_at == 2 and finding.counts["items clean"] == 1
    assert finding.notes[0].startswith("1 of 2 items of board.jsonl are clean")


def test_edits_at_the_limit_are_nearly_the_same() -> None:
    words = [f"w{at}" for at in range(20)]
    copy = [*words[:5], "x", *words[6:14], "y", *words[15:]]
    found = find_contamination([row(1, " ".join(copy)), row(2, " ".join(words), "test")])
    assert REASONS[found.reason[0]] == "nearly the same"
    assert found.likeness[0] == pytest.approx(17 / 25)
    assert found.share[0] == pytest.approx(8 / 20)
    copy[10] = "z"
    assert find_contamination([row(1, " ".join(copy)), row(2, " ".join(words), "test")]).clean.all()


def test_short_items_count_only_as_a_whole() -> None:
    words = ["please", "send", "me", "a", "new", "card", "to", "my", "address"]
    rows = [row(1, " ".join([*words[:5], "x", *words[6:]])), row(2, " ".join(words), "test")]
    assert len(words) == 9 and find_contamination(rows).clean.all()
    assert not find_contamination([row(3, f"hello {' '.join(words)} thanks"), *rows]).clean.any()


def test_the_same_few_words_in_another_order_give_nothing_away() -> None:
    rng = random.Random(4)
    texts = [" ".join(rng.choice("acgt") for _ in range(150)) for _ in range(40)]
    rows = [row(at, text, "test" if at % 2 else "train") for at, text in enumerate(texts)]
    found = find_contamination(rows)
    assert found.likeness.max() > 0.66 and found.clean.all()


def test_a_template_gives_nothing_away() -> None:
    rng = random.Random(1)
    start = "what research or clinical trials are being done at the moment in this country for patients with"
    items = [f"{start} {' '.join(said(rng, 3))} today" for _ in range(60)]
    rows = [row(at, f"{start} {' '.join(said(rng, 3))} today") for at in range(60)]
    rows += [row(100 + at, item, "test") for at, item in enumerate(items)]
    assert find_contamination(rows).clean.all()
    found = find_contamination([*rows, row(300, items[0])])
    assert found.reason[0] == SAME and found.clean[1:].all()


def test_a_number_in_a_template_gives_nothing_away() -> None:
    texts = [f"x{at % 7} dear team where is the red kettle with number {at} that i ordered" for at in range(800)]
    rows = [row(at, text, "test" if at % 4 else "train") for at, text in enumerate(texts)]
    assert find_contamination(rows).clean.all()


def test_runs_that_many_items_share_do_not_count() -> None:
    rng = random.Random(2)
    disclaimer = " ".join(said(rng, 30))
    items = [f"{' '.join(said(rng, 10))} {disclaimer} {' '.join(said(rng, 10))}" for _ in range(15)]
    rows = [row(1, f"{' '.join(said(rng, 80))} {disclaimer}")]
    rows += [row(10 + at, item, "test") for at, item in enumerate(items)]
    assert find_contamination(rows).clean.all()
    few = find_contamination(rows[:8], ContaminationSettings(most_items=10))
    assert not few.clean.any()  # seven items: no template yet


def test_equal_items_share_what_is_found() -> None:
    text = " ".join(f"w{at}" for at in range(30))
    rows = [
        row(1, text),
        *(row(2 + at, text if at % 2 else f"{text}!", "test") for at in range(4)),
        row(9, "x", "test"),
    ]
    found = find_contamination(rows)
    assert found.clean.tolist() == [False] * 4 + [True]
    assert found.rows.tolist() == [1, 1, 1, 1, 0]
    assert len(found.learned_from) == 1


def test_many_rows_of_one_text_stay_few_pairs() -> None:
    text = " ".join(f"w{at}" for at in range(30))
    rows = [*(row(at, text) for at in range(3000)), *(row(5000 + at, text, "test") for at in range(500))]
    found = find_contamination(rows)
    assert found.rows.tolist() == [3000] * 500 and len(found.learned_from) == 3000


@given(
    st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=16), min_size=1, max_size=5),
    st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=16), min_size=1, max_size=5),
)
@settings(max_examples=80, deadline=None)
def test_covered_words_are_those_of_brute_force(items: list[list[str]], texts: list[list[str]]) -> None:
    width = 3
    items = [list(words) for words in dict.fromkeys(map(tuple, items))]
    index = GramIndex.build(hash_words(items), width, most_items=2)

    def grams(words: list[str]) -> list[tuple[str, ...]]:
        return [tuple(words[at : at + width]) for at in range(len(words) - width + 1)]

    having = {gram: sum(gram in grams(item) for item in items) for item in items for gram in grams(item)}
    wanted = {}
    for asked, text in enumerate(texts):
        for number, item in enumerate(items):
            covered = {
                at + offset
                for at, gram in enumerate(grams(item))
                if having[gram] <= 2 and gram in grams(text)
                for offset in range(width)
            }
            if covered:
                wanted[asked, number] = len(covered)
    found = index.overlap(hash_words(texts))
    got = zip(found.asked.tolist(), found.item.tolist(), found.words.tolist(), strict=True)
    assert {(asked, item): words for asked, item, words in got} == wanted


@pytest.mark.parametrize(
    "rows",
    [[], [row(1, "a")], [row(1, "a", "test")], [row(1, ""), row(2, "", "test")], [row(1, "?"), row(2, "!", "test")]],
)
def test_hardly_any_text(rows: list[Row]) -> None:
    finding = screen_contamination(rows)
    assert finding.counts["items"] == sum(each.split == "test" for each in rows)
    assert screen_contamination(rows, evaluation=[]).notes == ("evaluation file has no items to compare with",)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ArgumentError, match="matched_share: is 50, wanted a share from 0 to 1"):
        ContaminationSettings(matched_share=50)
    with pytest.raises(ArgumentError, match="likeness: is 0, wanted a share above 0, at most 1"):
        ContaminationSettings(likeness=0)
    with pytest.raises(ArgumentError, match="most_items: is 0, wanted 1 or more"):
        ContaminationSettings(most_items=0)


def test_texts_of_another_trade_give_nothing_away(real_data: Callable[[str], Path]) -> None:
    """EV-4 on real texts: at most 0.5 % of the items are named where none can be known."""
    with real_data("customer_support/banking77/test.csv").open(encoding="utf-8-sig", newline="") as file:
        items = [row(at, line["text"]) for at, line in enumerate(csv.DictReader(file))]
    with real_data("customer_support/bitext_intents/train.csv").open(encoding="utf-8-sig", newline="") as file:
        texts = [line["utterance"] for line in csv.DictReader(file)]
    with real_data("medical/medquad/train.jsonl").open(encoding="utf-8") as file:
        for line in file:
            content = json.loads(line)
            texts += [content["question"], content["answer"]]
    found = find_contamination([row(at, text) for at, text in enumerate(texts)], evaluation=items)
    assert len(found.clean) == 3080
    assert (~found.clean).mean() <= 0.005
