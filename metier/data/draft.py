"""A first recipe from a description: short, complete, with comments that say where each line comes from."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from pathlib import Path

from metier.data.csv_reader import delimiter_name
from metier.data.describe import DataDescription
from metier.data.describe_splits import Aside
from metier.data.locate import BUILTIN, builtin_name
from metier.data.table import column_list, counted
from metier.errors import DataError
from metier.recipe.tasks import LISTS

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


_WRITTEN = """\
model: smollm2-135m
adaptation: {method: lora}
training: {num_train_epochs: 3}
evaluation:
  primary_metric: chrf            # how alike answer and reference are, letter by letter; also rougeL, exact_match, …
  smallest_useful_gain: 0.02      # a gain below two points is not worth having: set it before the run
"""
_ENDINGS = {
    "generation": _WRITTEN,
    "chat": _WRITTEN,
    "multilabel": """\
candidates:                       # each is trained; validation chooses, the test set judges the best one only
  head:                           # a probability for each label, and a threshold chosen on validation
    model: minilm
    adaptation: {method: head}
  encoder:
    model: minilm
    adaptation: {method: full}
    training: {num_train_epochs: 8, learning_rate: 0.0001}
evaluation:
  primary_metric: macro_f1        # every label counts the same; micro_f1: every answer does; exact_match: whole rows
  smallest_useful_gain: 0.02      # a gain below two points is not worth having: set it before the run
""",
    "extraction": """\
model: smollm2-135m               # it writes the pieces it finds, as a list
adaptation: {method: lora}
training: {num_train_epochs: 3}
evaluation:
  primary_metric: span_f1         # a piece counts where its ends and its label are right; also span_f1_overlap
  smallest_useful_gain: 0.02      # a gain below two points is not worth having: set it before the run
""",
    "text": """\
model: smollm2-135m
adaptation: {method: lora}
training: {num_train_epochs: 3}
evaluation:
  primary_metric: bits_per_byte   # how well the model foresees a text it has not seen; lower is better
  smallest_useful_gain: 0.02      # in bits: set it before the run
""",
    "preference": """\
