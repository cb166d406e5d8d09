"""Write `docs/recipe.md` from the classes in `metier/recipe/sections.py`.

python tools/recipe_reference.py           writes the page
python tools/recipe_reference.py --check   ends with 1 when the page is not current

A test runs the check, so the page cannot say anything that the code does not.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from metier.recipe.sections import LATER_SECTIONS, Recipe
from metier.recipe.tasks import METRICS_OF, SYSTEMS_OF, TASK_DEFAULTS
from metier.recipe.wording import section_of, wanted

PAGE = Path(__file__).resolve().parent.parent / "docs" / "recipe.md"
TRUSTED_AS_WRITTEN = ("candidates",)
"""Fields whose type says less than their docstring does."""

INTRODUCTION = """\
# The recipe

<!-- Written by tools/recipe_reference.py from metier/recipe/sections.py. Do not edit: run the script. -->

One YAML file with everything that you ask for. `metier init DATA` writes a first one. A few lines are enough;
every other field has a default:

```yaml recipe
version: 1
name: tickets
data:
  train: tickets.csv
  text: [subject, body]
  label: intent
adaptation:
  method: lora
  layers: top 10
```

- `metier check RECIPE --resolved` prints the recipe with every default; `metier check --schema` prints the JSON
  Schema, with which an editor completes and checks the file.
- An unknown field is a fault, and all faults are reported together, each with its path, what was found, what was
  wanted, and the nearest valid name. Names that other tools use (`lora_r`, `micro_batch_size`, `base_model`) get the
  right one as a hint.
- `--set section.field=value` overrides a field from the command line; the value is YAML.
- Data paths and `prompt.system_file` are relative to the recipe file. `${VAR}` in a path is read from the environment
  when the run starts, and stays `${VAR}` in what is written to the run folder.
- Numbers, booleans and null follow YAML 1.2: `1e-4` is a number, `yes` and `no` are text.

**Candidates.** What fits best is measured. A recipe may list several ways, each a set of overrides of `model`,
`prompt`, `adaptation`, `training` and `seed`; validation chooses, and the best one alone meets the test set:

```yaml recipe
name: tickets
data: {train: tickets.csv, text: [subject, body], label: intent}
candidates:
  llm:     {model: smollm2-135m, adaptation: {method: lora, layers: top 10}}
  encoder: {model: minilm, adaptation: {method: full}, training: {num_train_epochs: 8, learning_rate: 1e-4}}
  head:    {model: minilm, adaptation: {method: head}}
```

*Wants* below is what the field accepts. *Nothing*, and *None* in a meaning, are YAML's `null`.
"""


def render_page() -> str:
    """The whole page as Markdown."""
    parts = [INTRODUCTION, *_section("The top level", Recipe, "", skip_sections=True)]
    for name, field in Recipe.model_fields.items():
        inner = section_of(field.annotation)
        if inner is not None:
            parts.extend(_section(f"`{name}`", inner, f"{name}."))
    parts.append(_by_task())
    later = ", ".join(f"`{name}`" for name in LATER_SECTIONS)
    parts.append(f"## Not in this version\n\nThe section names {later} are known and refused with a message.\n")
    return "\n".join(parts)


def _by_task() -> str:
    """What differs from the tables above by task: defaults, and the metrics and systems that fit."""
    rows = []
    for task, sections in TASK_DEFAULTS.items():
        given = [
            (f"{section}.{field}", json.dumps(value))
            for section, fields in sections.items()
            for field, value in fields.items()
        ]
        rows += [f"| `{task}` | `{field}` | `{value}` |" for field, value in given]
    fits = [
        f"| `{task}` | {', '.join(f'`{name}`' for name in metrics)} | "
        f"{', '.join(f'`{name}`' for name in SYSTEMS_OF[task])} |"
        for task, metrics in METRICS_OF.items()
    ]
    return (
        "## By task\n\nThe tables above have the defaults of classification. Other tasks differ where this one says so:"
        "\n\n| task | field | default |\n| --- | --- | --- |\n" + "\n".join(rows) + "\n\n"
        "Metrics and systems that fit a task (where lower is better, a metric can be no `gates.minimum`):"
        "\n\n| task | metrics | systems |\n| --- | --- | --- |\n" + "\n".join(fits) + "\n"
    )


def _section(title: str, section: type[BaseModel], path: str, *, skip_sections: bool = False) -> Iterator[str]:
    """One heading with its table; sections inside follow as headings of their own."""
    yield f"## {title}\n"
    yield f"{_words(section.__doc__)}\n"
    rows, inside = [], []
    for name, field in section.model_fields.items():
        inner = section_of(field.annotation)
        if inner is None:
            rows.append(
                f"| `{name}` | {_cell(_wants(name, field))} | {_default(field)} | {_cell(_words(field.description))} |"
            )
        elif not skip_sections:
            inside.append((f"{path}{name}", inner))
    yield "| field | wants | default | meaning |\n| --- | --- | --- | --- |\n" + "\n".join(rows) + "\n"
    for inner_path, inner in inside:
        yield from _section(f"`{inner_path}`", inner, f"{inner_path}.")


def _wants(name: str, field: FieldInfo) -> str:
    return "a mapping of names to overrides" if name in TRUSTED_AS_WRITTEN else wanted(field)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True)
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _words(text: str | None) -> str:
    return " ".join((text or "").split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    """Write the page, or check it.

    Returns:
        0, or 1 when `--check` finds another page.
    """
    page = render_page()
    if sys.argv[1:] == ["--check"]:
        return 0 if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page else 1
    PAGE.write_text(page, encoding="utf-8")
    print(PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
