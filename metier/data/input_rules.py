"""From a row to the text that a system sees: which columns, put together how, cleaned by which repairs.

The same rules run on training data and in prediction: they are saved beside the model as `input.json`.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metier.data.cleaning.repairs import TEXT_REPAIRS, repair_text
from metier.data.cleaning.secrets import mask_secrets
from metier.data.paths import cell_at
from metier.data.privacy.saved import InputProtection
from metier.data.records import Input, spoken
from metier.data.shapes import SHAPES
from metier.data.table import missing_column
from metier.data.turns import RowFault, Turns, before_answer, in_order, without_answer
from metier.errors import DataError
from metier.recipe.data_sections import DataSection
from metier.store.files import read_json, write_json
from metier.store.values import from_plain

# Controls but for tab and line feed; halves of surrogate pairs; what has no width and no meaning of its
# own. Not U+200C and U+200D: Persian words and emoji are written with them.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064"
    "\u2066-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_LINE_ENDS = re.compile("\r\n|[\r\x85\u2028\u2029]")
_SPACES = re.compile(r"[^\S\n]+")
_AROUND_LINE_END = re.compile(r" ?\n ?")
_EMPTY_LINES_AHEAD = re.compile(r"\A(?:[^\S\n]*\n)+")


def _line_ends(text: str) -> str:
    return _LINE_ENDS.sub("\n", text)


def _visible(text: str) -> str:
    return _INVISIBLE.sub("", text)


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _single_spaces(text: str) -> str:
    return _AROUND_LINE_END.sub("\n", _SPACES.sub(" ", text)).strip()


def _bare_ends(text: str) -> str:
    # The first of several lines keeps its indentation: the others are indented in relation to it.
    text = _EMPTY_LINES_AHEAD.sub("", text).rstrip()
    return text if "\n" in text else text.strip()


SECRETS = "secrets"
"""The repair that `data.secrets: mask` adds."""
# In this order: mojibake is known by characters that would be removed as invisible, a removed character may bring two
# together that compose, or leave a space at an end. `cleaning/repairs.py` says more.
REPAIRS: dict[str, Callable[[str], str]] = {
    **TEXT_REPAIRS,
    "line ends": _line_ends,
    "invisible characters": _visible,
    "Unicode form": _composed,
    SECRETS: mask_secrets,
    "white space": _single_spaces,
    "white space at the ends": _bare_ends,
}
LABELLED = (*TEXT_REPAIRS, "line ends", "invisible characters", "Unicode form", "white space")
"""Repairs of a text that gets a label: how its words are spaced, and its markup, say nothing."""
WRITTEN = (
    "terminal codes", "mojibake", "ligatures", "line ends", "invisible characters", "Unicode form",
    "white space at the ends",
)  # fmt: skip
"""Repairs of texts that are learned: code, tables and lists keep their spaces, and pages their markup."""


def repairs_of(section: DataSection, usual: Sequence[str]) -> tuple[str, ...]:
    """The repairs that a recipe asks for, in their stated order.

    Args:
        section: The recipe's data section.
        usual: Those of the task, `LABELLED` or `WRITTEN`; taken where the recipe names none.
    """
    wanted = set(usual if section.repairs is None else section.repairs)
    if section.secrets == "mask":
        wanted.add(SECRETS)
    return tuple(name for name in REPAIRS if name in wanted)


@dataclass(frozen=True, kw_only=True)
class Unusable:
    """Why a row of a file cannot be asked."""

    reason: str
    """Short key, as in `Rejected`."""
    detail: str
    """A sentence without text of the row."""


@dataclass(frozen=True, kw_only=True)
class InputRules:
    """How a row becomes what a system is asked."""

    text_columns: tuple[str, ...]
    template: str | None = None
    """`"{subject}: {body}"`; None: the columns that are not empty, joined by a blank line."""
    repairs: tuple[str, ...] = LABELLED
    """Names in `REPAIRS`, in order. Cleaning twice changes nothing."""
    task: str = "classification"
    """The recipe's task: what the rows are asked for."""
    shape: str = "columns"
    """A name in `SHAPES`: how a row holds turns. Read for tasks with written answers only."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Where a shape's parts lie, by their names in `SHAPES` (`messages`, `answer`, `system`, …)."""
    separator: str | None = None
    """What stands between the labels of one cell (task multilabel). None: a cell is one label, or a list."""

    records: str | None = None
    """Path of the list inside each row whose items are the records (`gather.take_out_records`)."""
    lines: bool = False
    """Whether training read plain text, each line a row: a file to predict without a table's ending is read so too."""
    protection: InputProtection | None = None
    """What is done to personal data in every input, beside the repairs (`privacy/inputs.py`). None: nothing."""

    @property
    def converses(self) -> bool:
        """Whether a row is turns of a conversation, and not one text."""
        return self.task not in ("classification", "text")

    @property
    def asked_columns(self) -> tuple[str, ...]:
        """The columns and paths that a file to predict needs."""
        asks = SHAPES[self.shape].asks if self.converses else ()
        return (*self.text_columns, *(self.fields[name] for name in asks if name in self.fields))

    def input_of(self, row: Mapping[str, object], id: str) -> Input | Unusable:
        """What a system is asked for a row of a file; the row's answer, where it has one, is left out.

        Args:
            row: Cells by column name.
            id: Of the input.

        Raises:
            DataError: The row lacks a column that the rules read.
        """
        if not self.converses:
            text = self.text_of(row)
            return Input(id=id, text=text) if text else Unusable(reason="empty text", detail="its text is empty")
        for path in self.asked_columns:
            self._refuse_missing(row, path)
        try:
            turns = self.turns_of(row)
            messages = before_answer(in_order(without_answer(turns.messages), self.repair)[0])
        except RowFault as fault:
            return Unusable(reason=fault.reason, detail=fault.detail)
        return Input(id=id, text=spoken(messages), messages=messages, tools=turns.tools)

    def turns_of(self, row: Mapping[str, object]) -> Turns:
        """The turns of a row as they stand, the answer among them where the row has it.

        Args:
            row: Cells by column name.

        Raises:
            RowFault: The row cannot be used.
            DataError: The row lacks a column that the rules read.
        """
        return SHAPES[self.shape].read(row, self.fields, self.compose(row))

    def text_of(self, row: Mapping[str, object]) -> str:
        """The cleaned text of a row; empty when every text column is.

        Args:
            row: Cells by column name.

        Raises:
            DataError: The row lacks a text column.
        """
        return self.clean(self.compose(row))

    def compose(self, row: Mapping[str, object]) -> str:
        """The text of a row before cleaning."""
        cells = [self._cell(row, name) for name in self.text_columns]
        if not any(cell.strip() for cell in cells):
            return ""
        if self.template is not None:
            return _filled(self.template, dict(zip(self.text_columns, cells, strict=True)))
        if len(cells) == 1:
            return cells[0]
        return "\n\n".join(cell for cell in cells if cell.strip())

    def clean(self, text: str) -> str:
        """`text` after all repairs."""
        return self.repair(text)[0]

    def repair(self, text: str) -> tuple[str, tuple[str, ...]]:
        """`text` after all repairs, and the names of those that changed it."""
        return repair_text(text, self.repairs, REPAIRS)

    def write(self, path: Path) -> None:
        """Save as `input.json`."""
        write_json(path, self, format="input")

    @classmethod
    def read(cls, path: Path) -> InputRules:
        """What `write` saved.

        Args:
            path: The file.

        Raises:
            DataError: It names a repair that this version does not know.
        """
        rules = from_plain(cls, read_json(path, format="input"), where=str(path))
        unknown = [name for name in rules.repairs if name not in REPAIRS]
        if unknown:
            raise DataError(str(path), f"has the repair `{unknown[0]}`", f"one of {', '.join(REPAIRS)}")
        return rules

    def _cell(self, row: Mapping[str, object], name: str) -> str:
        self._refuse_missing(row, name)
        return cell_at(row, name)

    def _refuse_missing(self, row: Mapping[str, object], path: str) -> None:
        if path not in row and re.split(r"[.\[]", path, maxsplit=1)[0] not in row:
            raise missing_column("input", path, tuple(str(column) for column in row))


def template_columns(template: str) -> tuple[str, ...]:
    """The columns that a template names, each once, in order.

    Args:
        template: Text with `{column}`; `{{` and `}}` are braces.

    Raises:
        DataError: It is no valid template.
    """
    wanted = 'a text with columns in braces, such as "{subject}: {body}"'
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise DataError("data.text", f"is a template that cannot be read ({error})", wanted) from error
    names: list[str] = []
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if not name or form or conversion or ".__" in name or name.isdigit():
            raise DataError("data.text", f"has `{{{name}}}` in its template", wanted, "Use plain column names.")
        if name not in names:
            names.append(name)
    return tuple(names)


def _filled(template: str, cells: Mapping[str, str]) -> str:
    # Not `format`: a path such as `table.table` would be read as an attribute.
    parts = string.Formatter().parse(template)
    return "".join(text + (cells[name] if name is not None else "") for text, name, _, _ in parts)


def normalised(text: str) -> str:
    """What two texts share that count as the same: NFKC, case folded, white space as single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
