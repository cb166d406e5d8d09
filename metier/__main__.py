"""`python -m metier`: the command line."""

from __future__ import annotations

from metier.cli.main import main

if __name__ == "__main__":
    main()
