"""The plan of a check, kept in the cache for the run of the same recipe."""

from __future__ import annotations

from metier.device import Hardware
from metier.errors import RunFolderError
from metier.planning.calibrate import machine_name
from metier.planning.outlook import Plan
from metier.store.cache import cache_folder
from metier.store.files import read_json, write_json
from metier.store.values import from_plain, to_plain


def keep_plan(identity: str, hardware: Hardware, plan: Plan) -> None:
    """Keep the plan of a check for the run of the same recipe on this machine.

    Args:
        identity: Hash of the recipe.
        hardware: What the run would use.
        plan: The plan.
    """
    path = cache_folder("plans") / f"plan-{identity[:32]}.json"
    write_json(path, {"plan": to_plain(plan), "machine": dict(machine_name(hardware))}, format="kept_plan")


def kept_plan(identity: str, hardware: Hardware) -> Plan | None:
    """The plan of an earlier check of the same recipe on this machine; None where there is none.

    Args:
        identity: Hash of the recipe.
        hardware: What the run uses.
    """
    path = cache_folder("plans") / f"plan-{identity[:32]}.json"
    try:
        content = read_json(path, format="kept_plan")
        if content["machine"] != dict(machine_name(hardware)):
            return None
        return from_plain(Plan, content["plan"], where=str(path))
    except RunFolderError:  # never checked, or of another version
        return None
