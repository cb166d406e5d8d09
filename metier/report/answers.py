"""Answers to read: a record's question, its gold answer and what every system wrote, made fit for the page.

Takes written examples; gives what the template shows. Long texts are folded, nothing is left out up to a
limit that is stated; a JSON answer is laid out by its fields.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from metier.data.records import Message, answer_text
from metier.report import formats, picks
from metier.report.summary import RunSummary, WrittenAnswer, WrittenExample

FOLD = 600
"""Characters of a text that are seen at once; the rest can be unfolded."""
OTHERS = 300
"""The same of a baseline's answer."""
HEAD = 240
"""The same of what stands around every question."""
LONGEST = 12_000
"""Characters of a text that are in the page at all."""
CODE_SIGNS, CODE_SHARE = frozenset("{}()[]<>|$;=\\/*&^%#@~_-"), 0.05
"""Signs of code, and the share of them in a text from which on it is code."""
BRIEF = 40
"""Characters of a field that stand on the line of its name."""
SHORT_VALUE = 10
"""Words up to which a field is right or wrong, as evaluation has it."""
MOST_TURNS = 5
"""Turns of a conversation that are seen at once: the last ones."""
ROLES = {"user": "Asked", "assistant": "Answered", "tool": "Tool"}
ENDINGS = {"length": "unfinished: it ran into the limit of tokens", "stop text": "ended at a stop text"}


@dataclass(frozen=True)
class Folded:
    """A text, of which only the beginning is seen at first."""

    text: str
    head: str = ""
    """The beginning, where the text is long; empty where all is seen at once."""
    size: str = ""
    """How long it is, and how much of it is here."""
    code: bool = False
    """Whether it is set in a fixed width."""


@dataclass(frozen=True)
class Field:
    """One field of a JSON answer."""

    name: str
    text: Folded
    same: bool | None = None
    """Whether a short value is that of the gold answer; None where it is long, or of the gold answer itself."""

    @property
    def brief(self) -> bool:
        """Whether it fits on the line of its name."""
        return len(self.text.text) <= BRIEF and "\n" not in self.text.text


@dataclass(frozen=True)
class ShownAnswer:
    """One system's answer."""

    system: str
    text: Folded | None
    fields: tuple[Field, ...] = ()
    """In place of the text, where the answer is a JSON object."""
    score: str = ""
    notes: tuple[str, ...] = ()
    """What went wrong: unfinished, no JSON, an input that was cut."""
    strong: bool = False


@dataclass(frozen=True)
class ShownRecord:
    """A record as the page shows it."""

    title: str
    place: str
    tags: tuple[tuple[str, str], ...]
    """Tone and words."""
    turns: tuple[tuple[str, Folded], ...]
    gold: ShownAnswer
    own: ShownAnswer | None
    others: tuple[ShownAnswer, ...]


@dataclass(frozen=True)
class Readings:
    """All records with answers to read."""

    first: tuple[ShownRecord, ...]
    """In the order of the hashes of their ids."""
    ends: tuple[ShownRecord, ...]
    """Picked for their score, beyond those of `first`."""
    how: str
    """How those of `first` came to be there, in words."""
    picked: str
    """The same of those that were picked for their score; empty where none was."""
    has_json: bool
    """Whether answers are laid out by field."""
    around: tuple[tuple[str, Folded], ...]
    """What stood around every question: instruction, system prompt."""


def readings(summary: RunSummary) -> Readings:
    """What the page shows of written answers."""
    found = summary.comparison
    system = _same_system(summary.written)
    code = _write_code([example.gold for example in summary.written])
    shown = [
        (
            example,
            shown_record(example, found.primary_metric, found.candidate, without_system=system is not None, code=code),
        )
        for example in summary.written
    ]
    first = tuple(record for example, record in shown if picks.BY_HASH in example.why)
    ends = tuple(record for example, record in shown if picks.BY_HASH not in example.why)
    has_json = any(answer.fields for _, record in shown for answer in (record.gold, *record.others))
    how = _how(len(first), found.n, f"{formats.set_words(found.set)} record")
    return Readings(first, ends, how, _picked(summary), has_json, _around(summary, system))


