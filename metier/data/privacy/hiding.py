"""Personal data hidden in records before anything of them is kept, as the recipe's section `privacy` asks.

Prompts and answers alike, all texts of a record together. The hash that a record is known by, its duplicates and its
contradictions are then those of the hidden text. Labels stay: they are names of classes. Rows of a test file never
leave (rule 5 of the evidence): where others are dropped, they are masked.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from metier.data.cleaning.rows import Finding
from metier.data.privacy.detectors import DetectorSettings, make_detector
from metier.data.privacy.own import OwnRecogniser
from metier.data.privacy.parts import Parts, parts_of, with_parts
from metier.data.privacy.policies import REPLACING, Hidden, PolicySettings, Protection
from metier.data.privacy.presidio import package_versions
from metier.data.privacy.saved import InputProtection
from metier.data.privacy.spans import DEFAULT_KINDS
from metier.data.privacy.surrogates import StandIns
from metier.data.privacy.tally import PARTS, Summary, Tally, refusal, said, summary_of
from metier.data.records import Preference, Record
from metier.data.table import counted
from metier.errors import ArgumentError
from metier.recipe.privacy_section import PrivacySection

AT_ONCE = 64
"""Records that are looked at together: what the model of names reads at once."""
CHANGE = "personal data"
"""Name of the change in `changed.jsonl`, and the reason of a row that leaves."""
Keep = Callable[[Record, Record | None], None]
"""Told about every record before and after; None: it left. For the vault: it holds personal data."""
_DONE = {"mask": "masked", "surrogate": "replaced by surrogates", "report": "left as it is", "drop": "rejected"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """A record after the policy."""

    record: Record
    found: Summary
    """What was in it."""
    changed: bool = False
    detail: str = ""
    """What was replaced, as a phrase with counts."""
    rejected: tuple[str, str] | None = None
    """Reason and detail, where it leaves."""


class Hiding:
    """Does with the personal data of records what a recipe says, and counts it."""

    def __init__(
        self, protection: Protection, of_test: Protection, about: InputProtection, *,
        mark: Callable[[str], str], keep: Keep | None = None,
    ) -> None:  # fmt: skip
        """Put together; `make_hiding` does that for a recipe.

        Args:
            protection: What happens to records of train and validation.
            of_test: What happens to records of a test file.
            about: How inputs are treated later.
            mark: Makes what stands for a group that is personal data.
            keep: Told about every record that was changed or left.
        """
        self._protection, self._of_test, self._about = protection, of_test, about
        self._mark, self._keep = mark, keep
        self._tally = Tally()
        self._refused: list[tuple[str, int]] = []
        self._groups: dict[str, str] = {}
        self._done: Counter[str] = Counter()
        self._user_ids = False
        self._seconds = 0.0

    @property
    def changes_records(self) -> bool:
        """Whether personal data is taken out of what is kept: then no row is kept as it was read."""
        return bool({*REPLACING, "drop"} & set(self._protection.settings.policies))

    def hide(self, records: Sequence[Record], *, test: bool = False) -> list[Handled]:
        """Records after the policy, in their order.

        Args:
            records: After all other repairs. Best some dozens at once.
            test: Whether they are of a test file.
        """
        started = time.perf_counter()
        protection = self._of_test if test else self._protection
        parts = [parts_of(record) for record in records]
        hidden = protection.hide([each.texts for each in parts])
        self._look_at_groups(records)
        handled = [
            self._handled(record, each, after, protection.settings, test=test)
            for record, each, after in zip(records, parts, hidden, strict=True)
        ]
        self._seconds += time.perf_counter() - started
        return handled

    def note(self, handled: Handled, place: int | None) -> None:
        """Count a record.

        Args:
            handled: As `hide` gave it.
            place: Its place among all records. None: it left.
        """
        self._tally.add(place, handled.found)

    def raise_refused(self) -> None:
        """End a run that must not have what was found.

        Raises:
            DataError: Kinds whose policy is `refuse` were found; with counts and row numbers.
        """
        if self._refused:
            raise refusal(self._refused, self._tally.totals())

    def finding(self, split_of: Callable[[int], str]) -> Finding:
        """All that was found. Only rows of a split in which something still stands are doubted.

        Args:
            split_of: Where the record of a place stands: a name in `cleaning.rows.SPLITS`, `unsplit` where it left.
        """
        settings = self._protection.settings
        found = self._tally.finding(
            settings, self._protection.detector, split_of, left=lambda kind: settings.of(kind) == "report",
            seconds=self._seconds,
        )  # fmt: skip
        return replace(found, doubts=tuple(each for each in found.doubts if split_of(each.key) != "unsplit"))

    def notices(self) -> tuple[str, ...]:
        """What was done, and what was not looked at, as sentences."""
        detector, done = self._protection.detector, self._done
        lines = [f"personal data: {note}" for note in detector.notes if detector.name == "patterns"]
        totals = self._tally.totals()
        kinds = ", ".join(f"{totals[kind]:,} {kind}" for kind in detector.kinds if totals[kind])
        if kinds:
            lines.append(f"personal data in {counted(len(self._tally), 'row')} ({kinds}): {self._what_was_done()}")
        if done["dropped"]:
            lines.append(
                f"privacy.policy: {counted(done['dropped'], 'row')} with personal data rejected before splits were "
                "drawn; a test set that is drawn has none of them either"
            )
        if done["test masked"]:
            lines.append(
                f"privacy.policy: {counted(done['test masked'], 'row')} of the test file masked and not dropped: a "
                "test set stays as it is but for repairs that `predict` makes too"
            )
        if self.changes_records and self._user_ids:
            lines.append("data.id: ids are copied as they are, and are not looked at for personal data")
        return tuple(lines)

    def for_inputs(self) -> InputProtection | None:
        """What is done to every input of the model; None where nothing is replaced."""
        return self._about if set(self._of_test.settings.policies) & set(REPLACING) else None

    def _handled(
        self, record: Record, parts: Parts, hidden: Hidden, settings: PolicySettings, *, test: bool
    ) -> Handled:
        self._user_ids = self._user_ids or record.user_id is not None
        found = summary_of(_findings(parts, hidden))
        policies = {settings.of(kind) for _, kind, _ in found}
        if "refuse" in policies:
            self._refused.append((record.source, record.row))
        if "drop" in policies:
            self._done["dropped"] += 1
            return self._left(record, found, (CHANGE, said(found)))
        after = with_parts(record, hidden.parts) if hidden.replacements else record
        if record.group is not None and self._groups.get(record.group, record.group) != record.group:
            after = replace(after, group=self._groups[record.group])
        if after is record:
            return Handled(record=record, found=found)
        if isinstance(after, Preference) and after.chosen == after.rejected:
            detail = "the chosen answer is the rejected one, once personal data is hidden"
            return self._left(record, found, ("equal answers", detail))
        self._done["test masked"] += test and self._drops(found)
        if self._keep is not None:
            self._keep(record, after)
        replaced = tuple(each for each in found if settings.of(each[1]) in REPLACING)
        return Handled(record=after, found=found, changed=True, detail=said(replaced) or "its group")

    def _left(self, record: Record, found: Summary, why: tuple[str, str]) -> Handled:
        if self._keep is not None:
            self._keep(record, None)
        return Handled(record=record, found=found, rejected=why)

    def _drops(self, found: Summary) -> bool:
        return any(self._protection.settings.of(kind) == "drop" for _, kind, _ in found)

    def _look_at_groups(self, records: Sequence[Record]) -> None:
        """Find what stands for groups that are personal data, such as a customer's address; equal ones stay equal."""
        if not self.changes_records:
            return
        of_rows = {f"{record.source}, row {record.row}" for record in records}
        new = sorted({r.group for r in records if r.group is not None} - self._groups.keys() - of_rows)
        for group, (spans,) in zip(new, self._protection.found([[group] for group in new]), strict=True):
            personal = any(self._protection.settings.of(span.kind) in (*REPLACING, "drop") for span in spans)
            self._groups[group] = f"group {self._mark(group)}" if personal else group

    def _what_was_done(self) -> str:
        settings = self._protection.settings
        by_kind = [f"{kind}: {_DONE.get(policy, policy)}" for kind, policy in sorted(settings.by_kind.items())]
        usual = _DONE.get(settings.policy, f"policy {settings.policy}")
        return f"{usual} ({', '.join(by_kind)})" if by_kind else usual


