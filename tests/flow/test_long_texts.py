"""`data.too_long: reject`: long training texts are left out with their row numbers, and never silently."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from metier.errors import DataError

HEAD = {"candidates": {}, "evaluation": {"systems": ["majority", "tfidf"], "resamples": 200}}


def test_long_training_texts_are_left_out_and_named(
    new_home: Callable[..., Any], tiny_model: Callable[..., Any]
) -> None:
    home = new_home()
    table = home.folder / "mails.csv"
    table.write_text(table.read_text() + f"90,{'refund money ' * 60},refund\n91,{'card shop ' * 60},card\n")
    model = {"model": str(tiny_model("bert")), "adaptation": {"method": "head"}}
    data = {"test_size": 0.2, "too_long": "reject"}
    ran = home.run(**HEAD, **model, data=data, training={"max_length": 32})
    told = [line for line in ran.notices.splitlines() if "longer than 32 tokens allow and were left out" in line]
    assert len(told) == 1
    assert "data.too_long: reject; rows" in told[0]
    summary = ran.result.summary
    left_out = int(told[0].split(": ")[1].split(" of ")[0])
    assert 1 <= left_out <= 2
    assert summary.test[-1].trained_on == f"{summary.data.splits['train'].rows - left_out} examples"


def test_rejecting_every_text_is_an_error(new_home: Callable[..., Any], tiny_model: Callable[..., Any]) -> None:
    home = new_home()
    lines = [f"{number},{'refund money ' * 40}{number},{'refund' if number % 2 else 'card'}" for number in range(60)]
    (home.folder / "mails.csv").write_text("\n".join(["id,message,intent", *lines]) + "\n")
    model = {"model": str(tiny_model("bert")), "adaptation": {"method": "head"}}
    with pytest.raises(
        DataError, match=r"data.too_long: reject leaves none of \d+ training texts, wanted texts that fit"
    ):
        home.run(**HEAD, **model, data={"too_long": "reject"}, training={"max_length": 32})
