"""Whether the card and the page of a run still say what its files give: both are made again and compared.

Takes a run folder; gives the places that differ. A person may add to the card: only what was written there with a
number must still stand. The page is nobody's to edit. Loads no torch.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from metier import __version__
from metier.evaluation.files import read_comparison, read_evaluations
from metier.report.card import hub_metrics, read_front_matter, render_card
from metier.report.figures import draw_figures
from metier.report.gather import gather_summary
from metier.report.page import render_page
from metier.report.summary import RunSummary
from metier.store.files import read_json, write_json
from metier.store.run_folder import RunFolder

JUDGED = ("test", "out_of_fold", "validation")
"""Sets that a verdict can be about: a run has one."""
ABOUT, PAGES = "about.json", "pages"
"""Which metier made the pages: the file beside them, and its format."""
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
        folder: A run, or the evidence of one.

    Raises:
        RunFolderError: A file of a complete run is missing or damaged.
    """
    pages = [path for path in (folder.readme, folder.report_page) if path.is_file()]
    if len(pages) < 2:
        return CheckedPages((), ("no report is there yet, so none was compared",))
    about = folder.report / ABOUT
    made = read_json(about, format=PAGES) if about.is_file() else {}
    if made.get("code") != code_of_pages():
        wrote = made.get("metier", "of an older version")
        which = f"another build of metier {wrote}" if wrote == __version__ else f"metier {wrote}, not {__version__},"
        note = (
            f"{which} wrote the pages, so only their numbers for the hub were compared; `metier report RUN` writes "
            "them again"
        )
        return CheckedPages(tuple(changed_front_matter(folder)), (note,))
    # The folder's name stands on both, and it may have been renamed since.
    summary = replace(gather_summary(folder), folder=str(made["folder"]))
    return CheckedPages((*_card(folder, summary), *_page(folder, summary)), ())


def write_about(summary: RunSummary, folder: Path) -> None:
    """Write down beside the page which metier made it, and under which name of the run's folder."""
    about = {"metier": __version__, "code": code_of_pages(), "folder": summary.folder}
    write_json(folder / ABOUT, about, format=PAGES)


@functools.cache
def code_of_pages() -> str:
    """Hash of the code and the templates that pages are made with: other code may say the same in other words."""
    home = Path(__file__).parent
    files = sorted(path for path in home.rglob("*") if path.suffix in (".py", ".html", ".md", ".css"))
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(home).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


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


def _page(folder: RunFolder, summary: RunSummary) -> Iterator[ChangedPlace]:
    """Lines of the page that are others; not what they say, as records may be quoted there."""
    written = folder.report_page.read_text(encoding="utf-8").splitlines()
    expected = render_page(summary, draw_figures(summary)).splitlines()
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
