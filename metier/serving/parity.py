"""The proof after an export: the same prompts through metier and through the export, and what may differ.

The export is loaded by `receiver.py` in a fresh process, offline, without metier. What comes back is held
against `LIMITS`; an export that is outside of them is never left looking fine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metier.device import Hardware
from metier.errors import MetierError
from metier.evaluation.written.text_counts import token_f1
from metier.model.saved import Saved
from metier.serving.probes import Answers, Probe, pooling, read, stop_ids, their_answers, written_tokens


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How far an export may be from the model that was measured."""

    agreement: float
    """Least share of answer positions with the same most likely token."""
    tie: float
    """A position counts as the same where metier's own two logits are closer than this."""
    kl: float
    """Largest mean divergence KL(metier || export), in nats."""
    logit: float | None
    """Largest difference of any logit; None: not judged."""
    written: float
    """Least share of prompts with the same greedy tokens."""
    score: float
    """Largest difference of the task's score."""


LIMITS: Mapping[str, Limits] = {
    "float32": Limits(agreement=1.0, tie=2e-3, kl=1e-6, logit=1e-3, written=1.0, score=0.0),
    "float16": Limits(agreement=1.0, tie=0.05, kl=1e-4, logit=None, written=0.0, score=0.05),
    "bfloat16": Limits(agreement=0.98, tie=0.25, kl=2e-2, logit=None, written=0.0, score=0.1),
    "q8_0": Limits(agreement=0.99, tie=0.25, kl=1e-2, logit=None, written=0.0, score=0.1),
}
"""By the precision in which a receiver computes or has the weights. To add one: a row."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was compared."""

    what: str
    found: str
    wanted: str
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How an export compares with the model that it was made of."""

    form: str
    precision: str
    prompts: int
    from_validation: bool
    """Whether the prompts are the run's own; else a few plain texts."""
    positions: int
    """Answer positions; of a head, texts."""
    agreement: float
    """Share of positions with the same most likely token, ties counted as the same."""
    kl_mean: float
    kl_max: float
    logit_difference: float
    same_written: float | None
    """Share of prompts with the same greedy tokens; None for a head."""
    score: str | None
    """`accuracy` or `token_f1`; None without right answers."""
    score_metier: float | None
    score_export: float | None
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether everything is within the limits."""
        return all(check.passed for check in self.checks)


@dataclass(frozen=True, kw_only=True)
class Loading:
    """How a receiver loads an export."""

    form: str
    """`adapter`, `model`, `gguf` or `head`, as `receiver.py` knows them."""
    precision: str
    """A row of `LIMITS`."""
    base: str | None = None
    """Folder of the base model of an adapter; None where the adapter names it."""
    gguf: str | None = None
    """Name of the GGUF file."""
    generates: bool = False
    """Whether the export's own generation_config says how to write, and says greedily."""


def receive(folder: Path, saved: Saved, probes: Sequence[Probe], how: Loading, hardware: Hardware) -> dict[str, Any]:
    """Load the export in a fresh process and ask it.

    Args:
        folder: The export.
        saved: The model that it was made of.
        probes: What is asked.
        how: How it is loaded.
        hardware: Device and threads.

    Returns:
        What `receiver.main` writes, and `rows` as tensors.

    Raises:
        MetierError: It cannot be loaded without metier.
    """
    from safetensors.torch import load_file

    job = {
        "form": how.form, "base": how.base, "gguf": how.gguf, "device": hardware.device, "threads": hardware.threads,
        "items": [probe.as_item() for probe in probes], "tokens": written_tokens(saved), "own_generate": how.generates,
        "stop_ids": [] if saved.model.head else stop_ids(saved), "pooling": pooling(saved),
    }  # fmt: skip
    script = Path(__file__).with_name("receiver.py")
    with tempfile.TemporaryDirectory(prefix="metier-receiver-") as place:
        (Path(place) / "job.json").write_text(json.dumps(job), encoding="utf-8")
        environment = {
            **os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
            "TOKENIZERS_PARALLELISM": "false", "PYTHONUTF8": "1",
        }  # fmt: skip
        # -P: the folder of the script, metier's own, stays off the path.
        done = subprocess.run(
            [sys.executable, "-P", str(script), str(Path(place) / "job.json")], cwd=folder, env=environment,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False,
        )  # fmt: skip
        if done.returncode != 0:
            said = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["it said nothing"]
            found = f"cannot be loaded and asked by a process without metier ({said[-1][:300]})"
            raise MetierError("export", found, "", "Nothing was left; please report it.")
        found_there = json.loads((Path(place) / "result.json").read_text(encoding="utf-8"))
        rows = load_file(Path(place) / "rows.safetensors")
    return {**found_there, "rows": [rows[str(number)] for number in range(len(probes))]}


