"""Sizes, drawers, `print` and broad `except`: what a machine can hold about the shape of the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

MODULE_LINES = 400
FUNCTION_LINES = 60
CLASS_LINES = 250
PARAMETERS = 7

EXCEPTIONS: dict[str, str] = {
    "cli/run.py:run": "one parameter a flag, as typer wants it: eight flags are allowed",
    "cli/run.py:train": "the same",
}
"""`file` or `file:name` -> why it may be larger. An entry that is no longer needed fails."""

DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc", "tools", "shared"}
BROAD_EXCEPT_ALLOWED = {"cli/main.py", "serving/server.py"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def _lines(node: Function | ast.ClassDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _parameters(node: Function) -> int:
    arguments = node.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    count = len([one for one in every if one.arg not in ("self", "cls")])
    return count + bool(arguments.vararg) + bool(arguments.kwarg)


def _too_large(package: Path, trees: Mapping[str, ast.Module]) -> Iterator[tuple[str, str]]:
    for file, tree in trees.items():
        lines = len((package / file).read_text(encoding="utf-8").splitlines())
        if lines > MODULE_LINES:
            yield file, f"{lines} lines, at most {MODULE_LINES}"
        for node in ast.walk(tree):
            if isinstance(node, Function):
                if _lines(node) > FUNCTION_LINES:
                    yield f"{file}:{node.name}", f"{_lines(node)} lines, at most {FUNCTION_LINES}"
                if _parameters(node) > PARAMETERS:
                    yield f"{file}:{node.name}", f"{_parameters(node)} parameters, at most {PARAMETERS}"
            elif isinstance(node, ast.ClassDef) and _lines(node) > CLASS_LINES:
                yield f"{file}:{node.name}", f"{_lines(node)} lines, at most {CLASS_LINES}"


def test_files_functions_and_classes_stay_small(package: Path, trees: Mapping[str, ast.Module]) -> None:
    found = list(_too_large(package, trees))
    broken = [f"{place}: {what}" for place, what in found if place not in EXCEPTIONS]
    assert not broken, "\n".join(broken)
    stale = set(EXCEPTIONS) - {place for place, _ in found}
    assert not stale, f"exceptions that are no longer needed: {sorted(stale)}"


def test_there_are_no_drawers(trees: Mapping[str, ast.Module]) -> None:
    assert not [file for file in trees if DRAWERS & set(file.removesuffix(".py").strip("_").split("/"))]


def test_a_broad_except_stands_only_at_the_edge(trees: Mapping[str, ast.Module]) -> None:
    broken = []
    for file, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler) and _is_broad(node.type) and file not in BROAD_EXCEPT_ALLOWED:
                broken.append(f"{file}:{node.lineno}")
    assert not broken, "\n".join(broken)


def _is_broad(caught: ast.expr | None) -> bool:
    if isinstance(caught, ast.Tuple):
        return any(_is_broad(one) for one in caught.elts)
    return caught is None or (isinstance(caught, ast.Name) and caught.id in ("Exception", "BaseException"))


def test_only_the_command_line_prints(trees: Mapping[str, ast.Module]) -> None:
    broken = [
        f"{file}:{node.lineno}"
        for file, tree in trees.items()
        if not file.startswith("cli/")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not broken, "\n".join(broken)


def test_rooms_hold_only_a_docstring_in_their_init(trees: Mapping[str, ast.Module]) -> None:
    broken = [
        file
        for file, tree in trees.items()
        if file.endswith("/__init__.py") and any(not isinstance(node, ast.Expr) for node in tree.body)
    ]
    assert not broken


def test_nothing_unsafe_is_read(package: Path, trees: Mapping[str, ast.Module]) -> None:
    """No pickle, and YAML through the safe loader."""
    broken = []
    for file, tree in trees.items():
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if {name.split(".")[0] for name in names} & {"pickle", "cPickle", "dill", "joblib", "marshal"}:
                broken.append(f"{file}:{node.lineno} imports a pickler")
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("yaml.load", "yaml.unsafe_load"):
                broken.append(f"{file}:{node.lineno} reads YAML unsafely")
    assert not broken, "\n".join(broken)
