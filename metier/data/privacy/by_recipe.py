"""From a recipe's section `privacy` to a strict run: what it needs, and the block that a run goes through."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import yaml

from metier.data.privacy.connections import no_connections
from metier.data.privacy.private_folder import purge_private
from metier.data.privacy.strict_run import StrictRun, StrictSettings, open_vault, strict_run
from metier.data.privacy.vault import Vault, state_of
from metier.errors import MissingPackage, RunFolderError
from metier.recipe.load import expand
from metier.recipe.privacy_section import PrivacySection
from metier.recipe.sections import Recipe
from metier.store.run_folder import RunFolder


def settings_of(section: PrivacySection) -> StrictSettings:
    """What a strict run is put up with."""
    vault, file = section.vault, section.vault_key_file
    return StrictSettings(
        vault=None if vault is None else Path(expand(vault)),
        vault_key_file=None if file is None else Path(expand(file)),
        vault_key_env=section.vault_key_env,
        allowed_hosts=tuple(section.allowed_hosts),
    )


def refuse_unready(recipe: Recipe, folder: Path) -> None:
    """Tell early what a strict run lacks: before it makes a folder.

    Args:
        recipe: Any.
        folder: Where the run is to be.

    Raises:
        MissingPackage: The full detector, or what encrypts the vault, is not installed: under `privacy: strict`
            nothing takes its place.
        ArgumentError: No key is named, it cannot be used, or key or vault lie in a run folder.
        DataError: The vault there has another key, or is cut.
    """
    if not recipe.privacy.strict:
        return
    from metier.data.privacy.presidio import refuse_missing
    from metier.data.privacy.vault_frames import refuse_without_cryptography

    refuse_without_cryptography()
    try:
        refuse_missing()
    except MissingPackage as error:
        found, fix = f"{error.found}, and privacy: strict never does without", 'Install it: pip install "metier[pii]"'
        raise MissingPackage(error.where, found, "", fix) from error
    state_of(vault_of(recipe, folder))


@contextmanager
def strict_if_asked(
    recipe: Recipe,
    folder: RunFolder,
    *,
    run: str,
    first: bool = True,
    ended: Callable[[], bool] = lambda: True,
) -> Iterator[StrictRun | None]:
    """The block that a run goes through: of a recipe that says so a strict one.

    Args:
        recipe: Of the run.
        folder: The run's.
        run: Hash of the recipe.
        first: Whether this is rank 0 of the run's processes.
        ended: Whether the run has nothing left to do; asked at the end of the block.

    Raises:
        MetierError: As `strict_run`.
    """
    if not recipe.privacy.strict:
        yield None
        return
    settings = settings_of(recipe.privacy)
    with strict_run(settings, folder.path, recipe.name, run=run, first=first, ended=ended) as strict:
        yield strict


def closed_network(recipe: Recipe) -> AbstractContextManager[object]:
    """Around what is done for a recipe outside of a run: under `privacy: strict` without connections."""
    return no_connections(allowed=recipe.privacy.allowed_hosts) if recipe.privacy.strict else nullcontext()


def vault_of(recipe: Recipe, folder: Path) -> Vault:
    """The vault of a strict run.

    Args:
        recipe: Of the run.
        folder: The run's.

    Raises:
        ArgumentError: No key is named, it cannot be used, or key or vault lie in a run folder.
    """
    return open_vault(settings_of(recipe.privacy), folder, recipe.name)


def remove_what_is_left(folder: RunFolder) -> None:
    """Remove the private folder that a strict run left which was killed after all was done.

    Args:
        folder: A complete run.
    """
    if folder.private.is_dir() and is_strict(folder):
        purge_private(folder.private)


def is_strict(folder: RunFolder) -> bool:
    """Whether a run was made under `privacy: strict`, by its recipe.

    Args:
        folder: Any run; one whose recipe is missing is not known to be strict.

    Raises:
        RunFolderError: Its recipe is damaged: what it promised is not known.
    """
    return _section_of(folder).get("level") == "strict"


@contextmanager
def used_as_made(folder: RunFolder | None) -> Iterator[None]:
    """Around the use of a run's model: one that was made under `privacy: strict` connects to nobody else either.

    Args:
        folder: The run; None for a model that comes without.

    Raises:
        RefusedConnection: Something inside wants to reach another machine.
    """
    section: Mapping[str, Any] = {} if folder is None else _section_of(folder)
    strict = section.get("level") == "strict"
    with no_connections(allowed=section.get("allowed_hosts") or ()) if strict else nullcontext():
        yield


def _section_of(folder: RunFolder) -> Mapping[str, Any]:
    """The section `privacy` of a run's resolved recipe; empty where there is none."""
    if not folder.recipe.is_file():
        return {}
    try:
        recipe = yaml.safe_load(folder.recipe.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RunFolderError(str(folder.recipe), "is damaged: no readable YAML", "", "Run the recipe again.") from error
    section = recipe.get("privacy") if isinstance(recipe, Mapping) else None
    return section if isinstance(section, Mapping) else {}
