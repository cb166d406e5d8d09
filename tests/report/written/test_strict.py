"""Page and card of a run under `privacy: strict`: records by file, row and hash, and what the promise came to."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from metier.cli.tables import final_text
from metier.data.privacy.account import Account, Asked, Connections, SharedText
from metier.data.privacy.strict import TextPolicy
from metier.data.privacy.vault_key import VaultKey
from metier.evaluation.files import read_evaluations, write_evaluation
from metier.evaluation.hidden import without_texts
from metier.report.card import render_card
from metier.report.figures import draw_figures
from metier.report.gather import gather_summary
from metier.report.page import render_page
from metier.report.summary import RunSummary
from metier.store.files import write_json
from metier.store.run_folder import RunFolder

KEY = VaultKey(bytes(range(32)))
ACCOUNT = Account(
    connections=Connections(refused=(Asked(package="some_hub", host="hub.example.org", times=2),), looks=5),
    text=SharedText(sentences=0, words=8, records=60, too_short=0, files=40),
    vault_entries=3, vault_head="ab" * 32,
)  # fmt: skip
LINE = "0 connections (2 attempts refused: some_hub to hub.example.org 2), 0 sentences of record text"


@pytest.fixture
def strict(make_run: Callable[..., RunFolder]) -> RunSummary:
    """A run as it is when its private folder is gone."""
    folder = make_run(recipe={"privacy": {"level": "strict"}})
    place = folder.results("test").parent
    for evaluation in read_evaluations(place):
        write_evaluation(without_texts(evaluation, TextPolicy(strict=True, key=KEY)), place)
    folder.split("test").unlink()
    write_json(folder.privacy, ACCOUNT, format="privacy")
    return gather_summary(folder)


def test_records_are_named_and_no_text_is_shown(strict: RunSummary) -> None:
    page = render_page(strict, draw_figures(strict))
    assert "clerk" not in page and "on its way" not in page
    shown = strict.written[0]
    assert f"{shown.source} row {shown.row}" in page and shown.id in page and shown.gold in page
    assert "hashes stand for what was asked and written" in page
    assert not any(each.turns for each in strict.written)


def test_what_the_promise_came_to_is_told_everywhere(strict: RunSummary) -> None:
    assert strict.privacy == ACCOUNT
    assert LINE in render_page(strict, draw_figures(strict))
    assert "0 sentences of record text" in render_card(strict) and "privacy: strict" in render_card(strict)
    assert f"privacy: strict: {LINE}" in final_text(strict, report="page", uses=[])


def test_other_runs_say_nothing_of_it(make_summary: Callable[..., RunSummary]) -> None:
    plain = make_summary()
    assert plain.privacy is None
    told = render_page(plain, draw_figures(plain)) + render_card(plain) + final_text(plain, report="page", uses=[])
    assert "privacy: strict" not in told and ">Privacy<" not in told