def make_hiding(
    section: PrivacySection | None, *, keep: Keep | None = None, environment: Mapping[str, str] = os.environ
) -> Hiding | None:
    """What hides personal data as a recipe asks; None where it is not looked for.

    Args:
        section: The recipe's privacy section.
        keep: Told about every record that was changed or left, before and after: for the vault.
        environment: Where the key of surrogates is looked for.

    Raises:
        DataError: The settings cannot be meant.
        ArgumentError: The key is missing or too short.
        MissingPackage: The detector needs a package that is not installed.
    """
    if section is None or section.looked_for is None:
        return None
    looking = _looking(section)
    settings = PolicySettings(policy=section.looked_for, by_kind=section.by_kind, scope=section.scope)
    of_test = masked_where_dropped(settings)
    detector = make_detector(looking)
    key = stand_in_key(section.key_env, environment) if "surrogate" in settings.policies else None
    stand_ins = None if key is None else StandIns(key, section.scope)
    about = InputProtection(
        policy=_for_inputs(of_test.policy), by_kind={kind: _for_inputs(of_test.of(kind)) for kind in of_test.by_kind},
        detector=looking.detector, detector_version=detector.version, kinds=looking.kinds,
        recognisers=looking.recognisers, scope=section.scope, key_env=None if key is None else section.key_env,
        key_id=None if key is None else key_id(key),
    )  # fmt: skip

    def mark(text: str) -> str:
        data = text.encode("utf-8", "surrogatepass")
        made = hashlib.sha256(data) if key is None else hmac.new(key, b"group\0" + data, hashlib.sha256)
        return made.hexdigest()[:16]

    return Hiding(
        Protection(settings, detector, stand_ins), Protection(of_test, detector, stand_ins), about, mark=mark, keep=keep
    )


