"""XML: every element at a path is a row, read as a stream.

A row's columns are the element's attributes and its children's texts. A child's attributes are columns too,
called `<child>_<attribute>`; a child that comes several times is a list. Names are without their namespace.

Read with defusedxml: entities and references to other files, with which a small file can take all memory or read
what it should not, are refused. The only file that knows the package.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from metier.data.batches import FileFacts, ReadRow
from metier.data.records import Rejected
from metier.data.table import ReadOptions, cell_text
from metier.errors import DataError, MissingPackage

MOST_DEPTH = 1000
"""Elements inside each other; more is no data."""
_LOOKED_AT = 20_000
"""Elements at the start of a file in which a path to suggest is looked for."""
_STEP = re.compile(r"(?:\{[^}]*\}|[^/:{}\[\]@]+:)?([^/:{}\[\]@\s]+|\*)\Z")


def xml_rows(
    file: BinaryIO, options: ReadOptions, facts: FileFacts, *, records: str | None
) -> Iterator[ReadRow | Rejected]:
    """The elements at a path as rows.

    Args:
        file: The file, at its start.
        options: The file's name, for messages.
        facts: Filled while reading.
        records: Path of the repeated element: `.//row` (anywhere), `rows/row` (below the root), `/root/rows/row`; `*`
            is any name. Conditions in brackets are not supported.

    Raises:
        DataError: The path is missing, wrong or leads nowhere, or the file is damaged, too deep, or declares entities.
        MissingPackage: defusedxml is not installed.
    """
    if records is None:
        raise _no_path(file, options.name)
    fits = compiled_path(records)
    number, names = 0, Counter[str]()
    for path, element in _elements(file, options.name, fits):
        if element is None:
            if not number and names.total() < _LOOKED_AT:
                names[path[-1]] += 1
            continue
        number += 1
        row = _row(element)
        facts.columns.update(dict.fromkeys(row))
        yield ReadRow(number, row)
    if not number:
        often = ", ".join(f"`.//{name}` ({count:,} times)" for name, count in names.most_common(5))
        raise DataError("data.records", f"`{records}` leads to nothing in {options.name}", "", f"There are: {often}.")


def compiled_path(records: str) -> Callable[[tuple[str, ...]], bool]:
    """A test of whether the element whose names, root first, are given is at a path.

    Args:
        records: As the recipe has it.

    Raises:
        DataError: It is no such path.
    """
    path = records.strip()
    absolute = path.startswith("/") and not path.startswith("//")
    rest = path.removeprefix(".") if path.startswith("./") else path
    if not rest.startswith("/"):
        rest = f"/{rest}"
    pattern = "" if absolute else r"/[^/]+"  # the root is where a path that is not absolute starts
    last = ""
    for slashes, step in re.findall(r"(/+)([^/]*)", rest):
        found = _STEP.match(step)
        if found is None or len(slashes) > 2:
            wanted = "names between slashes, such as .//row or rows/row"
            raise DataError("data.records", f"is `{records}`", wanted, "Name the element that each row is.")
        last = found[1]
        pattern += "(?:/[^/]+)*" * (len(slashes) == 2) + "/" + ("[^/]+" if last == "*" else re.escape(last))
    whole = re.compile(pattern)
    return lambda names: last in ("*", names[-1]) and whole.fullmatch("/" + "/".join(names)) is not None


def _elements(
    file: BinaryIO, name: str, fits: Callable[[tuple[str, ...]], bool]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Names from the root to each element that begins (None with it), and to each row that ended (with the row)."""
    names: list[str] = []
    parents: list[Any] = []
    row: Any = None
    for event, element in _events(file, name):
        if event == "start":
            names.append(_local(element.tag))
            parents.append(element)
            if len(names) > MOST_DEPTH:
                raise DataError(name, f"has more than {MOST_DEPTH:,} elements inside each other", "", "Repair it.")
            yield tuple(names), None
            if row is None and fits(tuple(names)):
                row = element
            continue
        if element is row:
            yield tuple(names), element
            row = None
        names.pop()
        parents.pop()
        if row is None:  # what was read is let go
            element.clear()
            if parents:
                parents[-1].remove(element)


def _events(file: BinaryIO, name: str) -> Iterator[tuple[str, Any]]:
    try:
        from defusedxml import DefusedXmlException  # type: ignore[import-untyped]
        from defusedxml.ElementTree import iterparse  # type: ignore[import-untyped]
    except ImportError as error:
        fix = "Install it: pip install defusedxml."
        raise MissingPackage("defusedxml", "is needed to read XML, and not installed", "", fix) from error
    try:
        yield from iterparse(file, events=("start", "end"))
    except DefusedXmlException as error:
        found = "declares entities or refers to other files, as attacks do"
        raise DataError(name, found, "plain XML", "Take the declarations out, if you trust the file.") from error
    except SyntaxError as error:  # ParseError
        line = getattr(error, "position", (0, 0))[0]
        raise DataError(name, f"is no well-formed XML at line {line}", "", "Repair it, or save it again.") from error
    except (ValueError, LookupError) as error:
        found = "is XML in an encoding that cannot be read, or damaged"
        raise DataError(name, found, "UTF-8", "Save it again as UTF-8.") from error


def _row(element: Any) -> dict[str, str | None]:
    row: dict[str, list[object]] = {}
    for key, value in element.attrib.items():
        row.setdefault(_local(key), []).append(value)
    own = " ".join(
        text for part in [element.text, *(child.tail for child in element)] if (text := (part or "").strip())
    )
    if own:
        row.setdefault("text", []).append(own)
    for child in element:
        if not isinstance(child.tag, str):  # a comment
            continue
        name = _local(child.tag)
        row.setdefault(name, []).append("".join(child.itertext()).strip() or None)
        for key, value in child.attrib.items():
            row.setdefault(f"{name}_{_local(key)}", []).append(value)
    return {name: cell_text(values[0] if len(values) == 1 else values) for name, values in row.items()}


def _local(name: object) -> str:
    """A name without its namespace."""
    return str(name).rpartition("}")[2]


def _no_path(file: BinaryIO, name: str) -> DataError:
    """The question for a path, with those that repeat at the start of the file, the least deep first."""
    counts: Counter[tuple[str, ...]] = Counter()
    for seen, (path, _) in enumerate(_elements(file, name, lambda _: False)):
        if len(path) > 1:
            counts[path] += 1
        if seen >= _LOOKED_AT:
            break
    repeated = sorted((path for path, count in counts.items() if count > 1), key=lambda path: (len(path), path))
    fix = ", ".join(f"`.//{path[-1]}` ({counts[path]:,} times)" for path in repeated[:5])
    wanted = "the path of the element that each row is, such as .//row"
    return DataError("data.records", f"is not set, and {name} is XML", wanted, f"There are: {fix}." if fix else "")
