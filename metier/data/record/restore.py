"""The input given back: whole files from their source by path and hash, and rows that were rejected or changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from metier.data.archive import open_member
from metier.data.card import DataCard, SourceFile
from metier.data.data_source import DataSource, find_sources, source_hash
from metier.data.record.findings import read_lines
from metier.data.records import Changed, Rejected
from metier.data.stream import HowToRead, stream_rows
from metier.data.table import counted
from metier.errors import ArgumentError, DataError
from metier.store.files import SpeakingErrors, read_json, whole_folder, write_text
from metier.store.fingerprint import file_sha256
from metier.store.run_folder import DataFolder
from metier.store.values import from_plain

_BROKEN = ""
"""Column of a row that could not be read: its text as it is."""


@dataclass(frozen=True, kw_only=True)
class RestoredFile:
    """A file that was given back, byte for byte."""

    name: str
    path: Path
    sha256: str


@dataclass(frozen=True, kw_only=True)
class RestoredRow:
    """A row as it stood in its file before anything was done to it."""

    source: str
    row: int
    what: str
    """`rejected` or `changed`."""
    why: tuple[str, ...]
    """The reason, or the repairs."""
    content: Mapping[str, object]
    """Cells by column."""
    checked: bool
    """Whether it is equal to the row in a source file whose hash still fits."""


@dataclass(frozen=True, kw_only=True)
class RestoredRows:
    """What `restore_rows` wrote."""

    path: Path
    rejected: int
    changed: int
    checked: int
    """Rows that were compared with the source file, and are equal."""
    missing: tuple[str, ...] = ()
    """Rows that could not be given back, as sentences: their file is gone, and their content is not stored."""


def restore_files(folder: Path, out: Path, *, source_folder: Path | None = None) -> tuple[RestoredFile, ...]:
    """Copy every file that was read to prepare a run's data, byte for byte; all or none.

    Args:
        folder: The run's data folder.
        out: A new folder, or an empty one.
        source_folder: Where files are looked for, by name, that are no longer at their path.

    Raises:
        ArgumentError: `out` holds something.
        DataError: A file is missing or has changed; every such file is named.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ArgumentError(str(out), "holds something", "a new folder", "Choose another one.")
    found: list[tuple[SourceFile, DataSource]] = []
    faults = []
    for source in read_card(folder).files:
        place, fault = _where(source, source_folder)
        if place is None:
            faults.append(fault)
        else:
            found.append((source, place))
    if faults:
        fix = "Put the files back, or name the folder that has them with --from; nothing was written."
        raise DataError(str(folder), f"cannot be restored: {'; '.join(faults)}", "the files as they were read", fix)
    names = _inside([source.name for source, _ in found])
    with whole_folder(out) as target:
        for (source, place), name in zip(found, names, strict=True):
            _copy(place, target / name)
            if file_sha256(target / name) != source.sha256:
                raise DataError(str(place.path), "changed while it was copied", "a file at rest", "Restore again.")
    return tuple(
        RestoredFile(name=source.name, path=out / name, sha256=source.sha256)
        for (source, _), name in zip(found, names, strict=True)
    )


def restore_rows(
    folder: Path,
    out: Path,
    *,
    source_folder: Path | None = None,
    sheet: str | None = None,
    records: str | None = None,
    stored: Mapping[str, str] | None = None,
) -> RestoredRows:
    """Write every rejected and every changed row as it stood in its file, one JSON object a line.

    Rejected rows are stored in the run; changed ones are read again from their file. Where the file is
    unchanged, both are compared with it.

    Args:
        folder: The run's data folder.
        out: A new file.
        source_folder: Where files are looked for, by name, that are no longer at their path.
        sheet: `data.sheet` of the run's recipe.
        records: `data.records` of the run's recipe: an XML file is read by it.
        stored: Rows as they were read, by the hash of their line: from the vault of a run under `privacy: strict`.

    Raises:
        ArgumentError: `out` is there already.
    """
    if out.exists():
        raise ArgumentError(str(out), "is there already", "a new file", "Choose another one.")
    logged = _logged(folder, stored or {})
    lines: list[RestoredRow] = []
    missing: list[str] = []
    for source in read_card(folder).files:
        if source.name not in logged:
            continue
        how = HowToRead(format=source.format, delimiter=source.delimiter, encoding=source.encoding, sheet=sheet,
                        records=records)  # fmt: skip
        found, lost = _of_source(source, logged[source.name], how, source_folder)
        lines += found
        missing += lost
    text = "".join(
        json.dumps({"source": line.source, "row": line.row, "what": line.what, "why": list(line.why),
                    "checked": line.checked, "content": line.content}, ensure_ascii=False) + "\n"
        for line in lines
    )  # fmt: skip
    write_text(out, text)
    return RestoredRows(
        path=out,
        rejected=sum(line.what == "rejected" for line in lines),
        changed=sum(line.what == "changed" for line in lines),
        checked=sum(line.checked for line in lines),
        missing=tuple(missing),
    )


def read_card(folder: Path) -> DataCard:
    """The data card of a run.

    Args:
        folder: The run's data folder.

    Raises:
        RunFolderError: It is missing or damaged.
    """
    path = DataFolder(folder).card
    return from_plain(DataCard, read_json(path, format="card"), where=str(path))


def _where(source: SourceFile, source_folder: Path | None) -> tuple[DataSource | None, str]:
    """Where the file is, byte for byte; else None and what is wrong."""
    own = Path(source.path)
    places = [own, *([source_folder / source.name, source_folder / own.name] if source_folder is not None else [])]
    there = [path for path in dict.fromkeys(places) if path.is_file()]
    for path in there:
        for place in _readable_as(source, path):
            if source_hash(place) == source.sha256:
                return place, ""
    if not there:
        return None, f"{source.name} is missing ({source.path})"
    now = file_sha256(there[0])
    return None, f"{source.name} has changed ({there[0]}: its hash is {now[:12]}, it was {source.sha256[:12]})"


