"""The records that leave the data room, as frozen values without torch.

    Choice        one text with one right answer among labels          (task classification)
    Conversation  messages whose last is the answer                    (tasks generation and chat)
    Labelling     one text with any number of labels                   (task multilabel)
    Marked        one text with labelled pieces                        (task extraction)
    Passage       text to be read on, without an answer                (task text)
    Preference    a conversation with a chosen and a rejected answer   (task preference)

`Input` is what a system may see of any of them: no gold answer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from metier.data.label_lists import label_set
from metier.data.text_spans import Span, located

ROLES = ("system", "user", "assistant", "tool")
"""Who can speak in a conversation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: str
    """One of `ROLES`."""
    content: str
    learned: bool = True
    """Whether training may learn this turn; False where the data says `weight: 0`. Only of the assistant's turns."""
    more: str = ""
    """What else the turn holds (`tool_calls`, `tool_call_id`, `name`, `reasoning_content`), as JSON; empty: nothing."""

    def as_chat(self) -> dict[str, Any]:
        """The turn as chat templates read it."""
        return {"role": self.role, "content": self.content, **(json.loads(self.more) if self.more else {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What every record has."""

    id: str
    """Hash of the normalised text, then `-` and its occurrence (0, 1, …): the same text gets the same id for ever."""
    text: str
    """What a system is asked, after the repairs of `InputRules`; of a conversation its turns before the answer."""
    group: str | None = None
    """Records of equal group stay in one split and vary together. None: its own group."""
    source: str = ""
    """Name of the file that it came from."""
    row: int = 0
    """Data row in that file, 1-based, header not counted."""
    user_id: str | None = None
    """The user's own id, where `data.id` names a column."""
    flags: tuple[str, ...] = ()
    """Doubts that did not remove it: `duplicate`, `contradiction`, `in_train`, `label_unseen`, `rare_label`."""

    @property
    def gold(self) -> str:
        """The right answer; empty where a record has none."""
        return ""

    @property
    def stratum(self) -> str:
        """What splits are balanced by: the label of a choice, the first of several, the same for all others."""
        return ""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that the right answer names, each once; none where it is written freely, or not at all."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(Record):
    """One example with one right answer among labels."""

    label: str
    """The gold answer, after `data.label_names`."""

    @property
    def gold(self) -> str:
        """The label."""
        return self.label

    @property
    def stratum(self) -> str:
        """The label."""
        return self.label

    @property
    def labels(self) -> tuple[str, ...]:
        """The label."""
        return (self.label,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation(Record):
    """Messages whose last is the assistant's answer."""

    messages: tuple[Message, ...]
    """At least one turn of somebody else, then, last, one of the assistant."""
    tools: str | None = None
    """Tools that the assistant may call, as a JSON list. None: none."""

    @property
    def context(self) -> tuple[Message, ...]:
        """The turns before the answer."""
        return self.messages[:-1]

    @property
    def gold(self) -> str:
        """The answer; of a turn that only calls tools, the calls as JSON."""
        return answer_text(self.messages[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelling(Conversation):
    """A text with any number of labels: the answer is a JSON list of them (`label_lists.py`)."""

    @property
    def stratum(self) -> str:
        """The first label by name; empty where there is none. Whole sets of labels may each come only once."""
        return next(iter(self.labels), "")

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, sorted."""
        return tuple(sorted(label_set(self.gold)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked(Conversation):
    """A text with labelled pieces of it: the answer is a JSON list of them (`text_spans.py`)."""

    @property
    def spans(self) -> tuple[Span, ...]:
        """The pieces by character offsets, in order."""
        return located(self.text, self.gold) or ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the pieces, sorted."""
        return tuple(sorted({span.label for span in self.spans}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage(Record):
    """Text to be read on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference(Record):
    """A conversation and two answers, of which one is better."""

    messages: tuple[Message, ...]
    """The turns before the answers."""
    chosen: str
    rejected: str

    @property
    def gold(self) -> str:
        """The better answer."""
        return self.chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """What a system is asked: a record without its answer."""

    id: str
    text: str
    """All that is asked as one text."""
    group: str | None = None
    messages: tuple[Message, ...] = ()
    """The turns before the answer, the last one not the assistant's. Empty: the text is all there is."""
    tools: str | None = None
    """Tools that the assistant may call, as a JSON list. None: none."""

    @property
    def turns(self) -> tuple[Message, ...]:
        """The messages; a bare text is one turn of the user."""
        return self.messages or (Message(role="user", content=self.text),)


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
    """The raw row as it was read, so that it can be given back. Stays in the run folder. Empty: it may not be kept."""
    step: str = ""
    """The step that removed it: see `reasons.py`, and the cleaning steps."""
    version: int = 0
    """Of the step's rules."""
    sha256: str = ""
    """Hash of the row as it was read (`reasons.row_sha256`). Empty: nothing of it could be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A row that a step changed: a line of `changed.jsonl`."""

    source: str
    row: int
    repairs: tuple[str, ...]
    """What was changed, by name, in order."""
    step: str = ""
    """The step that did it: see `reasons.py`."""
    version: int = 0
    """Of the step's rules."""
    sha256: str = ""
    """Hash of the row as it was read (`reasons.row_sha256`)."""
    detail: str = ""
    """A sentence; never the text."""


def as_input(record: Record) -> Input:
    """The part of `record` that a system may see."""
    if isinstance(record, Conversation):
        return Input(id=record.id, text=record.text, group=record.group, messages=record.context, tools=record.tools)
    return Input(id=record.id, text=record.text, group=record.group)


def answer_text(message: Message) -> str:
    """What an assistant's turn says; where it only calls tools, the calls as JSON."""
    if message.content or not message.more:
        return message.content
    calls = json.loads(message.more).get("tool_calls")
    return json.dumps(calls, ensure_ascii=False) if calls else ""


def spoken(messages: Sequence[Message]) -> str:
    """Turns as one text, for retrieval, ids and duplicates: contents but the system prompt's, a blank line between."""
    said = [answer_text(message) for message in messages if message.role != "system"]
    return "\n\n".join(text for text in said if text)
