"""The door to training: from an objective to a model that has learned, with validation, resume and history."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from metier.device import derive_seed, seeded
from metier.engine.network import without_dropout
from metier.errors import InterruptedRun, RunFolderError, TrainingError
from metier.events import Notice, Observer, StepEnded, Validated, tell
from metier.model.adapt import AdaptedModel, check_gradients
from metier.recipe.sections import TrainingSection
from metier.team import Team, current_team
from metier.training.checkpoint import (
    Checkpoint,
    Progressed,
    checkpoints,
    load_checkpoint,
    load_weights,
    moments_of,
    prune_checkpoints,
    restore_moments,
    save_checkpoint,
)
from metier.training.history import History, StepRow, ValidationRow
from metier.training.interrupt import Interrupt, noted_interrupts
from metier.training.objective import Objective, Part
from metier.training.optimizer import make_optimizer
from metier.training.recompute import decide_recomputing, recomputed
from metier.training.sampler import Sampler
from metier.training.schedule import DEFAULT_LEARNING_RATES, learning_rate_at
from metier.training.shares import cut_into_passes, cut_into_shares

if TYPE_CHECKING:
    from metier.training.spread import SpreadWeights

WHOLE = 2**62
"""A budget that cuts nothing: examples that were cut into passes already are one pass."""
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
    team: Team
    spread: SpreadWeights | None
    """The weights that learn, where they are spread over the processes."""

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
                stop = self._step(interrupt)
                self.progress = replace(self.progress, seconds=before + time.perf_counter() - started)
                self._after_step()
                if stop:
                    self._save()
                    raise InterruptedRun(
                        "training", f"interrupted after step {self.progress.step} of {self.sampler.steps}", "",
                        "Everything is saved; run the same command with --resume to go on.",
                    )  # fmt: skip

    def _step(self, interrupt: Interrupt) -> bool:
        """One optimiser step over the examples that the sampler draws; returns whether somebody asked to stop.

        Each process runs its share. The loss is divided by the weight of the whole step, so that the sum
        of the gradients is the gradient of the whole, and every process takes the same step.
        """
        step, started = self.progress.step, time.perf_counter()
        numbers = self.sampler.draw(step)
        total = self.objective.weight(numbers)
        loss, computed, logical = 0.0, 0, 0
        self.optimizer.zero_grad(set_to_none=True)
        dropout = self.model.section.lora_dropout > 0
        with seeded(derive_seed(self.seed, "step", step)) if dropout else nullcontext():
            for part, counts in self._parts(numbers):
                (part.loss * (counts / total)).backward()  # type: ignore[no-untyped-call]
                loss += counts * float(part.loss.detach()) / total
                computed, logical = computed + counts * part.computed, logical + counts * part.logical
        if step == 0 and computed:
            check_gradients(self.model)
        loss, computed, logical, stop = self._summed(loss, computed, logical, interrupt.requested)
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
        return stop if self.team.size > 1 else interrupt.requested  # alone, as late as can be

    def _parts(self, numbers: list[int]) -> Iterator[tuple[Part, int]]:
        """This process's part of a step, in passes; with each 1, or 0 for one that is only run to keep pace."""
        budget = self.section.tokens_per_microbatch
        if self.team.size == 1:
            yield from ((part, 1) for part in self.objective.parts(numbers, budget))
            return
        shares = cut_into_shares(numbers, [self.objective.text(number) for number in numbers], self.team.size)
        mine = shares[self.team.rank]
        if self.spread is None:
            yield from ((part, 1) for part in self.objective.parts(mine, budget))
            return
        passes = [cut_into_passes(share, [self.objective.text(number) for number in share], budget) for share in shares]
        for number in range(max(map(len, passes))):
            counts = number < len(passes[self.team.rank])
            some = passes[self.team.rank][number] if counts else numbers[:1]
            yield from ((part, int(counts)) for part in self.objective.parts(some, WHOLE))

    def _summed(self, loss: float, computed: int, logical: int, stop: bool) -> tuple[float, int, int, bool]:
        """Sum gradients and numbers over all processes; one that was asked to stop asks all."""
        if self.team.size == 1:
            return loss, computed, logical, stop
        sums = self.team.add(loss, computed, logical, stop)
        parameters = list(self.model.trainable().values())
        for parameter in parameters:
            if parameter.grad is None:  # a process without examples
                parameter.grad = torch.zeros_like(parameter)
        if self.spread is None:
            self.team.add_up([parameter.grad for parameter in parameters if parameter.grad is not None])
        else:
            self.team.add_up(self.spread.gradients_to_sum())
        return sums[0], int(sums[1]), int(sums[2]), sums[3] > 0

    def _clip(self, loss: float) -> float:
        """Clip the gradient; returns its norm before clipping.

        Raises:
            TrainingError: loss or gradient is not finite; nothing was updated.
        """
        limit = self.section.max_grad_norm or math.inf
        if self.spread is None:
            norm = float(torch.nn.utils.clip_grad_norm_(list(self.model.trainable().values()), limit))
        else:
            norm = self.spread.clip(limit)
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
        together = nullcontext() if self.spread is None else self.spread.together()
        with without_dropout(self.model.network), together:
            metrics = self.team.agree(dict(self.validate()))
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
        if self.spread is None and not self.team.is_first:
            return
        weights, moments = self.model.state(), moments_of(self.optimizer)  # of spread ones all processes ask
        if self.team.is_first:
            save_checkpoint(self.folder, self.progress, weights, moments)
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
    never stopped. All processes of a team call it with the same arguments.

    Args:
        section: How to train. Its batch is that of all processes together.
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
    team = current_team()
    sampler = Sampler.of(section, len(objective), derive_seed(seed, "sampler"))
    checkpoint = _resume(model, folder, observers)
    progress = checkpoint.progress if checkpoint is not None else Progressed()
    _set_dropout(model, observers)
    again = progress.gradient_checkpointing
    if again is None:
        again = team.agree(decide_recomputing(section, model, objective, sampler.draw(0), observers))
        progress = replace(progress, gradient_checkpointing=again)
    spread_weights = _spread(model, objective, sampler.draw(0)) if model.spread and team.size > 1 else None
    optimizer = make_optimizer(section, model.trainable(), peak)
    _restore(optimizer, checkpoint, spread_weights)
    loop = _Loop(
        section, model, objective, sampler, seed, folder, validate, observers, optimizer, peak, progress, team,
        spread_weights,
    )  # fmt: skip
    with recomputed(model) if again else nullcontext():
        loop.run()
    if spread_weights is not None:
        spread_weights.end()
    team.wait_for_all()  # the best checkpoint is written
    done = loop.progress
    best = _best_step(done, observers)
    if best != done.step:
        model.load_state(load_weights(folder / f"checkpoint-{best}"))
    model.network.train(False)
    return History(
        steps=done.steps, validations=done.validations, best_step=best, stopped=done.stopped, seconds=done.seconds,
        examples=len(objective), tokens_computed=done.tokens_computed, tokens_logical=done.tokens_logical,
        gradient_checkpointing=again,
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


def _spread(model: AdaptedModel, objective: Objective, numbers: Sequence[int]) -> SpreadWeights:
    """Spread the weights, after one pass in which the engine finds out how this family is run."""
    from metier.training.spread import SpreadWeights

    with torch.no_grad():
        next(iter(objective.parts(numbers[:1], WHOLE)))
    return SpreadWeights(model, current_team())


def _restore(
    optimizer: torch.optim.Optimizer, checkpoint: Checkpoint | None, spread_weights: SpreadWeights | None
) -> None:
    if checkpoint is not None:
        restore_moments(optimizer, checkpoint.moments)
        if spread_weights is not None:
            spread_weights.spread_moments(optimizer)


def _resume(model: AdaptedModel, folder: Path, observers: Sequence[Observer]) -> Checkpoint | None:
    """Set the model to the newest whole checkpoint and give that; one that is damaged is removed, and said.

    Raises:
        RunFolderError: there are checkpoints, but none of them is whole.
    """
    team = current_team()
    newest: list[Checkpoint] = []
    step = team.once(lambda: _newest_step(folder, newest, observers))
    if step is None:
        return None
    checkpoint = newest[0] if newest else load_checkpoint(folder / f"checkpoint-{step}")
    model.load_state(checkpoint.weights)
    tell(observers, Notice(topic="resume", message=f"Training goes on after step {step} (checkpoint-{step})."))
    return checkpoint


def _newest_step(folder: Path, newest: list[Checkpoint], observers: Sequence[Observer]) -> int | None:
    """Put the newest whole checkpoint into `newest`, remove what is later, and give its step; None without one."""
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
        for later in found[found.index(path) + 1 :]:
            shutil.rmtree(later)
        newest.append(checkpoint)
        return checkpoint.progress.step
    return None


def _set_dropout(model: AdaptedModel, observers: Sequence[Observer]) -> None:
    """Only adapters drop out, and only when the recipe says so: the base runs as it does when it answers."""
    model.network.train(False)
    if model.section.method == "lora" and model.section.lora_dropout > 0:
        message = "With lora_dropout, tokens that several examples share are dropped alike in all of them."
        tell(observers, Notice(topic="training", message=message))
    for name, module in model.network.named_modules():
        if ".lora_dropout" in name:
            module.train(model.section.lora_dropout > 0)
