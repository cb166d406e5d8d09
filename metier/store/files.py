"""Files that are written whole or not at all: a temporary sibling, sync, rename.

A kill at any moment leaves the old content or the new one, and at most a leftover whose name ends in
`.tmp-…`, which `remove_leftovers` takes away. JSON files carry `format` and `version`; JSON Lines
files may end in a torn line after a kill, which reading ignores and the next append removes.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metier.errors import DiskFull, MetierError, RunFolderError
from metier.store.values import to_plain

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
# Rust names the number of the system's error (112 on Windows), `shutil` and transformers quote its text.
_NO_SPACE_TEXT = re.compile(
    "|".join([r"\(os error (28|122|112)\)", *(re.escape(os.strerror(number)) for number in sorted(_NO_SPACE))])
)
_LEFTOVER = re.compile(r"^\..+\.tmp-\d+-[0-9a-f]{8}$")
_BINARY = getattr(os, "O_BINARY", 0)  # Windows would translate line ends without it


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all; missing parent folders are made.

    Raises:
        DiskFull: No space is left; `path` is as it was.
        RunFolderError: The file may not be written.
    """
    temporary = _temporary(path)
    with SpeakingErrors(path), _removed_on_failure(temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
        try:
            _write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)  # noqa: PTH105 - tests simulate a kill here
        _sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    r"""Write `text` as UTF-8 with `\n` line ends, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: object, *, format: str, version: int = 1) -> None:
    """Write a mapping or a dataclass as JSON that starts with its format and version.

    Args:
        path: The file.
        value: What `to_plain` turns into a mapping. NaN and infinity are refused.
        format: The kind of file, without the leading `metier.`.
        version: Version of that format.
    """
    plain = to_plain(value)
    if not isinstance(plain, dict):
        raise TypeError(f"{path.name}: a JSON file holds a mapping, not {type(value).__name__}")
    head = {"format": f"metier.{format}", "version": version}
    if any(plain.get(name, wanted) != wanted for name, wanted in head.items()):
        raise ValueError(f"{path.name}: `format` and `version` are the file's own and cannot be values in it")
    write_bytes(path, _encode({**head, **plain}, indent=2) + b"\n")


def read_json(path: Path, *, format: str, version: int = 1) -> dict[str, Any]:
    """Read a file that `write_json` wrote, `format` and `version` included.

    Args:
        path: The file.
        format: The kind wanted, without the leading `metier.`.
        version: The newest version that the caller can read.

    Returns:
        The mapping in it.

    Raises:
        RunFolderError: It is missing, damaged, of another format, or newer than `version`.
    """
    try:
        value = _decode(_read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise RunFolderError(str(path), "is damaged: no readable JSON", "", "Run the recipe again.") from error
    found = value.get("format") if isinstance(value, dict) else None
    if not isinstance(value, dict) or found != f"metier.{format}":
        raise RunFolderError(str(path), f"has the format {found!r}", f"'metier.{format}'")
    if not isinstance(value.get("version"), int) or value["version"] > version:
        found = f"has version {value.get('version')!r} of {value['format']}"
        raise RunFolderError(str(path), found, f"at most {version}", "Use the metier version that wrote it.")
    return value


def append_json_line(path: Path, row: object) -> None:
    """Add one mapping or dataclass as a line; a torn last line from an earlier kill is removed first.

    Processes that append at the same moment wait for each other. The line goes out in one write. It is
    not synced: a power cut may lose the last lines, a kill does not.

    Raises:
        DiskFull: No space is left; the earlier lines are as they were.
    """
    plain = to_plain(row)
    if not isinstance(plain, dict):
        raise TypeError(f"{path.name}: a line holds a mapping, not {type(row).__name__}")
    with SpeakingErrors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _BINARY, 0o666)
        try:
            _wait_for_other_writers(descriptor)
            end = _end_of_whole_lines(descriptor)
            try:
                os.ftruncate(descriptor, end)
                os.lseek(descriptor, end, os.SEEK_SET)
                lead = b"\n" if end and _byte_before(descriptor, end) != b"\n" else b""
                _write_all(descriptor, lead + _encode(plain) + b"\n")
            except OSError:
                os.ftruncate(descriptor, end)
                raise
        finally:
            os.close(descriptor)


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """All rows of a JSON Lines file; a torn last line is ignored.

    Raises:
        RunFolderError: The file is missing, or a line that is not the last is damaged.
    """
    lines = _read_bytes(path).split(b"\n")
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = _decode(line)
        except (ValueError, RecursionError) as error:
            if number == len(lines):
                break
            raise RunFolderError(f"{path}, line {number}", "is damaged: no readable JSON") from error
        if not isinstance(row, dict):
            raise RunFolderError(f"{path}, line {number}", f"holds a {type(row).__name__}", "a JSON object")
        rows.append(row)
    return rows


@contextmanager
def whole_folder(path: Path, *, draft: Path | None = None) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its name when the block ends well, and vanishes otherwise.

    An older folder of that name is replaced. Everything inside is synced before the rename.

    Args:
        path: The folder.
        draft: The temporary one, on the same disk, for who has to know its name. None: a new name.

    Raises:
        DiskFull: No space is left; `path` is as it was.
    """
    temporary = draft or _temporary(path)
    with _removed_on_failure(temporary):
        with SpeakingErrors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
        with SpeakingErrors(path, only_space=True):
            yield temporary
        with SpeakingErrors(path):
            _sync_tree(temporary)
            _put_in_place(temporary, path)


