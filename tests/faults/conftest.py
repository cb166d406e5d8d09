"""A small recipe on disk, and the command in processes that can be killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from metier.store.run_folder import RunFolder

WORDS = {
    "refund": ("refund", "money", "back", "paid"),
    "card": ("card", "declined", "shop", "bank"),
    "login": ("login", "password", "account", "404"),
}
FILLERS = ("the", "customer", "asks", "for", "where", "is", "my", "please", "order", "hello", "world")


@dataclass
class Desk:
    """A folder with data and a recipe, its own cache and its own ledger."""

    folder: Path
    values: dict[str, Any]

    @property
    def run(self) -> RunFolder:
        return RunFolder(self.folder / "run")

    @property
    def environment(self) -> dict[str, str]:
        return {"METIER_CACHE": str(self.folder / "cache"), "METIER_STATE": str(self.folder / "state")}

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        return path

    def recipe(self, **changes: Any) -> Path:
        """Write the recipe with these sections merged in."""
        values = dict(self.values)
        for key, change in changes.items():
            mergeable = isinstance(change, dict) and isinstance(values.get(key), dict)
            values[key] = {**values[key], **change} if mergeable else change
        return self.write("recipe.yaml", yaml.safe_dump(values, sort_keys=False))

    def arguments(self, *more: str, output: Path | None = None) -> list[str]:
        """What stands after `metier` to run the recipe."""
        return ["run", str(self.folder / "recipe.yaml"), "--output", str(output or self.run.path), *more]


def mails(count: int, seed: int = 3) -> str:
    """A table of made-up mails: columns `message`, `intent`."""
    rng = random.Random(seed)
    rows = ["message,intent"]
    for number in range(count):
        label = list(WORDS)[number % 3]
        words = [*rng.choices(WORDS[label], k=2), *rng.choices(FILLERS, k=4)]
        rng.shuffle(words)
        rows.append(f"{' '.join(words)} {seed}{number},{label}")
    return "\n".join(rows) + "\n"


@pytest.fixture(scope="session")
def make_mails() -> Callable[..., str]:
    """`make_mails(count, seed=3)`: the text of a table."""
    return mails


@pytest.fixture(scope="session")
def new_desk(tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Desk]:
    """`new_desk()`: a recipe that trains adapters in a tiny llama and compares with three baselines."""
    llama = str(tiny_model("llama"))
    values: dict[str, Any] = {
        "name": "mails",
        "data": {"train": "mails.csv", "text": "message", "label": "intent"},
        "model": llama,
        "adaptation": {"method": "lora", "layers": "top 1", "r": 4},
        "training": {"num_train_epochs": 3, "per_device_train_batch_size": 8, "eval_steps": 4, "save_steps": 2},
        "evaluation": {
            "systems": ["majority", "tfidf", "zero_shot"], "baseline_model": llama, "selection_examples": 12,
            "resamples": 200,
        },
        "hardware": {"device": "cpu", "dtype": "float32", "threads": 1},
    }  # fmt: skip

    def make() -> Desk:
        desk = Desk(tmp_path_factory.mktemp("desk"), values)
        desk.write("mails.csv", mails(90))
        desk.recipe()
        return desk

    return make


@pytest.fixture
def desk(new_desk: Callable[[], Desk], monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk whose cache and ledger are in force in this process."""
    made = new_desk()
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


# What a run imports is loaded once; each job is a fork that becomes the `metier` command, and can be
# sent a signal after some seconds or as soon as a file holds a text.
SERVER = """
import json, os, signal, sys, time
# A shell that starts the tests in the background makes them, and so this process, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
import peft, sklearn.linear_model, transformers.models.llama.modeling_llama
import metier.cli.main as command, metier.run, metier.stages.test_set, metier.report.write
print("ready", flush=True)
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        os.environ.update(job["environment"])
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(log, 1), os.dup2(log, 2)
        sys.argv = ["metier", *job["arguments"]]
        code = 70
        try:
            command.main()
        except SystemExit as end:
            code = end.code
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
    started, sent, ended = time.monotonic(), job["signal"] is None, 0
    while not ended:
        ended, status = os.waitpid(child, os.WNOHANG)
        if not sent and not ended:
            if job["file"]:
                try:
                    due = job["text"] in open(job["file"], errors="replace").read()
                except FileNotFoundError:
                    due = False
            else:
                due = time.monotonic() - started >= job["after"]
            if due:
                os.kill(child, job["signal"])
                sent = True
        time.sleep(0.005)
    print(json.dumps([os.waitstatus_to_exitcode(status), time.monotonic() - started]), flush=True)
"""


@dataclass(frozen=True)
class Ended:
    """How a process ended: exit code (or minus the signal), what it said, how long it took."""

    code: int
    said: str
    seconds: float


@pytest.fixture(scope="session")
def launch(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Ended]]:
    """`launch(arguments, environment, kill=…, after=… or file=…, text=…)`: the command in a process of its own."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    log = tmp_path_factory.mktemp("log") / "log"
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=repository, start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert server.stdin is not None and server.stdout is not None
    assert server.stdout.readline() == "ready\n"

    def run(
        arguments: list[str], environment: Mapping[str, str], *, kill: signal.Signals | None = None,
        after: float = 0.0, file: Path | None = None, text: str = "",
    ) -> Ended:  # fmt: skip
        job = {
            "arguments": arguments, "environment": dict(environment), "log": str(log), "after": after, "text": text,
            "signal": None if kill is None else int(kill), "file": str(file) if file else None,
        }  # fmt: skip
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write(json.dumps(job) + "\n")
        server.stdin.flush()
        code, seconds = json.loads(server.stdout.readline())
        return Ended(code, log.read_text(encoding="utf-8"), seconds)

    yield run
    server.stdin.close()
    server.wait(timeout=20)
    server.stdout.close()


def findings(folder: RunFolder) -> dict[str, str]:
    """Everything that a run found, without how long it took: what must not depend on interruptions."""
    found = {}
    for set in ("train", "validation", "test"):
        results = json.loads(folder.results(set).read_text(encoding="utf-8"))
        for system in results["systems"].values():
            system["seconds_per_thousand"] = None
        found[f"{set} results"] = json.dumps(results)
    for system in ("majority", "tfidf", "zero_shot", "tuned"):
        found[f"items {system}"] = folder.items("test", system).read_text(encoding="utf-8")
    comparison = json.loads(folder.comparison("test").read_text(encoding="utf-8"))
    found["comparison"] = json.dumps(comparison | {"advice": None})  # which names the seconds of an answer
    found["overfitting"] = folder.overfitting.read_text(encoding="utf-8")
    found["adapter"] = (folder.model / "adapter_model.safetensors").read_bytes().hex()
    return found


@pytest.fixture(scope="session")
def findings_of() -> Callable[[RunFolder], dict[str, str]]:
    """`findings_of(folder)`: what a run found, without seconds."""
    return findings


@dataclass(frozen=True)
class Undisturbed:
    """A run that nothing happened to."""

    seconds: float
    findings: dict[str, str]
    folder: RunFolder


@pytest.fixture(scope="session")
def undisturbed(new_desk: Callable[[], Desk], launch: Callable[..., Ended]) -> Undisturbed:
    """The recipe run in one go, in a process of its own, with an empty cache."""
    desk = new_desk()
    ended = launch(desk.arguments(), desk.environment)
    assert ended.code == 0, ended.said
    return Undisturbed(ended.seconds, findings(desk.run), desk.run)
