"""`tools/first_runs.py`: runs whose answers are written, with answers to read."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metier.store.run_folder import RunFolder


@pytest.fixture(scope="module")
def tool(repository: Path) -> Any:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("first_runs", repository / "tools" / "first_runs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_five_answers_of_base_and_tuned_are_shown(tool: Any, make_run: Callable[..., RunFolder]) -> None:
    page = tool.render_page([("parcels", make_run().path)], {}, quoted=["parcels"])
    assert "| system | chrF | ROUGE-L | BLEU | exact match | token F1 | n |" in page
    assert "0 labels" not in page
    assert page.count("   asked:") == page.count("   gold answer:") == 5
    assert page.count("   tuned (chrF ") == page.count("   zero_shot (chrF ") == page.count("   few_shot (chrF ") == 5
    assert ", unfinished):" in page
    assert "nearest_answer (chrF" not in page
    assert page.count("```") % 2 == 0


def test_texts_of_data_that_is_not_ours_are_not_printed(tool: Any, make_run: Callable[..., RunFolder]) -> None:
    page = tool.render_page([("parcels", make_run().path)], {})
    assert "   asked:" not in page and "   gold answer:" not in page
    assert page.count("   tuned (chrF ") == 5 and page.count(" row ") >= 5
