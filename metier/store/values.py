"""Frozen values to plain JSON and back, so that a value class is also its file format.

`to_plain` loses nothing that `from_plain` needs; what a newer version added is ignored when an older
one reads it, and what an older version did not write gets its default.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
from collections.abc import Mapping, Sequence, Set
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from metier.errors import RunFolderError

T = TypeVar("T")


def to_plain(value: object) -> Any:
    """`value` as dicts, lists, strings, numbers, booleans and None, ready for JSON.

    Dataclasses and mappings become dicts, sequences lists, sets sorted lists, paths strings.

    Raises:
        ValueError: A float is NaN or infinite: what could not be computed is None with a reason.
        TypeError: A value or a key has no plain form.
    """
    return _plain(value, "")


def from_plain(cls: type[T], plain: object, *, where: str = "") -> T:
    """Build the dataclass `cls` from what `to_plain` made of it.

    Args:
        cls: A dataclass whose fields are dataclasses, `tuple[X, ...]`, mappings, optionals, plain values.
        plain: A mapping. Keys that `cls` does not have are ignored; missing ones get their default.
        where: The file, for the message.

    Returns:
        The value.

    Raises:
        RunFolderError: A field without default is missing, or has another type.
    """
    try:
        return _build(cls, plain, "")  # type: ignore[no-any-return]
    except _MisfitError as misfit:
        place = f"{where}: {misfit.path}" if where and misfit.path else where or misfit.path
        raise RunFolderError(place or cls.__name__, misfit.found, misfit.wanted, "Run the recipe again.") from None


class _MisfitError(Exception):
    """A plain value that does not fit the type it should become."""

    def __init__(self, path: str, found: str, wanted: str) -> None:
        super().__init__(path, found, wanted)
        self.path, self.found, self.wanted = path, found, wanted


def _plain(value: object, path: str) -> Any:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Integral):  # numpy's integers too
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        if not math.isfinite(number):
            raise ValueError(f"{path or 'value'}: {number} has no place in a file; use None and a reason")
        return number
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name), _under(path, field.name))
            for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {_key(key, path): _plain(item, _under(path, str(key))) for key, item in value.items()}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Set):
        return [_plain(item, path) for item in sorted(value)]
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [_plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
    raise TypeError(f"{path or 'value'}: a {type(value).__name__} has no plain form")


def _key(key: object, path: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{path or 'value'}: the key {key!r} is no string")
    return key


def _under(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _build(wanted: Any, plain: object, path: str) -> Any:
    if wanted is Any or wanted is object:
        return plain
    if dataclasses.is_dataclass(wanted):
        return _build_dataclass(wanted, plain, path)
    origin = get_origin(wanted)
    if origin in (Union, types.UnionType):
        return _build_union(get_args(wanted), plain, path)
    if origin is Literal:
        if plain in get_args(wanted):
            return plain
        raise _MisfitError(path, f"is {plain!r}", " or ".join(map(repr, get_args(wanted))))
    container = origin or wanted
    if container is tuple:
        return _build_tuple(get_args(wanted), plain, path)
    if isinstance(container, type) and issubclass(container, Mapping):
        return _build_mapping(get_args(wanted), plain, path)
    if isinstance(container, type) and issubclass(container, Sequence) and not issubclass(container, str):
        kind = (get_args(wanted) or (Any,))[0]
        built = _build_tuple((kind, Ellipsis), plain, path)
        return list(built) if container is list else built
    return _build_atom(wanted, plain, path)


def _build_dataclass(wanted: Any, plain: object, path: str) -> Any:
    if not isinstance(plain, Mapping):
        raise _MisfitError(path, f"holds {_kind(plain)}", f"the fields of {wanted.__name__}")
    values: dict[str, Any] = {}
    hints = _hints(wanted)
    for field in dataclasses.fields(wanted):
        if not field.init:
            continue
        if field.name in plain:
            values[field.name] = _build(hints[field.name], plain[field.name], _under(path, field.name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise _MisfitError(_under(path, field.name), "is missing", "")
    return wanted(**values)


def _build_union(options: tuple[Any, ...], plain: object, path: str) -> Any:
    if plain is None and type(None) in options:
        return None
    options = tuple(option for option in options if option is not type(None))
    misfits: list[_MisfitError] = []
    # The exact type first: `float | int` must not turn 1 into 1.0.
    for option in sorted(options, key=lambda option: option is not type(plain)):
        try:
            return _build(option, plain, path)
        except _MisfitError as misfit:
            misfits.append(misfit)
    raise misfits[0]


def _build_tuple(kinds: tuple[Any, ...], plain: object, path: str) -> tuple[Any, ...]:
    items = _items(plain, path)
    if not kinds:
        return tuple(items)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_build(kinds[0], item, f"{path}[{index}]") for index, item in enumerate(items))
    if len(items) != len(kinds):
        raise _MisfitError(path, f"has {len(items)} entries", str(len(kinds)))
    return tuple(
        _build(kind, item, f"{path}[{index}]") for index, (kind, item) in enumerate(zip(kinds, items, strict=True))
    )


def _build_mapping(kinds: tuple[Any, ...], plain: object, path: str) -> dict[str, Any]:
    if not isinstance(plain, Mapping):
        raise _MisfitError(path, f"holds {_kind(plain)}", "a mapping")
    kind = kinds[1] if len(kinds) == 2 else Any
    return {str(key): _build(kind, item, _under(path, str(key))) for key, item in plain.items()}


def _build_atom(wanted: Any, plain: object, path: str) -> Any:
    if wanted is Path and isinstance(plain, str):
        return Path(plain)
    if wanted is float and isinstance(plain, int | float) and not isinstance(plain, bool):
        return float(plain)
    if wanted is int and isinstance(plain, int) and not isinstance(plain, bool):
        return plain
    if wanted in (str, bool, type(None)) and isinstance(plain, wanted):
        return plain
    if wanted not in (str, bool, int, float, Path, type(None)):
        raise TypeError(f"{path or 'value'}: a field of type {wanted} cannot be read back")
    raise _MisfitError(path, f"holds {_kind(plain)}", f"a value of type {wanted.__name__}")


def _items(plain: object, path: str) -> Sequence[Any]:
    if not isinstance(plain, list | tuple):
        raise _MisfitError(path, f"holds {_kind(plain)}", "a list")
    return plain


def _kind(plain: object) -> str:
    return "nothing" if plain is None else f"a value of type {type(plain).__name__}"


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)
