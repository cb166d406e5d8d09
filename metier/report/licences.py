"""Base model × data × result: what the names of their licences say about each other, and what nobody stated.

Takes a summary; gives a table and sentences. This is no legal advice: it reads names, not contracts, and whether a
model is derived from its training data is not settled law. Unknown is said as unknown, never as allowed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from metier.report import formats, sentences
from metier.report.summary import RunSummary
from metier.report.tables import Cell, Column, Row, Table

UNSTATED = frozenset({"", "other", "unknown", "none", "noassertion"})
"""What stands where nobody stated a licence. `other` is the hub's word for one without a name."""
ASKS_THE_SAME = ("GPL", "AGPL", "LGPL", "ODBL", "CDLA-SHARING", "EUPL", "OSL")
"""Beginnings of licences under which what is derived keeps the licence; Creative Commons says `SA`."""
OWN_TERMS = (
    "llama", "gemma", "openrail", "bigscience", "deepseek", "falcon", "qwen-research", "tongyi", "mrl", "nvidia",
)  # fmt: skip
"""Beginnings of the hub's names for licences with terms of use of their own."""
NO_ADVICE = "This compares the names of licences. It is no legal advice."
_WORD = re.compile(r"[A-Za-z0-9.+\-]+")
_JOINS = frozenset({"AND", "OR", "WITH"})


@dataclass(frozen=True)
class Licensed:
    """Something with a licence."""

    what: str
    name: str
    licence: str | None
    """SPDX expression or the hub's id; None: nobody stated one."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The licences that the expression names."""
        return tuple(word for word in _WORD.findall(self.licence or "") if word.upper() not in _JOINS)

    def has_part(self, *parts: str) -> bool:
        """Whether an id has one of these parts, such as `NC` in CC-BY-NC-4.0."""
        return any(part in each.upper().removesuffix("+").split("-") for each in self.ids for part in parts)

    @property
    def shown(self) -> str:
        """`minilm (apache-2.0)`."""
        return f"{self.name} ({self.licence or formats.UNKNOWN})"

    @property
    def remark(self) -> str:
        """What its name says."""
        if self.licence is None:
            return "nobody stated it"
        said = []
        if self.has_part("NC"):
            said.append("forbids commercial use")
        if self.has_part("ND"):
            said.append("forbids sharing what is derived")
        if self.asks_the_same:
            said.append("what is derived keeps this licence")
        if any(each.lower().startswith(OWN_TERMS) for each in self.ids):
            said.append("has terms of use of its own, to be read")
        if any(each.startswith("LicenseRef-") for each in self.ids):
            said.append("a licence of its own, which is not known here")
        return ", ".join(said)

    @property
    def asks_the_same(self) -> bool:
        """Whether what is derived from it keeps its licence."""
        return self.has_part("SA") or any(each.upper().startswith(ASKS_THE_SAME) for each in self.ids)


def licensed_parts(summary: RunSummary) -> tuple[Licensed, ...]:
    """The promoted model's base and every source of data."""
    attempt = sentences.promoted_attempt(summary)
    base = () if attempt is None else (Licensed("base model", attempt.model.name, _stated(attempt.model.licence)),)
    sources = {source.name: Licensed("data", source.name, _stated(source.licence)) for source in summary.data.sources}
    return (*base, *sources.values())


def licences_table(summary: RunSummary) -> Table:
    """The licence of the base, of every source and of the result, with what its name says."""
    rows = [
        Row((Cell(each.name, each.what), Cell(each.licence or formats.UNKNOWN), Cell(each.remark)))
        for each in (*licensed_parts(summary), _result(summary))
    ]
    return Table("Licences.", (Column("What"), Column("Licence"), Column("What its name says")), tuple(rows))


def licence_findings(summary: RunSummary) -> tuple[str, ...]:
    """What a person must look at before the model is shared, as sentences; the last says what this is not."""
    parts, result = licensed_parts(summary), _result(summary)
    found = []
    if unknown := [each for each in parts if each.licence is None]:
        found.append(f"Unknown: the licence of {_names(unknown)}. Whether the model may be shared is unknown with it.")
    if result.licence is None:
        found.append("The author states no licence of the result (`card.license`).")
    closed = [each for each in parts if each.has_part("NC")]
    if closed and not result.has_part("NC"):
        against = f", which {result.licence} does not" if result.licence else ""
        found.append(f"Commercial use is forbidden by {_shown(closed)}{against}.")
    if kept := [each for each in parts if each.has_part("ND")]:
        found.append(f"Sharing what is derived is forbidden by {_shown(kept)}.")
    if other := [each for each in parts if each.asks_the_same and not _among(result, each)]:
        found.append(f"What is derived keeps the licence of {_shown(other)}; the result states {_said(result)}.")
    if terms := [each for each in parts if any(name.lower().startswith(OWN_TERMS) for name in each.ids)]:
        found.append(f"Terms of use of their own come with {_shown(terms)}.")
    if not found:
        found.append("No name of these licences speaks against sharing the result under its own.")
    return (*found, NO_ADVICE)


def _result(summary: RunSummary) -> Licensed:
    stated = sentences.section(summary.recipe, "card").get("license")
    return Licensed("the result", summary.name, _stated(str(stated or "")))


def _stated(licence: str | None) -> str | None:
    return None if licence is None or licence.strip().lower() in UNSTATED else licence.strip()


def _among(result: Licensed, part: Licensed) -> bool:
    ours = {each.lower() for each in result.ids}
    return any(each.lower() in ours for each in part.ids)


def _said(result: Licensed) -> str:
    return result.licence or "none"


def _names(parts: Sequence[Licensed]) -> str:
    return ", ".join(each.name for each in parts)


def _shown(parts: Sequence[Licensed]) -> str:
    return ", ".join(each.shown for each in parts)
