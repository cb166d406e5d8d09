"""The four questions of the first screen, answered in words and numbers and never kinder than the evidence.

Is it better? How sure is that? What does it answer alone? Ship it? Page and terminal print the same replies. Nothing
is calculated here: each reply is read from the verdict, the gates, the openings of the test set, and the closer looks.
"""

from __future__ import annotations

from dataclasses import dataclass

from metier.evaluation.results import Comparison, Difference
from metier.report import formats
from metier.report.sentences import section
from metier.report.summary import RunSummary
from metier.report.tables import tone_of

BETTER = {
    "improved": "Yes", "regressed": "No, it is worse", "not worse": "Not worse", "no evidence": "No useful gain",
    "underpowered": "Cannot tell",
}  # fmt: skip
"""Verdict -> the first question's answer."""
CANNOT_TELL = "Cannot tell"
OUT_OF_FOLD = "out_of_fold"
ROOM = 11
"""Width of a question in a terminal."""


@dataclass(frozen=True)
class Reply:
    """One question and its answer."""

    question: str
    brief: str
    """The question in a word or two, for a terminal."""
    answer: str
    """A few words or a number."""
    tone: str
    """`good`, `bad`, `calm`, `doubt`."""
    told: str
    """Why, in sentences with their numbers."""
    aloud: str = ""
    """What a terminal says in place of answer and reason, where these would say it twice."""


def replies(summary: RunSummary) -> tuple[Reply, ...]:
    """The four questions, answered.

    Args:
        summary: A finished run.
    """
    return (_better(summary), _sure(summary), _alone(summary), _ship(summary))


def reply_lines(summary: RunSummary) -> list[str]:
    """The same for a terminal, one line each; the first is the verdict's own sentence.

    Args:
        summary: A finished run.
    """
    return [
        f"{reply.brief:<{ROOM}} {reply.aloud or f'{reply.answer}. {reply.told}'}".rstrip() for reply in replies(summary)
    ]


def decisive(found: Comparison) -> Difference | None:
    """The difference that decides: against the best baseline, or against the best of those that are not beaten.

    Args:
        found: The candidate against every baseline.
    """
    unbeaten = [row for row in found.differences if row.verdict != "improved"]
    rows = unbeaten or list(found.differences)
    best = next((row for row in rows if row.baseline == found.best_baseline), None)
    known = [row for row in rows if row.difference.value is not None]
    if best is not None or not known:
        return best or next(iter(rows), None)
    return min(known, key=lambda row: row.difference.value or 0.0)


def _better(summary: RunSummary) -> Reply:
    found = summary.comparison
    row = decisive(found)
    question, aloud = "Is it better?", " ".join(part for part in (found.sentence, _advice(found)) if part)
    if row is None:
        told = "No baseline was measured, so nothing can be said about a gain."
        return Reply(question, "Better?", CANNOT_TELL, "doubt", told, aloud)
    lower = " (lower is better)" if formats.lower_is_better(row.metric) else ""
    told = (
        f"{formats.metric_title(row.metric)}{lower} {formats.score(row.candidate_value)} against "
        f"{formats.score(row.baseline_value)} of {row.baseline}, on {_records(summary)}."
    )
    told = " ".join(part for part in (told, _advice(found)) if part)
    return Reply(question, "Better?", BETTER.get(found.verdict, CANNOT_TELL), tone_of(found.verdict), told, aloud)


def _records(summary: RunSummary) -> str:
    """`240 test records`."""
    found = summary.comparison
    return f"{found.n:,} {formats.set_words(found.set)} {'record' if found.n == 1 else 'records'}"


def _advice(found: Comparison) -> str:
    """What to do in place of training, where the comparison says so and its sentence does not."""
    return found.advice if found.advice and found.advice not in found.sentence else ""


