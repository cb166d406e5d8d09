"""A judge model behind an endpoint compares written answers, where the recipe names one: asked once, then audited."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from metier.data.records import Record
from metier.data.sources import read_table
from metier.data.table import Table
from metier.device import derive_seed
from metier.errors import DataError
from metier.evaluation.elsewhere.chat_api import ChatClient
from metier.evaluation.elsewhere.chat_reply import Endpoint
from metier.evaluation.elsewhere.endpoint import AskingSettings, EndpointSystem, about_endpoint, open_endpoint
from metier.evaluation.elsewhere.judge import AnswerPair, ask_judge, audit_judge, judge_prompt, judge_sentence
from metier.evaluation.looks import read_look, write_look
from metier.evaluation.results import Evaluation
from metier.evaluation.standings import JudgedPair, JudgeReport
from metier.events import Notice, tell
from metier.recipe.evaluation_sections import JudgeSection
from metier.recipe.sections import Recipe
from metier.stages.workshop import Workshop
from metier.store.fingerprint import fingerprint

NO_ANSWER = "(no answer)"
"""Stands before the judge where a system gave none."""
JUDGE = "judge"
RECORDED = "recorded"
"""The folder of a run in which answers of endpoints are kept as they come."""
HUMAN_COLUMNS = ("id", "winner")
_HUMAN = "evaluation.judge.human"
SYSTEM_COLUMN = "system"
"""Column that says whose answer was `ours`, where several systems are judged."""


def judge_written(
    shop: Workshop, systems: Sequence[Evaluation], theirs: Evaluation, folder: Path
) -> JudgeReport | None:
    """Let the recipe's judge compare the answers of some systems with those of another, and write down what it says.

    To be called by one process. What the judge said before is not asked again.

    Args:
        shop: The run.
        systems: Each is compared with `theirs`; with their texts, and on the same items.
        theirs: The system beside which they stand.
        folder: The evaluation folder of the set.

    Returns:
        What it said; None where the recipe names no judge, or where only hashes of answers are left.

    Raises:
        DataError: The table of what people said cannot be used.
        MetierError: The endpoint cannot be asked.
    """
    section = shop.recipe.evaluation.judge
    if section is None:
        return None
    if theirs.hashed or any(evaluation.hashed for evaluation in systems):
        said = "the judge was not asked again: under privacy: strict only hashes are left of what was answered."
        tell(shop.observers, Notice(topic=JUDGE, message=said))
        return read_look(JudgeReport, folder)
    records = {record.id: record for record in _records(shop, theirs)}
    human = _human(section, records, [evaluation.system for evaluation in systems])
    system = _open(shop, section)
    pairs = tuple(
        _judged(shop, system, (evaluation, theirs), records, human.get(evaluation.system, {})) for evaluation in systems
    )
    report = JudgeReport(
        judge=system.kind, pairs=pairs, resamples=shop.recipe.evaluation.resamples, seed=shop.recipe.seed,
        spent=system.journal.total_price(), currency=system.endpoint.currency, sentence=judge_sentence(pairs),
    )  # fmt: skip
    write_look(report, folder)
    return report


def refuse_unready_judge(recipe: Recipe) -> None:
    """Refuse a recipe whose judge cannot be asked, before anything is computed; nothing is sent.

    Args:
        recipe: With a judge, or without.

    Raises:
        DataError: The table of what people said is not there, or lacks its columns.
        UserError: The address cannot be used.
        LackingEnvironment: The variable of its key is not set.
    """
    section = recipe.evaluation.judge
    if section is None:
        return
    ChatClient(_endpoint(section))
    if section.human is not None and not recipe.privacy.strict:  # a strict run opens files when it is watched
        _human_table(section.human)


def journals_of(shop: Workshop) -> Path:
    """Where answers of endpoints are kept as they come: they are texts, so under `privacy: strict` in private."""
    return (shop.folder.path if shop.strict is None else shop.folder.private) / RECORDED


def _records(shop: Workshop, evaluation: Evaluation) -> list[Record]:
    """The records behind an evaluation, in the order of its items."""
    split = shop.data.test if evaluation.set == "test" else shop.data.validation
    known = {record.id: record for record in split.records()}
    return [known[item.id] for item in evaluation.items]


def _endpoint(section: JudgeSection) -> Endpoint:
    return Endpoint(url=section.endpoint, model=section.model, api_key_env=section.api_key_env)


def _open(shop: Workshop, section: JudgeSection) -> EndpointSystem:
    endpoint = _endpoint(section)
    asked, prompt = AskingSettings(max_new_tokens=32), judge_prompt()
    way = fingerprint(about_endpoint(endpoint, prompt, asked))[:8]
    return open_endpoint(
        endpoint, prompt, journals_of(shop) / f"{JUDGE}-{way}.jsonl", name=JUDGE, asked=asked,
        observers=shop.observers,
    )  # fmt: skip


def _judged(
    shop: Workshop,
    judge: EndpointSystem,
    sides: tuple[Evaluation, Evaluation],
    records: Mapping[str, Record],
    human: Mapping[str, str],
) -> JudgedPair:
    """One system beside the other, on a sample of the records and on all that people judged."""
    ours, theirs = sides
    wanted = shop.recipe.evaluation.judge
    assert wanted is not None
    order = sorted(records, key=lambda id: derive_seed(shop.recipe.seed, "judged pairs", id))
    drawn = {*order[: wanted.items], *human}
    answers = {side.system: {item.id: item.answer for item in side.items} for side in sides}
    pairs = [
        AnswerPair(
            id=id, question=record.text, ours=answers[ours.system][id] or NO_ANSWER,
            theirs=answers[theirs.system][id] or NO_ANSWER, group=shop.policy.member(record.group),
            reference=record.gold,
        )
        for id, record in records.items()
        if id in drawn
    ]  # fmt: skip
    verdicts = ask_judge(judge, pairs)
    audit = audit_judge(
        verdicts, human, judge=judge.kind, resamples=shop.recipe.evaluation.resamples, seed=shop.recipe.seed
    )
    return JudgedPair(ours=ours.system, theirs=theirs.system, audit=audit, verdicts=tuple(verdicts), human=human)


def _human_table(path: str) -> Table:
    """What people said, as rows."""
    table = read_table(Path(path))
    lacking = [name for name in HUMAN_COLUMNS if name not in table.columns]
    if lacking:
        raise DataError(_HUMAN, f"has no column {lacking[0]}", f"columns {', '.join(HUMAN_COLUMNS)}")
    return table


def _human(section: JudgeSection, records: Mapping[str, Record], systems: Sequence[str]) -> dict[str, dict[str, str]]:
    """What people said, by system and record; ids are metier's own, or the user's (`data.id`)."""
    if section.human is None:
        return {}
    where, table = _HUMAN, _human_table(section.human)
    if SYSTEM_COLUMN not in table.columns and len(systems) > 1:
        fix = f"Add a column `{SYSTEM_COLUMN}` that says whose answer was `ours`."
        raise DataError(where, f"does not say which of {len(systems)} systems was judged", "", fix)
    own = {record.user_id: id for id, record in records.items() if record.user_id is not None}
    found: dict[str, dict[str, str]] = {}
    for number, row in zip(table.row_numbers, table.rows, strict=True):
        said, winner = (row.get("id") or "").strip(), re.sub(r"\s", "", row.get("winner") or "").lower()
        id, system = said if said in records else own.get(said), row.get(SYSTEM_COLUMN) or systems[0]
        if winner not in ("ours", "theirs", "tie"):
            raise DataError(f"{where}, row {number}", "names no winner", "ours, theirs or tie")
        if id is None or system not in systems:
            what = "a record of this set" if id is None else f"one of {', '.join(systems)}"
            raise DataError(f"{where}, row {number}", "is about something else", what)
        found.setdefault(system, {})[id] = winner
    return found
