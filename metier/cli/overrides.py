"""`--section.field value` on the command line, which is short for `--set section.field=value`."""

from __future__ import annotations

from collections.abc import Sequence

from metier.errors import ArgumentError


def overrides_as_settings(arguments: Sequence[str]) -> list[str]:
    """Rewrite `--training.max-steps 5` and `--training.max_steps=5` to `--set training.max_steps=5`.

    A flag of ours never has a dot in its name, so what has one is a recipe field. Dashes in it count
    as underscores. Nothing after a lone `--` is touched.

    Raises:
        ArgumentError: A field has no value.
    """
    settled: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            return [*settled, argument, *rest]
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or "." not in name or settled[-1:] == ["--set"]:
            settled.append(argument)
            continue
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise ArgumentError(argument, "has no value", "", f"Write it as {argument} VALUE.")
            value = rest.pop(0)
        settled += ["--set", f"{name.replace('-', '_')}={value}"]
    return settled
