"""`privacy: strict` around a run: the policy, the vault, the private cache and the closed network, put up together.

A run enters it before it reads data and leaves it after its report. What it promised is counted at the end, not
claimed: `StrictRun.account` searches the files that the run leaves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from metier.data.privacy.account import Account
from metier.data.privacy.connections import Watch, no_connections
from metier.data.privacy.private_folder import make_private, private_cache, private_temporary, temporary_place
from metier.data.privacy.sentences import count_shared
from metier.data.privacy.strict import TextPolicy
from metier.data.privacy.strict_faults import StrictFaults
from metier.data.privacy.vault import Vault, state_of
from metier.data.privacy.vault_key import load_key
from metier.store.cache import state_root
from metier.store.files import whole_folder
from metier.store.run_folder import PRIVATE, RunFolder


@dataclass(frozen=True, kw_only=True)
class StrictSettings:
    """What a recipe says under `privacy` besides `strict`."""

    vault: Path | None = None
    """File of the vault, outside of every run folder. None: `vaults/<name>.vault` in the state folder."""
    vault_key_file: Path | None = None
    """File with the key (mode 0600), outside of every run folder; or `vault_key_env`."""
    vault_key_env: str | None = None
    """Environment variable with the key; or `vault_key_file`."""
    allowed_hosts: tuple[str, ...] = ()
    """Hosts to which connections are allowed, each named in the report: a mirror of one's own, a cluster's machines."""


@dataclass(frozen=True, kw_only=True)
class StrictRun:
    """What a strict run writes with."""

    folder: Path
    """The run folder."""
    run: str
    """Hash of the run's recipe: what its entries in the vault are known by."""
    policy: TextPolicy
    vault: Vault
    cache: Path
    """For splits, stages, tokens, states and answers; removed when the run ends well. Temporary files go into it too,
    or, where its path is too long, into a folder beside the system's; they are removed however the run ends."""
    watch: Watch

    def account(self, texts: Iterable[str], *, known: Sequence[str] = ()) -> Account:
        """Search the run folder for the records' texts, and count what was attempted.

        Args:
            texts: Of all records; questions and written answers apart. Read once, one by one.
            known: Texts that may stand there: the recipe, the system prompt, names of labels.
        """
        shared = count_shared(self.folder, texts, known=known, skip=self._is_private)
        state = state_of(self.vault)
        return Account(
            connections=self.watch.connections, text=shared,
            vault_entries=None if state is None else state.entries, vault_head=None if state is None else state.head,
        )  # fmt: skip

    def _is_private(self, place: str) -> bool:
        return place.removeprefix("name of ").startswith(f"{PRIVATE}/")


@contextmanager
def strict_run(
    settings: StrictSettings,
    folder: Path,
    name: str,
    *,
    run: str = "",
    first: bool = True,
    ended: Callable[[], bool] = lambda: True,
) -> Iterator[StrictRun]:
    """Put everything up that `privacy: strict` promises, and take the private cache away at the end.

    Args:
        settings: What the recipe says.
        folder: The run folder; made private (mode 0700).
        name: The recipe's, for the vault's name.
        run: Hash of the recipe.
        first: Whether this is rank 0 of the run's processes, which alone removes the cache.
        ended: Whether the run has nothing left to do when the block ends well; one that was asked to stop in the
            middle keeps its cache.

    Raises:
        ArgumentError: No key is named, it cannot be used, or key or vault lie in the run folder.
        RunFolderError: A folder cannot be made private, or removed.
    """
    policy, vault = policy_of(settings, folder), open_vault(settings, folder, name)
    make_private(folder)
    names = RunFolder(folder)
    with (
        StrictFaults(),
        no_connections(names.connections, allowed=settings.allowed_hosts) as watch,
        private_cache(names.private, first=first, ended=ended) as cache,
        private_temporary(temporary_place(cache), first=first),
    ):
        yield StrictRun(folder=folder, run=run, policy=policy, vault=vault, cache=cache, watch=watch)


def policy_of(settings: StrictSettings, folder: Path) -> TextPolicy:
    """What a strict run, or somebody who looks at it, may write.

    Args:
        settings: What the recipe says.
        folder: The run folder, in which the key may not lie.

    Raises:
        ArgumentError: No key is named, or it cannot be used.
    """
    key = load_key(file=settings.vault_key_file, variable=settings.vault_key_env, run_folder=folder)
    return TextPolicy(strict=True, key=key)


def open_vault(settings: StrictSettings, folder: Path, name: str) -> Vault:
    """The vault of a strict run; nothing is read or written yet.

    Args:
        settings: What the recipe says.
        folder: The run folder, in which it may not lie.
        name: The recipe's.

    Raises:
        ArgumentError: No key is named, it cannot be used, or key or vault lie in the run folder.
    """
    key = load_key(file=settings.vault_key_file, variable=settings.vault_key_env, run_folder=folder)
    return Vault(settings.vault or default_vault(name), key, run_folder=folder)


def default_vault(name: str) -> Path:
    """Where a vault lies when the recipe does not say."""
    return state_root() / "vaults" / f"{re.sub(r'[^A-Za-z0-9._-]', '-', name).strip('.') or 'metier'}.vault"


@contextmanager
def text_folder(target: Path, strict: StrictRun | None) -> Iterator[Path]:
    """Where preparation writes the files that hold records: splits, the spool, train as it was read.

    That is where everything else goes, too, or, of a strict run, a folder in its private cache, put in place as a
    whole when the block ends well. `DataFolder(target).texts` is that folder meanwhile, and of the finished data
    folder afterwards.

    Args:
        target: The folder that everything else is written to, before it is put in place.
        strict: The run, where it is strict.
    """
    if strict is None:
        yield target
        return
    names = RunFolder(strict.folder)
    with whole_folder(names.private_data, draft=names.private / target.name) as private:
        yield private
