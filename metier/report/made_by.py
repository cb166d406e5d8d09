"""Which metier made the pages of a folder, in a file beside them.

So a later one does not take its own other words for somebody's change.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import NamedTuple

from metier import __version__
from metier.store.files import read_json, write_json

ABOUT, PAGES = "about.json", "pages"
"""The file, and its format."""


class MadeBy(NamedTuple):
    """Who made the pages."""

    folder: str
    """Name of the folder when they were made; it stands on them, and may have been changed since."""
    other: str
    """Which other metier made them, in words; empty: this very one."""


def write_made_by(folder_name: str, report: Path) -> None:
    """Write it beside the page.

    Args:
        folder_name: Name of the run folder.
        report: The folder of the page.
    """
    about = {"metier": __version__, "code": code_of_pages(), "folder": folder_name}
    write_json(report / ABOUT, about, format=PAGES)


def read_made_by(report: Path) -> MadeBy:
    """Read it again.

    Args:
        report: The folder of the page.
    """
    about = report / ABOUT
    made = read_json(about, format=PAGES) if about.is_file() else {}
    if made.get("code") == code_of_pages():
        return MadeBy(str(made["folder"]), "")
    wrote = made.get("metier", "of an older version")
    which = f"another build of metier {wrote}" if wrote == __version__ else f"metier {wrote}, not {__version__},"
    return MadeBy(str(made.get("folder", "")), which)


@functools.cache
def code_of_pages() -> str:
    """Hash of the code and the templates that pages are made with: other code may say the same in other words."""
    home = Path(__file__).parent
    files = sorted(path for path in home.rglob("*") if path.suffix in (".py", ".html", ".md", ".css"))
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(home).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()
