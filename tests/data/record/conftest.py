"""Runs whose data is prepared, with findings about planted rows."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from metier.data.card import StageHash
from metier.data.cleaning.rows import Doubt, Finding, Row
from metier.data.prepare import load_prepared, prepare_data
from metier.data.record.findings import places_of, write_findings
from metier.recipe.sections import Recipe
from metier.store.files import write_json, write_text
from metier.store.run_folder import RunFolder, RunState

SECRET = "Zebra Quartz called about invoice 43"
"""Text of one row; it may stand where texts may, and nowhere else."""
FORMULA = "=HYPERLINK(1) is what row two says"


def rows_of(run: RunFolder) -> tuple[list[Row], dict[int, str]]:
    """Every record as a cleaning step sees it, and the record ids by key."""
    prepared = load_prepared(run.data)
    rows: list[Row] = []
    ids: dict[int, str] = {}
    for split in (prepared.train, prepared.validation, prepared.test):
        for record in split.records():
            key = len(rows)
            ids[key] = record.id
            rows.append(
                Row(
                    key=key, split=split.name, text=record.text, answer=record.gold,
                    labelled=bool(prepared.card.labels), group=record.group, source=record.source, row=record.row,
                )
            )  # fmt: skip
    return rows, ids


def prepare_run(
    folder: Path, text: str | bytes, *, name: str = "run", file: str = "tickets.csv", task: str = "classification",
    data: dict[str, Any] | None = None, recipe: dict[str, Any] | None = None,
) -> RunFolder:  # fmt: skip
    """A run in `folder` that prepared `text`."""
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    fields = {"train": str(path), **(data or {})}
    run = RunFolder(folder / name)
    section = Recipe.model_validate({"task": task, "data": fields}).data
    prepare_data(section, seed=17, folder=run.data, task=task)
    state = RunState(recipe_hash="ab" * 32, status="running", started="2026-11-22T08:00:00+00:00")
    write_json(run.state, state, format="run")
    whole = {"name": "tickets", "task": task, "data": fields, **(recipe or {})}
    write_text(run.recipe, yaml.safe_dump(whole))
    return run


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., RunFolder]:
    """`make_run(text, name="run", file="tickets.csv", task=…, data={…}, recipe={…})`: a run that prepared `text`."""
    return partial(prepare_run, tmp_path)


OFF = {
    **dict.fromkeys(
        ("near_duplicates", "wrong_labels", "wrong_answers", "outliers", "odd_texts", "quality", "secrets", "poison",
         "label_likeness", "giveaway"), "off",
    ),
    "language": {"policy": "off"}, "bias": {"policy": "off"},
}  # fmt: skip
"""Fields of a recipe that asks nobody to look at the rows, as far as that can be."""


@pytest.fixture
def unlooked() -> dict[str, Any]:
    """Fields of the data section: no step looks at the rows that need not."""
    return dict(OFF)


def support_rows(count: int = 40) -> list[list[str]]:
    """Texts and labels; row 1 is secret, row 2 begins like a formula."""
    rows = [[f"message {number} about parcel {number * 7}", ["order", "refund"][number % 2]] for number in range(count)]
    rows[0][0], rows[1][0] = SECRET, FORMULA
    return rows


def as_csv(rows: Sequence[Sequence[str]]) -> str:
    """A file of texts and labels."""
    return "text,label\n" + "".join(f"{text},{label}\n" for text, label in rows)


def find(run: RunFolder, findings: Sequence[Finding], **more: Any) -> None:
    """Write findings about a run's rows."""
    rows, ids = rows_of(run)
    places = places_of(rows, findings, record_id=lambda row: ids[row.key])
    write_findings(run.data, findings, places, **more)


@pytest.fixture(scope="session")
def _doubted(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    run = prepare_run(tmp_path_factory.mktemp("doubted"), as_csv(support_rows()))
    rows, _ = rows_of(run)
    keys = {row.row: row.key for row in rows}
    assert {rows[keys[1]].split, rows[keys[2]].split} == {"train"}, "choose other texts"
    train = [row.key for row in rows if row.split == "train" and row.row > 2][:2]
    test = next(row.key for row in rows if row.split == "test" and row.row > 2)
    labels = Finding(
        step="wrong_labels", version=2, looked_at=len(rows), counts={"wrong label": 3},
        doubts=(
            Doubt(key=keys[1], step="wrong_labels", reason="wrong label", detail="reads like another label",
                  score=0.91, suggestion="refund"),
            Doubt(key=keys[2], step="wrong_labels", reason="wrong label", detail="reads like another label",
                  score=0.72, suggestion="order"),
            Doubt(key=test, step="wrong_labels", reason="wrong label", detail="reads like another label", score=0.5),
        ),
        tables={"labels that are mixed up": [{"label": "order", "suggested": "refund", "rows": 1, "share": 0.25}]},
        notes=("rows of one label only were not looked at",),
        seconds=0.5,
    )  # fmt: skip
    near = Finding(
        step="near_duplicates", version=1, looked_at=len(rows), counts={"near duplicate": 1},
        doubts=(
            Doubt(key=train[0], step="near_duplicates", reason="near duplicate", detail="almost the same text",
                  others=(train[1],), suggestion="drop"),
            Doubt(key=test, step="near_duplicates", reason="near duplicate", detail="almost the same text",
                  others=(train[1],)),
        ),
    )  # fmt: skip
    stages = [StageHash(name="read", rows=40, sha256="a" * 64), StageHash(name="repaired", rows=40, sha256="b" * 64)]
    find(run, [near, labels], done={"near_duplicates": {"flagged": 2}}, stages=stages)
    return run


@pytest.fixture
def doubted_run(_doubted: RunFolder, tmp_path: Path) -> RunFolder:
    """A run with doubts: rows 1 and 2 wrongly labelled, a near duplicate in train, one row of test doubted twice."""
    return RunFolder(Path(shutil.copytree(_doubted.path, tmp_path / "run")))


@pytest.fixture
def plain_run(make_run: Callable[..., RunFolder]) -> RunFolder:
    """A run of the support rows, without findings of ours."""
    return make_run(as_csv(support_rows()))


@pytest.fixture
def seen_rows() -> Callable[[RunFolder], tuple[list[Row], dict[int, str]]]:
    """`seen_rows(run)`: every record as a cleaning step sees it, and the record ids by key."""
    return rows_of
