"""What every test gets: its own state and cache, no network, and the way to the real data sets."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
CLOSED = ROOT / "tools" / "no_network"
USER_CACHE = os.environ.get("METIER_CACHE")

# Before anything imports torch or tokenizers: one thread each keeps small tests fast and repeatable.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"


def pytest_configure(config: pytest.Config) -> None:
    """One temporary place for the whole session; workers and nested sessions get their own. And no network."""
    close_network()
    settings.register_profile("metier", deadline=None)  # a busy machine is no fault
    settings.load_profile("metier")
    config.stash[_PLACE] = tempfile.TemporaryDirectory(prefix="metier-tests-", ignore_cleanup_errors=True)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove it."""
    config.stash[_PLACE].cleanup()


_PLACE: pytest.StashKey[tempfile.TemporaryDirectory[str]] = pytest.StashKey()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Choose cache and state before any fixture runs, module-wide fixtures included.

    A slow test reads the packaged models, which are worth keeping: it uses the user's cache. All other
    tests share an empty one. The ledger of test-set openings is never the user's.
    """
    place = Path(item.config.stash[_PLACE].name)
    if item.get_closest_marker("slow") is None:
        os.environ["METIER_CACHE"] = str(place / "cache")
    elif USER_CACHE is None:
        os.environ.pop("METIER_CACHE", None)
    else:
        os.environ["METIER_CACHE"] = USER_CACHE
    # One ledger a file: what one file's tests open is not counted in another's.
    os.environ["METIER_STATE"] = str(place / f"state-{zlib.crc32(str(item.path).encode()):08x}")


network: ModuleType
"""The hook that refuses connections to other machines."""


def close_network() -> None:
    """Refuse connections to other machines from now on, in this process and in all that it starts."""
    global network
    from metier.data.privacy import audit

    # Metier's own hook comes first, so that what a test of `privacy: strict` attempts is refused and counted by it.
    state = audit.State(None)
    audit.switch_on(state)
    audit.switch_off(state)
    network = _load_closed()
    network.close()
    os.environ[network.VARIABLE] = "closed"
    first = str(CLOSED)
    rest = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each and each != first]
    os.environ["PYTHONPATH"] = os.pathsep.join([first, *rest])


def _load_closed() -> ModuleType:
    """`tools/no_network/sitecustomize.py`; a child process, such as a second one for tests, has loaded it already."""
    known = sys.modules.get("sitecustomize")
    if known is not None and Path(known.__file__ or "").parent == CLOSED:
        return known
    spec = importlib.util.spec_from_file_location("metier_tests_closed", CLOSED / "sitecustomize.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """No network for the whole suite, its fixtures included: only a test that is marked `network` opens it."""
    wants = item.get_closest_marker("network") is not None
    network.open(wants)
    os.environ[network.VARIABLE] = "open" if wants else "closed"
    try:
        return (yield)
    finally:
        network.open(False)
        os.environ[network.VARIABLE] = "closed"


@pytest.fixture
def hooks_alone() -> Iterator[None]:
    """For tests that raise the interpreter's own events by hand and open nothing: only metier's hook looks."""
    network.open(True)
    yield
    network.open(False)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the working tree."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Iterator[Callable[[str], Path]]:
    """A function from a name such as `customer_support/banking77` to its place; skips where there is none."""
    place = Path(os.environ.get("METIER_DATA", ROOT.parent / "shared" / "data"))

    def find(name: str) -> Path:
        path = place / name
        if not path.exists():
            pytest.skip(f"needs the data set {name} in METIER_DATA ({place})")
        return path

    yield find


# Tiny random models with tiny tokenizers: real architectures, saved like any other model folder.
TEXTS = (
    "the customer asks for a refund", "my card was declined at the shop", "where is my order, please?",
    "I can't log in: 404 Not Found", "hello world", "refund order card shop login customer",
)  # fmt: skip
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SMALL = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256,
}  # fmt: skip
MIXED = ["sliding_attention", "full_attention"]
SIZES = {
    "llama": {**SMALL, "num_hidden_layers": 3, "tie_word_embeddings": True},
    "qwen2": {**SMALL, "tie_word_embeddings": False},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256},
    "mistral": {**SMALL, "head_dim": 8, "sliding_window": 5},
    "qwen3": {**SMALL, "head_dim": 8},
    "gemma3_text": {**SMALL, "num_key_value_heads": 1, "head_dim": 8, "sliding_window": 5, "layer_types": MIXED},
    "gemma2": {**SMALL, "head_dim": 8},
    "cohere2": {**SMALL, "sliding_window": 5, "layer_types": MIXED},
    "phi3": {**SMALL, "pad_token_id": 0},
    "qwen3_moe": {
        **SMALL, "moe_intermediate_size": 24, "head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2,
        "norm_topk_prob": True,
    },
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
    "bert": {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "max_position_embeddings": 128,
    },
}  # fmt: skip


WITHOUT_CHAT = frozenset({"gpt2", "mamba"})


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`tiny_model(kind, **changes)`: the folder of a tiny random model; changes go to its config.

    Kinds are the rows of `SIZES`. The same arguments give the same folder: copy it
    before changing anything in it.
    """
    made: dict[str, Path] = {}

    def make(kind: str, **changes: Any) -> Path:
        key = json.dumps([kind, changes], sort_keys=True)
        if key not in made:
            made[key] = tmp_path_factory.mktemp(f"tiny-{kind}")
            _save_tiny_model(kind, changes, made[key])
        return made[key]

    return make


