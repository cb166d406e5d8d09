"""Baselines of label sets and of pieces: planted patterns are found, choices are made on validation."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from metier.data.label_lists import label_set, set_text
from metier.data.records import Input, Labelling, Marked, Message
from metier.data.text_spans import Span, pieces_text
from metier.errors import DataError
from metier.evaluation.answering.label_sets import MajoritySets, TfidfSets
from metier.evaluation.answering.set_rules import SetRule, choose_set_rule, indicators, sets_of
from metier.evaluation.answering.span_baselines import (
    DictionarySystem,
    TaggerSystem,
    bio_tags,
    spans_of_tags,
    words_of,
)
from metier.evaluation.systems import AnswerOptions
from metier.model.set_head import choose_set_head, fit_set_head, label_chances, set_loss, set_scores

WORDS = {"billing": "invoice", "late": "waiting", "rude": "shouted"}
NAMES = ("Ada Lovelace", "Bob", "Carl Orff", "Dora", "Emil Nolde", "Frida")


def _labelling(number: int, text: str, labels: Sequence[str]) -> Labelling:
    turns = (Message(role="user", content=text), Message(role="assistant", content=set_text(labels)))
    return Labelling(id=str(number), text=text, messages=turns, source="t", row=number)


def _letters(count: int, seed: int = 1, empty: bool = True) -> list[Labelling]:
    """Texts in which each label has its own word; some have no label."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        labels = [label for label in WORDS if rng.random() < 0.4] or ([] if empty else ["late"])
        words = [WORDS[label] for label in labels] + rng.choices(["the", "shop", "order", "please"], k=4)
        rng.shuffle(words)
        rows.append(_labelling(number, " ".join(words), labels))
    return rows


def _marked(number: int, name: str, town: str, seed: int) -> Marked:
    rng = random.Random(seed * 1000 + number)
    text = rng.choice((f"yesterday {name} went to {town} by train", f"in {town} we met {name} again"))
    spans = [Span(text.index(word), text.index(word) + len(word), label) for word, label in ((name, "P"), (town, "T"))]
    turns = (Message(role="user", content=text), Message(role="assistant", content=pieces_text(text, spans)))
    return Marked(id=str(number), text=text, messages=turns, source="t", row=number)


def _said(system: Any, texts: Sequence[str]) -> list[str]:
    inputs = [Input(id=str(n), text=text) for n, text in enumerate(texts)]
    return [answer.label or answer.text or "" for answer in system.answer(inputs, AnswerOptions(batch_size=2))]


def test_n_grams_learn_a_label_by_its_word() -> None:
    system = TfidfSets(_letters(120), _letters(60, 2), tuple(WORDS), "macro_f1")
    assert _said(system, ["the invoice please", "waiting and shouted", "the shop"]) == [
        '["billing"]', '["late", "rude"]', "[]",
    ]  # fmt: skip
    (answer,) = system.answer([Input(id="0", text="invoice")], AnswerOptions())
    assert answer.label_logprobs is None  # they would not add up to one: nothing is calibrated on them
    assert "C=" in next(iter(system.settings["tried"])) and system.parameters


def test_a_label_that_all_have_and_one_that_none_has() -> None:
    train = [_labelling(n, f"text {n % 3}", ["all"]) for n in range(12)]
    system = TfidfSets(train, train, ("all", "none"), "micro_f1")
    assert _said(system, ["text"]) == ['["all"]']


def test_where_every_record_has_a_label_every_answer_has_one() -> None:
    system = TfidfSets(_letters(80, empty=False), [], tuple(WORDS), "macro_f1")
    assert all(label_set(said) for said in _said(system, ["nothing known here", "of"]))
    assert system.rule == SetRule(threshold=0.5, never_none=True)


def test_texts_without_words_are_refused() -> None:
    with pytest.raises(DataError, match=r"train: no text has a word, wanted texts with words\. Leave `tfidf` out"):
        TfidfSets([_labelling(0, "…", ["a"])], [], ("a",), "macro_f1")


def test_the_best_constant_answer_depends_on_the_metric() -> None:
    train = [_labelling(n, "x", labels) for n, labels in enumerate([["a"]] * 4 + [["a", "b"]] * 3 + [["c"]] * 2)]
    assert MajoritySets(train, train, "exact_match").label == '["a"]'
    assert MajoritySets(train, train, "macro_f1").label == '["a", "b", "c"]'
    assert MajoritySets(train, [], "macro_f1").label == '["a"]'


def test_the_threshold_is_chosen_by_the_metric_and_near_a_half_where_equal() -> None:
    golds = [frozenset("a"), frozenset(), frozenset("ab"), frozenset()]
    chances = np.array([[0.3, 0.1], [0.1, 0.1], [0.4, 0.35], [0.05, 0.02]])
    chosen = choose_set_rule(chances, golds, ("a", "b"), "exact_match", never_none=False)
    assert chosen.score == 1.0 and 0.1 < chosen.rule.threshold <= 0.3
    assert chosen.rule.threshold == pytest.approx(0.3)
    assert SetRule.from_plain(chosen.rule.to_plain()) == chosen.rule


