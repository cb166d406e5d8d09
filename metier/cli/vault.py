"""The vault of a run under `privacy: strict`: a key for it, and what it holds for who has the key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metier.cli.output import say, show

if TYPE_CHECKING:
    from metier.store.run_folder import RunFolder


def vault_key(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file, outside of every run.", show_default=False)],
) -> int:
    """Make the key of a vault, for privacy.vault_key_file.

    Who loses the key loses what is in the vault. Keep it apart from the vault, and take a copy.
    """
    from metier.data.privacy.vault_key import make_key
    from metier.errors import DONE

    key = make_key(file)
    show(f"Key {key.id}: {file}")
    say(f"In the recipe: privacy: {{level: strict, vault_key_file: {file}}}")
    return DONE


def stored_rows(folder: RunFolder) -> Mapping[str, str]:
    """The rows that a strict run keeps in its vault, by hash; none, and why is said, where the key is not here.

    Args:
        folder: Of any run.

    Raises:
        DataError: The vault is damaged, cut, or has another key.
    """
    from metier.data.privacy.by_recipe import is_strict, vault_of
    from metier.data.privacy.row_vault import rows_in
    from metier.data.privacy.vault import state_of
    from metier.errors import ArgumentError
    from metier.recipe.load import load_recipe
    from metier.store.run_folder import read_state

    if not is_strict(folder):
        return {}
    try:
        vault = vault_of(load_recipe(folder.recipe), folder.path)
    except ArgumentError as fault:
        say(f"The vault is not read: {fault.text()} Rows come from their files alone.")
        return {}
    return {} if state_of(vault) is None else rows_in(vault, read_state(folder).recipe_hash)
