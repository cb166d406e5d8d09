"""Attempts of one recipe on a Ray cluster: each candidate is trained where there is room, all over shared storage.

The driver does everything else: data, baselines, the choice, the test. A worker gets the number of its attempt,
reads the prepared data in the run folder, finds the stored trunk in the cache, and leaves the attempt's folder. One
that is lost is replaced, and goes on from the attempt's last checkpoint. Ray's telemetry is off.

The only file that imports Ray: `pip install "metier[ray]"`.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metier.data.prepare import load_prepared
from metier.data.privacy.by_recipe import strict_if_asked
from metier.errors import InterruptedRun, LackingEnvironment, MetierError, MissingPackage, OtherProcessFailed
from metier.events import Notice, Observer, tell
from metier.recipe.candidates import resolve_candidates
from metier.recipe.sections import Recipe
from metier.store.cache import PRIVATE_VARIABLE, cache_root, state_root
from metier.store.event_log import EventLog
from metier.store.files import remove_leftovers, write_text
from metier.store.run_folder import RunFolder, read_state

if TYPE_CHECKING:
    from metier.stages.workshop import Workshop

LOCAL = "local"
"""The address that starts a cluster on this machine for the time of the run."""
PASSED_ON = ("HF_HUB_OFFLINE", "HF_HOME", PRIVATE_VARIABLE)
"""Variables that workers get as the driver has them."""
RETRIES = 3
"""How often the worker of an attempt may be lost."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What all workers of a run are told."""

    recipe: Mapping[str, Any]
    """The whole recipe as plain values."""
    folder: str
    """The run folder, its data prepared."""
    working: str
    """Where relative paths of the recipe begin."""
    device: str
    dtype: str
    """What the driver computes with: a worker that has something else would give other results."""


def run_on_cluster(
    address: str, shop: Workshop, attempts: Sequence[tuple[str, int]], observers: Sequence[Observer]
) -> Iterator[str]:
    """Train candidates on a cluster.

    Args:
        address: Of a running cluster (`auto`, `HOST:PORT`, `ray://…`), or `local`.
        shop: The run; its folder lies on storage that all machines share, as the cache does.
        attempts: Name and number of each candidate.
        observers: Told where an attempt was trained.

    Yields:
        The name of each candidate when its attempt lies in the run folder.

    Raises:
        MissingPackage: Ray is not installed.
        LackingEnvironment: there is no such cluster, or a machine of it does not see the storage.
        OtherProcessFailed: an attempt failed; with its exit code.
        InterruptedRun: the worker of an attempt was lost too often.
    """
    ray = _ray()
    with _joined(ray, address):
        nodes = [node for node in ray.nodes() if node["Alive"]]
        folder = shop.folder.path.resolve()
        _check_storage(ray, nodes, (folder, cache_root()))
        work = Work(
            recipe=shop.recipe.model_dump(mode="json"), folder=str(folder), working=str(Path.cwd()),
            device=shop.hardware.device, dtype=shop.hardware.dtype,
        )  # fmt: skip
        cores = shop.recipe.hardware.threads or int(min(node["Resources"].get("CPU", 1) for node in nodes))
        gpus = 1 if work.device == "cuda" else 0
        train = ray.remote(num_cpus=cores, num_gpus=gpus, max_retries=RETRIES)(train_attempt)
        asked = {train.remote(work, name, number, cores): name for name, number in attempts}
        waiting = list(asked)
        while waiting:
            done, waiting = ray.wait(waiting)
            name = asked[done[0]]
            try:
                left = ray.get(done[0])
            except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError) as fault:
                raise InterruptedRun(
                    f"attempt {name}", f"its worker was lost {RETRIES + 1} times", "",
                    "What was saved is whole; run the same command with --resume to go on.",
                ) from fault  # fmt: skip
            if "text" in left:
                raise OtherProcessFailed(f"attempt {name} on {left['node']}", left["text"], exit_code=left["exit_code"])
            tell(observers, Notice(topic="cluster", message=f"attempt {name} was trained on {left['node']}."))
            yield name


