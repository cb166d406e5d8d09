"""`judgement.json` and `judge.json` of a set made again from its items and verdicts, for `metier verify`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from metier.errors import MetierError
from metier.evaluation.elsewhere.judge import audit_judge, judge_sentence
from metier.evaluation.elsewhere.judged import judge_against
from metier.evaluation.looks import look_path, read_look
from metier.evaluation.results import Evaluation
from metier.evaluation.standings import Judgement, JudgeReport
from metier.recipe.sections import EvaluationSection

Remade = tuple[str, object, object]
"""A file, what it says, and what the items give."""


def judged_again(folder: Path, systems: Mapping[str, Evaluation]) -> Iterator[Remade]:
    """The judgement and what a judge model is worth, where they are, beside what the items and verdicts give.

    What a judge said of a pair is taken as it was told: only its audit is made again.

    Args:
        folder: The evaluation folder of the set.
        systems: Its systems, every number of them computed again.

    Raises:
        MetierError: The set lacks a system that was judged.
        RunFolderError: A file is missing or damaged.
    """
    judgement = read_look(Judgement, folder)
    if judgement is not None:
        yield _name(Judgement, folder), judgement, _judgement(judgement, folder, systems)
    report = read_look(JudgeReport, folder)
    if report is not None:
        yield _name(JudgeReport, folder), report, _report(report)


def _name(kind: type, folder: Path) -> str:
    return f"{folder.name}/{look_path(kind, folder).name}"


def _judgement(reported: Judgement, folder: Path, systems: Mapping[str, Evaluation]) -> Judgement:
    """The same systems against the same reference, under the rules that the reported judgement states."""
    names = [row.system for row in reported.standings]
    if missing := [name for name in names if name not in systems]:
        where = _name(Judgement, folder)
        raise MetierError(where, f"names {', '.join(missing)}, whose items are not there", "", "Compare again.")
    section = EvaluationSection.model_validate(
        {
            "primary_metric": reported.metric, "smallest_useful_gain": reported.smallest_useful_gain,
            "not_worse_margin": reported.margin, "resamples": reported.resamples,
        }
    )  # fmt: skip
    return judge_against(
        [systems[name] for name in names], reported.reference, section=section, seed=reported.seed,
        openings=reported.openings,
    )  # fmt: skip


def _report(reported: JudgeReport) -> JudgeReport:
    pairs = tuple(
        replace(
            pair,
            audit=audit_judge(
                pair.verdicts, pair.human, judge=pair.audit.judge, resamples=reported.resamples, seed=reported.seed
            ),
        )
        for pair in reported.pairs
    )
    return replace(reported, pairs=pairs, sentence=judge_sentence(pairs))
