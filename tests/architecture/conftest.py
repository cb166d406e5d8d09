"""The source of the package, parsed once."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def package(repository: Path) -> Path:
    """The folder of the package."""
    return repository / "metier"


@pytest.fixture(scope="session")
def trees(package: Path) -> Mapping[str, ast.Module]:
    """Every module of the package, parsed: `data/splits.py` to its tree."""
    return {
        path.relative_to(package).as_posix(): ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        for path in sorted(package.rglob("*.py"))
    }
