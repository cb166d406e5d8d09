from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.data.cleaning.measured import DUPLICATED, TOP, Measured
from metier.data.cleaning.quality import QUALITY_RULES, QualitySettings, screen_quality
from metier.data.cleaning.repetition import DUPLICATED_RUNS, TOP_RUN
from metier.data.cleaning.rows import Row

VOCABULARY = [f"word{'abcdefghij'[at % 10]}{'klmnopqrst'[at // 10 % 10]}{'uvwxyz'[at // 100]}" for at in range(600)]


def prose(words: int, seed: int = 0, *, per_line: int = 12) -> str:
    """Lines of different words, with the stop words of English and full stops."""
    chosen = random.Random(seed).sample(VOCABULARY, words)
    chosen[::7] = ["the"] * len(chosen[::7])
    chosen[3::7] = ["and"] * len(chosen[3::7])
    lines = [" ".join(chosen[at : at + per_line]) + "." for at in range(0, words, per_line)]
    return "\n".join(lines)


def rows_of(texts: Sequence[str]) -> list[Row]:
    return [
        Row(key=key, split="train", text=text, answer="", labelled=True, group=None, source="a.csv", row=key + 1)
        for key, text in enumerate(texts)
    ]


def quality_flags(text: str, rules: tuple[str, ...] = tuple(QUALITY_RULES)) -> tuple[str, ...]:
    """Names of the rules that one text breaks, as a document."""
    found = screen_quality(rows_of([text]), QualitySettings(rules=rules, documents=True))
    return tuple(doubt.reason for doubt in found.doubts)


def test_prose_breaks_no_rule() -> None:
    assert quality_flags(prose(120)) == ()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (prose(49), "gopher_too_few_words"),
        ("the and " + "ab " * 100_000, "gopher_too_many_words"),
        ("the and of to a b c d e f g h", "gopher_word_length"),
        ("internationalisation " * 11, "gopher_word_length"),
        (prose(60) + " #tag" * 7, "gopher_hash_ratio"),
        (prose(60) + " so..." * 7, "gopher_ellipsis_ratio"),
        (prose(60) + " so…" * 7, "gopher_ellipsis_ratio"),
        ("\n".join(f"- item {line}" for line in prose(60).split("\n")), "gopher_bullet_lines"),
        (prose(60).replace(".\n", "...\n"), "gopher_ellipsis_lines"),
        (prose(60) + " 12" * 20, "gopher_words_without_letters"),
        (prose(60).replace("the", "le").replace("and", "et"), "gopher_few_stop_words"),
        (prose(60) + "\none and the same line.\n" * 4, "gopher_duplicate_lines"),
        ("\n\n".join([prose(30), "the same.", "the same.", "the same."]), "gopher_duplicate_paragraphs"),
        ("\n".join([prose(30, per_line=30)] * 2 + ["some line."]), "gopher_duplicate_line_characters"),
        ("\n\n".join([prose(30)] * 2 + ["other"]), "gopher_duplicate_paragraph_characters"),
        (prose(60) + " red house" * 20, "gopher_top_2_gram"),
        (prose(60) + " a red house" * 15, "gopher_top_3_gram"),
        (prose(60) + " in a red house" * 10, "gopher_top_4_gram"),
        (prose(30) + "\n" + prose(30), "gopher_duplicate_5_grams"),
        (prose(30) + "\n" + prose(30), "gopher_duplicate_10_grams"),
        (prose(60) + " Lorem ipsum dolor.", "c4_lorem_ipsum"),
        (prose(60) + " {x}.", "c4_curly_bracket"),
        (prose(60) + " Please enable JavaScript.", "c4_javascript"),
        (prose(60) + " See our Privacy Policy.", "c4_policy"),
        (prose(60, per_line=40), "c4_few_sentences"),
    ],
)
def test_a_text_breaks_the_rule_made_for_it(text: str, rule: str) -> None:
    assert quality_flags(text, (rule,)) == (rule,)


@pytest.mark.parametrize(
    "text",
    ["", "thanks", "ok ok ok ok ok ok", "# # # #", "...", "- one\n- two", "12 12 12", "{}", "a a a a a a a a a a"],
)
def test_rules_that_say_nothing_about_short_texts_are_not_applied(text: str) -> None:
    short = set(quality_flags(text)) - {"gopher_too_few_words", "c4_few_sentences", "c4_curly_bracket"}
    assert short - {"gopher_word_length"} == set()


