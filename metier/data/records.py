"""The records that leave the data room, as frozen values without torch.

`Choice` is the record of classification; `Input` is what a system may see of it: no gold answer.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One example with one right answer among labels."""

    id: str
    """Hash of the normalised text, then `-` and its occurrence (0, 1, …): the same text gets the same id for ever."""
    text: str
    """What the system sees, after the repairs of `InputRules`."""
    label: str
    """The gold answer, after `data.label_names`."""
    group: str | None = None
    """Records of equal group stay in one split and vary together. None: its own group."""
    source: str = ""
    """Name of the file it came from."""
    row: int = 0
    """Data row in that file, 1-based, header not counted."""
    user_id: str | None = None
    """The user's own id, where `data.id` names a column."""
    flags: tuple[str, ...] = ()
    """Doubts that did not remove it: `duplicate`, `contradiction`, `in_train`, `label_unseen`, `rare_label`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """What a system is asked: a record without its answer."""

    id: str
    text: str
    group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A row that was not used, with the reason and the place. Written to `rejected.jsonl`."""

    source: str
    row: int
    reason: str
    """Short key: `empty text`, `empty label`, `broken row`, `duplicate`, `contradiction`, `also in test`, …"""
    detail: str = ""
    """A sentence with numbers; never the text."""
    content: str = ""
    """The raw row as it was read, so that it can be given back. Stays in the run folder."""


def as_input(record: Choice) -> Input:
    """The part of `record` that a system may see."""
    return Input(id=record.id, text=record.text, group=record.group)