def _readable_as(source: SourceFile, path: Path) -> list[DataSource]:
    """A file itself and, of an archive, the member that the source's name ends in."""
    whole = DataSource(path=path, name=source.name)
    try:
        inside = find_sources(path, name=path.name)
    except DataError:  # a damaged archive: its own hash says that it has changed
        return [whole]
    members = [one for one in inside if one.member is not None and source.name.endswith(f"/{one.member}")]
    return [whole, *(DataSource(path=path, member=one.member, name=source.name) for one in members)]


@contextmanager
def _bytes_of(place: DataSource) -> Iterator[BinaryIO]:
    with place.path.open("rb") as file:
        yield file if place.member is None else open_member(file, place.member, place.name)


def _copy(place: DataSource, target: Path) -> None:
    with SpeakingErrors(target), _bytes_of(place) as read:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as written:
            shutil.copyfileobj(read, written, 2**20)


def _inside(names: Sequence[str]) -> list[str]:
    """Names that stay inside a folder, each once."""
    inside: list[str] = []
    for name in names:
        parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..", ".")]
        wanted = "/".join(part.replace(":", "_") for part in parts) or "file"
        count, unique = 1, wanted
        while unique in inside:
            count += 1
            unique = f"{count}-{wanted}" if "/" not in wanted else f"{count}/{wanted}"
        inside.append(unique)
    return inside


@dataclass
class _Logged:
    """Rows of one file that something happened to, by number."""

    rejected: dict[int, list[Rejected]] = field(default_factory=dict)
    changed: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """Repairs; a row that holds several records has one entry."""
    stored: dict[int, str] = field(default_factory=dict)
    """Changed rows as they were read, where they are stored."""


def _logged(folder: Path, stored: Mapping[str, str]) -> dict[str, _Logged]:
    """What `rejected.jsonl` and `changed.jsonl` say, by file; what they leave out is taken from what is stored."""
    files: dict[str, _Logged] = {}
    names = DataFolder(folder)
    for number, line in read_lines(names.rejected):
        gone = from_plain(Rejected, line, where=f"{names.rejected}, line {number}")
        gone = gone if gone.content else replace(gone, content=stored.get(gone.sha256, ""))
        files.setdefault(gone.source, _Logged()).rejected.setdefault(gone.row, []).append(gone)
    for number, line in read_lines(names.changed):
        row = from_plain(Changed, line, where=f"{names.changed}, line {number}")
        logged = files.setdefault(row.source, _Logged())
        changed = logged.changed
        changed[row.row] = tuple(dict.fromkeys((*changed.get(row.row, ()), *row.repairs)))
        if row.sha256 in stored:
            logged.stored[row.row] = stored[row.sha256]
    return files


def _of_source(
    source: SourceFile, logged: _Logged, how: HowToRead, source_folder: Path | None
) -> tuple[list[RestoredRow], list[str]]:
    """The rows of one file, and what could not be given back, as sentences."""
    place, fault = _where(source, source_folder)
    rows = _rows_of(place, how, {*logged.rejected, *logged.changed}) if place is not None else {}
    lines = [line for number, part in logged.rejected.items() for line in _rejections(source.name, number, part, rows)]
    lost = {"rejected": sum(map(len, logged.rejected.values())) - len(lines)}
    lost["changed"] = len(logged.changed.keys() - rows.keys() - logged.stored.keys())
    lines += [
        _one(source.name, number, "changed", why, rows.get(number) or _content(logged.stored[number]),
             checked=number in rows)
        for number, why in logged.changed.items()
        if number in rows or number in logged.stored
    ]  # fmt: skip
    said = [
        f"{counted(count, f'{what} row')} of {fault or source.name}" for what, count in lost.items() if count
    ]  # fmt: skip
    return lines, said


def _rows_of(place: DataSource, how: HowToRead, wanted: set[int]) -> dict[int, dict[str, object]]:
    """Rows of a file by number; one that could not be read as the text that it is."""
    rows: dict[int, dict[str, object]] = {}
    for batch in stream_rows(place, how):
        rows.update((row.row, {_BROKEN: row.content}) for row in batch.broken if row.row in wanted)
        rows.update((n, dict(row)) for row, n in zip(batch.rows, batch.row_numbers, strict=True) if n in wanted)
    return rows


def _rejections(
    source: str, number: int, lines: Sequence[Rejected], rows: Mapping[int, Mapping[str, object]]
) -> Iterator[RestoredRow]:
    """The rejected records of one row; where their content is not stored (privacy), the row as its file has it."""
    row = rows.get(number)
    for line in lines:
        why = (line.reason,)
        if not line.content:
            if row is not None:
                yield _one(source, number, "rejected", why, row, checked=True)
            continue
        stored = _content(line.content)
        # A row that holds several records is stored with the one that was rejected: other columns than the file's.
        shared = stored.keys() & (row or {}).keys()
        checked = row is not None and bool(shared) and all(row[name] == stored[name] for name in shared)
        yield _one(source, number, "rejected", why, stored, checked=checked)


def _content(text: str) -> dict[str, object]:
    """A stored row; a broken one is kept as the text that it was."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {_BROKEN: text}


def _one(
    source: str, row: int, what: str, why: tuple[str, ...], content: Mapping[str, object], *, checked: bool
) -> RestoredRow:
    return RestoredRow(source=source, row=row, what=what, why=why, content=content, checked=checked)