def _sure(summary: RunSummary) -> Reply:
    found = summary.comparison
    row = decisive(found)
    question = "How sure is that?"
    if row is None or row.difference.value is None:
        reason = "There is nothing to compare with." if row is None else f"{row.difference.reason or 'It is unknown'}."
        return Reply(question, "How sure?", CANNOT_TELL, "doubt", reason[:1].upper() + reason[1:])
    p = "" if row.p_value is None else f", p {_equals(formats.p_value(row.p_value))}"
    unit = formats.metric_words(row.metric)
    if row.difference.low is None or row.difference.high is None:
        answer = "No interval"
        parts = [f"{row.difference.reason or 'No reason was recorded'} (n = {row.difference.n:,})."]
    else:
        answer = f"{formats.interval(row.difference, with_sign=True)}"
        parts = [
            f"95 % interval of the paired gain in {unit} over {row.baseline}, {formats.signed(row.difference.value)} "
            f"(n = {row.difference.n:,}{p})."
        ]
    parts += [_after_openings(found, row), _about_the_recipe(summary)]
    tone = "doubt" if _lost_by_openings(found) else tone_of(found.verdict)
    return Reply(question, "How sure?", answer, tone, " ".join(part for part in parts if part))


def _equals(p: str) -> str:
    return p if p.startswith("<") else f"= {p}"


def _after_openings(found: Comparison, row: Difference) -> str:
    """What several looks at the test set leave of the interval; empty for the first."""
    if not found.openings or found.openings < 2:
        return ""
    if row.after_openings is None or row.after_openings.low is None:
        return f"It is look {found.openings} at these records, which this interval does not know of."
    left = formats.interval(row.after_openings, with_sign=True)
    return f"Shared by {found.openings} looks at these records: {left} at {100 - 5 / found.openings:.4g} %."


def _lost_by_openings(found: Comparison) -> bool:
    """Whether some difference that decides is no longer proven once all openings share the 5 %."""
    margin = 0.0 if found.verdict == "improved" else -(found.not_worse_margin or 0.0)
    if found.verdict not in ("improved", "not worse") or not found.openings or found.openings < 2:
        return False
    afters = [row.after_openings for row in found.differences]
    return any(after is None or after.low is None or after.low <= margin for after in afters)


def _about_the_recipe(summary: RunSummary) -> str:
    """What is known beyond this one model."""
    if summary.looks.seeds is not None:
        return summary.looks.seeds.sentence
    if summary.comparison.set == OUT_OF_FOLD:
        return "Every record was answered by a model that had not seen it; those models share training records."
    return "It is about this one model: what another seed gives was not measured."


def _alone(summary: RunSummary) -> Reply:
    question, brief, trust = "What does it answer alone?", "Alone?", summary.looks.trust
    if trust is None:
        told = "How sure it is of its answers was not looked at, so every answer needs a person who checks."
        return Reply(question, brief, "Not measured", "doubt", told)
    found = trust.alone
    if found is None:
        reason = trust.reason or "its answers have no probabilities"
        return Reply(question, brief, "Unknown", "doubt", f"{reason[:1].upper()}{reason[1:].removesuffix('.')}.")
    if found.promise.threshold is None or not found.coverage.value:
        return Reply(question, brief, "Nothing", "doubt", found.sentence, found.sentence)
    target, where = formats.percent(found.promise.target), formats.set_words(found.set)
    told, tone = {
        True: (f"The promise of {target} right held on the {where} set.", "good"),
        False: (f"The promise of {target} right did not hold on the {where} set: do not rely on it.", "bad"),
        None: (f"So few answers can neither confirm nor refute the promise of {target} right.", "doubt"),
    }[found.kept]
    threshold = f"The threshold is {formats.score(found.promise.threshold)}, which `metier predict --abstain` takes."
    share = round(100 * found.coverage.value)  # as the sentence has it, but never all of what is not all
    answer = f"{share} % of answers" if 0 < share < 100 else f"{formats.percent(found.coverage.value)} of answers"
    told = f"{found.sentence} {told} {threshold}"
    return Reply(question, brief, answer, tone, told, told)


def _ship(summary: RunSummary) -> Reply:
    """No where the evidence is against it, cannot tell where it is missing, yes only as far as was measured."""
    answer, tone, told = _against(summary) or _missing(summary) or _for(summary)
    return Reply("Ship it?", "Ship it?", answer, tone, told)


