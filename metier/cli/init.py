"""`metier init DATA`: look at the data, say what was found, write a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metier.cli.output import say, show

if TYPE_CHECKING:
    from metier.data.describe import DataDescription


def init(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="A data file, a folder with train and test files, or a pattern.", show_default=False
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where the recipe goes; never overwritten.")
    ] = Path("recipe.yaml"),
) -> int:
    """Look at the data, say what it is, and write a recipe."""
    from metier.cli.overrides import quoted
    from metier.data.describe import describe_data
    from metier.data.draft import draft_recipe
    from metier.errors import DONE, ArgumentError
    from metier.store.files import write_text

    if output.exists():
        found = "exists already, and metier never overwrites a recipe"
        raise ArgumentError(str(output), found, "", "Choose another name with --output.")
    description = describe_data(data)
    say(_what_was_found(description))
    write_text(output, draft_recipe(description, recipe_folder=output.absolute().parent))
    show(f"Wrote {output}.\nNext: metier check {quoted(output)}")
    return DONE


def _what_was_found(description: DataDescription) -> str:
    from metier.cli.tables import aligned
    from metier.report import formats

    rows = [
        (column.name, column.kind, formats.counted(round(column.mean_length), "character"))
        for column in description.columns
    ]
    more = f" and {len(description.sources) - 5:,} more" if len(description.sources) > 5 else ""
    files = ", ".join(source.name for source in description.sources[:5]) + more
    beside = [path.name for path in (description.validation, description.test) if path is not None]
    lines = [
        f"{files}: {formats.counted(description.rows, 'row')}",
        *(f"{name}: found beside it{', with the same columns' * description.same_columns}" for name in beside),
        "",
        aligned(("Column", "Seems to be", "Mean length"), rows),
        "",
        description.task_sentence,
        *(f"- {sentence}" for sentence in description.notices),
        *(f"- {problem.sentence}" for problem in description.problems),
        *(f"? {question}" for question in description.questions),
        "",
    ]
    return "\n".join(lines)
