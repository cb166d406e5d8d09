"""From examples to train, validation and test: what leaves which split, in which order, and why.

1. Test is the user's own, or drawn; it stays as it is.
2. Train loses what is also in test, contradictions, then duplicates.
3. Validation is the user's own (less what is also in test), or drawn from what is left of train.
4. Train is cut down to what the recipe asks for; doubts are flagged.

What becomes of texts and groups in two splits is a policy (`leaks.py`); the steps above say the default, drop.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from metier.data.cleaning.rare_labels import REASON as RARE_LABEL
from metier.data.cleaning.rare_labels import rejected_labels
from metier.data.dates import said_date
from metier.data.division import WEIGHT, Division
from metier.data.duplicates import drop_contradictions, drop_duplicates, is_repeat, torn_keys
from metier.data.examples import Extraction, described
from metier.data.leaks import settle_leaks
from metier.data.roster import Dropped, Places, Roster
from metier.data.splitting import Draw, cut_by_time, draw_split, keep_most, keep_per_label
from metier.data.table import counted
from metier.errors import DataError
from metier.recipe.sections import DataSection

NO_DATE = "no date"
"""The reason of a row that is divided by time and has no date that can be read."""
SCREENED = re.compile(r"duplicate in (test|validation)")
"""Reasons of the step `leakage` about texts."""
MANY_LEFT = 0.2
"""Share of train beyond which it is said what its leaving for leaks means."""


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
        DataError: A split would be empty, train has fewer than two labels, or `data.leaks` refuses what splits share.
    """
    train = extracted["train"].places
    official = frozenset(extracted) - {"train"}
    division = Division(roster=roster, train=train, official=official, answer=answer, read=len(train))
    for extraction in extracted.values():
        division.unreadable.update(extraction.reasons)
        division.dropped.extend(extraction.left)
    for role, extraction in extracted.items():
        if not len(extraction.places):
            raise _nothing_left(role, extraction.reasons, extraction.first_broken, answer)
    _keep_dated(division, section)
    _reject_rare(division, extracted, section)
    _settle_test(division, extracted.get("test"), section, seed)
    _clean_train(division, section, extracted["train"])
    _settle_validation(division, extracted.get("validation"), section, seed)
    _cut_down(division, section, seed)
    close_division(division, section)
    return division


def close_division(division: Division, section: DataSection) -> None:
    """Flag doubts and say what the splits are, as they stand now; again whenever examples have left or moved.

    Args:
        division: Changed.
        section: The recipe's data section.

    Raises:
        DataError: A split is empty, or train has fewer than two labels.
    """
    for split in WEIGHT:
        if not len(division.places(split)):
            raise _nothing_left(split, division.reasons, None, division.answer)
    _refuse_one_label(division)
    division.closing.clear()
    for doubt in ("duplicate", "contradiction", "label_unseen"):
        division.flags.pop(doubt, None)
    for split in WEIGHT:
        _flag_repeats(division, division.places(split))
    _flag_unseen(division)
    _tell(division, section)


def _keep_dated(division: Division, section: DataSection) -> None:
    """Where splits are drawn by time, examples without a date leave."""
    if section.time is None:
        return
    if {"test", "validation"} <= division.official:
        division.said.append("data.time has no effect: validation and test are files of their own")
        return
    without = np.isnan(division.roster.when[division.train])
    if without.all():
        found = f"is `{section.time}`, in which no row of train has a date that can be read"
        raise DataError("data.time", found, "dates such as 2026-01-31", "Name another column, or remove data.time.")
    detail = f"`{section.time}` is empty, or holds no date that can be read"
    division.leave(Dropped(place=place, reason=NO_DATE, detail=detail) for place in division.train[without].tolist())


def _reject_rare(division: Division, extracted: Mapping[str, Extraction], section: DataSection) -> None:
    """Rows of train whose label the recipe finds too rare leave, before anything is drawn."""
    roster = division.roster
    places = np.concatenate([part.places for role, part in extracted.items() if role != "test"])
    counts = roster.label_counts(places)
    detail = {
        roster.strata.index(label): f"`{label}` has {counted(counts[label], 'row')}, fewer than {section.rare_below}"
        for label in rejected_labels(counts, section)
    }
    gone = division.train[np.isin(roster.stratum[division.train], list(detail))]
    division.leave(
        Dropped(place=place, reason=RARE_LABEL, detail=detail[int(roster.stratum[place])]) for place in gone.tolist()
    )


def _settle_test(division: Division, official: Extraction | None, section: DataSection, seed: int) -> None:
    if official is not None:
        division.test = official.places
    else:
        _draw(division, "test", section.test_size, section, seed)
    settle_leaks(division, "train", "test", section)


def _clean_train(division: Division, section: DataSection, train: Extraction) -> None:
    if section.contradictions == "drop":
        division.train = division.keep(drop_contradictions(division.roster, division.train))
    if section.duplicates == "drop":
        division.train = division.keep(drop_duplicates(division.roster, division.train))
    if not len(division.train):
        raise _nothing_left("train", division.reasons, train.first_broken, division.answer)


def _settle_validation(division: Division, official: Extraction | None, section: DataSection, seed: int) -> None:
    if official is not None:
        division.validation = official.places
        settle_leaks(division, "validation", "test", section)
        if not len(division.validation):
            raise _nothing_left("validation", division.reasons, None, division.answer)
    else:
        _draw(division, "validation", section.validation_size, section, seed)
    settle_leaks(division, "train", "validation", section)
    if not len(division.train):
        raise _nothing_left("train", division.reasons, None, division.answer)
    _refuse_one_label(division)


