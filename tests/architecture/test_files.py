"""Every test file is collected, and no file mentions the place where it was written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

TEXT = {".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".in", ".css", ".html", ".j2", ".json", ".cfg", ""}
SKIPPED = {".git", ".venv", ".lock-venv", "runs", "build", "dist", "__pycache__", ".hypothesis"}
SKIPPED |= {".mypy_cache", ".ruff_cache", ".pytest_cache"}

# Written apart, so that this file does not mention them either.
PRIVATE = re.compile("|".join(["[.]" + "library", "/" + "work/", "farm" + "-", "CON" + "TRACTS.md"]))


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in SKIPPED or path.name.endswith(".egg-info") or path.is_symlink():
            continue
        if path.is_dir():
            yield from _files(path)
        else:
            yield path


def test_every_file_in_tests_is_collected(repository: Path) -> None:
    stray = [
        path.relative_to(repository).as_posix()
        for path in _files(repository / "tests")
        if path.suffix == ".py" and not (path.name.startswith("test_") or path.name == "conftest.py")
    ]
    assert not stray, f"neither test_*.py nor conftest.py: {stray}"


def test_every_test_file_has_a_test(repository: Path) -> None:
    empty = [
        path.relative_to(repository).as_posix()
        for path in _files(repository / "tests")
        if path.name.startswith("test_") and not re.search(r"^\s*(async )?def test_", path.read_text("utf-8"), re.M)
    ]
    assert not empty


def test_nothing_private_is_mentioned(repository: Path) -> None:
    found = []
    for path in _files(repository):
        if path.suffix in TEXT:
            for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
                if PRIVATE.search(line):
                    found.append(f"{path.relative_to(repository)}:{number}")
    assert not found, "\n".join(found)


def test_example_data_and_templates_travel_with_the_package(repository: Path) -> None:
    """Data files lie inside the package folder, which the build takes whole."""
    settings = (repository / "pyproject.toml").read_text(encoding="utf-8")
    assert 'packages = ["metier"]' in settings
    assert (repository / "metier" / "py.typed").exists()
    assert (repository / "metier" / "recipe" / "builtin" / "demo.yaml").exists()