def _against(summary: RunSummary) -> tuple[str, str, str] | None:
    """What speaks against shipping; None where nothing does."""
    found, row = summary.comparison, decisive(summary.comparison)
    failed = [gate.gate for gate in found.gates if not gate.passed]
    if failed:
        gates = formats.counted(len(found.gates), "gate")
        return "No", "bad", f"{len(failed)} of {gates} of the recipe failed: {', '.join(failed)}."
    use = f" Use {row.baseline} instead." if row is not None else ""
    if found.verdict == "regressed":
        return "No", "bad", f"It is worse.{use}"
    if found.verdict == "no evidence":
        return "No", "bad", found.advice or f"It brings no useful gain.{use}"
    return None


def _missing(summary: RunSummary) -> tuple[str, str, str] | None:
    """What keeps the question open; None where nothing does."""
    found, row = summary.comparison, decisive(summary.comparison)
    told = ""
    if row is None or found.verdict not in ("improved", "not worse"):
        more = None if row is None or row.items_needed is None else row.items_needed - found.n
        told = "Whether it is better is not known."
        if more is not None and more > 0:
            told += f" About {formats.about(more)} more {formats.set_words(found.set)} records would tell."
    elif found.set == "validation":
        return "Not yet", "doubt", "This is about validation, which development looks at. The test set is still closed."
    elif section(summary.recipe, "data").get("leaks") == "allow":
        told = "Leaks between train and test were allowed, so what was measured is flattered."
    elif found.openings is None and found.set == "test":
        told = "How often this test set was opened was not recorded."
    elif _lost_by_openings(found):
        told = f"There were {found.openings} looks at these records, and that many could explain the gain."
    return (CANNOT_TELL, "doubt", told) if told else None


def _for(summary: RunSummary) -> tuple[str, str, str]:
    """A yes, with its conditions."""
    found, row = summary.comparison, decisive(summary.comparison)
    gain = row.difference.value if row is not None else None
    if found.verdict == "improved" and gain is not None and gain < found.smallest_useful_gain:
        useful = formats.score(found.smallest_useful_gain)
        told = f"The gain is real, but below {useful}, the smallest that the recipe calls useful."
        return "Hardly worth it", "doubt", told
    alone = summary.looks.trust.alone if summary.looks.trust is not None else None
    kept = None if alone is None or alone.promise.threshold is None or not alone.coverage.value else alone.kept
    if found.verdict == "improved":
        why = "It is better than every alternative that was measured."
    else:
        why = (
            f"No alternative is better by {formats.score(found.not_worse_margin)} or more, so it can take their place."
        )
    if kept is True:
        answer, tone = "Yes, as far as measured", "good"
        how = "Above its threshold it can answer alone; hand the rest to a person."
    else:
        answer, tone = "Yes, with a person", "calm"
        how = "A person should check its answers: nothing that was measured lets it answer alone."
        if alone is not None and alone.kept is False:
            how = "A person should check its answers: what validation promised did not hold."
    parts = (why, how, *_cautions(summary), "What was not measured stands under What this cannot say.")
    return answer, tone, " ".join(parts)


def _cautions(summary: RunSummary) -> tuple[str, ...]:
    """Weaknesses that a closer look found."""
    found = []
    looks = summary.looks
    weak = [] if looks.slices is None else [row for row in looks.slices.slices if row.verdict == "weak"]
    if weak:
        worst = weak[0]
        found.append(
            f"It is weak in {formats.counted(len(weak), 'slice')}, most in {worst.kind} {worst.name} "
            f"({formats.score(worst.score.value)}, n = {worst.n:,})."
        )
    hurts = [] if looks.robustness is None else [drop for drop in looks.robustness.drops if drop.verdict == "hurts"]
    if hurts:
        found.append(
            f"A change of wording ({hurts[0].change.replace('_', ' ')}) lowers its share of right answers by "
            f"{formats.score(hurts[0].drop.value)} (n = {hurts[0].n:,})."
        )
    gaps = () if looks.slices is None else looks.slices.gaps
    wider = [gap for gap in gaps if gap.change is not None and gap.change.low is not None and gap.change.low > 0]
    if wider and looks.slices is not None:
        found.append(f"By {wider[0].kind.replace('_', ' ')} it is less equal than {looks.slices.against}.")
    if summary.comparison.set == OUT_OF_FOLD:
        found.append("The model that is kept learned from all records and was itself never tested.")
    return tuple(found)
