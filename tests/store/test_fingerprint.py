"""Fingerprints depend on content alone."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from metier.store.fingerprint import file_sha256, fingerprint, text_sha256


def test_a_known_value() -> None:
    assert (
        fingerprint({"b": 1, "a": [1.5, None, "é"]}) == hashlib.sha256(b'{"a":[1.5,null,"\\u00e9"],"b":1}').hexdigest()
    )


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_the_order_of_keys_does_not_matter(values: dict[str, int]) -> None:
    assert fingerprint(values) == fingerprint(dict(reversed(values.items())))


def test_values_that_differ_have_other_fingerprints() -> None:
    values = [1, 1.0, "1", True, None, [1], {"a": 1}, {"a": 2}, {"b": 1}]
    assert len({fingerprint(value) for value in values}) == len(values)


def test_a_file_and_a_text_are_hashed_as_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes("Zürich\r\n".encode())
    assert file_sha256(path) == hashlib.sha256("Zürich\r\n".encode()).hexdigest() == text_sha256("Zürich\r\n")
    assert len(text_sha256("\ud800")) == 64
