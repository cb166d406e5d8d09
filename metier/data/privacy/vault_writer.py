"""Entries of a vault one by one, as a pass over many rows gives them: appended in pieces, the lock held for each piece.

Each piece is in the vault whole or not at all. A pass that is killed and done again leaves some entries twice, which
does no harm: who reads a row gets them in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from metier.data.privacy.vault import Vault, VaultEntry

AT_ONCE = 1000
"""Entries that are held in memory and appended together."""
CHARACTERS = 4_000_000
"""Or as many characters of texts, whichever comes first."""


@contextmanager
def vault_writer(vault: Vault) -> Iterator[Callable[[VaultEntry], None]]:
    """A function that keeps entries, and appends them when there are enough, and at the end of the block.

    When the block fails, what was not appended yet is left out: the rows are met again by the next try.

    Args:
        vault: Where to.
    """
    waiting: list[VaultEntry] = []
    size = 0

    def put(entry: VaultEntry) -> None:
        nonlocal size
        waiting.append(entry)
        size += len(entry.before) + len(entry.after or "")
        if len(waiting) >= AT_ONCE or size >= CHARACTERS:
            vault.add(waiting)
            waiting.clear()
            size = 0

    yield put
    vault.add(waiting)
