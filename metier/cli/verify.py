"""`metier verify RUN|BUNDLE.zip`: every reported number computed again from the items, or the whole run done again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metier.cli.output import say, show, write_json_object
from metier.cli.run import AsJson

if TYPE_CHECKING:
    from metier.evaluation.verify import Mismatch

DIFFERS = 2
SHOWN = 20
"""Differences that are named one by one; `--json` has all of them."""


def verify(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run folder, or evidence (a .zip of metier export --evidence).",
                             show_default=False)
    ],
    *,
    replay: Annotated[
        bool, typer.Option("--replay", help="Do the whole run again in RUN/replay, and compare with that too.")
    ] = False,
    as_json: AsJson = False,
) -> int:  # fmt: skip
    """Compute every reported number again from the items.

    Lists what differs, and then ends with exit code 2. Of evidence the hashes of all files are checked too. With
    --replay the run is done again from its recipe and lock file, without what earlier runs stored.
    """
    from metier.errors import ArgumentError

    if run.suffix.lower() == ".zip" and run.is_file():
        if replay:
            fix = "Give the run folder: evidence holds neither data nor model."
            raise ArgumentError("--replay", "was given with evidence", "", fix)
        return _tell(*_verify_evidence(run), as_json=as_json)
    found, notes = _verify_run(run)
    return _replay(run, found, notes, as_json=as_json) if replay else _tell(found, notes, as_json=as_json)


def _verify_run(run: Path) -> tuple[list[Mismatch], list[str]]:
    from metier.evaluation.verify import Mismatch, holds_hashes, not_recounted, verify_evaluations
    from metier.report.pages import check_pages
    from metier.store.run_folder import find_run

    folder = find_run(run)
    found = list(verify_evaluations(folder.evaluation))
    # Where the numbers themselves were changed, the pages that show what was there before are no news.
    pages = check_pages(folder)
    found += [Mismatch(where=each.where, reported=each.reported, recomputed=each.recomputed) for each in pages.changed]
    once = [] if found else _counted_once(not_recounted(folder.evaluation))
    return found, [*_about_hashes(holds_hashes(folder.evaluation)), *once, *pages.notes]


def _verify_evidence(bundle: Path) -> tuple[list[Mismatch], list[str]]:
    from metier.evaluation.verify import Mismatch, holds_hashes
    from metier.report.pages import changed_front_matter
    from metier.serving.bundle_reading import unpacked_evidence, verify_evidence

    with unpacked_evidence(bundle) as (folder, changed):
        numbers = verify_evidence(folder)
        pages = () if numbers else changed_front_matter(folder)
        notes = [] if numbers else _about_hashes(holds_hashes(folder.evaluation))
        card = [Mismatch(where=each.where, reported=each.reported, recomputed=each.recomputed) for each in pages]
    notes.append("the report itself was compared by its hash alone: what it quotes is not in the evidence")
    return [*changed, *numbers, *card], notes


def _counted_once(what: Sequence[str]) -> list[str]:
    """What the items could not say again, in words."""
    said = f"what each item adds was taken as it stands, and the metric made again from that: {'; '.join(what)}"
    return [said] if what else []


def _about_hashes(hashed: bool) -> list[str]:
    said = "hashes stand for written answers; of their counts only exact matches were made again"
    return [said] if hashed else []


def _tell(found: Sequence[Mismatch], notes: Sequence[str], *, as_json: bool) -> int:
    from metier.errors import DONE
    from metier.store.values import to_plain

    if as_json:
        write_json_object("verification", {"mismatches": to_plain(found), "notes": list(notes)})
    else:
        _list(found)
        differ = f"{len(found):,} reported numbers are not what the items give."
        show(differ if found else "Every reported number is what the items give.")
        for note in notes:
            say(f"note: {note}")
    return DIFFERS if found else DONE


def _replay(run: Path, found: Sequence[Mismatch], notes: Sequence[str], *, as_json: bool) -> int:
    from metier.cli.progress import watching
    from metier.errors import DONE
    from metier.replay import replay_run
    from metier.store.run_folder import find_run
    from metier.store.values import to_plain

    with watching() as observer:
        done = replay_run(find_run(run), observers=(observer,))
    differs = bool(found or done.differences)
    if as_json:
        plain: dict[str, Any] = {**to_plain(done), "sentence": done.sentence}
        write_json_object("verification", {"mismatches": to_plain(found), "notes": list(notes), "replay": plain})
        return DIFFERS if differs else DONE
    _tell(found, notes, as_json=False)
    _list(done.differences)
    if done.reused:
        say(f"note: an earlier replay was compared; remove {done.folder} to do it again")
    for cause in () if done.differences else done.causes:
        say(f"note: {cause}, and the numbers are the same all the same")
    show(f"{done.sentence} It is in {done.folder}.")
    return DIFFERS if differs else DONE


def _list(found: Sequence[Mismatch]) -> None:
    for mismatch in found[:SHOWN]:
        say(f"{mismatch.where}: reported {mismatch.reported}, recomputed {mismatch.recomputed}")
    if len(found) > SHOWN:
        say(f"and {len(found) - SHOWN:,} more; --json has all of them")
