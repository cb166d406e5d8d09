"""Rules of the section `privacy`: what its fields allow by themselves, but not together. Called by `check.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from metier.recipe.faults import Fault
from metier.recipe.sections import Recipe

_KEY = "Name the variable that holds a key, such as `key_env: METIER_PRIVACY_KEY`, or use `mask`."
_MAKE_ONE = "`metier data vault-key FILE` makes a key."


def privacy_rules(recipe: Recipe) -> Iterator[Fault]:
    """Fields without effect, surrogates without a key, and what `strict` needs."""
    privacy = recipe.privacy
    for name, needed in privacy.unused():
        yield Fault(("privacy", name), f"has no effect without `{needed}`", "", "Remove it, or add that.")
    if "surrogate" in privacy.policies and privacy.key_env is None:
        yield Fault(("privacy", "key_env"), "is missing, and surrogates are drawn by a key", "", _KEY)
    if privacy.looked_for is not None and "surrogate" not in privacy.policies:
        for name in ("key_env", "scope"):
            if getattr(privacy, name) != type(privacy).model_fields[name].default:
                yield Fault(("privacy", name), "has no effect without surrogates", "", "Remove it.")
    if privacy.kinds == [] and not privacy.recognisers:
        yield Fault(("privacy", "kinds"), "is empty", "at least one kind, or a recogniser of your own")
    for kind, count in Counter(privacy.kinds or ()).items():
        if count > 1:
            yield Fault(("privacy", "kinds"), f"has '{kind}' {count} times", "each once")
    if privacy.strict:
        yield from _strict(recipe)


def _strict(recipe: Recipe) -> Iterator[Fault]:
    privacy = recipe.privacy
    if privacy.detector != "presidio":
        found = f"is {privacy.detector}, which does not find names"
        yield Fault(("privacy", "detector"), found, "presidio under `privacy: strict`")
    if (privacy.vault_key_file is None) == (privacy.vault_key_env is None):
        found = "is strict and names no key" if privacy.vault_key_file is None else "names a file and a variable"
        wanted = "one of `vault_key_file` and `vault_key_env`"
        yield Fault(("privacy",), found, wanted, _MAKE_ONE if privacy.vault_key_file is None else "Keep one of them.")