def _write_code(golds: Sequence[str]) -> bool:
    """Whether the gold answers are commands or code, by the share of signs that prose hardly has."""
    shares = sorted(sum(char in CODE_SIGNS for char in gold) / len(gold) for gold in golds if gold)
    return bool(shares) and shares[len(shares) // 2] > CODE_SHARE and _object(golds[0]) is None


def _same_system(examples: Sequence[WrittenExample]) -> str | None:
    """The system prompt that all records bring; None where they differ or bring none."""
    found = {"\n\n".join(turn.content for turn in example.turns if turn.role == "system") for example in examples}
    return (found.pop() or None) if len(found) == 1 else None


def _around(summary: RunSummary, own: str | None) -> tuple[tuple[str, Folded], ...]:
    """What every question was asked under: the instruction, and the records' system prompt or the recipe's."""
    brought = any(turn.role == "system" for example in summary.written for turn in example.turns)
    system = own or (None if brought else summary.prompt.get("system"))
    parts = (("System prompt", system), ("Instruction", summary.prompt.get("instruction")))
    return tuple((f"{name} of every question", folded(str(text), limit=HEAD)) for name, text in parts if text)


def _how(first: int, n: int, of: str) -> str:
    if first == n:
        return f"All {formats.counted(n, of)}, in the order of their ids, which are hashes."
    return (
        f"The first {first} of {formats.counted(n, of)} in the order of their ids, which are hashes of "
        "the question: nobody chose them."
    )


def _picked(summary: RunSummary) -> str:
    """Which records were picked for their score, and how many of them stand among the first; empty where none was."""
    found = summary.comparison
    best, worst = (sum(name in example.why for example in summary.written) for name in (picks.BEST, picks.WORST))
    if not best + worst:
        return ""
    text = (
        f"Picked for their score: the {best} best and the {worst} worst of {found.candidate} against "
        f"{found.best_baseline}, the best baseline, by {formats.metric_words(found.primary_metric)} of one answer."
    )
    above = sum(picks.BY_HASH in example.why and len(example.why) > 1 for example in summary.written)
    if not above:
        return text
    return f"{text} {above} of them {'stands above and is' if above == 1 else 'stand above and are'} marked there."


def shown_record(
    example: WrittenExample, metric: str, candidate: str, *, without_system: bool = False, code: bool = False
) -> ShownRecord:
    """One record.

    Args:
        example: With the answers of every system.
        metric: The primary one, whose score stands at every answer.
        candidate: Name of the promoted system.
        without_system: Whether the system prompt is left out, because it is shown once for all.
        code: Whether all answers are set in a fixed width.
    """
    gold = _object(example.gold)
    answers = [
        _answer(answer, metric, gold, strong=answer.system == candidate, code=code) for answer in example.answers
    ]
    return ShownRecord(
        title=example.id[:12],
        place=f"{example.source} row {example.row:,}" if example.source else example.id,
        tags=_tags(example),
        turns=_turns(example, without_system=without_system),
        gold=ShownAnswer(
            "gold answer", None if gold else folded(example.gold, code=code), _fields(gold, None) if gold else ()
        ),
        own=next((answer for answer in answers if answer.strong), None),
        others=tuple(answer for answer in answers if not answer.strong),
    )


def _turns(example: WrittenExample, *, without_system: bool) -> tuple[tuple[str, Folded], ...]:
    """What was asked: the last turns, with those before them folded into one; then system prompt and tools, folded."""
    said = [turn for turn in example.turns if turn.role != "system"]
    before, last = said[:-MOST_TURNS], said[-MOST_TURNS:]
    earlier = "\n\n".join(f"{_role(turn)}: {answer_text(turn)}" for turn in before)
    system = "" if without_system else "\n\n".join(turn.content for turn in example.turns if turn.role == "system")
    hidden = (("System prompt", system), ("Tools", example.tools or ""))
    return (
        *([(f"Earlier turns ({len(before)})", folded(earlier, limit=0))] if before else []),
        *((_role(turn), folded(answer_text(turn))) for turn in last),
        *((name, folded(text, limit=0)) for name, text in hidden if text),
    )


def _role(message: Message) -> str:
    return ROLES.get(message.role, message.role)


def _tags(example: WrittenExample) -> tuple[tuple[str, str], ...]:
    """How good it is beside the best baseline, where that is why it is shown."""
    gain = formats.signed(example.gain)
    words = {picks.BEST: ("good", f"among the best: {gain}"), picks.WORST: ("bad", f"among the worst: {gain}")}
    return tuple(words[why] for why in example.why if why in words)


def _answer(
    answer: WrittenAnswer, metric: str, gold: dict[str, Any] | None, *, strong: bool, code: bool
) -> ShownAnswer:
    notes = [ENDINGS[answer.stop]] if answer.stop in ENDINGS else []
    if answer.is_json is False and answer.text is not None:
        notes.append("no valid JSON object")
    if answer.reason:
        notes.append("its input was cut" if answer.reason == "cut" else answer.reason)
    score = f"{formats.metric_title(metric)} {formats.score(answer.score)}"
    if answer.system == picks.COPY:
        return ShownAnswer(answer.system, folded("(what was asked, unchanged)"), (), score, tuple(notes), strong)
    found = _object(answer.text) if answer.is_json else None
    limit = FOLD if strong else OTHERS
    text = None if found or answer.text is None else folded(answer.text or "(an empty answer)", limit=limit, code=code)
    return ShownAnswer(answer.system, text, _fields(found, gold) if found else (), score, tuple(notes), strong)


def folded(text: str, *, limit: int = FOLD, code: bool = False) -> Folded:
    """A text with its line breaks and indentation, folded where it is long.

    Args:
        text: Anything.
        limit: Characters that are seen at once; 0 folds every text.
        code: Whether it is set in a fixed width even if it does not look like code.
    """
    code = code or _is_code(text)
    whole = formats.printable(text)
    shown = whole if len(whole) <= LONGEST else whole[:LONGEST].rstrip() + "…"
    size = f"{len(whole):,} characters"
    if len(whole) > LONGEST:
        size = f"the first {LONGEST:,} of {size}"
    if len(whole) <= limit + limit // 4:
        return Folded(shown, code=code)
    head = whole[:limit].rsplit(None, 1)[0].rstrip() + " …" if limit else "…"
    return Folded(shown, head, size, code)


def _is_code(text: str) -> bool:
    """Whether columns matter: fenced or indented lines, or something in braces or brackets."""
    lines = text.splitlines()
    return "```" in text or text.lstrip()[:1] in ("{", "[") or any(line.startswith(("    ", "\t")) for line in lines)


def _object(text: str | None) -> dict[str, Any] | None:
    """The JSON object that a text is."""
    try:
        value = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and value else None


def _fields(value: dict[str, Any], gold: dict[str, Any] | None) -> tuple[Field, ...]:
    """The fields of an answer in its own order, each beside that of the gold answer."""
    return tuple(
        Field(str(name), folded(_as_text(inner)), None if gold is None else _same(inner, gold.get(name)))
        for name, inner in value.items()
    )


def _same(value: Any, gold: Any) -> bool | None:
    wanted = _as_text(gold)
    return None if len(wanted.split()) > SHORT_VALUE else _as_text(value).split() == wanted.split()


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
