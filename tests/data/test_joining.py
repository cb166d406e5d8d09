from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metier.data.batches import Batch
from metier.data.joining import DOUBLE_ID, NO_ID, NO_INPUT, NO_LABEL, Join, join_labels, read_labels
from metier.data.records import Rejected
from metier.data.sources import read_table
from metier.data.stream import HowToRead, RowStream, stream_rows
from metier.data.table import Table
from metier.errors import DataError

Write = Callable[..., Path]
INPUTS = "id,text\n1,a\n2,b\n,c\n4,d\n2,e\n6,f\n7,g\n"
LABELS = """{"id": 2, "label": "x"}
{"id": 1, "label": "y"}
{"label": "z"}
{"id": 6, "label": "x"}
{"id": 6, "label": "y"}
{"id": 1, "label": "y"}
{"id": 9, "label": "x"}
{"id": 7, "label": null}
no
"""


def joined(table: Table, labels: RowStream, on: str | None = None) -> tuple[Batch, list[Rejected], Join]:
    """A file in one batch with the columns of a second; the rows that were given up; the join."""
    join = join_labels(read_labels(labels, table.columns, on=on), table.columns, source=table.source.name)
    (batch,) = join.rows([Batch(rows=table.rows, row_numbers=table.row_numbers, broken=[], repaired={})])
    return batch, [*batch.broken, *join.left_over()], join


def test_inputs_and_labels_are_joined_and_every_other_row_has_its_reason(write: Write) -> None:
    batch, given_up, join = joined(read_table(write("in.csv", INPUTS)), stream_rows(write("labels.jsonl", LABELS)))
    assert batch.rows == [
        {"id": "1", "text": "a", "label": "y"},
        {"id": "2", "text": "b", "label": "x"},
        {"id": "7", "text": "g", "label": None},
    ]
    assert batch.row_numbers == [1, 2, 7]
    assert [(row.source, row.row, row.reason, row.detail) for row in given_up] == [
        ("in.csv", 3, NO_ID, "row 3: column `id` is empty"),
        ("in.csv", 4, NO_LABEL, "row 4: no row of labels.jsonl has its id"),
        ("in.csv", 5, DOUBLE_ID, "row 5: row 2 has the same id"),
        ("in.csv", 6, DOUBLE_ID, "row 6: rows 4 and 5 of labels.jsonl have its id and differ"),
        ("labels.jsonl", 3, NO_ID, "row 3: column `id` is empty"),
        ("labels.jsonl", 7, NO_INPUT, "row 7: no row of in.csv has its id"),
        ("labels.jsonl", 9, "broken row", "row 9: no valid JSON"),
    ]
    assert join.notices() == (
        "in.csv: 3 rows joined with labels.jsonl by `id` (`label`)",
        "labels.jsonl: 1 row repeating an earlier one of the same id",
    )


ids = st.lists(st.sampled_from(["1", "2", "3", "4", " 4", ""]), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(inputs=ids, labels=ids, batch=st.integers(1, 4))
def test_no_row_is_lost_and_none_gets_the_label_of_another(
    write: Write, inputs: list[str], labels: list[str], batch: int
) -> None:
    one = write("one.csv", "id,text\n" + "".join(f"{id},t\n" for id in inputs))
    two = write("two.csv", "id,label\n" + "".join(f"{id},of{id.strip()}\n" for id in labels))
    book = read_labels(stream_rows(two, batch_rows=batch), ("id", "text"))
    join = join_labels(book, ("id", "text"), source="one.csv")
    batches = list(join.rows(stream_rows(one, batch_rows=batch)))
    rows = [row for part in batches for row in part.rows]
    assert all(row["label"] == f"of{(row['id'] or '').strip()}" for row in rows)
    assert len(rows) + sum(len(part.broken) for part in batches) == len(inputs)
    wanted = {id.strip() for id in inputs} & {id.strip() for id in labels} - {""}
    assert [(row["id"] or "").strip() for row in rows] == list(
        dict.fromkeys(id.strip() for id in inputs if id.strip() in wanted)
    )
    used = len({id.strip() for id in labels} & wanted)
    assert len(join.left_over()) == len(labels) - used - book.repeated


@pytest.mark.parametrize(
    ("labels", "on", "message"),
    [
        pytest.param("key,label\n1,x\n", None, "shares no column with the inputs .*wanted a column of ids", id="none"),
        pytest.param("text,note,label\na,b,x\n", None, "shares `text`, `note` with the inputs, wanted one", id="which"),
        pytest.param("key,label\n1,x\n", "key", r"there is no column `key` in the inputs", id="named"),
        pytest.param("id\n1\n", None, "has no column beside `id`", id="ids only"),
    ],
)
def test_files_that_do_not_belong_together_are_an_error(
    write: Write, labels: str, on: str | None, message: str
) -> None:
    table = read_table(write("in.csv", "id,text,note\n1,a,b\n2,b,c\n"))
    with pytest.raises(DataError, match=message):
        joined(table, stream_rows(write("labels.csv", labels)), on)


def test_labels_by_id_in_one_json_object(real_data: Callable[[str], Path]) -> None:
    place = real_data("medical/pubmedqa_labeled")
    labels = stream_rows(place / "test_ground_truth.json", HowToRead(pairs=True))
    table = read_table(place / "ori_pqal.json")
    batch, given_up, _ = joined(table, labels)
    assert (len(table.rows), len(batch.rows)) == (1000, 500)
    assert all(row["value"] == row["final_decision"] for row in batch.rows)
    assert {row.reason for row in given_up} == {NO_LABEL}


def test_a_column_that_both_have_is_named_apart(write: Write) -> None:
    table = read_table(write("in.csv", "doc,id,note\nx,1,a\n"))
    by_id, _, _ = joined(table, stream_rows(write("l.csv", "doc,id,note\ny,1,b\n")))
    assert by_id.rows == [{"doc": "x", "id": "1", "note": "a", "doc_2": "y", "note_2": "b"}]
    by_doc, _, _ = joined(table, stream_rows(write("l.csv", "doc,id,note\nx,9,b\n")), "doc")
    assert by_doc.rows[0]["id_2"] == "9"