def test_thresholds_are_those_of_the_paper() -> None:
    # Table A1 of arXiv 2112.11446.
    assert TOP_RUN == {2: 0.20, 3: 0.18, 4: 0.16}
    assert DUPLICATED_RUNS == {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
    assert (tuple(TOP_RUN), tuple(DUPLICATED_RUNS)) == (TOP, DUPLICATED)
    assert sum(name.startswith("gopher_") for name in QUALITY_RULES) == 9 + 13
    assert all(rule.source.startswith("arXiv ") and rule.says for rule in QUALITY_RULES.values())


@given(st.lists(st.sampled_from(["a", "bb", "ccc", "dddd"]), min_size=2, max_size=40))
def test_shares_of_runs_are_what_counting_by_hand_gives(words: list[str]) -> None:
    text = Measured(" ".join(words))
    total = sum(map(len, words))
    for length in TOP:
        runs = Counter(tuple(words[at : at + length]) for at in range(len(words) - length + 1))
        most = max(runs.values(), default=0)
        top = max((sum(map(len, run)) for run, count in runs.items() if count == most), default=0)
        wanted = min(1.0, most * top / total) if most > 1 else 0.0
        assert text.run_shares[length] == pytest.approx(wanted)
    for length in DUPLICATED:
        covered = {
            at + inside
            for at in range(len(words) - length + 1)
            if any(words[before : before + length] == words[at : at + length] for before in range(at))
            for inside in range(length)
        }
        assert text.run_shares[length] == pytest.approx(sum(len(words[at]) for at in covered) / total)


def test_the_screen_counts_rows_by_rule() -> None:
    texts = [prose(60, seed) for seed in range(8)] + [prose(60) + " lorem ipsum.", prose(30) + "\n" + prose(30)]
    finding = screen_quality(rows_of(texts))
    assert finding.looked_at == 10
    assert {doubt.key for doubt in finding.doubts} == {8, 9}
    assert [doubt.reason for doubt in finding.doubts if doubt.key == 8] == ["c4_lorem_ipsum"]
    assert finding.doubts[-1].detail.startswith("more than 10 % of its characters are in runs of 10 words")
    assert finding.counts["rows flagged"] == 2
    table = {cells["rule"]: cells for cells in finding.tables["quality"]}
    assert table["c4_lorem_ipsum"]["flagged"] == 1
    assert table["c4_lorem_ipsum"]["share"] == 0.1
    assert table["gopher_top_2_gram"]["applied to"] == 10
    assert set(table) == set(QUALITY_RULES)
    assert not any("word" + "ak" in note for note in finding.notes)


def test_rules_about_documents_are_not_applied_to_messages() -> None:
    finding = screen_quality(rows_of(["where is my parcel", "I want {order} back", prose(60)]))
    assert finding.doubts == ()
    assert "rules about documents were not applied (gopher_too_few_words, c4_curly_bracket" in finding.notes[0]
    assert "gopher_too_few_words" not in {cells["rule"] for cells in finding.tables["quality"]}
    finding = screen_quality(rows_of(["where is my parcel"]), QualitySettings(documents=True))
    assert [doubt.reason for doubt in finding.doubts] == ["gopher_too_few_words", "c4_few_sentences"]
    applied = {cells["rule"]: (cells["applied to"], cells["not applied to"], cells["share"])
               for cells in finding.tables["quality"]}  # fmt: skip
    assert applied["gopher_top_2_gram"] == (0, 1, None)
    assert "rules were not applied to texts too short for them" in finding.notes[0]


def test_english_rules_are_left_out_for_other_languages() -> None:
    foreign = prose(60).replace("the", "le").replace("and", "et")
    assert "gopher_few_stop_words" in {doubt.reason for doubt in screen_quality(rows_of([foreign])).doubts}
    finding = screen_quality(rows_of([foreign]), QualitySettings(english=False))
    assert finding.doubts == ()
    assert "rules that know English only were not applied: gopher_few_stop_words" in finding.notes


def test_only_the_rules_that_are_wanted_are_applied() -> None:
    finding = screen_quality(rows_of([prose(60) + " {}"]), QualitySettings(rules=("c4_curly_bracket",)))
    assert [doubt.reason for doubt in finding.doubts] == ["c4_curly_bracket"]


def test_written_answers_are_looked_at_where_wanted() -> None:
    asked = rows_of(["a label"])
    asked += [
        Row(key=1, split="train", text="?", answer=prose(60) + " lorem ipsum.", labelled=False, group=None,
            source="a.csv", row=2),
    ]  # fmt: skip
    finding = screen_quality(asked, QualitySettings(part="answer"))
    assert (finding.looked_at, [(doubt.key, doubt.reason) for doubt in finding.doubts]) == (1, [(1, "c4_lorem_ipsum")])


def test_no_rows() -> None:
    assert screen_quality([]).looked_at == 0


def test_edited_articles_break_few_rules(real_data: Callable[[str], Path]) -> None:
    lines = real_data("medical/medical_abstracts/train.csv").read_text(encoding="utf-8").splitlines()[1:]
    finding = screen_quality(rows_of([line.split(",", 1)[1].strip('"') for line in lines if "," in line]))
    flagged = {str(cells["rule"]): int(str(cells["flagged"])) for cells in finding.tables["quality"]}
    for rule, rows in flagged.items():
        if rule.startswith(("gopher_duplicate", "gopher_top", "gopher_few_stop")):
            assert rows <= 0.01 * finding.looked_at, rule


def test_of_very_many_doubts_the_rest_is_counted() -> None:
    rows = rows_of(["lorem ipsum dolor sit amet"] * 9)
    finding = screen_quality(rows, QualitySettings(rules=("c4_lorem_ipsum",), most_doubts=5))
    assert [doubt.key for doubt in finding.doubts] == [0, 1, 2, 3, 4]
    assert finding.counts == {"c4_lorem_ipsum": 9, "rows flagged": 9}
    assert "4 doubts beyond the first 5 only counted" in finding.notes
