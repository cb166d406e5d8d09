"""Licences of base, data and result side by side: what forbids what, and what nobody knows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from metier.report.licences import NO_ADVICE, Licensed, licence_findings, licences_table
from metier.report.summary import RunSummary


def _with(summary: RunSummary, *, base: str, data: str | None, result: str) -> RunSummary:
    attempts = tuple(replace(each, model=replace(each.model, licence=base)) for each in summary.attempts)
    sources = tuple(replace(source, licence=data) for source in summary.data.sources)
    recipe: dict[str, Any] = {**summary.recipe, "card": {**summary.recipe["card"], "license": result}}
    return replace(summary, attempts=attempts, data=replace(summary.data, sources=sources), recipe=recipe)


@pytest.mark.parametrize(
    ("base", "data", "result", "said"),
    [
        ("apache-2.0", "CC-BY-4.0", "apache-2.0", ["No name of these licences speaks against"]),
        ("unknown", "MIT", "mit", ["Unknown: the licence of minilm. Whether"]),
        ("apache-2.0", None, "mit", ["Unknown: the licence of tickets <2024>.csv. Whether"]),
        ("apache-2.0", "MIT", "other", ["The author states no licence of the result"]),
        ("apache-2.0", "CC-BY-NC-4.0", "mit",
         ["Commercial use is forbidden by tickets <2024>.csv (CC-BY-NC-4.0), which mit does not."]),
        ("cc-by-nc-4.0", "MIT", "cc-by-nc-4.0", ["No name of these licences speaks against"]),
        ("apache-2.0", "CC-BY-ND-4.0", "mit", ["Sharing what is derived is forbidden by tickets <2024>.csv"]),
        ("gpl-3.0", "CC-BY-SA-4.0", "mit",
         ["What is derived keeps the licence of minilm (gpl-3.0), tickets <2024>.csv (CC-BY-SA-4.0); the result states "
          "mit."]),
        ("apache-2.0", "CC-BY-SA-4.0", "CC-BY-SA-4.0", ["No name of these licences speaks against"]),
        ("llama3.2", "MIT", "mit", ["Terms of use of their own come with minilm (llama3.2)."]),
        ("other", "CC-BY-NC-SA-4.0", "other",
         ["Unknown: the licence of minilm", "The author states no licence", "Commercial use is forbidden",
          "What is derived keeps the licence of tickets <2024>.csv (CC-BY-NC-SA-4.0); the result states none."]),
    ],
)  # fmt: skip
def test_what_the_names_say(summary: RunSummary, base: str, data: str | None, result: str, said: list[str]) -> None:
    found = licence_findings(_with(summary, base=base, data=data, result=result))
    assert found[-1] == NO_ADVICE
    assert len(found) == len(said) + 1
    for sentence, beginning in zip(found, said, strict=False):
        assert sentence.startswith(beginning)


def test_the_table_has_base_data_and_result(summary: RunSummary) -> None:
    table = licences_table(_with(summary, base="apache-2.0", data="CC-BY-NC-4.0", result="other"))
    assert [[cell.text for cell in row.cells] for row in table.rows] == [
        ["minilm", "apache-2.0", ""],
        ["tickets <2024>.csv", "CC-BY-NC-4.0", "forbids commercial use"],
        ["support-tickets", "unknown", "nobody stated it"],
    ]


@pytest.mark.parametrize(
    ("licence", "asks"),
    [("MIT OR GPL-3.0-only", True), ("LGPL-2.1-only", True), ("ODbL-1.0", True), ("CC-BY-4.0", False), (None, False)],
)
def test_expressions_are_read_by_their_parts(licence: str | None, asks: bool) -> None:
    assert Licensed("data", "a.csv", licence).asks_the_same is asks


def test_a_licence_of_ones_own_is_not_known_here() -> None:
    assert Licensed("data", "a.csv", "LicenseRef-contract-7").remark == "a licence of its own, which is not known here"
