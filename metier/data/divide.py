"""From examples to train, validation and test: what leaves which split, in which order, and why.

1. Test is the user's own, or drawn; it stays as it is.
2. Train loses what is also in test, contradictions, then duplicates.
3. Validation is the user's own (less what is also in test), or drawn from what is left of train.
4. Train is cut down to what the recipe asks for; doubts are flagged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from metier.data.duplicates import drop_contradictions, drop_duplicates, drop_shared, is_repeat, torn_keys
from metier.data.examples import Extraction, described, similar_labels
from metier.data.roster import ALONE, Dropped, Places, Roster
from metier.data.splitting import Draw, draw_split, keep_most, keep_per_label
from metier.data.table import counted
from metier.errors import DataError
from metier.recipe.sections import DataSection

RARE = 5
"""A label with fewer training examples than this is flagged `rare_label`."""


@dataclass
class Division:
    """Three splits in the making."""

    roster: Roster
    train: Places
    validation: Places = field(default_factory=lambda: np.zeros(0, np.int64))
    test: Places = field(default_factory=lambda: np.zeros(0, np.int64))
    dropped: list[Dropped] = field(default_factory=list)
    flags: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    """Doubt -> whether each example of the roster has it."""
    unreadable: Counter[str] = field(default_factory=Counter)
    """Rows that never became examples, by reason."""
    notices: list[str] = field(default_factory=list)
    answer: str = "label"
    """What the records' answers are called."""

    @property
    def reasons(self) -> Counter[str]:
        """Rows rejected so far, by reason."""
        return self.unreadable + Counter(each.reason for each in self.dropped)

    def keep(self, result: tuple[Places, list[Dropped]]) -> Places:
        """Note the dropped half of `result` and give the other."""
        kept, dropped = result
        self.dropped.extend(dropped)
        return kept

    def flag(self, name: str, places: Places, holds: NDArray[np.bool_]) -> None:
        """Note a doubt about those of `places` for which it holds."""
        self.flags.setdefault(name, np.zeros(len(self.roster), np.bool_))[places[holds]] = True


def divide_examples(
    roster: Roster, extracted: Mapping[str, Extraction], section: DataSection, *, seed: int, answer: str = "label"
) -> Division:
    """Make the three splits.

    Args:
        roster: All examples.
        extracted: Which are of train, and of validation and test where the user gave them.
        section: The recipe's data section.
        seed: The recipe's seed.
        answer: The field of the data section that says where the answers are; messages name it.

    Raises:
        DataError: A split would be empty, or train has fewer than two labels.
    """
    division = Division(roster=roster, train=extracted["train"].places, answer=answer)
    for extraction in extracted.values():
        division.unreadable.update(extraction.reasons)
    for role, extraction in extracted.items():
        if not len(extraction.places):
            raise _nothing_left(role, extraction.reasons, extraction.first_broken, answer)
    _settle_test(division, extracted.get("test"), section, seed)
    _clean_train(division, section, extracted["train"])
    _settle_validation(division, extracted.get("validation"), section, seed)
    _cut_down(division, section, seed)
    _flag(division)
    _tell(division, section, extracted)
    return division


def _settle_test(division: Division, official: Extraction | None, section: DataSection, seed: int) -> None:
    roster = division.roster
    if official is not None:
        division.test = official.places
    else:
        draw = draw_split(roster, division.train, share=section.test_size, seed=seed, name="test")
        division.train, division.test = draw.rest, draw.drawn
        division.notices.extend(_moved(draw, "test"))
        if not len(division.test):
            raise _would_be_empty("test", section)
    _flag_repeats(division, division.test)
    division.train = division.keep(drop_shared(roster, division.train, division.test, "test"))


def _clean_train(division: Division, section: DataSection, train: Extraction) -> None:
    if section.contradictions == "drop":
        division.train = division.keep(drop_contradictions(division.roster, division.train))
    if section.duplicates == "drop":
        division.train = division.keep(drop_duplicates(division.roster, division.train))
    if not len(division.train):
        raise _nothing_left("train", division.reasons, train.first_broken, division.answer)


def _settle_validation(division: Division, official: Extraction | None, section: DataSection, seed: int) -> None:
    roster = division.roster
    if official is not None:
        own = division.keep(drop_shared(roster, official.places, division.test, "test"))
        if not len(own):
            raise _nothing_left("validation", division.reasons, None, division.answer)
        _flag_repeats(division, own)
        division.validation = own
    else:
        draw = draw_split(roster, division.train, share=section.validation_size, seed=seed, name="validation")
        division.train, division.validation = draw.rest, draw.drawn
        division.notices.extend(_moved(draw, "validation"))
        if not len(division.validation):
            raise _would_be_empty("validation", section)
    division.train = division.keep(drop_shared(roster, division.train, division.validation, "validation"))
    if not len(division.train):
        raise _nothing_left("train", division.reasons, None, division.answer)
    labels = roster.label_counts(division.train)
    if len(labels) == 1:
        found = f"train has only the label `{next(iter(labels))}`"
        raise DataError(
            "data.label", found, "two labels or more", "Check data.label, data.labels and data.ignore_labels."
        )


