"""The parts of one training run, put together: network, EMA, optimiser, batches, validation, checkpoints."""

import logging
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from torch.nn.parallel import DistributedDataParallel

from eyas.bundle import AnyManifest
from eyas.errors import ConfigError
from eyas.models import Network
from eyas.models.backend import in_channels_last
from eyas.models.files import read_tensors, save_tensors
from eyas.models.weights import load_state
from eyas.schema import ModuleConfig, Train
from eyas.train.checkpoint import CHECKPOINT, find_checkpoint, optimizer_tensors, restore_optimizer
from eyas.train.loader import Position
from eyas.train.loop import Hooks, Parts, Plan, State, fit
from eyas.train.optim import EMA, build_optimizer, lr_at
from eyas.train.progress import open_progress, silent_progress
from eyas.train.ranks import Ranks
from eyas.train.task import Task, Validation

log = logging.getLogger(__name__)

BEST = Path("best_model") / "best_model.safetensors"


class Trainer:
    """Puts the parts of one run together; `train` runs the loop."""

    def __init__(self, config: ModuleConfig, task: Task, model: Network, manifest: AnyManifest, ranks: Ranks) -> None:
        self.train_config, self.output = config.train, Path(config.global_.output)
        self.task, self.manifest, self.ranks = task, manifest, ranks
        model = model.to(ranks.device)
        if config.train.channels_last:
            model = in_channels_last(model)
        self.model = model
        self.parts = self._parts(model)

    def _parts(self, model: Network) -> Parts:
        train, device = self.train_config, self.ranks.device
        if self.ranks.count > 1 and device.type == "cuda":
            model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
        net = self.task.net(model)
        if self.ranks.count > 1:
            net = DistributedDataParallel(net)
        scaler = torch.amp.GradScaler(device.type, enabled=amp_dtype(train, device) is torch.float16)
        chosen = train.optimizer
        optimizer = build_optimizer(model, chosen.name, train.learning_rate, chosen.weight_decay, chosen.momentum)
        return Parts(model, net, EMA(model, train.ema_decay), optimizer, scaler, device)

    def train(self) -> State:
        """Run the loop from the start, or from where `Train.resume_path` stopped."""
        train, ranks = self.train_config, self.ranks
        steps = self.task.steps(ranks.count)
        state = self._resume(Path(train.resume_path)) if train.resume_path else State()
        batches = self.task.batches(state.position, ranks)
        done = state.position.epoch * steps + state.position.step
        if not ranks.first:
            progress = silent_progress(train.epochs_iters, steps, train.log_interval)
            return fit(self.parts, self._plan(steps), self._hooks(), batches, state, False, progress)
        with open_progress(
            self.output, train.epochs_iters, steps, train.log_interval, done, train.tensorboard
        ) as progress:
            log.info("training on %d images, %d steps an epoch, on %s", self.task.count, steps, ranks.device)
            return fit(self.parts, self._plan(steps), self._hooks(), batches, state, True, progress)

    def _plan(self, steps: int) -> Plan:
        train = self.train_config
        images = train.batch_size * self.ranks.count
        scale = images / train.lr_batch_size if train.lr_batch_size else 1.0
        last_epoch = train.schedule.cosine_epochs or train.epochs_iters
        return Plan(
            epochs=train.epochs_iters,
            steps_per_epoch=steps,
            learning_rate=partial(
                lr_at,
                base_lr=train.learning_rate * scale,
                warmup_steps=max(train.warmup_steps, round(train.warmup_epochs * steps)),
                last_step=last_epoch * steps - 1,
                start_factor=train.schedule.start_factor,
                final_factor=train.schedule.final_factor,
            ),
            clip_norm=train.optimizer.clip_norm,
            amp=amp_dtype(train, self.ranks.device),
            eval_interval=train.eval_interval,
            save_interval=train.save_interval,
            early_stop=train.early_stop,
            ema_cycle=train.ema_cycle,
        )

    def _hooks(self) -> Hooks:
        return Hooks(
            loss=self.task.loss(self.model, self.ranks.count),
            validate=self._validate,
            save=self._save,
            save_best=self._save_best,
            agree=self.ranks.agree,
        )

    def _validate(self) -> Validation:
        with self.parts.ema.applied(self.model):
            return self.task.validate(self.model, self.manifest, self.ranks.device)

    def _save(self, state: State) -> None:
        parts, ema = self.parts, self.parts.ema.state_dict()
        tensors = {f"model.{name}": value for name, value in parts.model.state_dict().items()}
        tensors |= {f"ema.{name}": value for name, value in ema["tensors"].items()}
        optimizer, scalars = optimizer_tensors(parts.optimizer)
        tensors |= optimizer | {"rng.torch": torch.get_rng_state()}
        if parts.device.type == "cuda":
            tensors["rng.cuda"] = torch.cuda.get_rng_state(parts.device)
        header = {
            "manifest": self.manifest.to_dict(),
            "run": asdict(state),
            "optimizer": scalars,
            "ema_step": ema["step"],
            "scaler": parts.scaler.state_dict(),
        }
        save_tensors(self.output / CHECKPOINT, tensors, header)

    def _resume(self, path: Path) -> State:
        checkpoint = find_checkpoint(path)
        file = read_tensors(checkpoint)
        parts, saved = self.parts, file.state
        load_state(parts.model, file.part("model"), str(path))
        parts.ema.load_state_dict({"step": saved["ema_step"], "tensors": file.part("ema")})
        restore_optimizer(parts.optimizer, file.part("optimizer"), saved["optimizer"])
        parts.scaler.load_state_dict(saved["scaler"])
        torch.set_rng_state(file.tensors["rng.torch"])
        if parts.device.type == "cuda" and "rng.cuda" in file.tensors:
            torch.cuda.set_rng_state(file.tensors["rng.cuda"], parts.device)
        run = saved["run"]
        log.info("resuming after epoch %d", run["position"]["epoch"])
        state = State(**{**run, "position": Position(**run["position"])})
        return self._with_best(state, checkpoint.parent / BEST)

    def _with_best(self, state: State, earlier: Path) -> State:
        """`state` with its best weights in this run's output: copied from the `earlier` run where they are missing.

        Where neither has them the next validation counts as the best. Raises ConfigError where none will follow.
        """
        own = self.output / BEST
        if own.is_file():
            return state
        if earlier.is_file():
            file = read_tensors(earlier)
            save_tensors(own, file.tensors, file.state)
            return state
        if state.position.epoch >= self.train_config.epochs_iters:
            raise ConfigError(
                f"Train.resume_path: that run has trained all its {state.position.epoch} epochs; its best weights are "
                f"neither at {earlier} nor at {own}. Expected Train.epochs_iters above {state.position.epoch}."
            )
        return replace(state, best_score=-1.0, best_epoch=state.position.epoch)

    def _save_best(self, state: State) -> None:
        minutes = round(state.seconds / 60, 1)
        made = {**self.manifest.made, "epoch": state.best_epoch, **state.best_figures, "minutes": minutes}
        manifest = replace(self.manifest, made=made)
        tensors = self.parts.ema.weights()
        save_tensors(self.output / BEST, tensors, {"manifest": manifest.to_dict()})


def amp_dtype(train: Train, device: torch.device) -> torch.dtype | None:
    """The type of mixed precision: O1 and O2 mean bfloat16 on a CPU and float16 on a GPU. Float16 needs a GPU."""
    if train.amp == "OFF":
        return None
    if device.type == "cpu":
        return torch.bfloat16
    return torch.bfloat16 if train.amp == "bf16" else torch.float16