def compare_answers(
    saved: Saved, probes: Sequence[Probe], ours: Answers, found: Mapping[str, Any], how: Loading
) -> Parity:
    """Hold what the receiver found against what metier answers.

    Args:
        saved: The model.
        probes: What both were asked.
        ours: What metier answers.
        found: What `receive` returned.
        how: How the export was loaded.
    """
    limits = LIMITS[how.precision]
    theirs = their_answers(saved, found, found["rows"])
    measured = _distances(ours.rows, theirs.rows, len(saved.model.base.tokenizer), limits.tie)
    same = _same_written(ours.written, theirs.written)
    score, before = _score(saved, probes, ours)
    _, after = _score(saved, probes, theirs)
    checks = [
        Check(what="same most likely token", found=f"{measured['agreement']:.2%} of {measured['positions']} positions",
              wanted=f"at least {limits.agreement:.0%}", passed=measured["agreement"] >= limits.agreement),
        Check(what="KL(metier || export), mean", found=f"{measured['kl_mean']:.1e}", wanted=f"at most {limits.kl:.0e}",
              passed=measured["kl_mean"] <= limits.kl),
    ]  # fmt: skip
    if limits.logit is not None:
        difference = measured["logit"]
        checks.append(Check(what="largest difference of a logit", found=f"{difference:.1e}",
                            wanted=f"at most {limits.logit:.0e}", passed=difference <= limits.logit))  # fmt: skip
    if same is not None:
        wanted = f"at least {limits.written:.0%}" if limits.written else "shown only"
        checks.append(Check(what=f"same greedy answers (first {written_tokens(saved)} tokens)",
                            found=f"{same:.0%} of {len(probes)}", wanted=wanted,
                            passed=same >= limits.written))  # fmt: skip
    if before is not None and after is not None:
        wanted = f"within {limits.score:g}" if limits.score else "the same"
        checks.append(Check(what=f"{score} on these prompts", found=f"{before:.3f} before, {after:.3f} after",
                            wanted=wanted, passed=abs(before - after) <= limits.score + 1e-9))  # fmt: skip
    return Parity(
        form=how.form, precision=how.precision, prompts=len(probes), from_validation=False,
        positions=int(measured["positions"]), agreement=measured["agreement"], kl_mean=measured["kl_mean"],
        kl_max=measured["kl_max"], logit_difference=measured["logit"], same_written=same,
        score=score if before is not None else None, score_metier=before, score_export=after,
        checks=(*checks, *_asked_checks(saved, probes, found)),
    )  # fmt: skip