def _flag_repeats(division: Division, places: Places) -> None:
    """Flag later copies as `duplicate`, and texts with several answers as `contradiction`."""
    roster = division.roster
    division.flag("duplicate", places, is_repeat(roster, places))
    division.flag("contradiction", places, np.isin(roster.key[places], torn_keys(roster, places)))


def _cut_down(division: Division, section: DataSection, seed: int) -> None:
    roster = division.roster
    counts = roster.label_counts(division.train)
    _flag_repeats(division, division.train)
    rare = np.array([counts.get(label, RARE) < RARE for label in roster.strata], np.bool_)
    division.flag("rare_label", division.train, rare[roster.stratum[division.train]])
    single = [label for label, count in counts.items() if count == 1]
    if single:
        shown = ", ".join(f"`{label}`" for label in single)
        division.notices.append(f"one training example only, kept: {shown}")
    if section.examples_per_label is not None:
        division.train = division.keep(keep_per_label(roster, division.train, section.examples_per_label, seed=seed))
    if section.max_examples is not None:
        kept = keep_most(roster, division.train, section.max_examples, seed=seed, field="max_examples")
        division.train = division.keep(kept)
    if section.max_test_examples is not None:
        kept = keep_most(roster, division.test, section.max_test_examples, seed=seed, field="max_test_examples")
        division.test = division.keep(kept)
    lost = sorted(set(counts) - set(roster.label_counts(division.train)))
    if lost:
        division.notices.append(f"labels without a training example after max_examples: {_names(lost)}")


def _flag(division: Division) -> None:
    roster = division.roster
    known = np.isin(np.arange(len(roster.strata)), roster.stratum[division.train])
    for role in ("validation", "test"):
        places: Places = getattr(division, role)
        unseen = ~known[roster.stratum[places]]
        if unseen.any():
            labels = sorted({roster.strata[number] for number in roster.stratum[places[unseen]].tolist()})
            division.notices.append(
                f"{role} has {counted(len(labels), 'label')} that train does not have ({_names(labels)}): "
                f"every answer there counts as wrong ({counted(int(unseen.sum()), 'row')})"
            )
        division.flag("label_unseen", places, unseen)


def _tell(division: Division, section: DataSection, extracted: Mapping[str, Extraction]) -> None:
    roster, counts = division.roster, division.reasons
    division.notices.extend(similar_labels(roster.strata))
    policy = {
        "also in test": "left train or validation: the text is also in test",
        "also in validation": "left train: the text is also in validation",
        "contradiction": f"left train: the same text has different {division.answer}s (data.contradictions: drop)",
        "duplicate": "left train: exact duplicates (data.duplicates: drop)",
    }
    division.notices.extend(
        f"{counted(counts[reason], 'row')} {said}" for reason, said in policy.items() if counts[reason]
    )
    if counts["also in test"] > 0.2 * len(extracted["train"].places):
        division.notices.append(
            "more than a fifth of train is repeated in test word by word: what is left of train speaks of new texts "
            "only, and the flags `duplicate` and `contradiction` in test say how much repeats there"
        )
    shared = np.intersect1d(roster.group[division.train], roster.group[division.test])
    shared = shared[shared != ALONE]
    if section.group is not None and len(shared):
        division.notices.append(
            f"{counted(len(shared), 'group')} with rows in train and in test, as the files have them (data.group)"
        )


def _moved(draw: Draw, name: str) -> list[str]:
    notices = []
    if draw.given:
        notices.append(
            f"no {name} row was drawn{_for(draw.given)}: one cluster{' of each' * any(draw.given)} was moved there "
            "(the one exception to a split that stays as it is when data is added)"
        )
    if draw.kept:
        every = f"every row of {_names(draw.kept)}" if any(draw.kept) else "every row"
        each = " of each" * any(draw.kept)
        notices.append(f"{every} was drawn for {name}: one cluster{each} stays in train")
    return notices


def _for(labels: Sequence[str]) -> str:
    """For which labels; nothing where records have none."""
    return f" for {_names(labels)}" if any(labels) else ""


def _names(labels: Sequence[str]) -> str:
    shown = ", ".join(f"`{label}`" for label in labels[:12])
    return f"{shown} and {len(labels) - 12} more" if len(labels) > 12 else shown


def _nothing_left(role: str, reasons: Mapping[str, int], broken: str | None, answer: str) -> DataError:
    said = described(reasons)
    found = f"no usable row is left for {role}" + (f"; rejected: {said}" if said else "")
    if broken is not None:
        found += f"; the first broken row is in {broken}"
    if not answer:
        return DataError(f"data.{role}", found, "rows with a text", "Check data.text.")
    article = "an" if answer[0] in "aeiou" else "a"
    fix = f"Check data.text and data.{answer}."
    return DataError(f"data.{role}", found, f"rows with a text and {article} {answer}", fix)


def _would_be_empty(role: str, section: DataSection) -> DataError:
    size = getattr(section, f"{role}_size")
    what = "groups" if section.group is not None else "rows"
    found = f"the {role} split would be empty: too few {what} for data.{role}_size {size}"
    return DataError(
        f"data.{role}_size", found, "", f"Give more rows, a larger share, or a file of its own as data.{role}."
    )
