from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from metier.data.records import Choice, Conversation, Message, Passage, Preference
from metier.data.splits import (
    KINDS,
    Split,
    answers_of,
    choices,
    conversations,
    passages,
    preferences,
    write_split,
)
from metier.errors import RunFolderError

RECORDS = [
    Choice(id=f"k{i}-0", text=f"text {i} é\nline", label="ab"[i % 2], group=None if i % 3 else "g", source="f.csv",
           row=i + 1, user_id=f"u{i}" if i % 2 else None, flags=("duplicate",) if i == 4 else ())
    for i in range(10)
]  # fmt: skip


def make(tmp_path: Path) -> Split:
    path = tmp_path / "test.parquet"
    return Split(name="test", path=path, fingerprint=write_split(RECORDS, path))


def test_records_are_read_back(tmp_path: Path) -> None:
    split = make(tmp_path)
    assert len(split) == 10
    assert list(split.records()) == RECORDS
    assert [len(batch) for batch in split.batches(4)] == [4, 4, 2]
    assert split.take([7, 0, 7]) == [RECORDS[7], RECORDS[0], RECORDS[7]]
    assert split.take([]) == []


def test_the_file_has_plain_columns(tmp_path: Path) -> None:
    make(tmp_path)
    names = pq.read_schema(tmp_path / "test.parquet").names
    assert names == ["id", "text", "label", "group", "source", "row", "user_id", "flags"]


def test_an_empty_split(tmp_path: Path) -> None:
    path = tmp_path / "empty.parquet"
    split = Split(name="test", path=path, fingerprint=write_split([], path))
    assert (len(split), list(split.records())) == (0, [])


TURNS = (
    Message(role="system", content="be kind"),
    Message(role="user", content="hello"),
    Message(role="assistant", content="", more='{"tool_calls": []}', learned=False),
    Message(role="tool", content="1"),
    Message(role="assistant", content="good bye"),
)
OTHERS = {
    "conversation": Conversation(id="a-0", text="hello", messages=TURNS, tools="[]", group="g", source="f", row=1),
    "passage": Passage(id="a-0", text="read on", flags=("duplicate",)),
    "preference": Preference(id="a-0", text="hello", messages=TURNS[:2], chosen="yes", rejected="no"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_every_kind_of_record_is_read_back(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    split = Split(name="s", path=path, fingerprint=write_split([OTHERS[kind]], path, kind=kind))
    assert list(split.records()) == split.take([0]) == [OTHERS[kind]]
    assert type(split.take([0])[0]) is KINDS[kind]


def test_records_are_narrowed_or_refused() -> None:
    assert choices(RECORDS) == RECORDS
    assert conversations([OTHERS["conversation"]]) == [OTHERS["conversation"]]
    assert passages([OTHERS["passage"]]) == [OTHERS["passage"]]
    assert preferences([OTHERS["preference"]]) == [OTHERS["preference"]]
    with pytest.raises(RunFolderError, match=r"f.csv: holds a Choice, wanted a Conversation. Run the recipe again."):
        conversations(RECORDS)


def test_a_preference_is_known_by_both_answers() -> None:
    one = OTHERS["preference"]
    assert answers_of(one) != answers_of(replace(one, rejected="never"))
    assert answers_of(one) != answers_of(replace(one, chosen="never"))


def test_a_file_of_an_older_version_holds_choices(tmp_path: Path) -> None:
    split = make(tmp_path)
    pq.write_table(pq.read_table(split.path).replace_schema_metadata(None), split.path)
    assert list(split.records()) == RECORDS
