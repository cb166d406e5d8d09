"""Rejected and changed rows under `privacy: strict`: where they are and why stays in the run, what they say goes away.

It goes into the vault, as it was read and, of a changed row, as it became. The hashes by which the lines of
`rejected.jsonl` and `changed.jsonl` know their rows again are made with the vault's key.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from metier.data.privacy.strict import TextPolicy
from metier.data.privacy.strict_run import StrictRun
from metier.data.privacy.vault import Vault, VaultEntry
from metier.data.privacy.vault_writer import vault_writer
from metier.data.reasons import PERSONAL_DATA, row_sha256
from metier.data.records import Changed, Record, Rejected
from metier.data.splits import answers_of
from metier.data.table import RawRow, raw_row

REMEMBERED = 10_000
"""Rows that were accepted last, whose texts are at hand when it is told that they were changed."""


class RowVault:
    """Takes the texts out of what is written about rows."""

    def __init__(self, put: Callable[[VaultEntry], None], policy: TextPolicy, run: str) -> None:
        """Put into a vault what a run may not keep.

        Args:
            put: Takes an entry, as `vault_writer` gives it.
            policy: Makes the hashes.
            run: Hash of the run's recipe.
        """
        self._put, self.mark, self._run = put, policy.mark, run
        self._accepted: OrderedDict[tuple[str, int], tuple[RawRow, list[str]]] = OrderedDict()

    def accept(self, record: Record, content: RawRow) -> None:
        """Remember a row that became a record, in case that it was changed.

        Args:
            record: The record; a row may hold several.
            content: The row as it was read.
        """
        _, texts = self._accepted.setdefault((record.source, record.row), (content, []))
        texts.append(_said(record))
        if len(self._accepted) > REMEMBERED:
            self._accepted.popitem(last=False)

    def rejected(self, row: Rejected) -> Rejected:
        """The row without its content, which is in the vault now, and with another hash."""
        mark = self._mark(row.sha256 or row_sha256(row.content))
        if row.content:
            self._put(
                VaultEntry(run=self._run, source=row.source, row=row.row, row_hash=mark, step=row.step,
                           version=row.version, reason=row.reason, before=row.content)
            )  # fmt: skip
        return replace(row, content="", sha256=mark)

    def changed(self, row: Changed) -> Changed:
        """The row with another hash; its texts are in the vault now.

        A row that was not accepted lately stands in its file as it was read, and nowhere else.
        """
        mark, found = self._mark(row.sha256), self._accepted.get((row.source, row.row))
        if found is not None:
            content, texts = found
            self._put(
                VaultEntry(run=self._run, source=row.source, row=row.row, row_hash=mark, step=row.step,
                           version=row.version, reason=", ".join(row.repairs), before=raw_row(content),
                           after="\n\n".join(texts))
            )  # fmt: skip
        return replace(row, sha256=mark)

    def hidden(self, before: Record, after: Record | None) -> None:
        """Keep a record as it was before personal data was taken out of it, or before it left: for `make_hiding`.

        Args:
            before: The record.
            after: The same without personal data. None: it left.
        """
        said = _said(before)
        self._put(
            VaultEntry(run=self._run, source=before.source, row=before.row, row_hash=self._mark(row_sha256(said)),
                       step=PERSONAL_DATA.step, version=PERSONAL_DATA.version, reason="personal data", before=said,
                       after=None if after is None else _said(after))
        )  # fmt: skip

    def _mark(self, sha256: str) -> str:
        """A hash that cannot be made from a text without the key; nothing where there is none."""
        return self.mark(sha256) if sha256 else ""


@contextmanager
def row_vault(strict: StrictRun | None) -> Iterator[RowVault | None]:
    """A row vault of a run; at the end of the block everything is in the file.

    Args:
        strict: The run, where it is strict.
    """
    if strict is None:
        yield None
        return
    with vault_writer(strict.vault) as put:
        yield RowVault(put, strict.policy, strict.run)


def _said(record: Record) -> str:
    return "\n\n".join(text for text in (record.text, *answers_of(record)) if text)


def rows_in(vault: Vault, run: str) -> dict[str, str]:
    """The rows of a run as they were read, by the hash that stands for them in its lines.

    Args:
        vault: With its key.
        run: Hash of the run's recipe.

    Raises:
        DataError: As `Vault.entries`.
    """
    return {entry.row_hash: entry.before for entry in vault.entries() if entry.run == run}
