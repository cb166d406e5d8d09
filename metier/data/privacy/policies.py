"""What happens to personal data that was found.

    report      nothing: it is counted
    mask        `<EMAIL_ADDRESS>` stands in its place; masking twice changes nothing
    surrogate   another value of the same kind and form stands in its place (`surrogates.py`)
    drop        the row leaves what is trained on; a row of a test file stays, masked
    refuse      the run ends

A policy holds for prompts and answers alike, and treats all parts of one record together: a value that is in the
question and in the answer is replaced by the same in both. Labels are left alone: they are names of classes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from metier.data.privacy.detectors import Detector
from metier.data.privacy.spans import Span, settle
from metier.data.privacy.surrogates import StandIns
from metier.errors import DataError

POLICIES: Mapping[str, str] = {
    "report": "counted, and left as it is",
    "mask": "replaced by the name of its kind",
    "surrogate": "replaced by another value of the same kind and form",
    "drop": "the row leaves what is trained on",
    "refuse": "the run ends",
}
"""Names of policies, with what each does."""
REPLACING = ("mask", "surrogate")
"""Policies that change texts; the others look at rows."""
_MASK = "mask"


@dataclass(frozen=True, kw_only=True)
class PolicySettings:
    """What happens to which kind."""

    policy: str = "report"
    """A name in `POLICIES`."""
    by_kind: Mapping[str, str] = field(default_factory=dict)
    """Other policies for some kinds: `{US_SSN: refuse, PERSON: surrogate}`."""
    scope: str = "record"
    """One of `surrogates.SCOPES`: where the same value has the same stand-in."""

    def of(self, kind: str) -> str:
        """The policy for a kind."""
        return self.by_kind.get(kind, self.policy)

    @property
    def policies(self) -> tuple[str, ...]:
        """All that may be used, in the order of `POLICIES`."""
        return tuple(name for name in POLICIES if name in (self.policy, *self.by_kind.values()))

    def check(self, kinds: Sequence[str]) -> None:
        """Refuse what cannot be meant.

        Args:
            kinds: What the detector looks for.

        Raises:
            DataError: No such policy, or one for a kind that is not looked for.
        """
        for where, name in (
            ("policy", self.policy),
            *((f"by_kind.{kind}", name) for kind, name in self.by_kind.items()),
        ):
            if name not in POLICIES:
                raise DataError(f"privacy.{where}", f"is `{name}`", f"one of {', '.join(POLICIES)}")
        for kind in self.by_kind:
            if kind not in kinds:
                fix = f"Add it to `privacy.kinds`, which has {', '.join(kinds)}."
                raise DataError(f"privacy.by_kind.{kind}", "is a kind that is not looked for", "", fix)


@dataclass(frozen=True, slots=True)
class Replacement:
    """One value and what stands for it. Holds personal data: for the vault alone."""

    part: int
    """Which text of the record."""
    start: int
    """Where the stand-in begins in the text as it is afterwards."""
    kind: str
    value: str = field(repr=False)
    stand_in: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Hidden:
    """The texts of a record after a policy."""

    parts: tuple[str, ...]
    replacements: tuple[Replacement, ...] = ()
    """In the order of parts and places; `restored` undoes them."""
    kept: tuple[tuple[Span, ...], ...] = ()
    """By part: what was found and left, because its policy replaces nothing."""


class Protection:
    """Finds personal data in records and does with it what the policy says."""

    def __init__(self, settings: PolicySettings, detector: Detector, stand_ins: StandIns | None = None) -> None:
        """Put together.

        Args:
            settings: What happens to which kind.
            detector: What finds it.
            stand_ins: Needed by the policy `surrogate`.

        Raises:
            DataError: The settings do not fit the detector, or stand-ins are asked for without a key.
        """
        settings.check(detector.kinds)
        if "surrogate" in settings.policies and stand_ins is None:
            fix = "Name the variable that holds a key: `privacy.key_env: METIER_PRIVACY_KEY`, or use `mask`."
            raise DataError("privacy.policy", "is `surrogate`, which needs a key", "", fix)
        self.settings, self.detector = settings, detector
        self._stand_ins = stand_ins
        self._masks = re.compile("|".join(f"<{re.escape(kind)}>" for kind in detector.kinds))

    def hide(self, records: Sequence[Sequence[str]]) -> list[Hidden]:
        """The records after the policy, in their order.

        Args:
            records: The texts of each: prompt and answer, or its turns. The first one is what it is known by: the
                same first text has the same stand-ins.
        """
        hidden = [self._replaced(parts, found) for parts, found in zip(records, self.found(records), strict=True)]
        # A mask changes what stands around it, and with it what the model of names sees: again, until nothing is
        # found. It ends, because every round leaves less text outside of masks. Stand-ins look like what they stand
        # for: a second round would replace them, so there is none.
        if set(self.settings.policies) & set(REPLACING) != {"mask"}:
            return hidden
        again = [number for number, each in enumerate(hidden) if each.replacements]
        while again:
            found = self.found([hidden[number].parts for number in again])
            changed = []
            for number, spans in zip(again, found, strict=True):
                after = self._replaced(hidden[number].parts, spans)
                if after.replacements:
                    changed.append(number)
                    hidden[number] = _joined(hidden[number], after)
            again = changed
        return hidden

    def repair(self, text: str) -> str:
        """One text after the policy: what `predict` runs on every input. Policies that look at rows leave it as it is.

        Idempotent for every policy but `surrogate`, whose stand-ins are found and replaced like any other value.
        """
        return self.hide([[text]])[0].parts[0]

    def found(self, records: Sequence[Sequence[str]]) -> list[list[tuple[Span, ...]]]:
        """Spans by record and part: repeated names included, masks left out."""
        flat = [part for parts in records for part in parts]
        spans = iter(self.detector.find(flat))
        found = []
        for parts in records:
            own = [self._unmasked(part, next(spans)) for part in parts]
            found.append(
                [self._unmasked(part, each) for part, each in zip(parts, self.detector.repeat(parts, own), strict=True)]
            )
        return found

    def _unmasked(self, text: str, spans: Sequence[Span]) -> tuple[Span, ...]:
        """What of `spans` lies outside of masks."""
        if not spans or "<" not in text:
            return tuple(spans)
        masks = [Span(*mask.span(), _MASK, 2.0) for mask in self._masks.finditer(text)]
        return tuple(span for span in settle(text, (*spans, *masks)) if span.kind != _MASK)

    def _replaced(self, parts: Sequence[str], found: Sequence[Sequence[Span]]) -> Hidden:
        replaced = [[span for span in spans if self.settings.of(span.kind) in REPLACING] for spans in found]
        kept = tuple(tuple(span for span in spans if self.settings.of(span.kind) not in REPLACING) for spans in found)
        if not any(replaced):
            return Hidden(tuple(parts), kept=kept)
        values = [(s.kind, part[s.start : s.end]) for part, spans in zip(parts, replaced, strict=True) for s in spans]
        made = self._stand_ins.for_record(parts[0], values) if self._stand_ins else None
        texts, replacements = [], []
        for number, (part, spans) in enumerate(zip(parts, replaced, strict=True)):
            text, place = "", 0
            for span in spans:
                text += part[place : span.start]
                value = part[span.start : span.end]
                masked = made is None or self.settings.of(span.kind) == "mask"
                stand_in = f"<{span.kind}>" if masked or made is None else made.stand_in(span.kind, value)
                replacements.append(Replacement(number, len(text), span.kind, value, stand_in))
                text, place = text + stand_in, span.end
            texts.append(text + part[place:])
        return Hidden(tuple(texts), tuple(replacements), kept)


def restored(hidden: Hidden) -> tuple[str, ...]:
    """The texts as they were before.

    Args:
        hidden: Texts and the replacements that made them, as a vault keeps them.

    Raises:
        DataError: The texts are not those that the replacements made.
    """
    parts = list(hidden.parts)
    # The last made first: what was replaced in a later round is placed in the texts after it.
    for each in reversed(hidden.replacements):
        text, end = parts[each.part], each.start + len(each.stand_in)
        if text[each.start : end] != each.stand_in:
            raise DataError(
                f"part {each.part}", f"has no stand-in at character {each.start}", "the text as it was made"
            )
        parts[each.part] = text[: each.start] + each.value + text[end:]
    return tuple(parts)


def _joined(first: Hidden, second: Hidden) -> Hidden:
    return Hidden(second.parts, (*first.replacements, *second.replacements), second.kept)
