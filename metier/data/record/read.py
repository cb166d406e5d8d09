"""From a run folder to a `DataRecord`: rows are read one by one, and only the first of each kind are kept."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from metier.data.record.croissant import About
from metier.data.record.decisions import Decision, load_decisions
from metier.data.record.findings import Doubted, read_doubts, read_lines, read_steps
from metier.data.record.licences import Licences, check_licences
from metier.data.record.restore import read_card
from metier.data.record.summary import DataRecord, RowGroup, RowLine, ToDecide
from metier.data.record.texts import RowText, texts_of
from metier.data.records import Changed, Rejected
from metier.errors import RunFolderError
from metier.store.run_folder import DataFolder, RunFolder, read_state
from metier.store.values import from_plain

GRAVEST = (
    "poison", "secrets", "personal data", "contradictions", "wrong_labels", "wrong_answers", "leakage", "rare_labels",
    "duplicates", "language", "outliers", "lengths", "odd texts", "quality",
)  # fmt: skip
"""Steps whose doubts a person should look at first, in order; others come after them."""
SHOWN = 50
"""Rows of each kind that are kept by default."""


@dataclass(frozen=True, kw_only=True)
class RecipeWords:
    """What the run's recipe says about its data and its report, as it stands in `recipe.yaml`."""

    name: str
    data: Mapping[str, Any]
    report: Mapping[str, Any]
    card: Mapping[str, Any]
    privacy: Mapping[str, Any]

    @property
    def label_names(self) -> dict[str, str]:
        """`data.label_names`."""
        return dict(self.data.get("label_names") or {})

    @property
    def texts(self) -> bool:
        """Whether reports may show texts: not under `privacy: strict`, nor where `report.examples` is off."""
        return bool(self.report.get("examples", True)) and not self.strict

    @property
    def strict(self) -> bool:
        """Whether the recipe says `privacy: strict`."""
        return "strict" in (self.privacy.get("level"), self.privacy.get("mode"))


