"""What a room may import (the table of the design), and that there are no cycles."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

import pytest

EVERYWHERE = {"errors", "events"}
"""Cross-cutting files that every room may import."""

ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "events": set(),
    "team": set(),
    "device": {"recipe", "team"},  # the hardware section is a value; device is the only file that knows what it means
    "store": set(),
    "recipe": {"store"},
    "data": {"recipe", "store"},
    "model": {"recipe", "device", "store"},
    "engine": {"model", "device", "team", "store"},
    "training": {"engine", "model", "data", "recipe", "device", "team", "store"},
    "evaluation": {"engine", "model", "data", "recipe", "device", "team", "store"},
    "continual": {"training", "evaluation", "engine", "model", "data", "recipe", "device", "store"},
    "federated": {"training", "evaluation", "model", "data", "recipe", "device", "store"},
    "planning": {"training", "engine", "model", "data", "recipe", "device", "store"},
    "refinement": {"evaluation", "data", "recipe", "store"},
    "report": {"recipe", "store"},
    "serving": {"evaluation", "engine", "model", "data", "store", "device", "recipe"},
    "stages": {"recipe", "data", "model", "engine", "training", "evaluation", "report", "store", "device", "team"},
    "launch": {"device"},
    "fleet": {"stages", "recipe", "data", "store"},
    "run": {"stages", "fleet", "recipe", "data", "model", "engine", "training", "evaluation", "planning", "refinement"}
    | {"report", "continual", "federated", "store", "device", "team"},
    "replay": {"run", "recipe", "data", "evaluation", "store"},
    "cli": {"run", "replay", "launch", "team", "device", "store"},
    "__main__": {"cli"},
    "__init__": {"run", "recipe"},
}
"""Room or file at the root -> rooms that it may import."""

VALUES = {
    "data.records", "data.card", "data.privacy.account", "data.record.summary", "model.summary", "training.history",
    "evaluation.results", "evaluation.evidence", "evaluation.standings", "evaluation.swap_values", "planning.results",
    "planning.outlook", "planning.receipt_values", "refinement.rounds", "report.summary", "serving.results",
}  # fmt: skip
"""Values files: frozen, without torch. The report reads those of all rooms."""

DOORS = {
    "recipe.load", "recipe.dump", "model.origin", "report.formats", "report.receipt", "data.describe", "data.draft",
    "data.record.croissant", "data.record.read", "data.record.restore", "data.record.review", "report.data_page",
    "report.cleaning", "report.openings", "report.pages", "serving.bundle", "serving.bundle_reading",
    "report.questions", "report.judgement_page", "evaluation.seal", "planning.check", "planning.cards",
    "planning.cluster", "evaluation.compare", "evaluation.elsewhere.early_checks", "evaluation.elsewhere.judged",
    "evaluation.elsewhere.run_answers", "stages.judging", "evaluation.files", "evaluation.gauge",
    "evaluation.paying", "evaluation.writing_pays", "evaluation.verify",
    "model.packaged", "report.gather", "report.write", "report.card", "serving.predict", "serving.talk",
    "serving.export", "serving.private", "stages.forget", "stages.model_aid", "data.privacy.by_recipe",
    "data.privacy.row_vault", "data.privacy.strict_faults", "data.privacy.vault", "data.privacy.vault_key",
}  # fmt: skip
"""What the command line calls."""

EXTRA: dict[str, set[str]] = {
    "model": {"data.records"},  # a conversation's turns are what the encoder encodes; records are values without torch
    # Evaluation alone knows how its files are read and how counts become a score; neither needs torch.
    "report": VALUES | {"evaluation.files", "evaluation.looks", "evaluation.written.text_metrics"},
    "cli": VALUES | DOORS | {"recipe.sections"},
}
"""Room -> single modules beyond its row."""

EXCEPTIONS: dict[tuple[str, str], str] = {}
"""(importing module, imported module) -> why. Each is a debt."""


def _module(file: str) -> str:
    return file.removesuffix(".py").replace("/", ".")


def _imports(file: str, tree: ast.Module, *, for_types: bool = True) -> Iterator[str]:
    """Modules of ours that `file` imports, wherever in it, as `room.module`; with or without those for types only."""
    parents = _module(file).split(".")[:-1]
    left_out: set[ast.AST] = set()
    for block in ast.walk(tree):
        if not for_types and isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            left_out |= set(block.body)
    for node in ast.walk(tree):
        if node in left_out:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "metier":
                    yield alias.name.removeprefix("metier").lstrip(".")
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = [*parents[: len(parents) - node.level + 1], *(node.module or "").split(".")]
            elif (node.module or "").split(".")[0] == "metier":
                base = (node.module or "").split(".")[1:]
            else:
                continue
            yield from (_resolve([part for part in base if part], alias.name) for alias in node.names)


def _resolve(base: list[str], name: str) -> str:
    # `from metier.data import splits` names a module, `from metier.data.splits import Split` a name in one.
    return ".".join(base) if len(base) >= 2 or (base and base[0] in FILES_AT_THE_ROOT) else ".".join([*base, name])


FILES_AT_THE_ROOT = {"errors", "events", "team", "device", "launch", "fleet", "run", "replay"}


def _may_import(room: str, imported: str) -> bool:
    target = imported.split(".")[0]
    if imported == "__version__":  # the package root holds nothing else at import
        return True
    return target == room or target in EVERYWHERE | ROOMS.get(room, set()) or imported in EXTRA.get(room, set())


def test_every_room_has_a_row(trees: Mapping[str, ast.Module]) -> None:
    assert {_module(file).split(".")[0] for file in trees} - set(ROOMS) == set()


def test_rooms_import_only_what_their_row_lists(trees: Mapping[str, ast.Module]) -> None:
    broken = []
    for file, tree in trees.items():
        room = _module(file).split(".")[0]
        for imported in sorted(set(_imports(file, tree))):
            if not _may_import(room, imported) and (_module(file), imported) not in EXCEPTIONS:
                broken.append(f"{file} imports {imported}")
    assert not broken, "\n".join(broken)


def test_exceptions_are_still_needed(trees: Mapping[str, ast.Module]) -> None:
    real = {(_module(file), imported) for file, tree in trees.items() for imported in _imports(file, tree)}
    assert set(EXCEPTIONS) <= real


def test_no_cycles_between_modules_nor_between_rooms(trees: Mapping[str, ast.Module]) -> None:
    modules: dict[str, set[str]] = {}
    rooms: dict[str, set[str]] = {}
    for file, tree in trees.items():
        source = _module(file)
        if source == "__init__":  # its two names load when they are first used
            continue
        modules[source] = set(_imports(file, tree, for_types=False)) - {source, "__version__"}
        for imported in set(_imports(file, tree)) - {"__version__"}:
            if imported.split(".")[0] != source.split(".")[0]:
                rooms.setdefault(source.split(".")[0], set()).add(imported.split(".")[0])
    assert _cycle(modules) is None
    assert _cycle(rooms) is None


def _cycle(graph: Mapping[str, set[str]]) -> list[str] | None:
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str] | None:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return None
        for target in sorted(graph.get(node, ())):
            found = visit(target, [*path, node])
            if found:
                return found
        done.add(node)
        return None

    for start in sorted(graph):
        found = visit(start, [])
        if found:
            return found
    return None


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("from metier.model.base import load_base_model", "model.base"),
        ("from metier.model import base", "model.base"),
        ("import metier.model.base", "model.base"),
        ("from .splits import Split", "data.splits"),
        ("from . import splits", "data.splits"),
        ("from ..errors import DataError", "errors"),
        ("from metier.errors import DataError", "errors"),
        ("def load():\n    from metier.model.base import x", "model.base"),
        ("from metier import __version__", "__version__"),
    ],
)
def test_the_reader_of_imports_sees_every_form(source: str, wanted: str) -> None:
    assert list(_imports("data/prepare.py", ast.parse(source))) == [wanted]


def test_the_finder_of_cycles_finds_one() -> None:
    assert _cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert _cycle({"a": {"b", "c"}, "b": {"c"}}) is None
