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

from metier.data.duplicates import add_flags, drop_contradictions, drop_duplicates, drop_shared, flag_repeats
from metier.data.examples import Example, Extraction, describe_reasons, similar_labels
from metier.data.records import Rejected
from metier.data.splitting import Draw, draw_split, keep_most, keep_per_label
from metier.data.table import counted
from metier.errors import DataError
from metier.recipe.sections import DataSection

RARE = 5
"""A label with fewer training examples than this is flagged `rare_label`."""


@dataclass
class Division:
    """Three splits in the making."""

    train: list[Example] = field(default_factory=list)
    validation: list[Example] = field(default_factory=list)
    test: list[Example] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    answer: str = "label"
    """What the records' answers are called."""

    def keep(self, result: tuple[list[Example], list[Rejected]]) -> list[Example]:
        """Note the rejected half of `result` and give the other."""
        kept, rejected = result
        self.rejected.extend(rejected)
        return kept


def divide_examples(
    extracted: Mapping[str, Extraction], section: DataSection, *, seed: int, answer: str = "label"
) -> Division:
    """Make the three splits.

    Args:
        extracted: Examples of train, and of validation and test where the user gave them.
        section: The recipe's data section.
        seed: The recipe's seed.
        answer: The field of the data section that says where the answers are; messages name it.

    Raises:
        DataError: A split would be empty, or train has fewer than two labels.
    """
    division = Division(train=list(extracted["train"].examples), answer=answer)
    for extraction in extracted.values():
        division.rejected.extend(extraction.rejected)
    for role in extracted:
        if not extracted[role].examples:
            raise _nothing_left(role, extracted[role].rejected, answer)
    _settle_test(division, extracted.get("test"), section, seed)
    _clean_train(division, section, extracted["train"].rejected)
    _settle_validation(division, extracted.get("validation"), section, seed)
    _cut_down(division, section, seed)
    _flag(division)
    _tell(division, section, extracted)
    return division


def label_counts(examples: Sequence[Example]) -> dict[str, int]:
    """Examples by label, sorted by label; empty where records have none."""
    strata = Counter(example.record.stratum for example in examples)
    return {label: count for label, count in sorted(strata.items()) if label}


def _settle_test(division: Division, official: Extraction | None, section: DataSection, seed: int) -> None:
    if official is not None:
        division.test = list(official.examples)
    else:
        draw = draw_split(division.train, share=section.test_size, seed=seed, name="test")
        division.train, division.test = draw.rest, draw.drawn
        division.notices.extend(_moved(draw, "test"))
        if not division.test:
            raise _would_be_empty("test", section)
    division.test = flag_repeats(division.test)
    division.train = division.keep(drop_shared(division.train, division.test, "test"))


def _clean_train(division: Division, section: DataSection, unreadable: Sequence[Rejected]) -> None:
    if section.contradictions == "drop":
        division.train = division.keep(drop_contradictions(division.train))
    if section.duplicates == "drop":
        division.train = division.keep(drop_duplicates(division.train))
    if not division.train:
        raise _nothing_left("train", [*unreadable, *division.rejected], division.answer)


def _settle_validation(division: Division, official: Extraction | None, section: DataSection, seed: int) -> None:
    if official is not None:
        own = division.keep(drop_shared(official.examples, division.test, "test"))
        if not own:
            raise _nothing_left("validation", division.rejected, division.answer)
        division.validation = flag_repeats(own)
    else:
        draw = draw_split(division.train, share=section.validation_size, seed=seed, name="validation")
        division.train, division.validation = draw.rest, draw.drawn
        division.notices.extend(_moved(draw, "validation"))
        if not division.validation:
            raise _would_be_empty("validation", section)
    division.train = division.keep(drop_shared(division.train, division.validation, "validation"))
    if not division.train:
        raise _nothing_left("train", division.rejected, division.answer)
    labels = label_counts(division.train)
    if len(labels) == 1:
        found = f"train has only the label `{next(iter(labels))}`"
        raise DataError(
            "data.label", found, "two labels or more", "Check data.label, data.labels and data.ignore_labels."
        )


def _cut_down(division: Division, section: DataSection, seed: int) -> None:
    counts = label_counts(division.train)
    division.train = flag_repeats(division.train)
    division.train = [
        add_flags(example, {"rare_label": counts.get(example.record.stratum, RARE) < RARE})
        for example in division.train
    ]
    single = [label for label, count in counts.items() if count == 1]
    if single:
        shown = ", ".join(f"`{label}`" for label in single)
        division.notices.append(f"one training example only, kept: {shown}")
    if section.examples_per_label is not None:
        division.train = division.keep(keep_per_label(division.train, section.examples_per_label, seed=seed))
    if section.max_examples is not None:
        division.train = division.keep(keep_most(division.train, section.max_examples, seed=seed, field="max_examples"))
    if section.max_test_examples is not None:
        limit = section.max_test_examples
        division.test = division.keep(keep_most(division.test, limit, seed=seed, field="max_test_examples"))
    lost = sorted(set(counts) - set(label_counts(division.train)))
    if lost:
        division.notices.append(f"labels without a training example after max_examples: {_names(lost)}")


def _flag(division: Division) -> None:
    known = {example.record.stratum for example in division.train}
    for role in ("validation", "test"):
        examples: list[Example] = getattr(division, role)
        unseen = sorted({example.record.stratum for example in examples} - known)
        if unseen:
            rows = sum(example.record.stratum in unseen for example in examples)
            division.notices.append(
                f"{role} has {counted(len(unseen), 'label')} that train does not have ({_names(unseen)}): "
                f"every answer there counts as wrong ({counted(rows, 'row')})"
            )
        flagged = [add_flags(example, {"label_unseen": example.record.stratum not in known}) for example in examples]
        setattr(division, role, flagged)


def _tell(division: Division, section: DataSection, extracted: Mapping[str, Extraction]) -> None:
    division.notices.extend(
        similar_labels([example.record.stratum for part in extracted.values() for example in part.examples])
    )
    counts = Counter(row.reason for row in division.rejected)
    policy = {
        "also in test": "left train or validation: the text is also in test",
        "also in validation": "left train: the text is also in validation",
        "contradiction": f"left train: the same text has different {division.answer}s (data.contradictions: drop)",
        "duplicate": "left train: exact duplicates (data.duplicates: drop)",
    }
    division.notices.extend(
        f"{counted(counts[reason], 'row')} {said}" for reason, said in policy.items() if counts[reason]
    )
    if counts["also in test"] > 0.2 * len(extracted["train"].examples):
        division.notices.append(
            "more than a fifth of train is repeated in test word by word: what is left of train speaks of new texts "
            "only, and the flags `duplicate` and `contradiction` in test say how much repeats there"
        )
    shared = {e.record.group for e in division.train} & {e.record.group for e in division.test} - {None}
    if section.group is not None and shared:
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


def _nothing_left(role: str, rejected: Sequence[Rejected], answer: str) -> DataError:
    reasons = describe_reasons(rejected)
    found = f"no usable row is left for {role}" + (f"; rejected: {reasons}" if reasons else "")
    broken = next((row for row in rejected if row.reason == "broken row"), None)
    if broken is not None:
        found += f"; the first broken row is in {broken.detail}"
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