def train_attempt(work: Work, name: str, number: int, cores: int) -> dict[str, Any]:
    """Train one attempt: what a worker does. A fault of metier's own is given back as plain values.

    Args:
        work: What all workers are told.
        name: The candidate.
        number: Its number.
        cores: CPU cores that this worker may use.
    """
    from metier.stages.workshop import Workshop

    os.chdir(work.working)
    left: dict[str, Any] = {"node": socket.gethostname()}
    try:
        whole = Recipe.model_validate(work.recipe)
        whole = whole.model_copy(update={"hardware": whole.hardware.model_copy(update={"threads": cores})})
        run, candidates = RunFolder(Path(work.folder)), resolve_candidates(whole)
        with strict_if_asked(whole, run, run=read_state(run).recipe_hash, first=False) as strict:
            _train(work, name, number, Workshop(whole, candidates, run, load_prepared(run.data), strict=strict))
    except MetierError as fault:
        left |= {"text": fault.text(), "exit_code": fault.exit_code}
    return left


def _train(work: Work, name: str, number: int, shop: Workshop) -> None:
    """What a worker does in a run's folder.

    Raises:
        LackingEnvironment: It computes with something else than the driver.
    """
    from metier.stages.attempt import run_attempt

    place = shop.folder.attempt(number)
    if place.path.exists():  # an earlier worker was lost
        remove_leftovers(place.path)
    shop.observers = (EventLog(RunFolder(place.path).events),)  # its own, named as the run's
    mine = (shop.hardware.device, shop.hardware.dtype)
    if mine != (work.device, work.dtype):
        wanted = f"{work.dtype} on {work.device}, as on the machine that started the run"
        fix = "Set hardware.device and hardware.dtype."
        raise LackingEnvironment("hardware", f"a worker computes in {mine[1]} on {mine[0]}", wanted, fix)
    run_attempt(shop, name, shop.candidates[name], number)


def sees(paths: Sequence[str]) -> list[str]:
    """Those of the paths that cannot be read where this runs."""
    return [path for path in paths if not Path(path).is_file()]


def _ray() -> Any:
    """Ray with its telemetry off."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError as error:
        fix = 'Install it: pip install "metier[ray]"'
        raise MissingPackage("--cluster", "needs Ray, which is not installed", "", fix) from error
    return ray


@contextmanager
def _joined(ray: Any, address: str) -> Iterator[None]:
    """Inside, this process is the driver of a job on the cluster; workers find the same cache and ledger."""
    variables = {"METIER_CACHE": str(cache_root()), "METIER_STATE": str(state_root())}
    variables |= {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    options = {"runtime_env": {"env_vars": variables}, "include_dashboard": False} if address == LOCAL else {
        "runtime_env": {"env_vars": variables}, "address": address,
    }  # fmt: skip
    try:
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if port.isdigit():  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(log_to_driver=False, logging_level="ERROR", **options)
    except (OSError, ValueError, RuntimeError) as fault:
        fix = "Give the address of a running cluster, or `local` to start one here."
        raise LackingEnvironment("--cluster", f"no cluster answers at {address}", "", fix) from fault
    try:
        yield
    finally:
        ray.shutdown()


def _check_storage(ray: Any, nodes: Sequence[Any], folders: Sequence[Path]) -> None:
    """Every machine must see the run folder and the cache: a mark is written there and looked for everywhere."""
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    marks = [folder / f".shared-{secrets.token_hex(8)}" for folder in folders]
    try:
        for mark in marks:
            write_text(mark, "")
        look = ray.remote(num_cpus=0)(sees)
        asked = [
            look.options(scheduling_strategy=strategy(node["NodeID"], soft=False)).remote([str(mark) for mark in marks])
            for node in nodes
        ]
        for node, missing in zip(nodes, ray.get(asked), strict=True):
            if missing:
                raise LackingEnvironment(
                    "--cluster", f"{node['NodeManagerHostname']} does not see {Path(missing[0]).parent}",
                    "a folder that all machines share at the same path",
                    "Put --output and METIER_CACHE on shared storage.",
                )  # fmt: skip
    finally:
        for mark in marks:
            mark.unlink(missing_ok=True)
