"""The file beside a vault that says how far it goes: written whole or not at all, after each append.

What the vault has beyond it is of an append that was killed; what it has less was cut off.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metier.data.privacy.vault_frames import Position
from metier.data.privacy.vault_key import VaultKey
from metier.errors import DataError, RunFolderError
from metier.store.files import read_json, write_json

_FORMAT = "vault_mark"
_FIELDS = ("entries", "size", "chain")


@dataclass(frozen=True)
class MarkFile:
    """Where a vault ends, with a proof (HMAC with SHA-256) that who wrote it had the key."""

    path: Path
    key: VaultKey

    def write(self, position: Position) -> None:
        """Say that the vault goes so far."""
        plain = {"entries": position.entries, "size": position.size, "chain": position.chain.hex()}
        write_json(self.path, {**plain, "proof": self._proof(plain)}, format=_FORMAT)

    def read(self, header: bytes) -> Position:
        """How far the vault goes.

        Args:
            header: The vault's first bytes.

        Raises:
            DataError: It is missing, was changed, or belongs to another vault.
        """
        path, fix = str(self.path), "Put it back, or call `repair_mark`."
        try:
            found = read_json(self.path, format=_FORMAT)
        except RunFolderError as error:
            raise DataError(path, error.found, "the mark of the vault, which says how far it goes", fix) from error
        plain = {name: found.get(name) for name in _FIELDS}
        if not hmac.compare_digest(str(found.get("proof")), self._proof(plain)):
            raise DataError(path, "was not written with this key, or was changed", "", fix)
        position = Position(int(found["entries"]), int(found["size"]), bytes.fromhex(found["chain"]))
        if position.entries == 0 and position != Position.after_header(header):
            raise DataError(path, "is the mark of another vault, or the first bytes of this one were changed", "", fix)
        return position

    def _proof(self, plain: dict[str, Any]) -> str:
        secret = self.key.derive("mark of a vault")
        return hmac.new(secret, json.dumps(plain, sort_keys=True).encode("utf-8"), hashlib.sha256).hexdigest()
