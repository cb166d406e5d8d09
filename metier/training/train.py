"""The door to training: from an objective to a model that has learned, with validation, resume and history."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from metier.device import derive_seed, seeded
from metier.engine.forward import without_dropout
from metier.errors import InterruptedRun, RunFolderError, TrainingError
from metier.events import Notice, Observer, StepEnded, Validated, tell
from metier.model.adapt import AdaptedModel, check_gradients
from metier.recipe.sections import TrainingSection
from metier.training.checkpoint import (
    Progressed,
    checkpoints,
    load_checkpoint,
    load_weights,
    prune_checkpoints,
    restore_moments,
    save_checkpoint,
)
from metier.training.history import History, StepRow, ValidationRow
from metier.training.interrupt import noted_interrupts
from metier.training.objective import Objective
from metier.training.sampler import Sampler
from metier.training.schedule import DEFAULT_LEARNING_RATES, learning_rate_at

Validate = Callable[[], Mapping[str, float]]
"""Metric names and values; the first is maximised, `loss` (minimised) decides between equals, or alone."""


@dataclass(eq=False)
class _Loop:
    """One training under way."""

    section: TrainingSection
    model: AdaptedModel
    objective: Objective
    sampler: Sampler
    seed: int
    folder: Path
    validate: Validate | None
    observers: Sequence[Observer]
    optimizer: torch.optim.Optimizer
    peak: float
    progress: Progressed

    def run(self) -> None:
        """Go on until the steps are done or validation no longer improves.

        Raises:
            InterruptedRun: somebody asked to stop; a checkpoint was written.
        """
        started, before = time.perf_counter(), self.progress.seconds
        if self.model.head is not None and self.validate is not None and not self.progress.validations:
            self._judge_start()
        with noted_interrupts() as interrupt:
            while not self.progress.stopped:
                self._step()
                self.progress = replace(self.progress, seconds=before + time.perf_counter() - started)
                self._after_step()
                if interrupt.requested:
                    self._save()
                    raise InterruptedRun(
                        "training", f"interrupted after step {self.progress.step} of {self.sampler.steps}", "",
                        "Everything is saved; run the same command with --resume to go on.",
                    )  # fmt: skip

    def _step(self) -> None:
        """One optimiser step over the examples that the sampler draws."""
        step, started = self.progress.step, time.perf_counter()
        numbers = self.sampler.draw(step)
        total = self.objective.weight(numbers)
        loss, computed, logical = 0.0, 0, 0
        self.optimizer.zero_grad(set_to_none=True)
        dropout = self.model.section.lora_dropout > 0
        with seeded(derive_seed(self.seed, "step", step)) if dropout else nullcontext():
            for part in self.objective.parts(numbers, self.section.tokens_per_microbatch):
                (part.loss / total).backward()  # type: ignore[no-untyped-call]
                loss += float(part.loss.detach()) / total
                computed, logical = computed + part.computed, logical + part.logical
        if step == 0:
            check_gradients(self.model)
        norm = self._clip(loss)
        rate = learning_rate_at(step, self.sampler.steps, self.section, self.peak)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        seconds = time.perf_counter() - started
        targets = self.objective.targets(numbers)
        row = StepRow(
            step=step + 1, epoch=self.sampler.epoch_at(step + 1), loss=loss, learning_rate=rate, grad_norm=norm,
            tokens=targets, seconds=seconds,
        )  # fmt: skip
        keep = (step + 1) % self.section.log_steps == 0
        self.progress = replace(
            self.progress,
            step=step + 1,
            steps=(*self.progress.steps, row) if keep else self.progress.steps,
            tokens_computed=self.progress.tokens_computed + computed,
            tokens_logical=self.progress.tokens_logical + logical,
        )
        event = StepEnded(
            step=row.step, total=self.sampler.steps, epoch=row.epoch, loss=loss, learning_rate=rate, grad_norm=norm,
            tokens=targets, seconds=seconds,
        )  # fmt: skip
        tell(self.observers, event)

    def _clip(self, loss: float) -> float:
        """Clip the gradient; returns its norm before clipping.

        Raises:
            TrainingError: loss or gradient is not finite; nothing was updated.
        """
        limit = self.section.max_grad_norm or math.inf
        norm = float(torch.nn.utils.clip_grad_norm_(list(self.model.trainable().values()), limit))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise TrainingError(
                f"training step {self.progress.step + 1}", f"loss {loss}, gradient norm {norm}", "finite numbers",
                f"Lower training.learning_rate (now {self.peak:g}) or set hardware.dtype: float32; "
                "the last checkpoint is from before this step.",
            )  # fmt: skip
        return norm

    def _after_step(self) -> None:
        """Validate, save and decide whether to go on."""
        step, last = self.progress.step, self.progress.step >= self.sampler.steps
        every = self.section.eval_steps or self.sampler.steps_per_epoch
        due = self.validate is not None and (step % every == 0 or last)
        if due:
            self._validate()
        if last:
            self.progress = replace(self.progress, stopped="finished")
        patience = self.section.early_stopping_patience
        if due and patience is not None and self.progress.waited >= patience and not last:
            self.progress = replace(self.progress, stopped="early stopping")
        save_due = self.section.save_steps is not None and step % self.section.save_steps == 0
        if due or save_due or self.progress.stopped:
            self._save()

    def _judge_start(self) -> None:
        """A solved head is an answer before any step: training must beat it. It does not count for patience."""
        metrics, score = self._measure()
        row = ValidationRow(step=0, epoch=0.0, metrics=metrics, best=False)
        self.progress = replace(self.progress, validations=(row,), start_score=score)
        tell(self.observers, Validated(step=0, metrics=metrics, best=False))
        self._save()

    def _measure(self) -> tuple[dict[str, float], tuple[float, ...]]:
        """Validation metrics, and the score that they are compared by."""
        assert self.validate is not None
        with without_dropout(self.model.network):
            metrics = dict(self.validate())
        ranked = [value for name, value in metrics.items() if name != "loss"][:1]
        return metrics, (*ranked, -metrics["loss"]) if "loss" in metrics else tuple(ranked)

    def _validate(self) -> None:
        metrics, score = self._measure()
        best = self.progress.best_score is None or score > tuple(self.progress.best_score)
        step = self.progress.step
        row = ValidationRow(step=step, epoch=self.sampler.epoch_at(step), metrics=metrics, best=best)
        self.progress = replace(
            self.progress,
            validations=(*self.progress.validations, row),
            best_score=score if best else self.progress.best_score,
            best_step=step if best else self.progress.best_step,
            waited=0 if best else self.progress.waited + 1,
        )
        tell(self.observers, Validated(step=step, metrics=metrics, best=best))

    def _save(self) -> None:
        save_checkpoint(self.folder, self.progress, self.model.state(), self.optimizer)
        prune_checkpoints(self.folder, self.section.save_total_limit, self.progress.best_step)


def train_model(
    section: TrainingSection,
    model: AdaptedModel,
    objective: Objective,
    *,
    seed: int,
    folder: Path,
    validate: Validate | None = None,
    observers: Sequence[Observer] = (),
) -> History:
    """Make `model` learn `objective`; afterwards it carries the best validated weights.

    Training goes on from the newest whole checkpoint in `folder`, with the same result as if it had
    never stopped.

    Args:
        section: How to train.
        model: What learns; changed in place.
        objective: The examples and their loss.
        seed: Order of examples and dropout are functions of it.
        folder: Where checkpoints are.
        validate: Called every so often; without it the last weights are kept.
        observers: Told about steps and validations.

    Raises:
        TrainingError: the loss is not finite.
        InterruptedRun: stopped from outside; a checkpoint was written.
    """
    peak = section.learning_rate or DEFAULT_LEARNING_RATES[model.section.method]
    sampler = Sampler.of(section, len(objective), derive_seed(seed, "sampler"))
    optimizer = _make_optimizer(section, model, peak)
    progress = _resume(model, optimizer, folder, observers)
    _set_dropout(model, observers)
    loop = _Loop(section, model, objective, sampler, seed, folder, validate, observers, optimizer, peak, progress)
    loop.run()
    done = loop.progress
    best = _best_step(done, observers)
    if best != done.step:
        model.load_state(load_weights(folder / f"checkpoint-{best}"))
    model.network.train(False)
    return History(
        steps=done.steps, validations=done.validations, best_step=best, stopped=done.stopped, seconds=done.seconds,
        examples=len(objective), tokens_computed=done.tokens_computed, tokens_logical=done.tokens_logical,
    )  # fmt: skip


def _best_step(done: Progressed, observers: Sequence[Observer]) -> int:
    """The step whose weights are kept: the best validated one, the solved start where nothing beat it."""
    if done.best_score is None:
        return done.step
    if done.start_score is not None and tuple(done.start_score) >= tuple(done.best_score):
        message = "No step was better on validation than the solved head that training started from: that is kept."
        tell(observers, Notice(topic="training", message=message))
        return 0
    return done.best_step


def _make_optimizer(section: TrainingSection, model: AdaptedModel, peak: float) -> torch.optim.Optimizer:
    """AdamW (arXiv 1711.05101); norms and biases, which have one dimension, do not decay."""
    parameters = list(model.trainable().values())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": section.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    betas = (section.adam_beta1, section.adam_beta2)
    kept = [group for group in groups if group["params"]]
    return torch.optim.AdamW(kept, lr=peak, betas=betas, eps=section.adam_epsilon)


def _resume(
    model: AdaptedModel, optimizer: torch.optim.Optimizer, folder: Path, observers: Sequence[Observer]
) -> Progressed:
    """Set model and optimiser to the newest whole checkpoint; one that is damaged is removed, and said.

    Raises:
        RunFolderError: there are checkpoints, but none of them is whole.
    """
    found = checkpoints(folder)
    for path in reversed(found):
        try:
            checkpoint = load_checkpoint(path)
        except RunFolderError as fault:
            if path == found[0]:
                raise
            message = f"{fault} {path.name} is left out; training goes on from the one before."
            tell(observers, Notice(topic="resume", message=message))
            continue
        model.load_state(checkpoint.weights)
        restore_moments(optimizer, checkpoint.moments)
        step = checkpoint.progress.step
        tell(observers, Notice(topic="resume", message=f"Training goes on after step {step} ({path.name})."))
        for later in found[found.index(path) + 1 :]:
            shutil.rmtree(later)
        return checkpoint.progress
    return Progressed()


def _set_dropout(model: AdaptedModel, observers: Sequence[Observer]) -> None:
    """Only adapters drop out, and only when the recipe says so: the base runs as it does when it answers."""
    model.network.train(False)
    if model.section.method == "lora" and model.section.lora_dropout > 0:
        message = "With lora_dropout, tokens that several examples share are dropped alike in all of them."
        tell(observers, Notice(topic="training", message=message))
    for name, module in model.network.named_modules():
        if ".lora_dropout" in name:
            module.train(model.section.lora_dropout > 0)
