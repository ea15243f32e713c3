"""The training loop: steps, validation at the end of epochs, checkpoints, early stopping, on one page."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from eyas.train.loader import Position
from eyas.train.optim import EMA, set_lr
from eyas.train.progress import Progress, Step
from eyas.train.task import Batch, Loss, Terms, Validation

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """What a step works on. `net` is what the gradients run through (`model`, or DDP around it)."""

    model: nn.Module
    net: nn.Module
    ema: EMA
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    device: torch.device


@dataclass(frozen=True)
class Plan:
    """The numbers of a run. `amp` is None, torch.bfloat16 or torch.float16; intervals are in steps and epochs."""

    epochs: int
    steps_per_epoch: int
    learning_rate: Callable[[int], float]
    clip_norm: float | None
    amp: torch.dtype | None
    eval_interval: int
    save_interval: int
    early_stop: int | None
    ema_cycle: int | None = None


@dataclass(frozen=True)
class Hooks:
    """What happens outside the step. `validate` and `save` run on the first process alone."""

    loss: Loss
    validate: Callable[[], Validation]
    save: Callable[["State"], None]
    save_best: Callable[["State"], None]
    agree: Callable[[bool], bool] = lambda stop: stop


@dataclass(frozen=True)
class State:
    """Where a run stands; part of every checkpoint. `best_figures` are the main figures of the best epoch."""

    position: Position = field(default_factory=Position)
    best_score: float = -1.0
    best_epoch: int = 0
    seconds: float = 0.0
    best_figures: dict[str, float] = field(default_factory=dict)


def fit(
    parts: Parts, plan: Plan, hooks: Hooks, batches: Iterable[Batch], state: State, first: bool, progress: Progress
) -> State:
    """Train from `state` to the end of the plan, or until early stopping; the last state. `first`: first process."""
    clock = time.monotonic()
    before = state.seconds
    for batch in batches:
        epoch, step = state.position.epoch, state.position.step
        waited = time.monotonic() - clock
        terms = train_step(parts, plan, hooks, batch.to(parts.device), epoch * plan.steps_per_epoch + step)
        clock, spent = time.monotonic(), time.monotonic() - clock
        state = replace(state, position=Position(epoch, step + 1), seconds=state.seconds + spent)
        rate = parts.optimizer.param_groups[0]["lr"]
        progress.step(Step(epoch, step, rate, len(batch.images), waited, spent), terms)
        if step + 1 < plan.steps_per_epoch:
            continue
        state = replace(state, position=Position(epoch + 1, 0))
        state, stop = _end_of_epoch(parts, plan, hooks, state, first, progress)
        clock = time.monotonic()
        if stop:
            log.info("early stop: no better score since epoch %d", state.best_epoch)
            break
    log.info("trained for %.1f minutes", (state.seconds - before) / 60)
    return state


def train_step(parts: Parts, plan: Plan, hooks: Hooks, batch: Batch, global_step: int) -> Terms:
    """One forward, backward and update. Raises FloatingPointError where the loss is no longer a number."""
    rate = plan.learning_rate(global_step)
    set_lr(parts.optimizer, rate)
    parts.net.train()
    autocast = torch.autocast(parts.device.type, plan.amp) if plan.amp else contextlib.nullcontext()
    with autocast:
        terms = hooks.loss(parts.net, batch)
    if not torch.isfinite(terms.total):
        raise FloatingPointError(
            f"The loss became {terms.total.item()} at step {global_step} (learning rate {rate:g}). Lower "
            "Train.learning_rate, lengthen Train.warmup_steps or set Train.optimizer.clip_norm."
        )
    parts.optimizer.zero_grad(set_to_none=True)
    parts.scaler.scale(terms.total).backward()
    if plan.clip_norm is not None:
        parts.scaler.unscale_(parts.optimizer)
        nn.utils.clip_grad_norm_(parts.model.parameters(), plan.clip_norm)
    parts.scaler.step(parts.optimizer)
    parts.scaler.update()
    parts.ema.update(parts.model)
    return replace(terms, total=terms.total.detach())


def _end_of_epoch(
    parts: Parts, plan: Plan, hooks: Hooks, state: State, first: bool, progress: Progress
) -> tuple[State, bool]:
    """Validate and save where it is time to; the new state, and whether to stop early."""
    epoch = state.position.epoch
    last = epoch == plan.epochs
    if first and (last or epoch % plan.eval_interval == 0):
        found = hooks.validate()
        better = state.best_score < found.score
        if better:
            state = replace(state, best_score=found.score, best_epoch=epoch, best_figures=dict(found.figures))
            hooks.save_best(state)
        progress.validated(epoch, found, better)
    if plan.ema_cycle is not None and epoch % plan.ema_cycle == 0 and not last:
        parts.ema.restart(parts.model)
    if first and (last or epoch % plan.save_interval == 0):
        hooks.save(state)
    evaluations = (epoch - state.best_epoch) // plan.eval_interval
    return state, hooks.agree(first and plan.early_stop is not None and evaluations >= plan.early_stop)
