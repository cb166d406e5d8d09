"""`privacy: strict` around a run: the policy, the vault, the private cache and the closed network, put up together.

A run enters it before it reads data and leaves it after its report. What it promised is counted at the end, not
claimed: `StrictRun.account` searches the files that the run leaves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from metier.data.privacy.account import Account
from metier.data.privacy.connections import Watch, no_connections
from metier.data.privacy.private_folder import make_private, private_cache, private_temporary, temporary_place
from metier.data.privacy.sentences import count_shared
from metier.data.privacy.strict import StrictFaults, TextPolicy
from metier.data.privacy.vault import Vault, VaultState
from metier.data.privacy.vault_key import load_key
from metier.store.cache import state_root

PRIVATE, LEDGER = "private", "connections.jsonl"
"""What lies in the run folder: the private cache while the run goes on, and every attempt to connect."""


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
    policy: TextPolicy
    vault: Vault
    cache: Path
    """For splits, stages, tokens, states and answers; removed when the run ends well. Temporary files go into it too,
    or, where its path is too long, into a folder beside the system's; they are removed however the run ends."""
    watch: Watch

    def account(self, texts: Iterable[str], *, known: Sequence[str] = (), state: VaultState | None = None) -> Account:
        """Search the run folder for the records' texts, and count what was attempted.

        Args:
            texts: Of all records; questions and written answers apart. Read once, one by one.
            known: Texts that may stand there: the recipe, the system prompt, names of labels.
            state: What the vault's last `add` gave; None: nothing was added.
        """
        shared = count_shared(self.folder, texts, known=known, skip=self._is_private)
        return Account(
            connections=self.watch.connections, text=shared,
            vault_entries=None if state is None else state.entries, vault_head=None if state is None else state.head,
        )  # fmt: skip

    def _is_private(self, place: str) -> bool:
        return place.startswith(f"{PRIVATE}/")


@contextmanager
def strict_run(settings: StrictSettings, folder: Path, name: str, *, first: bool = True) -> Iterator[StrictRun]:
    """Put everything up that `privacy: strict` promises, and take the private cache away at the end.

    Args:
        settings: What the recipe says.
        folder: The run folder; made private (mode 0700).
        name: The recipe's, for the vault's name.
        first: Whether this is rank 0 of the run's processes, which alone removes the cache.

    Raises:
        ArgumentError: No key is named, it cannot be used, or key or vault lie in the run folder.
        RunFolderError: A folder cannot be made private, or removed.
    """
    key = load_key(file=settings.vault_key_file, variable=settings.vault_key_env, run_folder=folder)
    place = settings.vault or default_vault(name)
    vault = Vault(place, key, run_folder=folder)
    make_private(folder)
    with (
        StrictFaults(),
        no_connections(folder / LEDGER, allowed=settings.allowed_hosts) as watch,
        private_cache(folder / PRIVATE, first=first) as cache,
        private_temporary(temporary_place(cache), first=first),
    ):
        yield StrictRun(folder=folder, policy=TextPolicy(strict=True, key=key), vault=vault, cache=cache, watch=watch)


def default_vault(name: str) -> Path:
    """Where a vault lies when the recipe does not say."""
    return state_root() / "vaults" / f"{re.sub(r'[^A-Za-z0-9._-]', '-', name).strip('.') or 'metier'}.vault"
