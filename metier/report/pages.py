"""Whether the card and the page of a run still say what its files give: both are made again and compared.

Takes a run folder, or that of a comparison; gives the places that differ. A person may add to the card: only what was
written there with a number must still stand. The page is nobody's to edit. Loads no torch.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import yaml

from metier.evaluation.files import read_comparison, read_evaluations
from metier.report.card import hub_metrics, read_front_matter, render_card
from metier.report.figures import draw_figures
from metier.report.gather import gather_summary
from metier.report.judgement_page import draw_judgement, gather_judgement, is_judgement, render_judgement
from metier.report.made_by import read_made_by
from metier.report.page import render_page
from metier.report.summary import RunSummary
from metier.store.run_folder import RunFolder

JUDGED = ("test", "out_of_fold", "validation")
"""Sets that a verdict can be about: a run has one."""
MOST_LINES = 5
"""Lines of a page that are named; after that it is another page."""
_NUMBER = re.compile(r"[0-9]")


class ChangedPlace(NamedTuple):
    """A place that is not what the files give."""

    where: str
    reported: str
    recomputed: str


class CheckedPages(NamedTuple):
    """What became of the comparison."""

    changed: tuple[ChangedPlace, ...]
    notes: tuple[str, ...]
    """What could not be compared, and why."""


def check_pages(folder: RunFolder) -> CheckedPages:
    """Compare the card and the page of a run with what its files give now.

    Args:
        folder: A run, the evidence of one, or a comparison of named systems.

    Raises:
        RunFolderError: A file of a complete run is missing or damaged.
    """
    if is_judgement(folder):
        return _check_judgement(folder)
    pages = [path for path in (folder.readme, folder.report_page) if path.is_file()]
    if len(pages) < 2:
        return CheckedPages((), ("no report is there yet, so none was compared",))
    made = read_made_by(folder.report)
    if made.other:
        note = (
            f"{made.other} wrote the pages, so only their numbers for the hub were compared; `metier report RUN` "
            "writes them again"
        )
        return CheckedPages(tuple(changed_front_matter(folder)), (note,))
    # The folder's name stands on both, and it may have been renamed since.
    summary = replace(gather_summary(folder), folder=made.folder)
    page = render_page(summary, draw_figures(summary))
    return CheckedPages((*_card(folder, summary), *_page(folder, page)), ())


def _check_judgement(folder: RunFolder) -> CheckedPages:
    """The page of `metier compare RECIPE`; there is no card."""
    if not folder.report_page.is_file():
        return CheckedPages((), ("no report is there yet, so none was compared",))
    made = read_made_by(folder.report)
    if made.other:
        return CheckedPages((), (f"{made.other} wrote the page, so it was not compared",))
    summary = replace(gather_judgement(folder), name=made.folder)
    return CheckedPages(tuple(_page(folder, render_judgement(summary, draw_judgement(summary)))), ())


def changed_front_matter(folder: RunFolder) -> Iterator[ChangedPlace]:
    """Numbers in the card's front matter that are not those of the results: what evidence without records can tell.

    Args:
        folder: A run, or the evidence of one.
    """
    where = next((place for name in JUDGED if (place := folder.evaluation_of(name)).comparison.is_file()), None)
    if where is None or not folder.readme.is_file():
        return
    comparison = read_comparison(where.path)
    systems = read_evaluations(where.path, items=False, systems={comparison.candidate})
    expected = {_title(each): each for system in systems for each in hub_metrics(system, comparison.primary_metric)}
    index = read_front_matter(folder.readme.read_text(encoding="utf-8")).get("model-index")
    try:
        written = [] if index is None else [dict(each) for each in index[0]["results"][0]["metrics"]]
    except (LookupError, TypeError, ValueError):
        yield ChangedPlace("README.md: model-index", "something else", "a list of metrics")
        return
    for each in written:  # an older version may have known fewer metrics, but none that are others
        yield from _differing(f"README.md: model-index: {_title(each)}", each, expected.get(_title(each)))


def _title(metric: Mapping[str, Any]) -> str:
    """The metric's name without its interval."""
    return str(metric.get("name")).partition(" (")[0]


def _differing(where: str, one: Any, other: Any) -> Iterator[ChangedPlace]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in {**one, **other}:
            yield from _differing(f"{where}.{key}", one.get(key), other.get(key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            yield from _differing(f"{where}[{place}]", mine, theirs)
    elif one != other:
        yield ChangedPlace(where, _shown(one), _shown(other))


def _shown(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()
    return f"{text[:200]}…" if len(text) > 200 else text


def _card(folder: RunFolder, summary: RunSummary) -> Iterator[ChangedPlace]:
    """Lines with a number that should stand in the card and do not; the card holds no text of a record."""
    there = folder.readme.read_text(encoding="utf-8").splitlines()
    left = Counter(there)
    for line in render_card(summary).splitlines():
        if left[line] > 0:
            left[line] -= 1
        elif _NUMBER.search(line):
            near = difflib.get_close_matches(line, [each for each in left if left[each] > 0], n=1, cutoff=0.8)
            yield ChangedPlace("README.md", near[0].strip() if near else "nothing", line.strip())


def _page(folder: RunFolder, page: str) -> Iterator[ChangedPlace]:
    """Lines of the page that are others; not what they say, as records may be quoted there."""
    written = folder.report_page.read_text(encoding="utf-8").splitlines()
    expected = page.splitlines()
    numbers = [
        number
        for number in range(1, max(len(written), len(expected)) + 1)
        if written[number - 1 : number] != expected[number - 1 : number]
    ]
    for number in numbers[:MOST_LINES]:
        yield ChangedPlace(f"report/index.html line {number}", "another line", "what the files give")
    if len(numbers) > MOST_LINES:
        more = f"{len(numbers) - MOST_LINES:,} more lines"
        yield ChangedPlace("report/index.html", more, "what the files give")
