"""What never loads torch, and what `metier --help` does not load. Each in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "transformers", "peft", "numpy", "scipy", "sklearn", "pydantic", "matplotlib", "pyarrow", "jinja2"}

WITHOUT_TORCH = [
    "metier.errors", "metier.events", "metier.device", "metier.recipe.load", "metier.recipe.dump",
    "metier.data.prepare", "metier.data.describe", "metier.report.write", "metier.report.gather",
    "metier.report.card", "metier.store.run_folder", "metier.store.cache", "metier.model.summary",
    "metier.training.history", "metier.evaluation.results",
]  # fmt: skip

WITHOUT_STATISTICS_LIBRARIES = [
    "metier.evaluation.compare", "metier.evaluation.statistics",
    "metier.evaluation.metrics", "metier.evaluation.results", "metier.evaluation.measures", "metier.evaluation.verify",
]  # fmt: skip


def _loaded_by(statement: str, package: Path) -> set[str]:
    """The heavy modules that `statement` leaves loaded."""
    code = f"import sys\n{statement}\nprint('LOADED', *sorted({sorted(HEAVY)!r} & sys.modules.keys()))".replace(
        f"{sorted(HEAVY)!r} &", f"{set(HEAVY)!r} &"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=package.parent)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rsplit("LOADED", 1)[1].split())


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_never_loads_torch(module: str, package: Path) -> None:
    assert not _loaded_by(f"import {module}", package) & {"torch", "transformers", "peft"}


@pytest.mark.parametrize("module", WITHOUT_STATISTICS_LIBRARIES)
def test_a_comparison_needs_neither_torch_nor_scipy_nor_scikit_learn(module: str, package: Path) -> None:
    assert not _loaded_by(f"import {module}", package) & {"torch", "transformers", "scipy", "sklearn"}


def test_the_package_loads_nothing(package: Path) -> None:
    assert not _loaded_by("import metier", package)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]], ids=" ".join)
def test_help_loads_nothing_heavy(arguments: list[str], package: Path) -> None:
    statement = f"from metier.cli.main import run_command_line\nassert run_command_line({arguments!r}) == 0"
    assert not _loaded_by(statement, package)