def test_a_solved_head_separates_labels_and_folds_the_scale_in() -> None:
    rng = np.random.default_rng(3)
    features = rng.normal(size=(200, 5)).astype(np.float32) * [1, 100, 1, 1, 1] + [0, 50, 0, 0, 0]
    gold = np.stack([features[:, 0] > 0, features[:, 1] > 50, np.ones(200, dtype=bool)], axis=1).astype(np.float64)
    chosen = choose_set_head((features[:120], gold[:120]), (features[120:], gold[120:]))
    chances = label_chances(set_scores(chosen.head, features[120:]))
    assert ((chances > 0.5) == (gold[120:] > 0.5)).mean() > 0.95
    assert chosen.losses[chosen.strength] == min(chosen.losses.values())
    assert fit_set_head(features, np.zeros((200, 1)), 1.0).bias[0] == -30.0


def test_the_strength_is_not_chosen_on_rows_that_are_learned_from() -> None:
    """Noise: what is learned from it holds on no other row, and on its own rows the boldest head looks best."""
    rng = np.random.default_rng(5)
    features = rng.normal(size=(80, 30)).astype(np.float32)
    gold = (rng.random((80, 2)) < 0.5).astype(np.float64)
    apart = np.arange(80) >= 50
    unseen = choose_set_head((features[~apart], gold[~apart]), (features[apart], gold[apart]))
    flattered = choose_set_head((features, gold), (features[apart], gold[apart]))
    whole = choose_set_head((features, gold), (features[apart], gold[apart]), seen=apart.tolist())
    assert whole.strength == unseen.strength == 0.01 < flattered.strength
    assert (whole.head.weight == fit_set_head(features, gold, 0.01).weight).all(), "it learns from all rows"


def test_the_loss_is_scikit_learns_log_loss() -> None:
    from sklearn.metrics import log_loss

    rng = np.random.default_rng(4)
    scores, gold = rng.normal(size=(40, 1)), rng.integers(0, 2, size=(40, 1)).astype(np.float64)
    assert set_loss(scores, gold) == pytest.approx(log_loss(gold[:, 0], label_chances(scores)[:, 0]))


def test_the_dictionary_finds_known_pieces_and_nothing_else() -> None:
    towns = ("York", "Bath", "New York")
    train = [_marked(n, NAMES[n % 6], towns[n % 3], 1) for n in range(36)]
    system = DictionarySystem(train, train[:12], "span_f1")
    text = "Bob left New York for Emil Nolde's house in Rome"
    assert [text[s:e] for s, e, _ in json.loads(_said(system, [text])[0])] == ["Bob", "New York", "Emil Nolde"]
    assert system.settings["entries"] == 9
    assert json.loads(_said(system, ["we met Bob"])[0]) == [[7, 10, "P"]]


def test_a_short_entry_at_the_end_of_a_text_is_found_beside_a_longer_one() -> None:
    train = [_marked(n, ("Bob", "Bob Dylan Thomas")[n % 2], "York", 1) for n in range(12)]
    system = DictionarySystem(train, [], "span_f1")
    assert json.loads(_said(system, ["we met Bob"])[0]) == [[7, 10, "P"]]


def test_the_dictionary_leaves_out_words_that_are_rarely_marked() -> None:
    train = [_marked(n, "May", "York", 1) for n in range(6)]
    plain = [Marked(id=f"x{n}", text="we may go May be", messages=(
        Message(role="user", content="we may go May be"), Message(role="assistant", content="[]")), source="t", row=n,
    ) for n in range(30)]  # fmt: skip
    system = DictionarySystem([*train, *plain], [*train, *plain], "span_precision")
    assert _said(system, ["in May we go to York"]) == [json.dumps([[16, 20, "T"]])]


def test_the_tagger_knows_a_name_that_it_never_saw_by_its_neighbours() -> None:
    rng = random.Random(5)
    towns = ("York", "Bath", "Leeds", "Truro")
    train = [_marked(n, f"{rng.choice('ABCDEFG')}{rng.choice(('na', 'ob', 'li', 'do'))}", towns[n % 4], 2)
             for n in range(160)]  # fmt: skip
    system = TaggerSystem(train, train[:40], "span_f1", 17)
    text = "yesterday Zuzanna went to Berlin by train"
    assert json.loads(_said(system, [text])[0]) == [[10, 17, "P"], [26, 32, "T"]]
    assert system.parameters and _said(system, [""]) == ["[]"]


def test_tags_and_pieces_are_the_same_thing() -> None:
    words = words_of("Ada Lovelace met Bob.")
    spans = [Span(0, 12, "P"), Span(17, 20, "P")]
    assert bio_tags(words, spans) == ["B-P", "I-P", "O", "B-P", "O"]
    assert spans_of_tags(words, ["B-P", "I-P", "O", "I-P", "O"]) == spans
    assert spans_of_tags(words, ["B-P", "B-P", "O", "O", "I-Q"])[-1] == Span(20, 21, "Q")


def test_sets_as_indicators() -> None:
    sets = sets_of(_letters(3))
    assert indicators(sets, tuple(WORDS)).sum() == sum(map(len, sets))
    assert indicators([], tuple(WORDS)).shape == (0, 3)