def _distances(ours: Sequence[Tensor], theirs: Sequence[Tensor], known: int, tie: float) -> dict[str, float]:
    """How far two models' logits are apart, over all positions."""
    agreed, kl, logit = list[Tensor](), list[Tensor](), 0.0
    for own, other in zip(ours, theirs, strict=True):
        width = min(own.shape[1], other.shape[1])
        if width < min(known, own.shape[1]) or len(own) != len(other):
            raise MetierError("export", f"has {other.shape[1]} logits a position", f"{own.shape[1]}")
        first, second = own[:, :width].double(), other[:, :width].double()
        logit = max(logit, float((first - second).abs().max()))
        best, picked = first.max(1).values, first.gather(1, second.argmax(1, keepdim=True))[:, 0]
        agreed.append((best - picked <= tie).double())
        before, after = torch.log_softmax(first, 1), torch.log_softmax(second, 1)
        kl.append((before.exp() * (before - after)).sum(1).clamp(min=0))
    agreement, divergence = torch.cat(agreed), torch.cat(kl)
    # What is no number is no agreement: a mean of nan would pass no comparison, and is said as it is.
    return {
        "agreement": float(agreement.mean()), "positions": len(agreement), "kl_mean": float(divergence.mean()),
        "kl_max": float(divergence.max()), "logit": logit,
    }  # fmt: skip


def _same_written(ours: Sequence[Sequence[int]], theirs: Sequence[Sequence[int]]) -> float | None:
    if not ours:
        return None
    return sum(list(own) == list(other) for own, other in zip(ours, theirs, strict=True)) / len(ours)


def _score(saved: Saved, probes: Sequence[Probe], answers: Answers) -> tuple[str, float | None]:
    """The task's score on the probes that have a right answer."""
    pairs = [(probe.gold, said) for probe, said in zip(probes, answers.said, strict=True) if probe.gold is not None]
    labelled = saved.model.head is not None or saved.rule is not None
    name = "accuracy" if labelled else "token_f1"
    if not pairs:
        return name, None
    if labelled:
        return name, sum(gold == said for gold, said in pairs) / len(pairs)
    # Both are held against the same beginning of the right answer: only so much was written.
    ids = saved.model.base.tokenizer([gold for gold, _ in pairs], add_special_tokens=False)["input_ids"]
    golds = read(saved, [each[: written_tokens(saved)] for each in ids])
    return name, sum(token_f1(gold, said) for gold, (_, said) in zip(golds, pairs, strict=True)) / len(pairs)


def _asked_checks(saved: Saved, probes: Sequence[Probe], found: Mapping[str, Any]) -> list[Check]:
    """Whether the export's own tokenizer and template make the prompts, and whether metier was really absent."""
    checks = []
    if found["asked"] is not None:
        made = [(probe.prompt.tolist(), ids) for probe, ids in zip(probes, found["asked"], strict=True) if ids]
        same = sum(own == other for own, other in made)
        checks.append(Check(what="prompts made by its own tokenizer and template", found=f"{same} of {len(made)} equal",
                            wanted="all", passed=same == len(made)))  # fmt: skip
    if found["gguf"] is not None:
        checks += _gguf_checks(saved, probes, found["gguf"])
    absent = "metier" not in found["modules"]
    checks.append(Check(what="loaded by a process without metier", found="yes" if absent else "no", wanted="yes",
                        passed=absent))  # fmt: skip
    return checks


def _gguf_checks(saved: Saved, probes: Sequence[Probe], facts: Mapping[str, Any]) -> list[Check]:
    tokenizer = saved.model.base.tokenizer
    used = sorted({int(token) for probe in probes for token in (*probe.prompt, *probe.answer)} | set(stop_ids(saved)))
    same = sum(facts["tokens"][token] == tokenizer.convert_ids_to_tokens(token) for token in used)
    template = (facts.get("chat_template") or "").strip() == (tokenizer.chat_template or "").strip()
    begins = sum(int(probe.prompt[0]) == tokenizer.bos_token_id for probe in probes)
    bos = f"{begins} of {len(probes)} prompts begin with it, the file {'adds' if facts['adds_bos'] else 'adds none'}"
    return [
        Check(what="tokens of these prompts in the file", found=f"{same} of {len(used)} equal", wanted="all",
              passed=same == len(used)),
        Check(what="chat template in the file", found="the same" if template else "another", wanted="the same",
              passed=template),
        Check(what="beginning-of-text token", found=bos, wanted="no more than these prompts had",
              passed=begins == len(probes) or not facts["adds_bos"]),
    ]  # fmt: skip
