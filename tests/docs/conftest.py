"""The pages of the documentation, and what their examples work on."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXTENDING = ROOT / "docs" / "extending.md"
"""The page whose blocks are files, rows and tests."""
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, the line it begins on, what stands behind the fence, its text."""

    page: Path
    line: int
    info: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        yield Block(page, text.count("\n", 0, match.start()) + 1, match[1].strip(), match[2])


def written_pages() -> list[Path]:
    """Every page of the documentation."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`page`: every page. `block_KIND`: every block of that kind, `block` every block."""
    if "page" in metafunc.fixturenames:
        pages = written_pages()
        metafunc.parametrize("page", pages, ids=[page.relative_to(ROOT).as_posix() for page in pages])
    for name in metafunc.fixturenames:
        if name == "block" or name.startswith("block_"):
            kind = name.removeprefix("block").removeprefix("_")
            found = [block for page in written_pages() for block in blocks_of(page) if block.info.startswith(kind)]
            metafunc.parametrize(name, found, ids=str)


@pytest.fixture
def python_blocks() -> Callable[[Path], list[Block]]:
    """The Python blocks of a page, in order."""
    return lambda page: [block for block in blocks_of(page) if block.info == "python"]


@pytest.fixture(autouse=True)
def tables_as_they_were() -> Iterator[None]:
    """What a page adds to the visible tables is taken out again, and the modules that it wrote are forgotten."""
    from metier.evaluation.closer.slice_kinds import SLICES
    from metier.evaluation.metrics import METRICS
    from metier.evaluation.systems import SYSTEMS

    tables: list[Any] = [METRICS, SYSTEMS, SLICES]
    before, modules = [dict(table) for table in tables], set(sys.modules)
    yield
    for table, rows in zip(tables, before, strict=True):
        table.clear()
        table.update(rows)
    for name in [own.removesuffix(".py") for own in files_of(EXTENDING)]:
        if name not in modules:
            sys.modules.pop(name, None)


def files_of(page: Path) -> dict[str, str]:
    """The blocks of a page that are files, by the name in their first line."""
    found = {}
    for block in blocks_of(page):
        first = re.match(r"# (\w+\.py)\n", block.text)
        if block.info == "python" and first:
            found[first[1]] = block.text
    return found


@pytest.fixture
def desk(tmp_path: Path, tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of a reader: a small table, a recipe that runs in a second, and new rows to answer."""
    example = ROOT / "metier" / "data" / "example"
    shutil.copy(example / "train.csv", tmp_path / "tickets.csv")
    (tmp_path / "new.csv").write_text("subject,body\nParcel,Where is it?\n,\n", encoding="utf-8")
    recipe = f"""\
name: tickets
data: {{train: tickets.csv, text: [subject, body], label: intent, max_examples: 120, max_test_examples: 40}}
candidates:
  head: {{model: '{tiny_model("bert").as_posix()}', adaptation: {{method: head}}}}
evaluation: {{systems: [majority, tfidf], resamples: 200, train_examples: 20}}
hardware: {{device: cpu, dtype: float32, threads: 1}}
"""
    (tmp_path / "recipe.yaml").write_text(recipe, encoding="utf-8")
    for name, text in files_of(EXTENDING).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path
