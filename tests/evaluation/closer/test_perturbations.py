"""Changes of wording: the same each time, small, and never of what carries the meaning."""

from __future__ import annotations

import numpy as np
import pytest

from metier.evaluation.closer.perturbations import (
    INSTRUCTION_FORMS,
    PERTURBATIONS,
    instruction_variants,
    option_orders,
    perturb,
    with_typos,
)

TEXT = 'Please cancel my order number 4711 (twice charged, 3.50 euros), "thanks" a lot, and write to jo@shop.com!'


@pytest.mark.parametrize("kind", list(PERTURBATIONS))
def test_a_change_is_a_function_of_seed_kind_and_record(kind: str) -> None:
    one = perturb(TEXT, kind, seed=17, record_id="a")
    assert one == perturb(TEXT, kind, seed=17, record_id="a")
    assert one != TEXT
    assert perturb("", kind, seed=17, record_id="a") == ""


def test_typos_differ_by_record_and_seed() -> None:
    made = {perturb(TEXT, "typos", seed=seed, record_id=key) for seed in (1, 2) for key in "abc"}
    assert len(made) > 3


def test_typos_are_few_and_leave_digits_alone() -> None:
    text = " ".join(["reservation"] * 50) + " 4711"
    made = with_typos(text, np.random.default_rng(1))
    changed = [one for one, other in zip(made.split(), text.split(), strict=True) if one != other]
    assert len(changed) == 4
    assert all(abs(len(word) - len("reservation")) <= 1 and word[0] == "r" for word in changed)
    assert made.endswith(" 4711")


def test_a_typing_error_always_changes_the_word() -> None:
    for seed in range(60):
        assert with_typos("aaaa", np.random.default_rng(seed)) != "aaaa"
        assert with_typos("čččč", np.random.default_rng(seed)) != "čččč"
    assert with_typos("a bc 12", np.random.default_rng(0)) == "a bc 12"


def test_punctuation_inside_words_and_numbers_stays() -> None:
    made = perturb(TEXT, "no_punctuation", seed=1, record_id="a")
    assert "3.50" in made and "jo@shop.com" in made
    assert not {",", "!", '"', "(", ")"} & set(made)


def test_spacing_keeps_the_words() -> None:
    assert perturb(TEXT, "spacing", seed=1, record_id="a").split() == TEXT.split()


def test_instructions_are_said_in_other_ways() -> None:
    found = instruction_variants("Name the {intent}.", own=["Which intent is it?", "Name the {intent}."])
    assert found[:2] == ["Name the {intent}.", "Which intent is it?"]
    assert len(found) == len(INSTRUCTION_FORMS) + 1
    assert all("Name the {intent}." in said for said in found[2:])


def test_option_orders_are_different_and_begin_with_the_given_one() -> None:
    options = ["a", "b", "c", "d", "e"]
    found = option_orders(options, 5, seed=1)
    assert found[0] == tuple(options) and len(set(found)) == 5
    assert all(sorted(order) == options for order in found)
    assert len({order[0] for order in found}) >= 4
    assert found == option_orders(options, 5, seed=1)


def test_few_options_have_few_orders() -> None:
    assert option_orders(["a", "b"], 5, seed=1) == [("a", "b"), ("b", "a")]
    assert option_orders(["a"], 3, seed=1) == [("a",)]
