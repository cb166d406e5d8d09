"""Duplicates within splits: planted ones, brute force, a library, and rows at the edges."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metier.data.cleaning import same_texts
from metier.data.cleaning.near_duplicates import screen_duplicates
from metier.data.cleaning.rows import Doubt, Row
from metier.data.cleaning.same_texts import SameSettings, find_same_texts
from metier.data.cleaning.shingles import WIDER, jaccard, least_in_order, shingles_of
from metier.data.cleaning.words import hash_words, plain_words
from metier.errors import ArgumentError

VOCABULARY = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "bdfgklmnprst"]


def make(texts: Sequence[str], splits: Sequence[str] = (), answers: Sequence[str] = ()) -> list[Row]:
    """Rows with keys that are not their positions."""
    return [
        Row(
            key=2 * at + 1, split=splits[at] if splits else "train", text=text, answer=answers[at] if answers else "a",
            labelled=True, group=None, source="train.csv", row=at + 1,
        )
        for at, text in enumerate(texts)
    ]  # fmt: skip


def said(count: int, rng: random.Random) -> list[str]:
    return [rng.choice(VOCABULARY) for _ in range(count)]


def edited(words: list[str], edits: int, rng: random.Random) -> list[str]:
    changed = list(words)
    for at in rng.sample(range(len(words)), edits):
        changed[at] = rng.choice(VOCABULARY)
    return changed


def reasons(doubts: Sequence[Doubt]) -> dict[int, str]:
    return {doubt.key: doubt.reason for doubt in doubts}


def test_planted_duplicates_are_found_and_nothing_else() -> None:
    """DQ-2: recall of 99 % at a Jaccard index of 0.9 or more, precision of 95 %; clusters count as pairs."""
    rng = random.Random(11)
    texts = [said(rng.randrange(60, 140), rng) for _ in range(1500)]
    pairs = []
    for at in range(500):
        texts[1000 + at] = edited(texts[at], rng.randrange(0, 9), rng)
        pairs.append((at, 1000 + at))
    rows = make([" ".join(words) for words in texts])
    same = find_same_texts(rows)
    shingles = shingles_of(hash_words(texts), 2)
    likeness = jaccard(shingles, shingles, np.array(pairs))
    cluster = same.cluster[same.text]
    together = cluster[:500] == cluster[1000:]
    assert (likeness >= 0.9).sum() > 100
    assert together[likeness >= 0.9].mean() >= 0.99
    assert together[likeness >= 0.8].mean() >= 0.97
    assert (likeness[together] >= 0.8).mean() >= 0.95
    assert len(np.unique(cluster)) == 1500 - together.sum()  # nothing that was not planted
    doubts = reasons(screen_duplicates(rows, same=same).doubts)
    assert set(doubts) == {rows[other].key for (_, other), found in zip(pairs, together, strict=True) if found}


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=14), max_size=12), st.sampled_from([0.5, 0.8]))
@settings(max_examples=60, deadline=None)
def test_pairs_are_those_of_brute_force(texts: list[list[str]], threshold: float) -> None:
    rows = make([" ".join(words) for words in texts])
    same = find_same_texts(rows, SameSettings(threshold=threshold))
    words = hash_words([plain_words(row.text) for row in rows])
    shingles, wide = shingles_of(words, 2), shingles_of(words, 2 + WIDER)
    firsts = sorted({texts.index(words) for words in texts})
    wanted = set()
    for number, one in enumerate(firsts):
        for later, other in enumerate(firsts[number + 1 :], number + 1):
            pair = np.array([[one, other]])
            in_order = jaccard(wide, wide, pair)[0] >= least_in_order(threshold, 2)
            if jaccard(shingles, shingles, pair)[0] >= threshold and in_order:
                wanted.add((number, later))
    found = {(int(one), int(other)) for one, other in same.pairs.tolist()}
    assert found <= wanted  # never a pair that is not alike
    assert len(wanted - found) <= 1  # the sketches may miss one that is just at the threshold


def test_the_library_finds_no_more() -> None:
    rensa = pytest.importorskip("rensa", reason="needs the package rensa")
    rng = random.Random(5)
    texts = [said(80, rng) for _ in range(300)]
    texts += [edited(texts[at], at % 5, rng) for at in range(100)]
    rows = make([" ".join(words) for words in texts])
    found = screen_duplicates(rows)
    library = rensa.RMinHashDeduplicator(threshold=0.8, num_perm=128, use_lsh=True)
    pairs = [[f"{a} {b}" for a, b in zip(["", *words], [*words, ""], strict=True)] for words in texts]
    kept = library.add_pairs((str(at), shingles) for at, shingles in enumerate(pairs))
    theirs = {rows[at].key for at, keep in enumerate(kept) if not keep}
    assert theirs <= set(reasons(found.doubts))
    assert len(found.doubts) == 100


def test_three_kinds_and_the_first_row_stays() -> None:
    long = "the parcel that i ordered for my mother two weeks ago has still not arrived at her house in town"
    rows = make(
        ["Where is my card?", "Where is my card?", "where is my card", long, long.replace("two", "three"), "other"]
    )
    finding = screen_duplicates(rows)
    assert reasons(finding.doubts) == {3: "exact duplicate", 5: "normalised duplicate", 9: "near duplicate"}
    exact, normalised, near = finding.doubts
    assert (exact.detail, exact.others, exact.score) == ("same text as row 1 of train.csv", (1,), 1.0)
    assert normalised.detail == "same text, case and punctuation aside, as row 1 of train.csv"
    assert near.detail == "shares 83% of its runs of words with row 4 of train.csv"
    assert near.score == pytest.approx(19 / 23) and near.others == (7,)
    assert {doubt.suggestion for doubt in finding.doubts} == {"drop"}
    assert finding.counts["clusters"] == 2 and finding.counts["rows in clusters"] == 5
    assert finding.tables["largest clusters"][0]["rows"] == 3
    assert finding.looked_at == 6 and finding.step == "duplicates"
    assert not any("parcel" in str(part) for part in (finding.doubts, finding.tables, finding.notes))


def test_another_answer_is_not_suggested_to_be_dropped() -> None:
    (doubt,) = screen_duplicates(make(["same", "same"], answers=["a", "b"])).doubts
    assert doubt.suggestion is None and doubt.detail.endswith(", with another answer")


def test_each_split_keeps_its_first_row() -> None:
    finding = screen_duplicates(make(["same"] * 5, splits=["train", "test", "train", "test", "validation"]))
    assert reasons(finding.doubts) == {5: "exact duplicate", 7: "exact duplicate"}
    assert finding.doubts[1].others == (3,)
    assert [line["split"] for line in finding.tables["duplicates by split"]] == ["train", "validation", "test"]


def test_the_row_that_stays_where_it_is_stands_for_its_cluster() -> None:
    same = find_same_texts(make(["same", "other", "same", "same"], splits=["train", "train", "validation", "test"]))
    assert same.representative.tolist() == [3, 1]
    assert same.row_cluster.tolist() == [0, 1, 0, 0]


def test_a_row_linked_through_others_says_so() -> None:
    words = [f"w{at}" for at in range(40)]
    middle = list(words)
    far = list(words)
    for at in (3, 13):
        middle[at] = far[at] = f"x{at}"
    for at in (23, 33):
        far[at] = f"x{at}"
    # The first two are alike only through the third.
    rows = make([" ".join(words), " ".join(far), " ".join(middle)])
    finding = screen_duplicates(rows)
    assert reasons(finding.doubts) == {3: "near duplicate, linked", 5: "near duplicate"}
    assert finding.doubts[0].score is None and finding.doubts[0].suggestion is None
    assert finding.doubts[0].detail == "linked through nearly the same texts with row 1 of train.csv"


def test_every_duplicate_names_a_row_that_stays() -> None:
    """A chain in which each text is nearly the next: the second goes, so it is no reason for the third to go."""
    texts = []
    words = [f"w{at}" for at in range(40)]
    for at in range(0, 24, 3):
        words = [*words[:at], "x", *words[at + 1 : at + 2], "y", *words[at + 3 :]]
        texts.append(" ".join(words))
    finding = screen_duplicates(make([texts[at] for at in (0, 1, 2, 3, 4, 5, 6, 7)]))
    gone = {doubt.key for doubt in finding.doubts if doubt.suggestion}
    assert len(gone) > 2 and finding.counts["near duplicate, linked"] > 0
    assert not any(set(doubt.others) & gone for doubt in finding.doubts if doubt.suggestion)


def test_numbers_repeated_in_another_order_are_no_duplicates() -> None:
    """Few different words: as sets of shingles all of these would be the same."""
    rng = random.Random(2)
    rows = make([" ".join(rng.choice("acgt") for _ in range(120)) for _ in range(60)])
    assert not screen_duplicates(rows).doubts
    sequence = rows[0].text.split()
    sequence[50] = "a" if sequence[50] != "a" else "c"
    assert len(screen_duplicates([*rows, *make([" ".join(sequence)])]).doubts) == 1


def test_a_template_around_every_text_counts_for_nothing() -> None:
    rng = random.Random(9)
    before, after = " ".join(said(40, rng)), " ".join(said(20, rng))
    bodies = [" ".join(said(15, rng)) for _ in range(80)]
    finding = screen_duplicates(make([f"{before} {body} {after}" for body in [*bodies, bodies[7]]]))
    assert reasons(finding.doubts) == {161: "exact duplicate"}
    assert "all texts begin with the same 40 words and end with the same 20" in " ".join(finding.notes)


def test_candidates_are_read_again_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(4)
    texts = [said(50, rng) for _ in range(40)]
    rows = make([" ".join(words) for words in [*texts, *(edited(words, 1, rng) for words in texts)]])
    whole = find_same_texts(rows)
    monkeypatch.setattr(same_texts, "MOST_SHINGLES", 300)
    parts = find_same_texts(rows)
    assert (whole.pairs == parts.pairs).all() and (whole.likeness == parts.likeness).all()
    assert len(whole.pairs) == 40


def test_without_near_only_equal_texts_count() -> None:
    text = " ".join(f"w{at}" for at in range(50))
    rows = make([text, f"{text} more", text.upper()])
    finding = screen_duplicates(rows, SameSettings(near=False))
    assert reasons(finding.doubts) == {5: "normalised duplicate"}
    assert finding.notes == (
        "near duplicates were not looked for: only equal texts, and texts equal but for case and punctuation",
    )


@pytest.mark.parametrize("texts", [[], ["one"], ["", ""], ["?", "!", "..."], ["\ud800", "\ud800 "]])
def test_hardly_any_text(texts: list[str]) -> None:
    finding = screen_duplicates(make(texts))
    assert finding.looked_at == len(texts)
    assert len(finding.doubts) == (1 if texts in ([""] * 2, ["\ud800", "\ud800 "]) else 0)


def test_the_same_rows_give_the_same_finding() -> None:
    rng = random.Random(8)
    texts = [said(20, rng) for _ in range(100)]
    rows = make([" ".join(words) for words in [*texts, *(edited(words, 1, rng) for words in texts)]])
    one, other = screen_duplicates(rows), screen_duplicates(rows)
    assert one.doubts == other.doubts and one.tables == other.tables


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"threshold: is 80, wanted a share above 0, at most 1"):
        SameSettings(threshold=80)
    with pytest.raises(ArgumentError, match=r"width: is 0, wanted 1 to 8 words"):
        SameSettings(width=0)


@pytest.mark.slow
def test_near_duplicates_of_banking_questions_are_near(real_data: object) -> None:
    """Every pair found in a real set is at the threshold or above, and the published duplicates are among them."""
    import csv

    path = real_data("customer_support/banking77/train.csv")  # type: ignore[operator]
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = make([row["text"] for row in csv.DictReader(file)])
    same = find_same_texts(rows)
    assert len(rows) == 10_003
    assert (same.likeness >= 0.8).all()
    for one, other in same.pairs[:200].tolist():
        texts = [plain_words(rows[int(same.first[text, 0])].text) for text in (one, other)]
        assert len(set(texts[0]) & set(texts[1])) / len(set(texts[0]) | set(texts[1])) > 0.6
