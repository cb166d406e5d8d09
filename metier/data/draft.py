"""A first recipe from a description: short, complete, with comments that say where each line comes from."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from pathlib import Path

from metier.data.csv_reader import delimiter_name
from metier.data.describe import DataDescription
from metier.data.locate import BUILTIN, builtin_name
from metier.data.table import column_list
from metier.errors import DataError

_CANDIDATES = """\
candidates:                       # each is trained; validation chooses, the test set judges the best one only
  llm:
    model: smollm2-135m
    adaptation: {method: lora, layers: top 10}
    training: {num_train_epochs: 3}
  encoder:
    model: minilm
    adaptation: {method: full}
    training: {num_train_epochs: 8, learning_rate: 0.0001}
evaluation:
  primary_metric: macro_f1        # every label counts the same; accuracy: every row does
  smallest_useful_gain: 0.02      # a gain below two points is not worth having: set it before the run
"""


def draft_recipe(description: DataDescription, *, recipe_folder: Path) -> str:
    """A recipe that runs as it is.

    Args:
        description: What `describe_data` found.
        recipe_folder: Where the recipe will be; data paths are relative to it where they can be.

    Raises:
        DataError: No column looks like the text, or like the answer.
    """
    if not description.text or description.label is None:
        missing = "text" if not description.text else "label"
        there = column_list(column.name for column in description.columns)
        found = f"no column looks like the {'text' if missing == 'text' else 'answer'}"
        raise DataError(f"data.{missing}", found, f"one of {there}", f"Write a recipe with data.{missing} set.")
    source = description.sources[0]
    labels = f"{len(_used_labels(description))} labels"
    lines = [
        f"# From {_base(description.train)}: {description.rows:,} rows, {labels}. Next: metier check, then metier run.",
        *(f"# {notice}" for notice in description.notices),
        *(f"# {problem.sentence}" for problem in description.problems),
        *(f"# {question}" for question in description.questions),
        "version: 1",
        f"name: {_name(description)}",
        "task: classification",
        "data:",
        *_paths(description, recipe_folder, source.format, source.delimiter, source.encoding),
    ]
    columns = {column.name: column for column in description.columns}
    text = list(description.text) if len(description.text) > 1 else description.text[0]
    lengths = sum(columns[name].mean_length for name in description.text)
    lines.append(_line("text", text, f"{lengths:.0f} characters on average"))
    lines.append(_line("label", description.label, _label_comment(description)))
    if description.group is not None:
        count = columns[description.group].distinct
        lines.append(_line("group", description.group, f"{count} groups; rows of one stay in one split"))
    if description.ignore_labels:
        lines.append(_line("ignore_labels", list(description.ignore_labels), "look like a missing label"))
    lines.extend(_label_names(description))
    used = sorted(_used_labels(description))
    if used and not description.label_names and all(map(_is_code, used)):
        shown = ", ".join(f"{json.dumps(label)}: …" for label in used[:3])
        lines.append(f"  # label_names: {{{shown}}}   words help a language model more than numbers")
    return "\n".join(lines) + "\n" + _CANDIDATES


def _paths(
    description: DataDescription, folder: Path, form: str, delimiter: str | None, encoding: str | None
) -> list[str]:
    what = f"{delimiter_name(delimiter)}-separated" if delimiter else form
    lines = [_line("train", _relative(description.train, folder), f"{what}{f', {encoding}' if encoding else ''}")]
    for role, path in (("validation", description.validation), ("test", description.test)):
        if path is not None:
            lines.append(_line(role, _relative(str(path), folder), "found beside it, with the same columns"))
    missing = [role for role in ("validation", "test") if getattr(description, role) is None]
    if missing:
        lines.append(f"  # no file for {' and '.join(missing)}: drawn from train by hash, without leakage")
    return lines


def _used_labels(description: DataDescription) -> dict[str, int]:
    return {label: count for label, count in description.labels.items() if label not in description.ignore_labels}


def _label_comment(description: DataDescription) -> str:
    counts = list(_used_labels(description).values())
    return f"{len(counts)} labels, {min(counts):,} to {max(counts):,} rows each" if counts else "no labels found"


def _label_names(description: DataDescription) -> list[str]:
    if not description.label_names:
        return []
    rows = [f"    {json.dumps(key)}: {_scalar(name)}" for key, name in description.label_names.items()]
    return [f"  label_names:                    # from {description.label_file}", *rows]


def _line(key: str, value: object, comment: str) -> str:
    return f"  {key}: {_scalar(value)}".ljust(32) + f"  # {comment}"


def _scalar(value: object) -> str:
    """A value on one line of YAML; quoted as JSON, which YAML reads, wherever a plain word could be misread."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_/.][\w/.-]*( [\w/.-]+)*", value, flags=re.ASCII):
        import yaml

        if yaml.safe_load(value) == value:
            return value
    return json.dumps(value, ensure_ascii=False)


def _relative(path: str, folder: Path) -> str:
    if path.startswith((BUILTIN, "~", "$")):
        return path
    if (builtin := builtin_name(Path(path))) is not None:
        return builtin
    full = Path(path).absolute()
    try:
        relative = Path(os.path.relpath(full, folder.absolute())).as_posix()
    except ValueError:  # another drive on Windows
        return full.as_posix()
    # A long way up says more about this machine than about the project.
    return full.as_posix() if relative.startswith("../../../..") else relative


def _base(path: str) -> str:
    return Path(path).name


def _name(description: DataDescription) -> str:
    path = Path(description.train.removeprefix(BUILTIN))
    words = path.parent.name if re.search(r"train|\*", path.stem) and path.parent.name else path.stem
    letters = unicodedata.normalize("NFKD", words.replace("\N{LATIN SMALL LETTER SHARP S}", "ss"))
    bare = "".join(char for char in letters if not unicodedata.combining(char))
    clean = re.sub(r"[^A-Za-z0-9._-]+", "-", bare).strip("-._")[:64].rstrip("-._")
    return _scalar(clean or "run")


def _is_code(label: str) -> bool:
    return re.fullmatch(r"-?\d+|[A-Za-z]?", label) is not None
