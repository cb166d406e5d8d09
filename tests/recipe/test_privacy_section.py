"""The section `privacy`: its short form, what its fields need, and faults by their text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from metier.errors import RecipeError
from metier.recipe.dump import dump_recipe
from metier.recipe.privacy_section import PrivacySection
from metier.recipe.sections import Recipe

Load = Callable[..., Recipe]
DATA = "data: {train: a.csv}\n"


def test_nothing_is_looked_for_unless_it_is_asked_for(load: Load) -> None:
    privacy = load(DATA).privacy
    assert (privacy.strict, privacy.looked_for, privacy.policies) == (False, None, frozenset())


@pytest.mark.parametrize("text", ["off", "{}", "{level: off}", ""])
def test_off_is_the_same_in_every_form(text: str, load: Load) -> None:
    assert load(f"{DATA}privacy: {text}\n").privacy == PrivacySection()


def test_strict_alone_is_the_level_and_looks_with_the_full_detector() -> None:
    privacy = PrivacySection.model_validate("strict")
    assert privacy == PrivacySection(level="strict")
    assert (privacy.strict, privacy.looked_for, privacy.detector) == (True, "report", "presidio")


def test_a_policy_under_strict_stays_what_it_is() -> None:
    assert PrivacySection(level="strict", policy="mask").looked_for == "mask"


def test_a_policy_for_one_kind_reports_the_others() -> None:
    privacy = PrivacySection.model_validate({"by_kind": {"US_SSN": "refuse"}})
    assert (privacy.looked_for, set(privacy.policies)) == ("report", {"report", "refuse"})


def test_it_loads_back_to_the_same(load: Load) -> None:
    recipe = load(
        f"{DATA}privacy:\n  level: strict\n  vault_key_env: KEY\n  policy: surrogate\n  key_env: STAND_INS\n"
        "  by_kind: {US_SSN: drop}\n  kinds: [US_SSN, PERSON]\n"
        "  recognisers:\n    - {name: PATIENT_NUMBER, regex: 'PN-[0-9]{6}', context: [patient]}\n"
    )
    assert load(dump_recipe(recipe)) == recipe
    assert recipe.privacy.recognisers[0].context == ["patient"]


def test_places_are_relative_to_the_recipe(load: Load, tmp_path: Path) -> None:
    privacy = load(f"{DATA}privacy: {{level: strict, vault: v.vault, vault_key_file: keys/v.key}}\n").privacy
    assert (privacy.vault, privacy.vault_key_file) == (str(tmp_path / "v.vault"), str(tmp_path / "keys" / "v.key"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("strict", r"privacy \(line 2\): is strict and names no key, wanted one of `vault_key_file` and "
         r"`vault_key_env`\. `metier data vault-key FILE` makes a key"),
        ("{level: strict, vault_key_env: A, vault_key_file: b}", "names a file and a variable, wanted one of"),
        ("{level: strict, vault_key_env: A, detector: patterns}",
         r"privacy\.detector .*: is patterns, which does not find names, wanted presidio under `privacy: strict`"),
        ("mask", r"privacy .*: is 'mask', wanted a mapping of fields\. Did you mean `privacy: {policy: mask}`\?"),
        ("{policy: hide}", r"privacy\.policy .*: is 'hide', wanted one of report, mask, surrogate, drop, refuse"),
        ("{by_kind: {US_SSN: hide}}", r"privacy\.by_kind\.US_SSN .*: is 'hide', wanted one of report, mask"),
        ("{policy: surrogate}", r"privacy\.key_env .*: is missing, and surrogates are drawn by a key\. Name the"),
        ("{policy: mask, key_env: K}", r"privacy\.key_env .*: has no effect without surrogates\. Remove it"),
        ("{policy: mask, scope: set}", r"privacy\.scope .*: has no effect without surrogates"),
        ("{kinds: [PERSON]}", r"privacy\.kinds .*: has no effect without `privacy\.policy`\. Remove it, or add that"),
        ("{detector: patterns}", r"privacy\.detector .*: has no effect without `privacy\.policy`"),
        ("{vault: a}", r"privacy\.vault .*: has no effect without `privacy\.level: strict`"),
        ("{allowed_hosts: [a]}", r"privacy\.allowed_hosts .*: has no effect without `privacy\.level: strict`"),
        ("{policy: mask, kinds: []}", r"privacy\.kinds .*: is empty, wanted at least one kind, or a recogniser"),
        ("{policy: mask, kinds: [URL, URL]}", r"privacy\.kinds .*: has 'URL' 2 times, wanted each once"),
        ("{policy: mask, recognisers: [{name: A_B}]}", r"privacy\.recognisers\.0\.regex .*: is missing"),
        ("{policy: mask, recogniser: x}", r"privacy\.recogniser .*: is no field of `privacy`\. Did you mean `privacy"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_a_fault(text: str, message: str, load: Load) -> None:
    with pytest.raises(RecipeError, match=message):
        load(f"{DATA}privacy: {text}\n")


def test_two_faults_are_reported_together(load: Load) -> None:
    with pytest.raises(RecipeError) as raised:
        load(f"{DATA}privacy: {{policy: surrogate, vault: a}}\n")
    assert [fault.where.split(" ")[0] for fault in raised.value.faults] == ["privacy.vault", "privacy.key_env"]