model: smollm2-135m
# metier reads, checks and splits preference pairs; training on them comes in a later version.
""",
}


def draft_recipe(description: DataDescription, *, recipe_folder: Path) -> str:
    """A recipe that runs as it is.

    Args:
        description: What `describe_data` found.
        recipe_folder: Where the recipe will be; data paths are relative to it where they can be.

    Raises:
        DataError: No column looks like the text, or like the answer.
    """
    labelled = description.task == "classification"
    if labelled and (not description.text or description.label is None):
        missing = "text" if not description.text else "label"
        if not description.columns:
            raise DataError(Path(description.train).name, "holds no row that could be read", "rows with named columns")
        there = column_list(column.name for column in description.columns)
        found = f"no column looks like the {'text' if missing == 'text' else 'answer'}"
        raise DataError(f"data.{missing}", found, f"one of {there}", f"Write a recipe with data.{missing} set.")
    what = f"{len(_used_labels(description))} labels" if labelled else counted(description.examples, "record")
    lines = [
        f"# From {_base(description.train)}: {description.rows:,} rows, {what}. Next: metier check, then metier run.",
        *(f"# {notice}" for notice in description.notices),
        *(f"# {problem.sentence}" for problem in description.problems),
        *(f"# {question}" for question in description.questions),
        "version: 1",
        f"name: {_name(description)}",
        f"task: {description.task}",
        "data:",
        *_paths(description, recipe_folder),
        *(_label_lines(description) if labelled else _answer_lines(description)),
    ]
    return "\n".join(lines) + "\n" + (_CANDIDATES if labelled else _ENDINGS[description.task])


def _label_lines(description: DataDescription) -> list[str]:
    """Which columns are the text and the label, and what there is to say about labels."""
    lines = _text_line(description)
    assert description.label is not None
    if description.answers_file is None:
        lines.append(_line("label", description.label, _label_comment(description)))
    lines += _split_lines(description)
    if description.ignore_labels:
        lines.append(_line("ignore_labels", list(description.ignore_labels), "look like a missing label"))
    lines.extend(_label_names(description))
    used = sorted(_used_labels(description))
    if used and not description.label_names and all(map(_is_code, used)):
        shown = ", ".join(f"{json.dumps(label)}: …" for label in used[:3])
        lines.append(f"  # label_names: {{{shown}}}   words help a language model more than numbers")
    return lines


def _answer_lines(description: DataDescription) -> list[str]:
    """Where questions and answers are, for tasks without labels."""
    lines: list[str] = []
    if description.shape != "columns":
        if description.shape != "documents":
            lines.append(_line("shape", description.shape, "found by what the file holds"))
        elif description.text:
            lines += _text_line(description)
    elif not description.same_columns:
        said = f"{column_list(description.text)}, answer `{description.answer}`"
        lines.append(f"  # text {said} in train; the other files call them differently: found in each by itself")
    elif description.answers_file is None:
        lines += _text_line(description)
        if description.task in LISTS:
            return [*lines, _list_line(description), *_split_lines(description)]
        assert description.answer is not None
        lengths = {column.name: column.mean_length for column in description.columns}
        comment = f"{lengths[description.answer]:.0f} characters on average" if description.answer in lengths else ""
        lines.append(_line("answer", description.answer, comment or "found by its name"))
    elif description.text and description.sources[0].format != "lines":
        lines += _text_line(description)
    return [*lines, *_split_lines(description)]


def _list_line(description: DataDescription) -> str:
    """Where the labels of a text, or its pieces, are."""
    if description.label_columns:
        return _line("label", list(description.label_columns), "1 where a text has the label")
    assert description.answer is not None
    field, what = ("label", "lists of labels") if description.task == "multilabel" else ("answer", "lists of pieces")
    return _line(field, description.answer, what)


def _text_line(description: DataDescription) -> list[str]:
    known = {column.name: column.mean_length for column in description.columns}
    text = list(description.text) if len(description.text) > 1 else description.text[0]
    paths = [name for name in description.text if name not in known]
    lengths = sum(known.get(name, 0.0) for name in description.text)
    return [_line("text", text, "paths into nested cells" if paths else f"{lengths:.0f} characters on average")]


def _split_lines(description: DataDescription) -> list[str]:
    """What decides about splits: set where it is plain, suggested where only a person can know."""
    return [*_group_line(description), *(_aside_line(aside) for aside in description.asides)]


def _aside_line(aside: Aside) -> str:
    return _line(aside.field, aside.column, aside.why).replace("  ", "  # ", 1)


def _group_line(description: DataDescription) -> list[str]:
    if description.group is None:
        return []
    count = next(column.distinct for column in description.columns if column.name == description.group)
    return [_line("group", description.group, f"{count} groups; rows of one stay in one split")]


def _paths(description: DataDescription, folder: Path) -> list[str]:
    lines = [_line("train", _relative(description.train, folder), _form(description))]
    if description.answers_file is not None:
        lines.append(_line("answers", _relative(str(description.answers_file), folder), "a line for each row of train"))
    if description.records is not None:
        lines.append(_line("records", description.records, "each item of this list is a record"))
    beside = "found beside it" + ", with the same columns" * description.same_columns
    for role, path in (("validation", description.validation), ("test", description.test)):
        if path is not None:
            lines.append(_line(role, _relative(str(path), folder), beside))
    missing = [role for role in ("validation", "test") if getattr(description, role) is None]
    if missing:
        lines.append(f"  # no file for {' and '.join(missing)}: drawn from train by hash, without leakage")
    return lines


def _form(description: DataDescription) -> str:
    source = description.sources[0]
    if source.format == "text":
        return f"{counted(len(description.sources), 'text file')}, each a document"
    what = f"{delimiter_name(source.delimiter)}-separated" if source.delimiter else source.format
    return f"{what}{f', {source.encoding}' if source.encoding else ''}"


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
    of_the_folder = re.search(r"train|\*", path.stem) or description.answers_file is not None
    words = path.parent.name if of_the_folder and path.parent.name else path.stem
    letters = unicodedata.normalize("NFKD", words.replace("\N{LATIN SMALL LETTER SHARP S}", "ss"))
    bare = "".join(char for char in letters if not unicodedata.combining(char))
    clean = re.sub(r"[^A-Za-z0-9._-]+", "-", bare).strip("-._")[:64].rstrip("-._")
    return _scalar(clean or "run")


def _is_code(label: str) -> bool:
    return re.fullmatch(r"-?\d+|[A-Za-z]?", label) is not None
