"""Two processes over gloo train what one process trains; the team's own promises."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from metier.errors import ArgumentError
from metier.team import Team, current_team, joined_team, team_of_environment
from metier.training.shares import cut_into_shares

TRAIN = """
import json
from pathlib import Path
import numpy as np
from metier.device import Hardware
from metier.engine.forward import TreeRunner
from metier.engine.score import target_log_probabilities
from metier.engine.tree import TokenSequence
from metier.model.adapt import adapt_model
from metier.model.base import load_base_model
from metier.recipe.sections import AdaptationSection, ModelSection, TrainingSection
from metier.team import current_team, joined_team
from metier.training.objective import LanguageObjective
from metier.training.train import train_model

def sequences():
    rng = np.random.default_rng(0)
    start = rng.integers(3, 250, 7)
    for number in range(10):
        prompt = np.concatenate([start, rng.integers(3, 250, 2 + number % 4)])
        yield TokenSequence.of(prompt.tolist(), rng.integers(3, 250, 1 + number % 3).tolist())

def train(job):
    hardware = Hardware(device="cpu", dtype="float32", threads=1, reason="a test")
    base = load_base_model(ModelSection(name=job["model"]), hardware)
    model = adapt_model(AdaptationSection(**job["adaptation"]), base, seed=3)
    examples = [(each,) for each in sequences()]
    objective = LanguageObjective(TreeRunner(model.network), examples, [1.0] * len(examples))
    model.spread = job["spread"]
    steps = {"max_steps": 6, "gradient_accumulation_steps": job["processes"], "learning_rate": 0.01}
    section = TrainingSection(**{**steps, **job["training"]})
    tokens = list(sequences())

    def validate():
        scored = target_log_probabilities(objective.runner, tokens, budget=64)
        return {"loss": -sum(total for total, _ in scored)}

    place, look = Path(job["folder"]), validate if job["validated"] else None
    history = train_model(section, model, objective, seed=11, folder=place, validate=look)
    return {
        "losses": [row.loss for row in history.steps], "norms": [row.grad_norm for row in history.steps],
        "computed": history.tokens_computed, "validations": [row.metrics["loss"] for row in history.validations],
        "plain": not [m for m in model.network.modules() if type(m).__name__.startswith("FSDP")],
        "state": {k: v.tolist() for k, v in model.state().items()},
    }

with joined_team():
    result = [train(job) for job in arguments]
