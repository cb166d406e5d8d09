"""Environments of the peers: made from pinned requirements, kept outside the project.

    METIER_BENCH_ENVS=FOLDER python -m bench.peers make [NAME …]
    python -m bench.peers show

`METIER_BENCH_ENVS` is the user's cache folder by default. Where pip takes torch from PyPI, Linux gets the CUDA build:
set `PIP_INDEX_URL` or `PIP_EXTRA_INDEX_URL` to an index with the CPU build first.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
MARK = ".made-from"


def environments_folder() -> Path:
    """Where environments of peers are: `METIER_BENCH_ENVS`, else `metier-bench` in the user's cache."""
    named = os.environ.get("METIER_BENCH_ENVS", "").strip()
    cache = os.environ.get("XDG_CACHE_HOME", "").strip() or str(Path.home() / ".cache")
    return Path(named) if named else Path(cache) / "metier-bench"


def names() -> list[str]:
    """Environments that there are requirements for."""
    return sorted(path.stem for path in HERE.glob("*.txt"))


def make(name: str) -> Path:
    """Make one environment, unless it is there and was made from the same requirements."""
    folder, wanted = environments_folder() / name, (HERE / f"{name}.txt").read_text(encoding="utf-8")
    mark = folder / MARK
    if mark.is_file() and mark.read_text(encoding="utf-8") == wanted:
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-qq", "-r", str(HERE / f"{name}.txt")], check=True)
    mark.write_text(wanted, encoding="utf-8")
    return folder


def versions(name: str) -> dict[str, str]:
    """Installed versions of what the requirements of an environment name; empty where it was not made."""
    python = environments_folder() / name / "bin" / "python"
    if not python.exists():
        return {}
    lines = (HERE / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line.split("==")[0].split("[")[0].strip() for line in lines if line.strip() and not line.startswith("#")]
    code = "import sys; from importlib.metadata import version; print(*[version(n) for n in sys.argv[1:]])"
    done = subprocess.run([str(python), "-c", code, *wanted], check=True, capture_output=True, text=True)
    return dict(zip(wanted, done.stdout.split(), strict=True))


def main() -> None:
    """Make or show environments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["make", "show"])
    parser.add_argument("names", nargs="*", default=[], help=f"of {', '.join(names())}; all by default")
    arguments = parser.parse_args()
    for name in arguments.names or names():
        if arguments.command == "make":
            print(f"{name}: {make(name)}")
        else:
            print(f"{name}: {versions(name) or 'not made'}")


if __name__ == "__main__":
    main()
