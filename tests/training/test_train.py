"""Training: the same result however it is cut, stopped and started again; and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metier.engine.forward import plain_logits
from metier.errors import InterruptedRun, ModelError, RunFolderError, TrainingError
from metier.events import Notice, StepEnded, Validated
from metier.training.checkpoint import checkpoints, load_checkpoint
from metier.training.objective import Part

EPSILON = 1e-2
"""With a small epsilon Adam turns the rounding of near-zero gradients into steps of full size."""


def close(left: Any, right: Any) -> None:
    """Losses and weights agree to 1e-5."""
    np.testing.assert_allclose(left.losses, right.losses, rtol=1e-5)
    mine, its = left.model.state(), right.model.state()
    for name in mine:
        torch.testing.assert_close(mine[name], its[name], rtol=1e-5, atol=1e-5)


def plain_loop(
    setting: Any, weights: Sequence[float] | None = None
) -> tuple[list[float], list[float], dict[str, torch.Tensor]]:
    """The same training, written with transformers and torch alone: linear decay, clipping, AdamW."""
    from metier.device import derive_seed

    model = setting.model()
    learning = list(model.trainable().values())
    optimizer = torch.optim.AdamW(learning, lr=0.01, weight_decay=0.0, eps=EPSILON)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 6)
    seed, losses, norms = derive_seed(11, "sampler"), [], []
    for step in range(6):
        stream = []
        for epoch in range(3):
            order = np.random.default_rng(derive_seed(seed, "order", epoch)).permutation(10)
            stream += order.tolist()
        numbers = stream[step * 4 : step * 4 + 4]
        some = [setting.sequences[number] for number in numbers]
        wanted = torch.from_numpy(np.concatenate([s.ids[s.targets] for s in some]))
        each = torch.nn.functional.cross_entropy(plain_logits(model.network, some), wanted, reduction="none")
        scale = torch.tensor(
            [(weights or [1.0] * 10)[n] for n in numbers for _ in range(int(setting.sequences[n].targets.sum()))]
        )
        loss = (each * scale).sum() / scale.sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norms.append(float(torch.nn.utils.clip_grad_norm_(learning, 1.0)))
        optimizer.step()
        scheduler.step()
        losses.append(float(loss.detach()))
    return losses, norms, model.state()


@pytest.mark.parametrize("weights", [None, [0.5, 2.0] * 5], ids=["plain", "weighted"])
def test_equals_a_loop_of_torch_and_transformers(setting: Any, weights: list[float] | None) -> None:
    losses, norms, state = plain_loop(setting, weights)
    mine = setting.train(weights=weights, warmup_steps=0, adam_epsilon=EPSILON)
    np.testing.assert_allclose(mine.losses, losses, rtol=1e-5)
    np.testing.assert_allclose([row.grad_norm for row in mine.history.steps], norms, rtol=1e-5)
    for name, value in mine.model.state().items():
        torch.testing.assert_close(value, state[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "cut",
    [
        {"tokens_per_microbatch": 16},
        {"tokens_per_microbatch": 40},
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2},
        {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4, "tokens_per_microbatch": 16},
    ],
    ids=["no sharing", "two trees", "accumulation", "both"],
)
@pytest.mark.parametrize("method", ["lora", "full"])
def test_how_a_step_is_cut_changes_nothing(setting: Any, cut: dict[str, int], method: str) -> None:
    same = {"adaptation": {"method": method}, "adam_epsilon": EPSILON}
    close(setting.train("cut", **same, **cut), setting.train("whole", **same))


def test_the_history(setting: Any) -> None:
    events: list[Any] = []
    run = setting.train(scores=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], eval_steps=3, observers=[events.append])
    steps, validations = run.history.steps, run.history.validations
    assert [row.step for row in steps] == [1, 2, 3, 4, 5, 6]
    assert [row.epoch for row in steps] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0, 2.4])
    assert all(row.tokens > 0 and row.grad_norm > 0 and row.seconds > 0 for row in steps)
    assert [(row.step, row.metrics["macro_f1"], row.best) for row in validations] == [(3, 0.3, True), (6, 0.6, True)]
    assert (run.history.best_step, run.history.stopped, run.history.examples) == (6, "finished", 10)
    assert run.history.tokens_computed < run.history.tokens_logical
    assert [event.step for event in events if isinstance(event, StepEnded)] == [1, 2, 3, 4, 5, 6]
    assert [event.step for event in events if isinstance(event, Validated)] == [3, 6]
    assert [row.step for row in setting.train("seldom", log_steps=4).history.steps] == [4]


class Broken:
    """An objective whose loss is not finite at its third step."""

    def __init__(self, inner: Any, where: str) -> None:
        self.inner, self.where, self.steps = inner, where, 0

    def __len__(self) -> int:
        return len(self.inner)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def parts(self, numbers: Sequence[int], budget: int) -> Iterator[Part]:
        self.steps += 1
        for part in self.inner.parts(numbers, budget):
            bad = part.loss * float("nan") if self.where == "loss" else part.loss + (part.loss - part.loss).sqrt()
            yield Part(bad, part.computed, part.logical) if self.steps == 3 else part


@pytest.mark.parametrize(
    ("where", "found"), [("loss", "loss nan, gradient norm nan"), ("gradient", r"loss \d+\.\d+, gradient norm nan")]
)
def test_a_loss_that_is_not_finite_updates_nothing(setting: Any, where: str, found: str) -> None:
    from metier.engine.forward import TreeRunner
    from metier.training.objective import LanguageObjective

    models = []

    def broken(model: Any) -> Broken:
        models.append(model)
        return Broken(
            LanguageObjective(TreeRunner(model.network), [(each,) for each in setting.sequences], [1.0] * 10), where
        )

    message = (
        rf"^training step 3: {found}, wanted finite numbers\. Lower training\.learning_rate \(now 0\.01\) or set "
        r"hardware\.dtype: float32; the last checkpoint is from before this step\.$"
    )
    with pytest.raises(TrainingError, match=message):
        setting.train(objective=broken, save_steps=1)
    saved = load_checkpoint(checkpoints(setting.place / "training")[-1])
    assert saved.progress.step == 2
    assert all(torch.equal(value, saved.weights[name]) for name, value in models[0].state().items())


def test_early_stopping_gives_the_best_weights(setting: Any) -> None:
    scores = [0.2, 0.5, 0.5, 0.4, 0.9, 0.9]
    run = setting.train(scores=scores, eval_steps=1, early_stopping_patience=2)
    assert (run.history.stopped, run.history.best_step, len(run.history.steps)) == ("early stopping", 2, 4)
    assert [row.best for row in run.history.validations] == [True, True, False, False]
    short = setting.train("short", scores=scores, eval_steps=1, early_stopping_patience=None, save_steps=1)
    assert short.history.stopped == "finished" and short.history.best_step == 5
    best = load_checkpoint(short.folder / "checkpoint-5")
    assert all(torch.equal(value, best.weights[name]) for name, value in short.model.state().items())


def test_between_equal_metrics_the_lower_loss_is_better(setting: Any) -> None:
    import metier.training.train as door

    losses = iter([1.0, 0.9, 0.95, 0.8, 0.85, 0.7])
    model = setting.model()
    from metier.engine.forward import TreeRunner
    from metier.recipe.sections import TrainingSection
    from metier.training.objective import LanguageObjective

    history = door.train_model(
        TrainingSection(max_steps=6, eval_steps=1, per_device_train_batch_size=4, early_stopping_patience=None), model,
        LanguageObjective(TreeRunner(model.network), [(each,) for each in setting.sequences], [1.0] * 10), seed=1,
        folder=setting.place / "t", validate=lambda: {"macro_f1": 0.5, "loss": next(losses)},
    )  # fmt: skip
    assert [row.best for row in history.validations] == [True, True, False, True, False, True]


@pytest.mark.parametrize(
    ("limit", "kept"), [(1, ["checkpoint-2", "checkpoint-6"]), (2, ["checkpoint-2", "checkpoint-6"]),
                        (3, ["checkpoint-2", "checkpoint-5", "checkpoint-6"])]
)  # fmt: skip
def test_old_checkpoints_go_and_the_best_stays(setting: Any, limit: int, kept: list[str]) -> None:
    run = setting.train(
        scores=[0.1, 0.9, 0.3, 0.4, 0.5, 0.6], eval_steps=1, early_stopping_patience=None, save_total_limit=limit
    )
    assert [path.name for path in checkpoints(run.folder)] == kept
    assert run.history.best_step == 2


SCORES = [0.1, 0.2, 0.7, 0.4, 0.5, 0.6]
EVERY = {"scores": SCORES, "eval_steps": 2, "save_steps": 1, "save_total_limit": 99, "early_stopping_patience": None}


@pytest.mark.parametrize(
    "more",
    [{}, {"adaptation": {"lora_dropout": 0.3}}, {"adaptation": {"method": "freeze", "layers": "top 1"}}],
    ids=["lora", "dropout", "freeze"],
)
def test_resume_from_every_checkpoint_equals_the_uninterrupted_run(setting: Any, more: dict[str, Any]) -> None:
    whole = setting.train("whole", **EVERY, **more)
    assert [path.name for path in checkpoints(whole.folder)] == [f"checkpoint-{step}" for step in range(1, 7)]
    for step in range(1, 7):
        said: list[Any] = []
        for path in checkpoints(whole.folder)[:step]:
            shutil.copytree(path, setting.place / f"from-{step}" / path.name)
        again = setting.train(f"from-{step}", **EVERY, **more, observers=[said.append])
        assert again.facts == whole.facts
        assert again.same_weights(whole)
        notices = [event.message for event in said if isinstance(event, Notice)]
        assert notices[0] == f"Training goes on after step {step} (checkpoint-{step})."


def test_dropout_is_a_function_of_the_seed(setting: Any) -> None:
    more = {"adaptation": {"lora_dropout": 0.5}}
    said: list[Any] = []
    one, two = setting.train("one", **more), setting.train("two", **more, observers=[said.append])
    (notice,) = [event.message for event in said if isinstance(event, Notice)]
    assert notice == "With lora_dropout, tokens that several examples share are dropped alike in all of them."
    assert one.facts == two.facts and one.same_weights(two)
    assert one.losses != setting.train("none").losses
    assert not any(module.training for module in one.model.network.modules())


def test_validation_never_drops_out(setting: Any) -> None:
    from metier.engine.forward import TreeRunner
    from metier.recipe.sections import TrainingSection
    from metier.training.objective import LanguageObjective
    from metier.training.train import train_model

    model = setting.model(lora_dropout=0.5)
    seen: list[tuple[str, bool]] = []

    def dropping() -> bool:
        return any(module.training for module in model.network.modules())

    class Watched(LanguageObjective):
        def parts(self, numbers: Sequence[int], budget: int) -> Iterator[Part]:
            seen.append(("train", dropping()))
            yield from super().parts(numbers, budget)

    def validate() -> dict[str, float]:
        seen.append(("validate", dropping()))
        return {"macro_f1": 0.5}

    objective = Watched(TreeRunner(model.network), [(each,) for each in setting.sequences], [1.0] * 10)
    section = TrainingSection(max_steps=2, eval_steps=1)
    train_model(section, model, objective, seed=1, folder=setting.place, validate=validate)
    assert seen == [("train", True), ("validate", False)] * 2


class Interrupter:
    """Sends a signal to this process when a step ends."""

    def __init__(self, step: int, number: signal.Signals) -> None:
        self.step, self.number = step, number

    def __call__(self, event: Any) -> None:
        if isinstance(event, StepEnded) and event.step == self.step:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [1, 4, 6])
def test_an_interrupt_waits_for_the_step_and_resume_gives_the_same(
    setting: Any, number: signal.Signals, step: int
) -> None:
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    section = {"scores": SCORES, "eval_steps": 3, "early_stopping_patience": None}
    whole = setting.train("whole", **section)
    message = (
        rf"^training: interrupted after step {step} of 6\. Everything is saved; run the same command with --resume to "
        r"go on\.$"
    )
    with pytest.raises(InterruptedRun, match=message):
        setting.train(**section, observers=[Interrupter(step, number)])
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert checkpoints(setting.place / "training")[-1].name == f"checkpoint-{step}"
    again = setting.train(**section)
    assert again.facts == whole.facts and again.same_weights(whole)


def test_a_second_ctrl_c_stops_at_once(setting: Any) -> None:
    def twice(event: Any) -> None:
        if isinstance(event, StepEnded):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        setting.train(observers=[twice])


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-40] ^= 4
    path.write_bytes(data)


def change_a_number(path: Path) -> None:
    content = json.loads(path.read_text())
    content["waited"] += 1
    path.write_text(json.dumps(content))


DAMAGE: dict[str, tuple[str, Callable[[Path], None]]] = {
    "weights truncated": ("trainable.safetensors", truncate),
    "weights flipped": ("trainable.safetensors", flip),
    "moments flipped": ("optimizer.safetensors", flip),
    "moments missing": ("optimizer.safetensors", Path.unlink),
    "state truncated": ("trainer_state.json", truncate),
    "state changed": ("trainer_state.json", change_a_number),
    "state missing": ("trainer_state.json", Path.unlink),
}


@pytest.mark.parametrize("kind", list(DAMAGE))
def test_a_damaged_checkpoint_gives_way_to_the_one_before(setting: Any, kind: str) -> None:
    whole = setting.train("whole", **EVERY)
    for path in checkpoints(whole.folder)[:4]:
        shutil.copytree(path, setting.place / "training" / path.name)
    name, damage = DAMAGE[kind]
    damage(setting.place / "training" / "checkpoint-4" / name)
    said: list[Any] = []
    again = setting.train(**EVERY, observers=[said.append])
    assert again.facts == whole.facts and again.same_weights(whole)
    first, second = [event.message for event in said if isinstance(event, Notice)]
    assert name in first
    assert first.endswith("checkpoint-4 is left out; training goes on from the one before.")
    assert second == "Training goes on after step 3 (checkpoint-3)."


def test_no_whole_checkpoint_is_an_error_that_says_what_to_do(setting: Any) -> None:
    run = setting.train(save_total_limit=1)
    (path,) = checkpoints(run.folder)
    flip(path / "trainable.safetensors")
    message = (
        r"trainable\.safetensors: is damaged \(its content does not fit its checksum\), wanted whole files\. "
        r"Remove the checkpoint it belongs to\.$"
    )
    with pytest.raises(RunFolderError, match=message):
        setting.train(save_total_limit=1)


def test_a_checkpoint_of_another_model_is_refused(setting: Any) -> None:
    setting.train()
    with pytest.raises(ModelError, match=r"^checkpoint: lacks .* has extra .* wanted exactly what learns"):
        setting.train(adaptation={"target_modules": ["q_proj"]})


def test_a_planned_parameter_without_gradient_stops_the_first_step(setting: Any) -> None:
    def off_the_path(model: Any) -> Any:
        from metier.engine.forward import TreeRunner
        from metier.training.objective import LanguageObjective

        model.network.model.layers[0].self_attn.q_proj.lora_A["other"] = torch.nn.Linear(2, 2)
        return LanguageObjective(TreeRunner(model.network), [(each,) for each in setting.sequences], [1.0] * 10)

    with pytest.raises(ModelError, match=r"^adaptation: 2 planned parameters got no gradient"):
        setting.train(objective=off_the_path)
