"""What `init` proposes about splits: groups, ids that come again, dates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from metier.data.describe import DataDescription, describe_data
from metier.data.draft import draft_recipe
from metier.data.prepare import prepare_data
from metier.recipe.load import load_recipe

Write = Callable[..., Path]


def asides(found: DataDescription) -> dict[str, str]:
    return {aside.field: aside.column for aside in found.asides}


def table(column: str, cell: Callable[[int], object], count: int = 120) -> str:
    return f"text,label,{column}\n" + "".join(f"my text {i},{'ab'[i % 2]},{cell(i)}\n" for i in range(count))


@pytest.mark.parametrize("form", ["2026-{:02}-{:02}", "2026-{:02}-{:02} 10:00", "2026/{}/{}"])
def test_dates_are_proposed_as_a_comment(write: Write, tmp_path: Path, form: str) -> None:
    found = describe_data(write("d.csv", table("created", lambda i: form.format(1 + i % 6, 1 + i % 28))))
    text = draft_recipe(found, recipe_folder=tmp_path)
    (line,) = [line for line in text.splitlines() if "time:" in line]
    assert line.startswith("  # time: created ")
    assert "2026-01-01" in line and "set it to train on the oldest, test on the newest" in line
    # The comment's own words are a line of a recipe that runs.
    path = write("recipe.yaml", text.replace("  # time: created", "  time: created"))
    recipe = load_recipe(path)
    assert recipe.data.time == "created"
    assert any(
        "split by time" in notice for notice in prepare_data(recipe.data, seed=1, folder=tmp_path / "out").card.notices
    )


def test_dates_that_could_be_read_two_ways_say_so(write: Write, tmp_path: Path) -> None:
    found = describe_data(write("d.csv", table("created", lambda i: f"{1 + i % 12}/{1 + i % 11}/2026")))
    assert "nothing tells days from months" in draft_recipe(found, recipe_folder=tmp_path)


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("created", lambda i: "2026-01-01"),
        ("created", lambda i: "soon" if i % 5 else "2026-01-02"),
        ("amount", lambda i: 1900 + i % 80),
    ],
)
def test_what_is_no_date_or_always_the_same_is_not_proposed(
    write: Write, column: str, cell: Callable[[int], object]
) -> None:
    assert "time" not in asides(describe_data(write("d.csv", table(column, cell))))


def test_dates_are_not_proposed_where_both_files_are_given(write: Write) -> None:
    rows = table("created", lambda i: f"2026-01-{1 + i % 28:02}")
    train = write("train.csv", rows)
    write("test.csv", rows.replace("my text", "another"))
    assert asides(describe_data(train)) == {"time": "created"}
    write("dev.csv", rows.replace("my text", "a third"))
    assert asides(describe_data(train)) == {}


def test_ids_that_come_again_are_proposed_as_a_comment(write: Write, tmp_path: Path) -> None:
    found = describe_data(write("d.csv", table("order_id", lambda i: f"o{i // 4}")))
    assert found.group is None
    text = draft_recipe(found, recipe_folder=tmp_path)
    assert "  # group: order_id " in text
    assert "# 30 ids in 120 rows: set it if rows of one belong together" in text
    assert yaml.safe_load(text)["data"].get("group") is None
    assert asides(describe_data(write("e.csv", table("label_id", lambda i: f"o{i // 4}")))) == {}
    assert asides(describe_data(write("f.csv", table("row_id", lambda i: f"o{i}")))) == {}
    assert asides(describe_data(write("g.csv", table("level_id", lambda i: f"o{i % 5}")))) == {}


def test_a_group_that_the_test_file_shares_is_not_set(write: Write, tmp_path: Path) -> None:
    train = write("train.csv", table("customer", lambda i: f"c{i // 4}"))
    write("test.csv", table("customer", lambda i: f"c{i % 9}", 20).replace("my text", "another"))
    found = describe_data(train)
    assert found.group is None
    text = draft_recipe(found, recipe_folder=tmp_path)
    assert "  # group: customer " in text
    assert "# 36 rows of train share a group with test.csv, and would leave train (data.leaks)" in text
    write("test.csv", table("customer", lambda i: f"c{i % 3}", 20).replace("my text", "another"))
    assert describe_data(train).group == "customer"
