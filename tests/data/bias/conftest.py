"""Rows for the bias tests, made from plain texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from metier.data.cleaning.rows import Row

Maker = Callable[..., list[Row]]


@pytest.fixture
def make_rows() -> Maker:
    """Rows from texts and answers, keys in order."""

    def make(
        texts: Sequence[str],
        answers: Sequence[str] | None = None,
        *,
        labelled: bool = True,
        splits: Sequence[str] | None = None,
        groups: Sequence[str | None] | None = None,
    ) -> list[Row]:
        return [
            Row(
                key=key,
                split=splits[key] if splits else "train",
                text=text,
                answer=answers[key] if answers else "",
                labelled=labelled,
                group=groups[key] if groups else None,
                source="rows.csv",
                row=key + 1,
            )
            for key, text in enumerate(texts)
        ]

    return make
