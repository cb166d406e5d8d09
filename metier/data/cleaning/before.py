"""What the repairs took out of a row, as counts without text: hidden characters, and keys that were masked.

The steps look at repaired rows, and where personal data is hidden the rows as they were read are kept nowhere. So this
is noted while a row is taken in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from metier.data.cleaning.disguises import disguises
from metier.data.cleaning.secrets import find_secrets

Counts = tuple[tuple[str, str, int], ...]
"""Where (`text` or `answer`), what kind, how often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What a row showed before its repairs."""

    disguises: Counts = ()
    """Kinds as `disguises.disguises` names them."""
    secrets: Counts = ()
    """Kinds as `secrets.Secret` names them; only of rows in which secrets were masked."""

    def of_disguises(self, part: str) -> dict[str, int]:
        """How often each disguise was in a part of the row."""
        return {kind: times for where, kind, times in self.disguises if where == part}

    def of_secrets(self, part: str) -> dict[str, int]:
        """How often each kind of secret was in a part of the row."""
        return {kind: times for where, kind, times in self.secrets if where == part}


NOTHING = Before()


def seen_before(parts: Sequence[tuple[str, str]], *, masked: bool) -> Before:
    """What texts show.

    Args:
        parts: Name and text of each part of a row, before the repairs.
        masked: Whether secrets in them are masked.

    Raises:
        MissingPackage: Secrets are masked, and detect-secrets is not installed.
    """
    hidden = tuple((name, kind, times) for name, text in parts for kind, times in disguises(text).items())
    keys: Counter[tuple[str, str]] = Counter()
    if masked:
        keys.update((name, secret.kind) for name, text in parts for secret in find_secrets(text))
    return Before(disguises=hidden, secrets=tuple((*key, times) for key, times in sorted(keys.items())))