def read_recipe(run: RunFolder) -> RecipeWords:
    """What the recipe of a run says.

    Args:
        run: The run.

    Raises:
        RunFolderError: The recipe is missing or no YAML.
    """
    import yaml

    try:
        value = yaml.safe_load(run.recipe.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RunFolderError(str(run.recipe), "is missing or damaged", "", "Run the recipe again.") from error
    recipe = value if isinstance(value, Mapping) else {}
    sections = {name: _section(recipe, name) for name in ("data", "report", "card")}
    privacy = recipe.get("privacy")
    return RecipeWords(
        name=str(recipe.get("name") or run.path.name),
        privacy=privacy if isinstance(privacy, Mapping) else {"level": privacy},
        **sections,
    )


def read_about(run: RunFolder, words: RecipeWords) -> About:
    """What the recipe says about the data set, and when the run prepared it.

    Args:
        run: The run.
        words: Its recipe.
    """
    state = read_state(run)
    return About(
        name=words.name,
        published=(state.finished or state.started)[:10],
        creator=words.card.get("author"),
        languages=tuple(words.card.get("language") or ()),
    )


def read_licences(run: RunFolder, words: RecipeWords) -> Licences:
    """The licence of every source, as the recipe states it; the policy was applied when the data was prepared.

    Args:
        run: The run.
        words: Its recipe.
    """
    stated = {str(name): str(licence) for name, licence in (words.data.get("licenses") or {}).items()}
    policy = words.data.get("unknown_license", "warn")
    licences = check_licences(read_card(run.data).files, stated, policy="allow")
    return replace(licences, policy=str(policy))


def read_data_record(run: RunFolder, *, shown: int = SHOWN) -> DataRecord:
    """Everything that the page of the data shows.

    Args:
        run: A run whose data is prepared.
        shown: Rows of each kind that are kept; all are counted.

    Raises:
        RunFolderError: A file is missing or damaged.
    """
    words = read_recipe(run)
    card, file = read_card(run.data), read_steps(run.data)
    groups = _Groups(shown)
    for group, line in _rejected(run.data):
        groups.add(group, line)
    for group, line in _changed(run.data):
        groups.add(group, line)
    kept: dict[_Kind, list[Doubted]] = {}
    for doubt in read_doubts(run.data):
        kind = _Kind("doubted", doubt.reason, f"{doubt.step}, version {doubt.version}")
        if len(kept.setdefault(kind, [])) < shown:
            kept[kind].append(doubt)
        groups.count(kind)
    places = [doubt.place for doubts in kept.values() for doubt in doubts]
    # Without texts the splits are read all the same: a doubtful row that left is not one to decide about.
    said = texts_of(run.data, places, label_names=words.label_names)
    gone = words.strict and not run.split("train").is_file()
    for kind, doubts in kept.items():
        groups.rows[kind] = [_line(doubt, said, texts=words.texts, gone=gone) for doubt in doubts]
    decisions = _decisions(run.data)
    for decision in decisions:
        groups.add(_Kind("decided", decision.decision), _decided(decision))
    licences = read_licences(run, words)
    return DataRecord(
        name=words.name,
        run=run.path.name,
        card=card,
        steps=file.steps,
        stages=file.stages,
        licences=licences,
        groups=groups.all(),
        to_decide=tuple(_to_decide(groups, licences, run)),
        texts=words.texts,
        decided=len(decisions),
    )


@dataclass(frozen=True, slots=True)
class _Kind:
    what: str
    reason: str
    step: str = ""


@dataclass
class _Groups:
    """Rows by kind: all counted, the first ones kept."""

    shown: int
    counts: dict[_Kind, int] = field(default_factory=dict)
    rows: dict[_Kind, list[RowLine]] = field(default_factory=dict)

    def count(self, kind: _Kind) -> None:
        """One more."""
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def add(self, kind: _Kind, line: RowLine) -> None:
        """One more, kept if there is room."""
        self.count(kind)
        kept = self.rows.setdefault(kind, [])
        if len(kept) < self.shown:
            kept.append(line)

    def all(self) -> tuple[RowGroup, ...]:
        """Doubts first, then decisions, rejections and changes; in each the most frequent first."""
        order = ("doubted", "decided", "rejected", "changed")
        ranked = sorted(self.counts.items(), key=lambda item: (order.index(item[0].what), -item[1], item[0].reason))
        return tuple(
            RowGroup(what=kind.what, reason=kind.reason, step=kind.step, count=count, rows=tuple(self.rows[kind]))
            for kind, count in ranked
        )


def _rejected(folder: Path) -> Iterator[tuple[_Kind, RowLine]]:
    path = DataFolder(folder).rejected
    for number, line in read_lines(path):
        row = from_plain(Rejected, line, where=f"{path}, line {number}")
        kind = _Kind("rejected", row.reason, _step(row))
        yield kind, RowLine(source=row.source, row=row.row, split=None, detail=row.detail)


def _changed(folder: Path) -> Iterator[tuple[_Kind, RowLine]]:
    path = DataFolder(folder).changed
    for number, line in read_lines(path):
        row = from_plain(Changed, line, where=f"{path}, line {number}")
        for repair in row.repairs:
            kind = _Kind("changed", repair, _step(row))
            yield kind, RowLine(source=row.source, row=row.row, split=None, detail=row.detail)


def _step(row: Rejected | Changed) -> str:
    return f"{row.step}, version {row.version}" if row.step else ""


def _decisions(folder: Path) -> tuple[Decision, ...]:
    path = DataFolder(folder).decisions
    return tuple(load_decisions(path).latest.values()) if path.exists() else ()


def _decided(decision: Decision) -> RowLine:
    detail = f"by {decision.by} on {decision.at[:10]}, in {decision.sheet}"
    return RowLine(
        source=decision.source, row=decision.row, split=None, detail=detail, others="; ".join(decision.reasons)
    )


def _line(doubt: Doubted, said: Mapping[tuple[str, str], RowText], *, texts: bool, gone: bool) -> RowLine:
    place = doubt.place
    found = said.get((place.source, place.id))
    return RowLine(
        source=place.source,
        row=place.row,
        split=found.split if found is not None else place.split if gone else None,
        detail=doubt.detail,
        others=", ".join(f"{other.source} row {other.row}" for other in doubt.others),
        suggestion=doubt.suggestion,
        score=doubt.score,
        text=found.text if found is not None and texts else None,
    )


def _to_decide(groups: _Groups, licences: Licences, run: RunFolder) -> Iterator[ToDecide]:
    """The licences, then the doubts step by step, the gravest first."""
    from metier.data.cleaning.steps import STEPS

    if licences.unknown and licences.policy != "allow":
        files = ", ".join(licences.unknown[:5]) + (" and others" if len(licences.unknown) > 5 else "")
        what = f"Under which licence may these files be used: {files}?"
        yield ToDecide(what=what, rows=0, how='data.licenses: {"*": CC-BY-4.0}, with the licence that is right')
    by_step: dict[str, dict[str, int]] = {}
    for kind, count in groups.counts.items():
        if kind.what == "doubted":
            by_step.setdefault(kind.step.partition(",")[0], {})[kind.reason] = count
    says = {step.name: step.says for step in STEPS}
    for name in sorted(by_step, key=lambda one: GRAVEST.index(one) if one in GRAVEST else len(GRAVEST)):
        reasons = dict(sorted(by_step[name].items(), key=lambda pair: -pair[1]))
        command = ["metier", "data", "review", "export", _as_typed(run), "review.xlsx", "--only", name]
        yield ToDecide(
            what=says.get(name, f"{name.replace('_', ' ').capitalize()}."),
            rows=sum(reasons.values()),
            how=shlex.join(command),
            reasons=reasons,
        )


def _as_typed(run: RunFolder) -> str:
    """The run's folder in a command; of one that was named from the root only its name: the page may be passed on."""
    return run.path.name if run.path.is_absolute() else run.path.as_posix()


def _section(recipe: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = recipe.get(name)
    return found if isinstance(found, Mapping) else {}
