"""Every public name is documented, and an `Args` section names exactly the parameters."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

import pytest

Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _public(tree: ast.Module) -> Iterator[tuple[str, Documented]]:
    for node in tree.body:
        if not isinstance(node, Documented) or node.name.startswith("_"):
            continue
        yield node.name, node
        if isinstance(node, ast.ClassDef):
            for part in node.body:
                if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) and not part.name.startswith("_"):
                    yield f"{node.name}.{part.name}", part


def _is_exempt(node: Documented) -> bool:
    names = {decorator.attr if isinstance(decorator, ast.Attribute) else getattr(decorator, "id", "")
             for decorator in node.decorator_list}  # fmt: skip
    return bool(names & {"overload", "setter", "override"})


def _documented_arguments(docstring: str) -> list[str] | None:
    """The names in the `Args` section, or None without one."""
    section = re.search(r"^Args:\n((?:[ ]{4}.*\n?|\n)+)", docstring, flags=re.MULTILINE)
    if section is None:
        return None
    entries = re.findall(r"^ {4}(\S[^:]*?)(?: \([^)]*\))?:", section.group(1), flags=re.MULTILINE)
    return [name.strip().lstrip("*") for entry in entries for name in entry.split(",")]


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    arguments = node.args
    every = [*arguments.posonlyargs, *arguments.args, *([arguments.vararg] if arguments.vararg else [])]
    every += [*arguments.kwonlyargs, *([arguments.kwarg] if arguments.kwarg else [])]
    return [one.arg for one in every]


def _of_class(node: ast.ClassDef) -> list[str]:
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
            return _parameters(part)
    return [
        part.target.id for part in node.body if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
    ]


def test_every_module_says_what_it_is(trees: Mapping[str, ast.Module]) -> None:
    missing = [file for file, tree in trees.items() if not ast.get_docstring(tree)]
    assert not missing


def test_every_public_name_has_a_docstring(trees: Mapping[str, ast.Module]) -> None:
    missing = [
        f"{file}: {name}"
        for file, tree in trees.items()
        for name, node in _public(tree)
        if not ast.get_docstring(node) and not _is_exempt(node)
    ]
    assert not missing, "\n".join(missing)


def test_documented_arguments_are_those_of_the_signature(trees: Mapping[str, ast.Module]) -> None:
    broken = []
    for file, tree in trees.items():
        for node in ast.walk(tree):
            if not isinstance(node, Documented):
                continue
            documented = _documented_arguments((ast.get_docstring(node) or "") + "\n")
            actual = _of_class(node) if isinstance(node, ast.ClassDef) else _parameters(node)
            # A method's own first parameter is not documented; a function may have one called `cls`.
            receiver = {"self", "cls"} & {*actual[:1]} - {*(documented or [])}
            if documented is not None and sorted(documented) != sorted({*actual} - receiver):
                broken.append(f"{file}: {node.name} documents {documented}, has {actual}")
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(
    ("docstring", "wanted"),
    [
        ("Says it.\n", None),
        ("Says it.\n\nArgs:\n    one: The first,\n        at length: with a colon.\n    two: It.\n", ["one", "two"]),
        ("Says it.\n\nArgs:\n    one, two: Both.\n\nReturns:\n    It: yes.\n", ["one", "two"]),
        ("Says it.\n\nArgs:\n    one: It.\n\n    *rest: Others.\n", ["one", "rest"]),
    ],
)
def test_the_reader_of_docstrings(docstring: str, wanted: list[str] | None) -> None:
    assert _documented_arguments(docstring) == wanted