def depends_on(section: PrivacySection, environment: Mapping[str, str] = os.environ) -> list[object]:
    """What prepared data depends on besides its files and the section `data`: part of the key of its stage.

    Args:
        section: The recipe's privacy section.
        environment: Where the key of surrogates is looked for; the key itself is not in the answer.

    Raises:
        ArgumentError: The key of surrogates is missing.
        MissingPackage: The detector needs a package that is not installed.
    """
    if section.looked_for is None:
        return []
    asked = section.model_dump(mode="json", include={"policy", "by_kind", "detector", "kinds", "recognisers", "scope"})
    packages = package_versions() if section.detector == "presidio" else {}
    key = key_id(stand_in_key(section.key_env, environment)) if "surrogate" in section.policies else None
    return [section.looked_for, asked, packages, key]


def _looking(section: PrivacySection) -> DetectorSettings:
    own = [
        OwnRecogniser(
            name=each.name, regex=each.regex, context=tuple(each.context), check=each.check,
            ignore_case=each.ignore_case,
        )
        for each in section.recognisers
    ]  # fmt: skip
    kinds = DEFAULT_KINDS if section.kinds is None else tuple(section.kinds)
    return DetectorSettings(detector=section.detector, kinds=kinds, recognisers=tuple(own))


def masked_where_dropped(settings: PolicySettings) -> PolicySettings:
    """What happens to rows that never leave.

    Args:
        settings: What happens to the others.
    """

    def masked(policy: str) -> str:
        return "mask" if policy == "drop" else policy

    by_kind = {kind: masked(policy) for kind, policy in settings.by_kind.items()}
    return replace(settings, policy=masked(settings.policy), by_kind=by_kind)


def stand_in_key(variable: str | None, environment: Mapping[str, str] = os.environ) -> bytes:
    """The key that surrogates are drawn by.

    Args:
        variable: The environment variable that holds it.
        environment: Where it is looked for.

    Raises:
        ArgumentError: None is named, or it is not set.
    """
    fix = "Set it to a secret of 16 characters or more, the same in training and in prediction."
    if variable is None:
        raise ArgumentError("privacy.key_env", "is missing, and surrogates are drawn by a key", "", fix)
    given = environment.get(variable, "").strip()
    if not given:
        raise ArgumentError(f"${variable}", "is not set", "the key of surrogates (privacy.key_env)", fix)
    return given.encode("utf-8", "surrogateescape")


def key_id(key: bytes) -> str:
    """By which a key is known again: 16 hex digits from which it cannot be told."""
    return hmac.new(key, b"metier stand-ins 1", hashlib.sha256).hexdigest()[:16]


def _for_inputs(policy: str) -> str:
    return policy if policy in REPLACING else "report"


def _findings(parts: Parts, hidden: Hidden) -> Iterator[tuple[str, str]]:
    """Part and kind of everything that was found, whether it was replaced or left."""
    for each in hidden.replacements:
        yield PARTS[parts.is_answer(each.part)], each.kind
    for number, spans in enumerate(hidden.kept):
        for span in spans:
            yield PARTS[parts.is_answer(number)], span.kind
