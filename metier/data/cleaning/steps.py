"""The cleaning of data as a list: every step in its order, with what it does and which field of the recipe decides.

Before these come the repairs of texts (`input_rules.REPAIRS`): they run on each record while it is read, and on every
text to come. A step here looks at all rows and doubts some; `apply.py` does what the recipe says about them. To add
one: a screen in a file of its own, a function here that gives it its settings, a row in `STEPS`, a field and a test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from metier.data.bias import screen as bias
from metier.data.bias.settings import bias_settings
from metier.data.cleaning import (
    conflicts,
    contamination,
    giveaway,
    label_names,
    language,
    leakage,
    lengths,
    near_duplicates,
    odd_texts,
    outliers,
    poison,
    quality,
    rare_labels,
    secrets,
    wrong_answers,
    wrong_labels,
)
from metier.data.cleaning.apply import ALL, ONLY_LOOK, Cleaned, Deeds, Step, done_already, hand_over
from metier.data.cleaning.look import Aids, Look
from metier.data.cleaning.numbered import number_rows
from metier.data.cleaning.rows import Doubt, Finding, Rows
from metier.data.table import counted
from metier.errors import DataError, MissingPackage
from metier.events import Observer, Progress, tell
from metier.recipe.sections import DataSection


def clean_rows(
    rows: Rows,
    raw: Rows,
    section: DataSection,
    *,
    task: str,
    seed: int,
    observers: Sequence[Observer] = (),
    aids: Aids | None = None,
) -> Cleaned:
    """Go through all steps, and decide what becomes of the rows that they doubt.

    Args:
        rows: All rows of all splits after the repairs, in ascending order of their keys.
        raw: The same rows as they were read, for steps that look for what repairs take away.
        section: The recipe's data section.
        task: The recipe's task.
        seed: Of folds and samples.
        observers: Get a `Progress` for each step.
        aids: What else steps can use. Default: nothing.

    Raises:
        DataError: A policy is `refuse`, and there is something to refuse; or a setting cannot be used.
        MissingPackage: A policy that does something needs a package that is not installed.
    """
    aids = aids or Aids()
    numbered = number_rows(rows, raw, characters=aids.characters)
    look = Look(numbered=numbered, section=section, task=task, seed=seed, aids=aids)
    deeds = Deeds.begin(look)
    findings = []
    for number, step in enumerate(STEPS):
        unit = f"steps ({step.name})"
        tell(observers, Progress(label="cleaning", done=number, total=len(STEPS), unit=unit))
        policy = step.policy_in(section)
        finding = None if policy == "off" else _screened(step, policy, deeds)
        if finding is not None:
            findings.append(finding)
            deeds.notices.extend(step.tells(finding))
            deeds.apply(step, finding)
    tell(observers, Progress(label="cleaning", done=len(STEPS), total=len(STEPS), unit="steps"))
    return deeds.result(findings)


def _screened(step: Step, policy: str, deeds: Deeds) -> Finding | None:
    try:
        return step.screen(deeds.look)
    except MissingPackage as error:
        if policy not in ONLY_LOOK:
            raise
        note = f"{step.name}: not looked at, because {error.found}. {error.fix}"
        deeds.notices.append(note)
        return Finding(step=step.name, version=step.version, looked_at=0, notes=(note,))


def _lengths(look: Look) -> Finding:
    given = look.section.lengths
    usual = lengths.LengthSettings()
    most = {unit: given.longest if given.unit == unit else None for unit in ("characters", "words")}
    least = {unit: given.shortest if given.unit == unit else None for unit in ("characters", "words")}
    settings = lengths.LengthSettings(
        shortest_characters=least["characters"] or usual.shortest_characters,
        shortest_words=least["words"] or usual.shortest_words,
        longest_characters=most["characters"],
        longest_words=most["words"],
    )
    return lengths.screen_lengths(look.rows, settings, count_tokens=look.aids.count_tokens)


def _beyond_limits(doubt: Doubt, section: DataSection) -> bool:
    given = section.lengths
    return doubt.reason == "too long" or (doubt.reason == "too short" and given.shortest is not None)


def _language(look: Look) -> Finding:
    return language.screen_language(look.rows, look.language_settings, languages=look.languages)


def _quality(look: Look) -> Finding:
    rules = look.section.quality_rules
    unknown = [name for name in rules or () if name not in quality.QUALITY_RULES]
    if unknown:
        wanted = f"some of {', '.join(quality.QUALITY_RULES)}"
        raise DataError("data.quality_rules", f"has `{unknown[0]}`", wanted)
    settings = quality.QualitySettings(
        rules=tuple(quality.QUALITY_RULES if rules is None else rules),
        part="answer" if look.written else "text",
        english=look.english,
    )
    return quality.screen_quality(look.rows, settings)


def _odd_texts(look: Look) -> Finding:
    return odd_texts.screen_odd_texts(look.rows)


def _duplicates(look: Look) -> Finding:
    return near_duplicates.screen_duplicates(look.rows, same=look.same)


def _nearly_the_same(doubt: Doubt, section: DataSection) -> bool:
    # Exact ones are `data.duplicates`' business, which has been done.
    return doubt.suggestion == "drop" and doubt.reason != "exact duplicate"


def _leakage(look: Look) -> Finding:
    return leakage.screen_leakage(look.rows, same=look.same)


def _truly_shared(doubt: Doubt, section: DataSection) -> bool:
    # What is only linked to another split through other rows is like none of its rows.
    return doubt.score is not None


def _contamination(look: Look) -> Finding | None:
    found = [
        contamination.screen_contamination(look.rows, evaluation=items, name=name)
        for name, items in look.aids.evaluation.items()
    ]
    return _as_one(found, tuple(look.aids.evaluation)) if found else None


def _as_one(findings: Sequence[Finding], names: Sequence[str]) -> Finding:
    """What was found for each of several files, as one finding."""
    counts: Counter[str] = Counter()
    tables: dict[str, Sequence[Mapping[str, object]]] = {}
    for name, finding in zip(names, findings, strict=True):
        counts.update(finding.counts)
        tables |= {f"{title}, {name}": lines for title, lines in finding.tables.items()}
    return replace(
        findings[0],
        doubts=tuple(sorted((each for one in findings for each in one.doubts), key=lambda doubt: doubt.key)),
        counts=counts,
        tables=tables,
        notes=tuple(note for one in findings for note in one.notes),
        seconds=sum(one.seconds for one in findings),
    )


def _contradictions(look: Look) -> Finding | None:
    return conflicts.screen_contradictions(look.rows, same=look.same) if look.labelled else None


def _label_names(look: Look) -> Finding | None:
    return label_names.screen_label_names(look.rows) if look.labelled else None


def _spelled_alike(finding: Finding) -> list[str]:
    return [note for note in finding.notes if "differ only in how they are written" in note]


def _giveaway(look: Look) -> Finding | None:
    # Sought while the files were read: only then are all columns at hand (`giveaway_gate.py`).
    return next((each for each in look.aids.earlier if each.step == giveaway.STEP), None)


def _rare_labels(look: Look) -> Finding | None:
    if not look.labelled:
        return None
    settings = rare_labels.RareLabelSettings(rare=look.section.rare_below)
    chances = None if look.section.wrong_labels == "off" else look.chances
    return rare_labels.screen_rare_labels(look.rows, settings, chances=chances)


def _wrong_labels(look: Look) -> Finding | None:
    return wrong_labels.screen_wrong_labels(look.chances) if look.labelled else None


def _wrong_answers(look: Look) -> Finding | None:
    if not look.written:
        return None
    losses, alone = (look.losses_by_position(each) for each in (look.aids.losses, look.aids.alone))
    return wrong_answers.screen_wrong_answers(look.rows, losses=losses, alone=alone)


def _outliers(look: Look) -> Finding:
    settings = outliers.OutlierSettings(seed=look.seed)
    return outliers.screen_outliers(look.rows, settings, features=look.aids.features)


def _secrets(look: Look) -> Finding:
    # Where they are masked, they were noted before: no text has them any more.
    return secrets.screen_secrets(look.rows, before={key: each.of_secrets for key, each in look.before.items()})


def _with_keys(finding: Finding) -> list[str]:
    rows = len({doubt.key for doubt in finding.doubts})
    said = f"{counted(rows, 'row')} with what looks like a key, a token or a password (data.secrets)"
    return [said] if rows else []


def _poison(look: Look) -> Finding:
    # Repairs have taken hidden characters away: of groups in texts that may be kept as they were read they are signs.
    return poison.screen_poison(
        look.raw,
        poison.PoisonSettings(seed=look.seed),
        before={key: each.of_disguises for key, each in look.before.items()},
    )


def _suggested(doubt: Doubt, section: DataSection) -> bool:
    return doubt.suggestion == "drop"


def _planted(finding: Finding) -> list[str]:
    groups = finding.counts.get("groups", 0)
    said = f"{counted(groups, 'group')} of rows that look planted; `metier data report` shows them (data.poison)"
    return [said] if groups else []


def _bias(look: Look) -> Finding:
    return bias.screen_bias(
        look.rows, bias_settings(look.section.bias), columns=look.columns(), language_of=look.language_of()
    )


STEPS: tuple[Step, ...] = (
    Step(
        name=lengths.STEP, version=lengths.VERSION, policy="lengths.policy", screen=_lengths,
        says="Texts without words, too short or too long.",
        flags={"too short": "too_short", "too long": "too_long", ALL: "no_words"},
        leaves=_beyond_limits, said="beyond its limits",
    ),
    Step(
        name=language.STEP, version=language.VERSION, policy="language.policy", screen=_language,
        says="Texts in another language than the data's, and answers in another than their text's.",
        flags={ALL: "language"},
    ),
    Step(
        name=quality.STEP, version=quality.VERSION, policy="quality", screen=_quality,
        says="Texts that break the published quality rules of Gopher and C4.",
        # On some data they hold for nearly all rows: they say nothing about whether an item can be measured by.
        flags={ALL: "quality"}, measured=False,
    ),
    Step(
        name=odd_texts.STEP, version=odd_texts.VERSION, policy="odd_texts", screen=_odd_texts,
        says="Texts that look unlike all others.",
        flags={ALL: "odd_text"},
    ),
    Step(
        name=near_duplicates.STEP, version=near_duplicates.VERSION, policy="near_duplicates", screen=_duplicates,
        says="Rows that say what an earlier row of their split says: exactly, in plain form, or nearly.",
        flags={"exact duplicate": "duplicate", ALL: "near_duplicate"},
        leaves=_nearly_the_same,
    ),
    Step(
        name=leakage.STEP, version=leakage.VERSION, policy="leaks", screen=_leakage,
        says="Texts and groups that two splits share.",
        leaves=_truly_shared, act=hand_over,
    ),
    Step(
        name=contamination.STEP, version=contamination.VERSION, policy="leaks", screen=_contamination,
        says="Rows that give items of the evaluation files away.",
        flags={ALL: "gives_away"},
        leaves=_suggested, said="giving items of data.evaluation_files away",
    ),
    Step(
        name=conflicts.STEP, version=conflicts.VERSION, policy="contradictions", screen=_contradictions,
        says="The same text, or nearly the same, with different labels.",
        flags={"contradiction": "contradiction", ALL: "near_contradiction"},
        # Equal texts that contradict each other in train have left; what differs by a comma is a person's to decide.
        leaves=lambda doubt, section: False,
    ),
    Step(
        name=label_names.STEP, version=label_names.VERSION, policy="label_likeness", screen=_label_names,
        says="Labels whose names look like two names for one thing.",
        tells=_spelled_alike,
    ),
    Step(
        name=giveaway.STEP, version=giveaway.VERSION, policy="giveaway", screen=_giveaway,
        says="Columns that give the label away.",
        act=done_already,
    ),
    Step(
        name=rare_labels.STEP, version=rare_labels.VERSION, policy="rare_labels", screen=_rare_labels,
        says="Labels with too few rows to learn or to measure.",
        flags={ALL: "rare_label"},
    ),
    Step(
        name=wrong_labels.STEP, version=wrong_labels.VERSION, policy="wrong_labels", screen=_wrong_labels,
        says="Labels that models which learned from other rows speak against.",
        flags={ALL: "wrong_label"},
    ),
    Step(
        name=wrong_answers.STEP, version=wrong_answers.VERSION, policy="wrong_answers", screen=_wrong_answers,
        says="Written answers that another row contradicts, and those that a model finds hard to believe.",
        flags={ALL: "wrong_answer"},
    ),
    Step(
        name=outliers.STEP, version=outliers.VERSION, policy="outliers", screen=_outliers,
        says="Texts that have little in common with the others of their label.",
        flags={ALL: "outlier"},
    ),
    Step(
        name=secrets.STEP, version=secrets.VERSION, policy="secrets", screen=_secrets,
        says="Keys, tokens and passwords.",
        flags={ALL: "secret"}, tells=_with_keys,
    ),
    Step(
        name=poison.STEP, version=poison.VERSION, policy="poison", screen=_poison,
        says="Groups of rows that look planted, and texts that hide something.",
        flags={ALL: "poison"},
        leaves=_suggested, said="that look planted", tells=_planted,
    ),
    Step(
        name=bias.STEP, version=bias.VERSION, policy="bias.policy", screen=_bias,
        says="Who is named, and which labels and tones go with whom.",
    ),
)  # fmt: skip
"""In the order in which they run."""


def rule_versions() -> dict[str, int]:
    """Version of each step's rules, by its name: data that was prepared under others is not what it would be now."""
    return {step.name: step.version for step in STEPS}
