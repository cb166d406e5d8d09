"""The licence of every source: SPDX expressions, checked against the list that `packaging` carries.

Ids and grammar are those of the SPDX License List and of SPDX specification 2.3, annex D (`MIT OR
Apache-2.0`, `GPL-2.0-only WITH Classpath-exception-2.0`, `LicenseRef-our-contract`).
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from metier.data.card import SourceFile
from metier.errors import DataError

Policy = Literal["allow", "warn", "refuse"]
UNKNOWN = "unknown"
"""What the recipe may say where nobody knows; the same as saying nothing."""
USUAL = (
    "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0",
    "CC-BY-ND-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC0-1.0", "CDLA-Permissive-2.0", "CDLA-Sharing-1.0",
    "GPL-2.0-only", "GPL-3.0-only", "GPL-3.0-or-later", "MIT", "MPL-2.0", "ODbL-1.0", "ODC-By-1.0", "PDDL-1.0",
    "Unlicense",
)  # fmt: skip
"""SPDX ids that data usually has: what a misspelt one is compared with, not what is allowed."""
_WORD = re.compile(r"[A-Za-z0-9.\-+]+")
_OPERATORS = frozenset({"AND", "OR", "WITH"})
_OWN = "LicenseRef-"


@dataclass(frozen=True, kw_only=True)
class SourceLicence:
    """Under which licence one source is used."""

    source: str
    licence: str | None
    """SPDX expression in its normal form. None: unknown."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The licences that the expression names, in order, each once."""
        words = _WORD.findall(self.licence or "")
        kept = [word for before, word in zip(["", *words], words, strict=False) if before != "WITH"]
        return tuple(dict.fromkeys(word for word in kept if word not in _OPERATORS))

    @property
    def urls(self) -> tuple[str, ...]:
        """Where the texts of those licences are; none for a licence of one's own (`LicenseRef-…`)."""
        plain = [name.removesuffix("+") for name in self.ids if not name.startswith(_OWN)]
        return tuple(f"https://spdx.org/licenses/{name}.html" for name in plain)

    @property
    def forbids_commerce(self) -> bool:
        """Whether a licence's own id says so (Creative Commons' `NC`); False says nothing about the others."""
        return any("NC" in name.removesuffix("+").split("-") for name in self.ids)


@dataclass(frozen=True, kw_only=True)
class Licences:
    """The licences of all sources."""

    sources: tuple[SourceLicence, ...]
    policy: str = "warn"

    @property
    def unknown(self) -> tuple[str, ...]:
        """Sources whose licence nobody stated."""
        return tuple(source.source for source in self.sources if source.licence is None)

    @property
    def notices(self) -> tuple[str, ...]:
        """What should be said once: unknown licences, unless the policy allows them, and those without commerce."""
        said = []
        if self.unknown and self.policy != "allow":
            said.append(
                f"licence unknown: {_names(self.unknown)}; say it in data.licenses, or data.unknown_license: allow"
            )
        closed = [source.source for source in self.sources if source.forbids_commerce]
        if closed:
            said.append(f"licence forbids commercial use: {_names(closed)}")
        return tuple(said)


def check_licences(sources: Sequence[SourceFile], stated: Mapping[str, str], *, policy: Policy = "warn") -> Licences:
    """The licence of every source, as the recipe states it.

    Args:
        sources: The files that were read.
        stated: `data.licenses`: a source's name or a pattern (`*.csv`, `*`) -> SPDX expression, or `unknown`.
            A name wins over patterns, an earlier pattern over a later one.
        policy: What an unknown licence leads to: `allow` says nothing, `warn` a notice, `refuse` an error.

    Raises:
        DataError: An expression is no SPDX expression, a name fits no source, or a licence is unknown and the
            policy refuses that.
    """
    expressions = {pattern: _normal(pattern, expression) for pattern, expression in stated.items()}
    names = [source.name for source in sources]
    for pattern in expressions:
        if not any(_fits(name, pattern) for name in names):
            near = difflib.get_close_matches(pattern, names, n=1)
            fix = f"Did you mean `{near[0]}`?" if near else ""
            raise DataError("data.licenses", f"`{pattern}` is no source", f"one of {_names(names)}, or `*`", fix)
    licences = Licences(
        sources=tuple(SourceLicence(source=name, licence=_of(name, expressions)) for name in names), policy=policy
    )
    if licences.unknown and policy == "refuse":
        found = f"the licence of {_names(licences.unknown)} is not known, and data.unknown_license is refuse"
        fix = 'State it, such as data.licenses: {"*": CC-BY-4.0}; a contract of your own is LicenseRef-<name>.'
        raise DataError("data.licenses", found, "a licence for every source", fix)
    return licences


def _of(name: str, expressions: Mapping[str, str | None]) -> str | None:
    if name in expressions:
        return expressions[name]
    return next((licence for pattern, licence in expressions.items() if _fits(name, pattern)), None)


def _fits(name: str, pattern: str) -> bool:
    return name == pattern or fnmatch.fnmatchcase(name, pattern)


def _normal(pattern: str, expression: str) -> str | None:
    """The expression in its normal form; None for `unknown`."""
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    if expression.strip().lower() == UNKNOWN:
        return None
    try:
        return str(canonicalize_license_expression(expression.strip()))
    except InvalidLicenseExpression as error:
        near = _nearest(expression)
        fix = (
            f"Did you mean {near}?" if near else "The ids are listed at spdx.org/licenses; your own: LicenseRef-<name>."
        )
        found = f"`{expression}` is no SPDX licence expression"
        raise DataError(f"data.licenses.{pattern}", found, "such as CC-BY-4.0, or unknown", fix) from error


def _nearest(expression: str) -> str | None:
    """The usual id that a person may have meant: `CC BY 4.0` is `CC-BY-4.0`."""
    known = {name.lower(): name for name in USUAL}
    wanted = re.sub(r"[\s_]+", "-", expression.strip().lower())
    near = difflib.get_close_matches(wanted, list(known), n=1, cutoff=0.75)
    return known[near[0]] if near else None


def _names(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown
