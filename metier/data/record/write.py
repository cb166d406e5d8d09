"""The end of preparation: what was found and done goes to disk, beside the splits.

findings.json    what each cleaning step found, and what policy did about it
doubts.jsonl     every doubt, with the row that it is about
decisions.jsonl  what a person had decided, where the recipe names such a file
card.json        the data card, with licences, findings and the content hash of every stage
croissant.json   the same as Croissant JSON-LD
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from metier.data.card import DataCard, SourceFile, StageHash, StepCard
from metier.data.cleaning.rows import Finding
from metier.data.record.croissant import About, write_croissant
from metier.data.record.decisions import without_texts, write_decisions
from metier.data.record.findings import RowPlace, read_steps, write_findings
from metier.data.record.honour import Honoured
from metier.data.record.licences import Licences, check_licences
from metier.events import Observer, Table, tell
from metier.recipe.sections import DataSection
from metier.store.files import write_json
from metier.store.run_folder import DataFolder

Done = Mapping[str, Mapping[str, int]]
"""Step -> rows by what was done about its doubts."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the cleaning steps found and did, as it is written."""

    findings: Sequence[Finding] = ()
    """In the order of the steps."""
    places: Mapping[int, RowPlace] = field(default_factory=dict)
    """Every row that a doubt names; see `findings.places_of`."""
    done: Done = field(default_factory=dict)
    stages: Sequence[StageHash] = ()
    """See `stages.hash_stages`."""


def write_data_record(
    folder: Path,
    card: DataCard,
    found: Found,
    section: DataSection,
    *,
    honoured: Honoured | None = None,
    about: About | None = None,
    texts: bool = True,
) -> DataCard:
    """Write the record of the data into the folder that has its splits already.

    The same data and recipe give the same bytes.

    Args:
        folder: The data folder, with its splits in place.
        card: What preparation found and did; licences, findings, stages and decisions are added to it.
        found: What the cleaning steps found and did.
        section: `licenses`, `unknown_license`.
        honoured: The decisions of a person, after all rows were read. None: there are none.
        about: What a person says about the data. None: it is named after its first file.
        texts: Whether texts of rows may be written; False under `privacy: strict`.

    Returns:
        The whole card, as it was written.

    Raises:
        DataError: A licence is not known, and the recipe refuses that.
    """
    licences = state_licences(card.files, section)
    card = replace(
        card,
        sources=_licensed(card.sources, licences),
        answers=_licensed(card.answers, licences),
        notices=(*card.notices, *(honoured.notices() if honoured is not None else ()), *licences.notices),
        findings=_step_cards(found),
        stages=tuple(found.stages),
        decisions=honoured.applied if honoured is not None else 0,
    )
    write_findings(folder, found.findings, found.places, done=found.done, stages=found.stages)
    if honoured is not None:
        lines = honoured.decisions.lines
        write_decisions(DataFolder(folder).decisions, lines if texts else without_texts(lines))
    write_json(DataFolder(folder).card, card, format="card")
    about = about or About(name=PurePath(card.sources[0].name).stem)
    steps = read_steps(folder)
    write_croissant(folder, card, licences, about, steps=steps.steps, stages=steps.stages)
    return card


def state_licences(files: Sequence[SourceFile], section: DataSection) -> Licences:
    """The licence of every file, as the recipe states it.

    Args:
        files: The files that are read.
        section: `licenses`, `unknown_license`.

    Raises:
        DataError: As for `check_licences`.
    """
    return check_licences(files, section.licenses, policy=section.unknown_license)


def tell_found(card: DataCard, observers: Sequence[Observer]) -> None:
    """One line for each step that found something.

    Args:
        card: The whole card.
        observers: Get the table.
    """
    rows = [(step.title, step.found, step.did) for step in card.findings if step.doubts or step.done]
    if rows:
        tell(observers, Table(title="Found in the data", columns=("step", "found", "done"), rows=rows))


def _step_cards(found: Found) -> tuple[StepCard, ...]:
    return tuple(
        StepCard(
            step=finding.step,
            version=finding.version,
            looked_at=finding.looked_at,
            doubts=len(finding.doubts),
            done=found.done.get(finding.step, {}),
        )
        for finding in found.findings
    )


def _licensed(files: Sequence[SourceFile], licences: Licences) -> tuple[SourceFile, ...]:
    named = {source.source: source.licence for source in licences.sources}
    return tuple(replace(file, licence=named[file.name]) for file in files)
