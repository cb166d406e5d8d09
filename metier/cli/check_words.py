"""The words of `metier check` about records: where they stand, what of them is learned, how long they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from metier.cli.tables import aligned
from metier.report import formats

if TYPE_CHECKING:
    from metier.planning.results import LearnedTokens, Lengths, RowPlace, ShownPiece, TextFacts

HEAD, TAIL = 160, 100
"""Characters that are shown of a long piece, from its beginning and from its end."""


def place_said(place: RowPlace) -> str:
    """`train.csv:3`."""
    return f"{place.source}:{place.row}"


def places_said(places: Sequence[RowPlace], count: int) -> str:
    """`train.csv:3, 17 and 9 more`: the file is named where it changes."""
    said, source = [], ""
    for place in places:
        said.append(place_said(place) if place.source != source else str(place.row))
        source = place.source
    more = f" and {count - len(places):,} more" if count > len(places) else ""
    return f"{', '.join(said)}{more}"


def text_facts(facts: TextFacts) -> Iterator[str]:
    """What conversations or passages are like, as sentences."""
    median, longest = facts.characters
    if facts.turns is None:
        yield f"Texts: {median:,} characters in the median, {longest:,} at most."
        return
    middle, most = facts.turns
    yield (
        f"Conversations: {middle:,} turns in the median, {most:,} at most; answers of {median:,} characters in the "
        f"median, {longest:,} at most, {facts.distinct:,} distinct among {facts.records:,}."
    )
    details = (
        (facts.with_system, "with a system prompt"), (facts.with_tools, "with tools"),
        (facts.with_calls, "with tool calls"),
    )  # fmt: skip
    if any(count for count, _ in details):
        yield f"Records: {', '.join(f'{count:,} {what}' for count, what in details if count)}."
    if facts.not_learned:
        yield f"{formats.counted(facts.not_learned, 'answer')} of weight 0: read, not learned."


def learned_sentences(learned: LearnedTokens) -> Iterator[str]:
    """How much is learned, what cannot be, and how long answers may become."""
    what = "answers" if learned.max_new_tokens is not None else "windows"
    sampled = learned.encoded < learned.records
    scope = f", estimated from {learned.encoded:,} of {learned.records:,} records" if sampled else ""
    about = "about " if sampled else ""
    yield (
        f"Learned: {about}{learned.learned:,} tokens in {learned.sequences:,} {what} of "
        f"{formats.counted(learned.used, 'record')}; {about}{learned.read:,} tokens are only read{scope}."
    )
    for left in learned.left_out:
        rows = places_said(left.first, left.count)
        yield f"Left out, {left.reason}: {formats.counted(left.count, 'record')} ({rows})."
    if learned.max_new_tokens is None:
        return
    named = ", ".join(f"{long.tokens:,} tokens ({place_said(long.place)})" for long in learned.longest)
    why = "as the recipe says" if learned.max_new_tokens_given else "from the training answers"
    longer = f"; {formats.counted(learned.longer_answers, 'training answer')} longer" if learned.longer_answers else ""
    yield f"Longest answers: {named}." if named else "No answers."
    yield f"Answers end after {learned.max_new_tokens:,} tokens at the latest ({why}{longer})."


def lengths_table(lengths: Sequence[Lengths]) -> str:
    """Tokens of every split; a sample says how many records it has."""
    sampled = any(each.counted is not None for each in lengths)
    rows = [
        (
            each.split, f"{each.median:,}", f"{each.longest:,}", f"{each.limit:,}", f"{each.cut:,}",
            *((f"{each.rows if each.counted is None else each.counted:,} of {each.rows:,}",) if sampled else ()),
        )
        for each in lengths
    ]  # fmt: skip
    return aligned(("Tokens of", "Median", "Longest", "Limit", "Cut records", *(("Counted",) if sampled else ())), rows)


def piece_said(piece: ShownPiece) -> str:
    """A piece on one line, its middle left out where it is long; without texts the number of its tokens."""
    if piece.text is None:
        return formats.counted(piece.tokens, "token")
    shown = visible(piece.text)
    if len(shown) <= HEAD + TAIL + 40:
        return shown
    return f"{shown[:HEAD]} …({len(shown) - HEAD - TAIL:,} more characters)… {shown[-TAIL:]}"


def visible(text: str) -> str:
    """A text on one line: line ends, tabs and what cannot be printed are shown by signs."""
    signs = {"\n": "⏎", "\t": "⇥", "\r": "␍", "\ufffd": "·"}
    return "".join(signs.get(char, char if char.isprintable() else "·") for char in text)


def seal_sentence(judged: str, openings: int | None) -> str | None:
    """How often the test set was opened already, or that it stays closed; None where that is not known.

    Args:
        judged: The set that the verdict is about.
        openings: How often its test set was opened before.
    """
    if judged == "validation":
        return "The verdict will be about validation: the test set stays closed, and no opening is counted."
    if openings is None:
        return None
    if not openings:
        return "The test set was never opened. A run opens it once, at the end."
    return (
        f"The test set was opened {formats.times(openings)} already: a run opens it for the {_ordinal(openings + 1)} "
        "time, and its report shows the wider interval that several looks leave. "
        "`evaluation.split: validation` looks without opening it."
    )


def _ordinal(number: int) -> str:
    """`2nd`, `3rd`, `11th`."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
    return f"{number}{ending}"