"""


@pytest.fixture(scope="module")
def job(tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """`job(batch, processes, folder=…, **training)`: a training of a tiny llama as the processes get it."""

    def make(batch: int, processes: int, folder: Path | None = None, **options: Any) -> dict[str, Any]:
        adaptation = options.pop("adaptation", {"method": "lora", "r": 4})
        return {
            "model": str(tiny_model("llama")), "adaptation": adaptation, "processes": processes,
            "spread": options.pop("spread", False), "validated": options.pop("validated", False),
            # AdamW divides rounding errors of gradients near zero by themselves; with this epsilon it does not.
            "training": {"per_device_train_batch_size": batch, "adam_epsilon": 1e-3, **options},
            "folder": str(folder or tmp_path_factory.mktemp("training")),
        }  # fmt: skip

    return make


def _same(one: dict[str, Any], other: dict[str, Any]) -> None:
    np.testing.assert_allclose(one["losses"], other["losses"], rtol=1e-5)
    np.testing.assert_allclose(one["norms"], other["norms"], rtol=1e-4)
    assert one["state"].keys() == other["state"].keys()
    for name, value in one["state"].items():
        np.testing.assert_allclose(value, other["state"][name], rtol=1e-5, atol=1e-5, err_msg=name)


def _without_checkpoints_after(step: int, folder: Path) -> None:
    for path in folder.glob("checkpoint-*"):
        if int(path.name.split("-")[1]) > step:
            shutil.rmtree(path)


def test_two_processes_train_what_one_trains(in_processes: Any, job: Any, tmp_path: Path) -> None:
    """With the same examples in a step; with one example in a step, when a process has nothing to do; and resumed."""
    saving = {"save_steps": 1, "save_total_limit": 9}
    jobs = [job(4, 2, tmp_path / "two", **saving), job(1, 1, max_steps=3)]
    together = in_processes(2, jobs, code=TRAIN)
    assert together.codes == [0, 0], together.said
    assert together.results[0] == together.results[1]  # every process ends with the same weights, bit for bit
    shutil.copytree(tmp_path / "two", tmp_path / "one")
    for folder in ("one", "two"):
        _without_checkpoints_after(3, tmp_path / folder)
    # What two began one finishes, and the other way round: the batch stays what it was at the beginning.
    alone = in_processes(1, [job(8, 1), job(1, 1, max_steps=3), job(4, 2, tmp_path / "one", **saving)], code=TRAIN)
    assert alone.codes == [0], alone.said
    again = in_processes(2, [job(4, 2, tmp_path / "two", **saving)], code=TRAIN)
    assert again.codes == [0, 0], again.said
    whole, single, finished_alone = alone.results[0]
    _same(whole, together.results[0][0])
    _same(single, together.results[0][1])
    _same(whole, finished_alone)
    assert again.results[0][0] == together.results[0][0]


SLOW = pytest.mark.slow


@pytest.mark.parametrize("method", ["full", pytest.param("freeze", marks=SLOW), pytest.param("lora", marks=SLOW)])
def test_spread_weights_learn_what_whole_ones_learn(method: str, in_processes: Any, job: Any, tmp_path: Path) -> None:
    """FSDP2 over gloo: the same losses, validations, weights and checkpoints; resumed with another process count."""
    adaptation = {"method": method, **({"full": {}, "freeze": {"layers": "top 1"}, "lora": {"r": 4}}[method])}
    options = {"adaptation": adaptation, "save_steps": 1, "save_total_limit": 9, "learning_rate": 0.001}
    options |= {"validated": True, "eval_steps": 2, "tokens_per_microbatch": 32}
    spread = {**options, "spread": True}
    together = in_processes(2, [job(4, 2, tmp_path / "two", **spread), job(1, 1, **spread)], code=TRAIN)
    assert together.codes == [0, 0], together.said
    assert together.results[0] == together.results[1]
    assert together.results[0][0]["plain"]
    shutil.copytree(tmp_path / "two", tmp_path / "one")
    for folder in ("one", "two"):
        _without_checkpoints_after(3, tmp_path / folder)
    jobs = [job(8, 1, tmp_path / "alone", **options), job(4, 2, tmp_path / "one", **options), job(1, 1, **options)]
    alone = in_processes(1, jobs, code=TRAIN)
    assert alone.codes == [0], alone.said
    again = in_processes(2, [job(4, 2, tmp_path / "two", **spread)], code=TRAIN)
    assert again.codes == [0, 0], again.said
    for result in (together.results[0][0], alone.results[0][1], again.results[0][0]):
        _same(alone.results[0][0], result)
        np.testing.assert_allclose(result["validations"], alone.results[0][0]["validations"], rtol=1e-5)
    _same(alone.results[0][2], together.results[0][1])
    for name in ("trainable.safetensors", "optimizer.safetensors"):
        one, two = (load_file(tmp_path / folder / "checkpoint-2" / name) for folder in ("alone", "two"))
        assert {key: value.shape for key, value in one.items()} == {key: value.shape for key, value in two.items()}


def test_every_process_counts_all_tokens(in_processes: Any, job: Any) -> None:
    ended = in_processes(3, [job(4, 1, max_steps=1)], code=TRAIN)
    assert ended.codes == [0, 0, 0], ended.said
    assert len({result[0]["computed"] for result in ended.results}) == 1
    assert ended.results[0][0]["computed"] > 30


TALK = """
import numpy as np
from metier.team import joined_team
with joined_team() as team:
    share = team.share(5)
    rows = np.array([[number, number / 3] for number in share]).reshape(len(share), 2)
    result = {
        "once": team.once(lambda: {"rank": team.rank}), "sum": team.add(team.rank, 0.1),
        "any": team.any_of([team.rank == 1, False]), "rows": team.put_together(rows, 5).tolist(),
        "values": team.put_values_together([[number, "ä"] for number in share]),
    }
"""


def test_what_is_shared_out_comes_together_in_order(in_processes: Any) -> None:
    ended = in_processes(3, None, code=TALK)
    assert ended.codes == [0, 0, 0], ended.said
    assert ended.results[0] == {
        "once": {"rank": 0}, "sum": [3.0, pytest.approx(0.3)], "any": [True, False],
        "rows": [[number, number / 3] for number in range(5)], "values": [[number, "ä"] for number in range(5)],
    }  # fmt: skip
    assert ended.results[0] == ended.results[1] == ended.results[2]


FAIL = """
import time
from metier.errors import DataError, OtherProcessFailed, ProcessLost
from metier.team import joined_team
import os
rank, how = int(os.environ["RANK"]), arguments
started = time.monotonic()
try:
    with joined_team() as team:
        team.wait_for_all()
        if how == "once":
            team.once(lambda: 1 / 0 if rank else (_ for _ in ()).throw(DataError("data", "is wrong")))
        elif rank == how["rank"]:
            if how["why"] == "killed":
                os.kill(os.getpid(), 9)
            if how["why"] == "stopped":
                raise KeyboardInterrupt
            raise ValueError("with somebody's text in it")
        team.add(1.0)
        team.agree(1)
