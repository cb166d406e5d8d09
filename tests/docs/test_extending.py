"""One file, one row, one test: each thing that the page adds has all three, and works only with its row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ADDED = {
    "worst_recall": ("worst_recall.py", 'METRICS["worst_recall"] = ', "test_worst_recall()"),
    "keywords": ("keywords.py", 'SYSTEMS["keywords"] = ', "test_keywords()"),
    "group_size": ("group_size.py", 'SLICES["group_size"] = ', "test_group_size()"),
}


@pytest.mark.parametrize("name", ADDED)
def test_each_has_a_file_a_row_and_a_test_and_needs_its_row(
    name: str, repository: Path, python_blocks: Callable[[Path], list[Any]], desk: Path
) -> None:
    file, row, test = ADDED[name]
    page = repository / "docs" / "extending.md"
    texts = [block.text for block in python_blocks(page)]
    assert sum(text.startswith(f"# {file}\n") for text in texts) == 1 and (desk / file).exists()
    assert sum(row in text for text in texts) == sum(f"def {test[:-1]}" in text for text in texts) == 1
    lines = ["" if row in line else line for line in "\n".join(texts).splitlines()]
    with pytest.raises(Exception, match=name):  # whatever the table says of a name that it does not have
        exec(compile("\n".join(lines), str(page), "exec"), {"__name__": "__main__"})


def test_the_tables_and_places_that_the_page_names_are_there(repository: Path) -> None:
    page = (repository / "docs" / "extending.md").read_text(encoding="utf-8")
    for table, place in (
        ("METRICS", "metrics.py"), ("TEXT_METRICS", "written/text_metrics.py"), ("SYSTEMS", "systems.py"),
        ("SLICES", "closer/slice_kinds.py"),
    ):  # fmt: skip
        assert f"`metier/evaluation/{place}`" in page
        assert f"\n{table}: Mapping[" in (repository / "metier" / "evaluation" / place).read_text(encoding="utf-8")
    names = (repository / "metier" / "recipe" / "evaluation_sections.py").read_text(encoding="utf-8")
    assert all(f"\n{name} = Literal[" in names for name in ("MetricName", "SystemName", "SliceKind"))
