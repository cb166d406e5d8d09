"""Attempts of one recipe on a Ray cluster of two nodes: the same results as here, though a worker is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from metier import fleet
from metier.errors import LackingEnvironment, OtherProcessFailed
from metier.evaluation.files import read_comparison
from metier.store.files import read_json_lines

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster of two nodes with one CPU each."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    pytest.importorskip("ray", reason='needs Ray: pip install "metier[ray]"')
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made.address
    made.shutdown()


@pytest.fixture(scope="module")
def two(tiny_model: Callable[..., Path]) -> dict[str, Any]:
    """Two candidates that train adapters over the same trunk, against one baseline."""
    llama = str(tiny_model("llama"))
    lora = {"method": "lora", "layers": "top 1"}
    return {
        "candidates": {
            "small": {"model": llama, "adaptation": {**lora, "r": 2}},
            "large": {"model": llama, "adaptation": {**lora, "r": 8}},
        },
        "training": {"num_train_epochs": 6, "save_steps": 2},
        "evaluation": {"systems": ["majority"], "baseline_model": llama},
    }  # fmt: skip


def _kill_a_worker(attempts: Path, killed: list[int]) -> None:
    """Kill a process that trains an attempt, once both have a checkpoint: which attempt is whose, nothing says."""
    import psutil

    until = time.monotonic() + 120
    while not killed and time.monotonic() < until:
        if all(any((attempts / name / "training").glob("checkpoint-*")) for name in ("001", "002")):
            for process in psutil.process_iter(["cmdline"]):
                if not killed and any("ray::train_attempt" in part for part in process.info["cmdline"] or ()):
                    process.send_signal(signal.SIGKILL)
                    killed.append(process.pid)
        time.sleep(0.01)


def test_a_cluster_gives_what_this_machine_gives_though_a_worker_is_killed(
    cluster: str, two: dict[str, Any], new_home: Callable[[], Any]
) -> None:
    here = new_home().run(**two)
    there = new_home()
    killed: list[int] = []
    place = there.folder / "runs" / "run" / "attempts"
    killer = threading.Thread(target=_kill_a_worker, args=(place, killed))
    killer.start()
    ran = there.run(**two, cluster=cluster)
    killer.join()
    assert killed
    assert ran.result.exit_code == here.result.exit_code
    assert ran.notices.count("was trained on") == 2
    logs = [read_json_lines(ran.folder.attempt(number).path / "events.jsonl") for number in (1, 2)]
    assert any("Training goes on after step" in row.get("message", "") for log in logs for row in log)
    for number in (1, 2):
        rows = [read_json_lines(each.folder.attempt(number).history) for each in (here, ran)]
        np.testing.assert_allclose(*([row["loss"] for row in each] for each in rows), rtol=1e-5)
    weights = [load_file(each.folder.model / "adapter_model.safetensors") for each in (here, ran)]
    for name, value in weights[0].items():
        np.testing.assert_allclose(value, weights[1][name], atol=1e-4, err_msg=name)
    verdicts = [read_comparison(each.folder.evaluation_of("test").path) for each in (here, ran)]
    assert verdicts[0].verdict == verdicts[1].verdict
    assert verdicts[0].differences[0].difference.value == verdicts[1].differences[0].difference.value


def test_a_fault_of_a_worker_is_the_runs(cluster: str, two: dict[str, Any], new_home: Callable[[], Any]) -> None:
    with pytest.raises(OtherProcessFailed, match=r"attempt (small|large) on .*: training step \d: loss") as caught:
        new_home().run(**{**two, "training": {**two["training"], "learning_rate": 1e30}}, cluster=cluster)
    assert caught.value.exit_code == 1


def test_a_machine_that_does_not_see_the_storage_is_told(
    cluster: str, two: dict[str, Any], new_home: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "sees", lambda paths: [path for path in paths if "cache" in path])
    message = (
        r"--cluster: .* does not see .*cache, wanted a folder that all machines share at the same path\. "
        r"Put --output and METIER_CACHE on shared storage\."
    )
    home = new_home()
    with pytest.raises(LackingEnvironment, match=message):
        home.run(**two, cluster=cluster)
    assert not list(home.folder.rglob(".shared-*"))


def test_a_cluster_that_is_not_there_is_told(two: dict[str, Any], new_home: Callable[[], Any]) -> None:
    pytest.importorskip("ray", reason='needs Ray: pip install "metier[ray]"')
    message = "--cluster: no cluster answers at 127.0.0.1:1. Give the address of a running cluster, or `local` to start"
    with pytest.raises(LackingEnvironment, match=message):
        new_home().run(**two, cluster="127.0.0.1:1")