except (DataError, OtherProcessFailed, ProcessLost) as fault:
    result = [type(fault).__name__, fault.exit_code, fault.text(), time.monotonic() - started]
except (ValueError, KeyboardInterrupt) as fault:
    result = [type(fault).__name__]
"""


def test_a_fault_of_rank_0_while_the_others_wait_is_theirs_too(in_processes: Any) -> None:
    ended = in_processes(3, "once", code=FAIL, limit=60)
    assert ended.codes == [0, 0, 0], ended.said
    assert ended.results[0][:3] == ["DataError", 2, "data: is wrong."]
    for rank in (1, 2):
        assert ended.results[rank][:3] == ["OtherProcessFailed", 2, "process 0: data: is wrong."]
        assert ended.results[rank][3] < 20


@pytest.mark.parametrize("rank", [0, 1])
def test_a_bug_in_one_process_wakes_the_others_and_quotes_nothing(rank: int, in_processes: Any) -> None:
    ended = in_processes(2, {"rank": rank, "why": "bug"}, code=FAIL, limit=60)
    assert ended.results[rank] == ["ValueError"]
    said = ["OtherProcessFailed", 1, f"process {rank}: a bug of metier: ValueError."]
    assert ended.results[1 - rank][:3] == said
    assert ended.results[1 - rank][3] < 20


def test_one_that_is_interrupted_interrupts_all(in_processes: Any) -> None:
    ended = in_processes(2, {"rank": 1, "why": "stopped"}, code=FAIL, limit=60)
    assert ended.results[0][:3] == ["OtherProcessFailed", 4, "process 1: interrupted."]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_is_noticed_by_the_others(rank: int, in_processes: Any) -> None:
    ended = in_processes(2, {"rank": rank, "why": "killed"}, code=f"{FAIL}\nprint(result)", limit=60)
    assert ended.codes[rank] == -9
    assert ended.codes[1 - rank] == 0, ended.said
    assert "'ProcessLost', 4, " in ended.said[1 - rank]
    assert (
        f"process {1 - rank} of 2: another process ended without a word or did not answer. What was saved is whole; "
        "run the same command with --resume to go on."
    ) in ended.said[1 - rank]
    assert ended.seconds < 30


def test_alone_a_team_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    with joined_team() as team:
        assert (team, current_team()) == (Team(0, 1), Team(0, 1))
        assert (team.once(lambda: 3), team.add(2), team.any_of([True]), team.put_values_together([1])) == (
            3, [2], [True], [1],
        )  # fmt: skip


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"WORLD_SIZE": "2"},
            r"RANK is not set with WORLD_SIZE 2, wanted RANK from 0 to 1\. Start with torchrun",
        ),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK is 2 with WORLD_SIZE 2, wanted RANK from 0 to 1"),
        ({"WORLD_SIZE": "two"}, "environment: WORLD_SIZE is 'two', wanted a whole number"),
    ],
)
def test_an_environment_that_does_not_fit_together_is_told(
    environment: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RANK", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ArgumentError, match=message):
        team_of_environment()


def test_shares_cover_everything_once_and_keep_together_what_begins_alike() -> None:
    rng = np.random.default_rng(1)
    blocks = [rng.integers(3, 99, 50) for _ in range(4)]
    texts = [np.concatenate([blocks[number % 4], rng.integers(3, 99, 5)]) for number in range(32)]
    numbers = list(range(100, 132))
    shares = cut_into_shares(numbers, texts, 4)
    assert sorted(number for share in shares for number in share) == numbers
    assert all(len({number % 4 for number in share}) <= 2 for share in shares)
    assert [len(cut_into_shares([7], texts[:1], 3)[rank]) for rank in range(3)].count(1) == 1
    sizes = [sum(len(texts[number - 100]) for number in share) for share in shares]
    assert max(sizes) < 2 * min(sizes)