def _draw(division: Division, name: str, share: float, section: DataSection, seed: int) -> None:
    """Draw a split from train, by time or by hash."""
    if section.time is not None:
        cut = cut_by_time(division.roster, division.train, share=share)
        if cut is None:
            found = f"is `{section.time}`, by which all rows that {name} is drawn from belong to one date"
            fix = f"Remove data.time, or give a file of its own as data.{name}."
            raise DataError("data.time", found, "two dates or more", fix)
        rest, drawn = cut.rest, cut.drawn
    else:
        draw = draw_split(division.roster, division.train, share=share, seed=seed, name=name)
        rest, drawn = draw.rest, draw.drawn
        division.said.extend(_moved(draw, name))
    division.train = rest
    division.put(name, drawn)
    if not len(drawn):
        raise _would_be_empty(name, section)


def _flag_repeats(division: Division, places: Places) -> None:
    """Flag later copies as `duplicate`, and texts with several answers as `contradiction`."""
    roster = division.roster
    division.flag("duplicate", places, is_repeat(roster, places))
    division.flag("contradiction", places, np.isin(roster.key[places], torn_keys(roster, places)))


def _cut_down(division: Division, section: DataSection, seed: int) -> None:
    roster = division.roster
    # Of several labels a stratum is the first one alone: its count says nothing about the label.
    counts = roster.label_counts(division.train) if roster.labelled else {}
    few = section.rare_below
    rare = np.array([counts.get(label, few) < few for label in roster.strata], np.bool_)
    division.flag("rare_label", division.train, rare[roster.stratum[division.train]])
    single = [label for label, count in counts.items() if count == 1]
    if single:
        shown = ", ".join(f"`{label}`" for label in single)
        division.said.append(f"one training example only, kept: {shown}")
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
        division.said.append(f"labels without a training example after max_examples: {_names(lost)}")


def _refuse_one_label(division: Division) -> None:
    labels = division.roster.label_counts(division.train)
    if len(labels) == 1 and division.roster.labelled:
        found = f"train has only the label `{next(iter(labels))}`"
        raise DataError(
            "data.label", found, "two labels or more", "Check data.label, data.labels and data.ignore_labels."
        )


def _flag_unseen(division: Division) -> None:
    roster = division.roster
    known = np.isin(np.arange(len(roster.strata)), roster.stratum[division.train])
    for role in ("validation", "test"):
        places = division.places(role)
        unseen = ~known[roster.stratum[places]]
        if unseen.any():
            labels = sorted({roster.strata[number] for number in roster.stratum[places[unseen]].tolist()})
            division.closing.append(
                f"{role} has {counted(len(labels), 'label')} that train does not have ({_names(labels)}): "
                f"every answer there counts as wrong ({counted(int(unseen.sum()), 'row')})"
            )
        division.flag("label_unseen", places, unseen)


def _tell(division: Division, section: DataSection) -> None:
    counts, closing = division.reasons, division.closing
    policy = {
        NO_DATE: "left train: no date that can be read (data.time)",
        "also in test": "left train or validation: the text is also in test",
        "also in validation": "left train: the text is also in validation",
        "group also in test": "left train or validation: the group is also in test (data.leaks)",
        "group also in validation": "left train: the group is also in validation (data.leaks)",
        "contradiction": f"left train: the same text has different {division.answer}s (data.contradictions: drop)",
        "duplicate": "left train: exact duplicates (data.duplicates: drop)",
        RARE_LABEL: f"left train: labels with fewer than {section.rare_below} rows (data.rare_labels: reject)",
    }
    closing.extend(f"{counted(counts[reason], 'row')} {said}" for reason, said in policy.items() if counts[reason])
    nearly = sum(count for reason, count in counts.items() if SCREENED.search(reason))
    if nearly:
        left = "left train or validation: the same or nearly the same text is in test or validation (data.leaks)"
        closing.append(f"{counted(nearly, 'row')} {left}")
    if counts["also in test"] > MANY_LEFT * division.read:
        closing.append(
            "more than a fifth of train is repeated in test word by word: what is left of train speaks of new texts "
            "only, and the flags `duplicate` and `contradiction` in test say how much repeats there"
        )
    if counts["group also in test"] + counts["group also in validation"] > MANY_LEFT * division.read:
        closing.append(
            "more than a fifth of train left because its groups are also in test or validation: to keep it, remove "
            "data.group, or set data.leaks: allow, and the report says that results are flattered"
        )
    closing.extend(_periods(division, section))


def _periods(division: Division, section: DataSection) -> list[str]:
    """From when to when each split goes, where splits were drawn by time."""
    when = division.roster.when
    if section.time is None or {"test", "validation"} <= division.official:
        return []
    dates = {split: when[division.places(split)] for split in reversed(WEIGHT)}
    dates = {split: known for split, every in dates.items() if len(known := every[~np.isnan(every)])}
    parts = [f"{split} {said_date(known.min())} to {said_date(known.max())}" for split, known in dates.items()]
    said = [f"split by time (data.time: {section.time}): {', '.join(parts)}"]
    for split in ("test", "validation"):
        older = int((dates[split] <= dates["train"].max()).sum()) if {split, "train"} <= dates.keys() else 0
        if older:
            why = "as the files have it" if split in division.official else "they belong to newer ones (group, leaks)"
            said.append(f"{counted(older, 'row')} of {split} no newer than the newest of train: {why}")
    return said


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
    grouped = sum(count for reason, count in reasons.items() if reason.startswith("group also in "))
    if 2 * grouped > sum(reasons.values()):
        fix = "Remove data.group if its rows need not stay together, or set data.leaks: allow."
        return DataError(f"data.{role}", found, "groups of its own", fix)
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