def remove_leftovers(folder: Path) -> int:
    """Remove what killed writes left anywhere under `folder`.

    Call it only while nobody else writes there.

    Returns:
        How many files and folders were removed.
    """
    leftovers = [path for path in folder.rglob(".*") if _LEFTOVER.match(path.name)]
    for path in leftovers:
        _remove(path)
    return len(leftovers)


def is_leftover(path: Path) -> bool:
    """Whether `path` has the name of a temporary file or folder of this module."""
    return bool(_LEFTOVER.match(path.name))


def disk_full(path: Path) -> DiskFull:
    """The error for a full disk, for writers whose library reports it in its own way."""
    fix = "Free some space or set output.dir (METIER_CACHE for the cache) to another disk; nothing is half-written."
    return DiskFull(str(path), "no space left on the device", "", fix)


def _temporary(path: Path) -> Path:
    # A hidden sibling: rename is atomic only within one file system.
    return path.parent / f".{path.name[:100]}.tmp-{os.getpid()}-{secrets.token_hex(4)}"


class SpeakingErrors:
    """A block that writes to `path`: what goes wrong with the disk inside leaves it as an error of ours."""

    def __init__(self, path: Path, *, only_space: bool = False) -> None:
        """Only a full disk is translated with `only_space`: the block's other errors are its own."""
        self._path, self._only_space = path, only_space

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Raise `DiskFull` or `RunFolderError` in place of an error of the disk."""
        # No `except`: tokenizers report a full disk as a bare Exception, safetensors as one of their own.
        if error is None or isinstance(error, MetierError):
            return
        if _tells_of_full_disk(error):
            raise disk_full(self._path) from error
        if isinstance(error, OSError) and not self._only_space:
            found = f"cannot be written ({error.strerror or error})"
            fix = "Choose another --output, or change its permissions."
            raise RunFolderError(str(self._path), found, "", fix) from error


def _tells_of_full_disk(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        return True
    return isinstance(error, Exception) and bool(_NO_SPACE_TEXT.search(str(error)))


@contextmanager
def _removed_on_failure(temporary: Path) -> Iterator[None]:
    done = False
    try:
        yield
        done = True
    finally:
        if not done:
            _remove(temporary)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _put_in_place(temporary: Path, path: Path) -> None:
    # A full folder cannot be replaced in one call: the old one steps aside, then goes.
    old = _temporary(path)
    if path.exists():
        path.rename(old)
    try:
        temporary.rename(path)
    except OSError:
        if old.exists():
            old.rename(path)
        raise
    _sync_folder(path.parent)
    _remove(old)


def _wait_for_other_writers(descriptor: int) -> None:
    """Lock an open file; closing it, or the end of the process, lets go."""
    if sys.platform == "win32":  # its locks keep readers out as well: there the last line of two may win
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        # Some network file systems have no locks; appending alone is safe there too.
        if error.errno not in {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}:
            raise


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder; the rename has happened.
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EBADF}:
            raise
    finally:
        os.close(descriptor)


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            descriptor = os.open(path, os.O_RDWR | _BINARY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        elif path.is_dir():
            _sync_folder(path)
    _sync_folder(folder)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise RunFolderError(str(path), "is missing", "", "Run the recipe again with --resume.") from error
    except OSError as error:
        raise RunFolderError(str(path), f"cannot be read ({error.strerror or error})") from error


def _end_of_whole_lines(descriptor: int) -> int:
    """Where the next line starts: the file's size without a torn last line."""
    size = os.lseek(descriptor, 0, os.SEEK_END)
    tail, begin = b"", size
    while begin > 0 and b"\n" not in tail:
        end, begin = begin, max(0, begin - 65_536)
        os.lseek(descriptor, begin, os.SEEK_SET)
        tail = os.read(descriptor, end - begin) + tail
    last = tail.rpartition(b"\n")[2]
    if not last:
        return size
    try:
        _decode(last)
    except (ValueError, RecursionError):
        return size - len(last)
    return size  # whole, only its line end is missing


def _byte_before(descriptor: int, end: int) -> bytes:
    os.lseek(descriptor, end - 1, os.SEEK_SET)
    return os.read(descriptor, 1)


def _encode(plain: Mapping[str, Any], *, indent: int | None = None) -> bytes:
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False, indent=indent)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair, as broken input has it: only an escape can hold it
        return json.dumps(plain, ensure_ascii=True, allow_nan=False, indent=indent).encode("ascii")


def _decode(data: bytes) -> Any:
    return json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