@pytest.fixture(scope="session")
def tiny_base(tiny_model: Callable[..., Path]) -> Callable[..., Any]:
    """`tiny_base(kind, dtype="float32", **changes)`: the same as a `BaseModel`, its weights read anew."""
    from metier.device import Hardware
    from metier.model.base import load_base_model
    from metier.recipe.sections import ModelSection

    def load(kind: str, dtype: str = "float32", **changes: Any) -> Any:
        hardware = Hardware(device="cpu", dtype=dtype, threads=1, reason="a test")
        return load_base_model(ModelSection(name=str(tiny_model(kind, **changes))), hardware)

    return load


def _save_tiny_model(kind: str, changes: dict[str, Any], folder: Path) -> None:
    """Write a random model of this kind, always the same, with a tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    tokenizer = _wordpiece() if kind == "bert" else _byte_level(chat=kind not in WITHOUT_CHAT)
    # Weights larger than usual: near-zero ones would make every output alike and hide mistakes.
    settings = {"vocab_size": len(tokenizer), "initializer_range": 0.15, **SIZES[kind], **changes}
    if kind != "bert":
        settings |= {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = AutoConfig.for_model(kind, **settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        network = (AutoModel if kind == "bert" else AutoModelForCausalLM).from_config(config)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _byte_level(*, chat: bool) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] if chat else ["<|endoftext|>"]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(TEXTS * 3, trainer)
    if not chat:
        return PreTrainedTokenizerFast(
            tokenizer_object=backend, bos_token="<|endoftext|>", eos_token="<|endoftext|>", model_max_length=256
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|endoftext|>",
        model_max_length=256,
    )  # fmt: skip
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _wordpiece() -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    letters = [chr(code) for code in range(32, 127)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=letters, show_progress=False
    )
    backend.train_from_iterator(TEXTS * 3, trainer)
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_max_length=128,
    )  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def metier(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """`metier(*arguments)`: the command in this process, and what a person would see."""

    def run(*arguments: object) -> Outcome:
        from metier.cli.main import run_command_line

        capsys.readouterr()
        code = run_command_line([str(argument) for argument in arguments])
        seen = capsys.readouterr()
        return Outcome(code=code, out=seen.out, err=seen.err)

    return run


# Several processes that do one thing together. What they import is loaded once; each job is forked from that,
# one process a rank, and runs either Python code (which finds `arguments` and leaves `result`) or the command.
TEAM_SERVER = """
import json, os, signal, socket, sys, time, traceback
signal.signal(signal.SIGINT, signal.default_int_handler)
import peft, sklearn.linear_model, transformers.models.llama.modeling_llama, torch.distributed
import metier.cli.main as command, metier.run, metier.stages.test_set, metier.report.write, metier.training.train
torch.set_num_threads(1)
print("ready", flush=True)
def work(job, rank):
    os.environ.update(job["environment"], RANK=str(rank), LOCAL_RANK=str(rank))
    log = os.open(job["log"] + str(rank), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(log, 1), os.dup2(log, 2)
    code = 70
    try:
        if job["code"]:
            known = {"arguments": job["arguments"], "__name__": "team"}
            exec(compile(job["code"], "team", "exec"), known)
            open(job["log"] + str(rank) + ".json", "w").write(json.dumps(known.get("result")))
            code = 0
        else:
            sys.argv = ["metier", *job["arguments"]]
            command.main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
for line in sys.stdin:
    job = json.loads(line)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    size = str(job["size"])
    job["environment"] |= {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1",
                           "MASTER_PORT": str(port)}
    children = []
    for rank in range(job["size"]):
        child = os.fork()
        if child == 0:
            work(job, rank)
        children.append(child)
    codes, started, due = [None] * len(children), time.monotonic(), job["signal"] is not None
    while None in codes:
        for rank, child in enumerate(children):
            if codes[rank] is None:
                ended, status = os.waitpid(child, os.WNOHANG)
                if ended:
                    codes[rank] = os.waitstatus_to_exitcode(status)
        if due and os.path.exists(job["file"]) and job["text"] in open(job["file"], errors="replace").read():
            due = False
            for rank in job["ranks"]:
                os.kill(children[rank], job["signal"])
        if time.monotonic() - started > job["limit"]:
            for rank, child in enumerate(children):
                if codes[rank] is None:
                    os.kill(child, signal.SIGKILL)
        time.sleep(0.005)
    print(json.dumps([codes, time.monotonic() - started]), flush=True)
"""


@dataclass(frozen=True)
class TeamEnded:
    """How the processes ended, by rank: exit codes (or minus the signal), what they said, what code left."""

    codes: list[int]
    said: list[str]
    results: list[Any]
    seconds: float


@pytest.fixture(scope="session")
def in_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., TeamEnded]]:
    """`in_processes(size, arguments, code=…, environment=…, kill=…, ranks=…, file=…, text=…)`: a team of processes.

    Without `code` the arguments are those of the command. A signal `kill` goes to `ranks` as soon as `file`
    holds `text`. All are killed after `limit` seconds: that they do not hang is part of what is tested.
    """
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    log = tmp_path_factory.mktemp("team") / "log"
    server = subprocess.Popen(
        [sys.executable, "-c", TEAM_SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert server.stdin is not None and server.stdout is not None
    assert server.stdout.readline() == "ready\n"

    def run(
        size: int, arguments: Any, *, code: str = "", environment: Mapping[str, str] | None = None, kill: int = 0,
        ranks: Sequence[int] = (), file: Path | None = None, text: str = "", limit: float = 120.0,
    ) -> TeamEnded:  # fmt: skip
        cache = {name: os.environ[name] for name in ("METIER_CACHE", "METIER_STATE") if name in os.environ}
        job = {
            "size": size, "arguments": arguments, "code": code, "environment": {**cache, **(environment or {})},
            "log": str(log), "signal": kill or None, "ranks": list(ranks), "file": str(file), "text": text,
            "limit": limit,
        }  # fmt: skip
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write(json.dumps(job) + "\n")
        server.stdin.flush()
        codes, seconds = json.loads(server.stdout.readline())
        said = [Path(f"{log}{rank}").read_text(encoding="utf-8") for rank in range(size)]
        left = [Path(f"{log}{rank}.json") for rank in range(size)] if code and not any(codes) else []
        return TeamEnded(codes, said, [json.loads(path.read_text(encoding="utf-8")) for path in left], seconds)

    yield run
    server.stdin.close()
    server.wait(timeout=20)
    server.stdout.close()
