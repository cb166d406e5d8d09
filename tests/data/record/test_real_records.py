"""The record of real files: they come back byte for byte and row by row, and Croissant describes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from metier.data.describe import describe_data
from metier.data.draft import draft_recipe
from metier.data.prepare import prepare_data
from metier.data.record.croissant import About, write_croissant
from metier.data.record.licences import check_licences
from metier.data.record.restore import restore_files, restore_rows
from metier.recipe.load import load_recipe


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "licence", "files"),
    [
        ("customer_support/bitext_intents/older_release_messy.csv", "LicenseRef-CDLA-Sharing-1.0-as-published", 1),
        ("customer_support/multidogo_software/train.tsv", "CDLA-Permissive-1.0", 3),
        ("finance/fomc_stance", "CC-BY-NC-4.0", 3),
        ("medical/medical_abstracts", "CC-BY-SA-3.0", 2),
    ],
)
def test_a_real_set_comes_back(
    real_data: Callable[[str], Path], tmp_path: Path, path: str, licence: str, files: int
) -> None:
    recipe_file = tmp_path / "recipe.yaml"
    found = describe_data(real_data(".") / path)
    recipe_file.write_text(draft_recipe(found, recipe_folder=tmp_path), encoding="utf-8")
    card = prepare_data(load_recipe(recipe_file).data, seed=17, folder=tmp_path / "data").card
    restored = restore_files(tmp_path / "data", tmp_path / "out")
    assert len(restored) == files
    for file, source in zip(restored, card.sources, strict=True):
        assert file.path.read_bytes() == Path(source.path).read_bytes()
    rows = restore_rows(tmp_path / "data", tmp_path / "rows.jsonl")
    assert rows.rejected == sum(card.rejected.values())
    assert rows.checked == rows.rejected + rows.changed
    assert rows.missing == ()
    licences = check_licences(card.sources, {"*": licence})
    about = About(name=Path(path).stem, published="2026-11-22")
    croissant = write_croissant(tmp_path / "data", card, licences, about)
    pytest.importorskip("mlcroissant").Dataset(croissant)  # raises on errors
