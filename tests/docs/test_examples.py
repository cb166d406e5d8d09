"""What the documentation says can be typed, can be typed; what it links to is there."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from metier.recipe.load import load_recipe

KINDS = {"yaml recipe", "yaml part", "python", "console", "text", ""}
NOT_RUN = "# not run:"
SMALLEST = "data: {train: tickets.csv}\n"
ASSIGNMENT = re.compile(r"^[A-Z_]+=\S*$")
LINK = re.compile(r"(?<!`)\[[^\]]+\]\(([^)\s]+)\)")
PATH = re.compile(r"`((?:metier|docs|tests|recipes|tools)/[\w./-]*)`")
OTHERS = {"pip", "python", "make", "cp", "source", "torchrun"}


def test_every_block_says_what_it_is(block: Any) -> None:
    assert block.info in KINDS, f"{block}: write one of {sorted(KINDS)} behind the fence"
    if block.info == "":
        assert block.page.name == "CONTRIBUTING.md", f"{block}: says nothing behind the fence"


def test_recipes_load(block_yaml: Any, tmp_path: Path) -> None:
    text = block_yaml.text
    if block_yaml.info == "yaml part" and "data" not in yaml.safe_load(text):
        text = SMALLEST + text
    (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
    assert load_recipe(tmp_path / "recipe.yaml").data.train


def test_python_runs(
    page: Path, python_blocks: Callable[[Path], list[Any]], desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All blocks of a page in order, in one namespace, as a reader would type them."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in python_blocks(page):
        code = compile("\n" * block.line + block.text, str(page), "exec")
        if NOT_RUN not in block.text:
            exec(code, names)
    if page.name == "python.md":
        assert names["result"].exit_code == 0
        assert (names["done"].answered, names["done"].rows) == (1, 2)
        assert (desk / "answers.csv").exists()
        assert "adaptation.r" in capsys.readouterr().out  # the hint for `lora_r`, printed by the last block


@pytest.fixture(scope="module")
def commands() -> Any:
    """The app with all its commands."""
    from typer.main import get_command

    from metier.cli.main import app

    return get_command(app)


def test_commands_exist_with_their_flags(block_console: Any, commands: Any, repository: Path) -> None:
    for line in block_console.text.splitlines():
        if line.startswith("$ "):
            words = shlex.split(line.removeprefix("$ "), comments=True)
            while words and ASSIGNMENT.match(words[0]):
                words.pop(0)
            _check_command(words, commands, repository)


def _check_command(words: list[str], commands: Any, repository: Path) -> None:
    name, *arguments = words
    if name == "make":
        targets = set(re.findall(r"^([a-z-]+):", (repository / "Makefile").read_text("utf-8"), re.MULTILINE))
        assert {word for word in arguments if "=" not in word} <= targets
    elif name == "python":
        assert (repository / arguments[0]).is_file(), arguments[0]
    elif name == "metier":
        _parse(arguments, commands)
    else:
        assert name in OTHERS, f"a command that no test knows: {name}"


def _parse(arguments: list[str], commands: Any) -> None:
    """Let the app's own parser read the arguments, without running the command."""
    from metier.cli.overrides import overrides_as_settings

    command, rest = commands, overrides_as_settings(arguments)
    while hasattr(command, "commands"):
        assert rest and rest[0] in command.commands, f"no such command: {' '.join(arguments)}"
        command, rest = command.commands[rest[0]], rest[1:]
    context = command.make_context(command.name, list(rest))
    for setting in context.params.get("settings") or ():
        path, _, value = setting.partition("=")
        assert value, setting
        _known(path)


def _known(path: str) -> None:
    from metier.recipe.wording import field_at

    steps = path.split(".")
    # A candidate's name is the reader's own; behind it are the recipe's fields.
    steps = steps[2:] if steps[0] == "candidates" else steps
    found, _ = field_at(tuple(steps))
    assert list(found) == steps, f"no such recipe field: {path}"


def test_links_lead_somewhere(page: Path, repository: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in LINK.findall(text):
        if target.startswith(("https://", "http://")):
            continue
        file, _, anchor = target.partition("#")
        place = (page.parent / file).resolve() if file else page
        assert place.is_relative_to(repository), f"{target} leads out of the project"
        assert place.exists(), f"{target} does not exist"
        if anchor:
            assert anchor in _anchors(place), f"{target}: no such heading"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_files_that_are_mentioned_exist(page: Path, repository: Path) -> None:
    missing = [name for name in PATH.findall(page.read_text(encoding="utf-8")) if not (repository / name).exists()]
    assert not missing


def test_the_tree_in_the_readme_has_every_room(repository: Path) -> None:
    text = (repository / "README.md").read_text(encoding="utf-8")
    rooms = {path.parent.name for path in (repository / "metier").glob("*/__init__.py")}
    assert {room for room in rooms if f"\n  {room}/ " not in text} == set()


def test_every_decision_is_listed(repository: Path) -> None:
    folder = repository / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    assert [
        path.name for path in folder.glob("*.md") if path.name != "README.md" and f"({path.name})" not in index
    ] == []


def test_every_command_is_described(commands: Any, repository: Path) -> None:
    text = (repository / "docs" / "cli.md").read_text(encoding="utf-8")
    assert [name for name in commands.commands if f"metier {name}" not in text] == []


def test_the_table_of_imports_is_that_of_the_test(repository: Path) -> None:
    rooms = _module(repository / "tests" / "architecture" / "test_imports.py").ROOMS
    text = (repository / "docs" / "decisions" / "0001-rooms-and-imports.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (?!room)([a-z]+) \| ([a-z, –]+) \|", text, re.MULTILINE))
    here = {path.stem if path.is_file() else path.name for path in (repository / "metier").iterdir()}
    written = {room: {word for word in cell.split(", ") if word != "–"} for room, cell in rows.items()}
    assert set(written) == {room for room in rooms if room in here and not room.startswith("__")}
    assert written == {room: rooms[room] & here for room in written}


@pytest.mark.parametrize("option", [[], ["--check"]], ids=["rendered", "checked"])
def test_the_reference_of_recipes_is_current(
    option: list[str], repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = _module(repository / "tools" / "recipe_reference.py")
    current = (repository / "docs" / "recipe.md").read_text(encoding="utf-8")
    assert tool.render_page() == current, "run: python tools/recipe_reference.py"
    monkeypatch.setattr("sys.argv", ["recipe_reference.py", *option])
    if option:
        assert tool.main() == 0


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
