"""The key of a vault: made once, kept by the user, never in a run folder.

One key gives several secrets (RFC 5869), so that what marks a row in an open file says nothing about what encrypts
it. The recipe names where the key is, a file or an environment variable; the key itself is written nowhere else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from metier.errors import ArgumentError
from metier.store.files import SpeakingErrors
from metier.store.run_folder import RunFolder

BYTES = 32
"""Length of a key: AES-256."""
_PREFIX = "metier-vault-key-1:"
"""Begins the text of a key, so that it is known for what it is, by people and by detectors of secrets."""
_OWNER_ONLY = 0o600
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MAKE_ONE = "Make one: metier data vault-key FILE."
MARK_DIGITS = 16
"""Hex digits of the mark of a text: 64 bits; two of a million texts share one with a chance of 3 in 100 million."""


@dataclass(frozen=True)
class VaultKey:
    """A secret of 32 bytes. Its `repr` shows the id alone."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse a key of another length."""
        if len(self.secret) != BYTES:
            raise ValueError(f"a key has {BYTES} bytes, not {len(self.secret)}")

    @property
    def id(self) -> str:
        """What may be written in the clear to know the key again: 16 hex digits."""
        return self.derive("id").hex()[:16]

    def derive(self, purpose: str, salt: bytes = b"") -> bytes:
        """Another secret of 32 bytes, from which the key cannot be told: HKDF with SHA-256 (RFC 5869).

        Args:
            purpose: What it is for; different purposes have independent secrets.
            salt: What makes it different for each vault.
        """
        drawn = hmac.digest(salt or bytes(BYTES), self.secret, "sha256")
        return hmac.digest(drawn, f"metier vault 1 {purpose}".encode() + b"\x01", "sha256")

    def mark(self, text: str) -> str:
        """What stands for a text in files that must not hold it: 16 hex digits.

        A plain hash would tell who has a list of likely texts which of them it is; this one needs the key. Equal
        texts have equal marks, in every run with this key.
        """
        data = text.encode("utf-8", "surrogatepass")
        return hmac.new(self.derive("mark"), data, hashlib.sha256).hexdigest()[:MARK_DIGITS]

    def text(self) -> str:
        """The key as it stands in a file or a variable."""
        return _PREFIX + base64.urlsafe_b64encode(self.secret).decode("ascii")


def make_key(path: Path) -> VaultKey:
    """Make a key and write it to a new file that its owner alone may read (mode 0600).

    Args:
        path: The file; missing folders are made with mode 0700.

    Raises:
        ArgumentError: It exists, or lies in a run folder.
        RunFolderError: It cannot be written.
    """
    refuse_in_run(path, "the key of a vault")
    if path.exists():
        fix = "Choose another name: who loses a key loses what it encrypted."
        raise ArgumentError(str(path), "exists", "the name of a new file", fix)
    key = VaultKey(secrets.token_bytes(BYTES))
    with SpeakingErrors(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
        try:
            os.write(descriptor, f"{key.text()}\n".encode("ascii"))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return key


def load_key(
    *,
    file: Path | None = None,
    variable: str | None = None,
    run_folder: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> VaultKey:
    """The key that a recipe names.

    Args:
        file: Its file (`privacy.vault_key_file`).
        variable: The environment variable that holds it (`privacy.vault_key_env`); one of both is given.
        run_folder: The run's folder, which must not hold the file.
        environment: Where the variable is looked for.

    Raises:
        ArgumentError: Neither or both are given, the key is missing or is none, others may read its file, or it lies
            in a run folder.
    """
    if (file is None) == (variable is None):
        found = "names no key" if file is None else "names a file and a variable"
        wanted = "one of vault_key_file and vault_key_env"
        raise ArgumentError("privacy", found, wanted, _MAKE_ONE if file is None else "Keep one of them.")
    if file is not None:
        return _from_file(file, run_folder)
    assert variable is not None
    given = environment.get(variable, "").strip()
    if not given:
        raise ArgumentError(
            f"${variable}", "is not set", "the key of a vault", f"{_MAKE_ONE[:-1]}, and set it to that."
        )
    return _parsed(given, f"${variable}")


def refuse_in_run(path: Path, what: str, run_folder: Path | None = None) -> None:
    """Refuse a place in a run folder: what a run leaves may be given away, and is removed with it.

    Args:
        path: Where something is to be.
        what: What it is, for the message.
        run_folder: A run folder that may not exist yet; any other is known by its state.

    Raises:
        ArgumentError: `path` lies in one.
    """
    for folder in _folders_above(path):
        if RunFolder(folder).state.is_file() or (run_folder is not None and folder == run_folder.resolve()):
            raise ArgumentError(str(path), f"lies in the run folder {folder}", f"{what} outside of every run folder")


def _folders_above(path: Path) -> Iterator[Path]:
    yield from path.resolve().parents


def _from_file(path: Path, run_folder: Path | None) -> VaultKey:
    refuse_in_run(path, "the key of a vault", run_folder)
    try:
        mode = path.stat().st_mode
        given = path.read_text(encoding="ascii").strip()
    except FileNotFoundError as error:
        raise ArgumentError(str(path), "does not exist", "the file of a key", _MAKE_ONE) from error
    except OSError as error:
        raise ArgumentError(str(path), f"cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError:
        given = ""
    if os.name == "posix" and mode & _OTHERS:
        found = f"may be used by others (mode {stat.S_IMODE(mode):04o})"
        raise ArgumentError(str(path), found, "mode 0600", f"chmod 600 {path}")
    return _parsed(given, str(path))


def _parsed(given: str, where: str) -> VaultKey:
    wanted = f"a line that begins with {_PREFIX}"
    try:
        secret = base64.b64decode(given.removeprefix(_PREFIX), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not given.startswith(_PREFIX) or len(secret) != BYTES:
        raise ArgumentError(where, "holds no key of a vault", wanted, _MAKE_ONE)
    return VaultKey(secret)
