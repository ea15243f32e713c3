"""Optimisers, the learning rate as a function of the step, and the moving average of the weights."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from eyas.errors import ConfigError, ModelError, did_you_mean

OPTIMIZERS = ("sgd", "adamw")


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups of the trainable parameters: decayed, and BatchNorm weights and biases, which are not.

    The published training decays everything else too: biases of convolutions and linear layers, LayerNorm, the RepVGG
    branch weights. That is kept. A group that would be empty is left out.
    """
    exempt = {id(p) for m in model.modules() if isinstance(m, nn.modules.batchnorm._NormBase) for p in m.parameters()}
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if id(p) not in exempt], "weight_decay": weight_decay},
        {"params": [p for p in trained if id(p) in exempt], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(
    model: nn.Module, name: str, lr: float, weight_decay: float, momentum: float = 0.9
) -> torch.optim.Optimizer:
    """`sgd`: velocity = momentum * velocity + (gradient + decay * weight), weight -= lr * velocity, which is Paddle's
    Momentum with L2Decay. `adamw`: decoupled decay, betas (momentum, 0.999). Raises ConfigError for another name."""
    groups = parameter_groups(model, weight_decay)
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=momentum, foreach=True)
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=(momentum, 0.999), foreach=True)
    raise ConfigError(f"Unknown optimizer {name!r}. {did_you_mean(name, OPTIMIZERS)}")


def lr_at(
    step: int,
    base_lr: float,
    *,
    warmup_steps: int,
    last_step: int,
    start_factor: float = 0.0,
    final_factor: float = 0.0,
) -> float:
    """Learning rate of step 0, 1, ...: linear from `start_factor` to 1 times `base_lr` during the warm-up, then a half
    cosine that reaches `final_factor` times `base_lr` at `last_step` and stays there.

    With last_step = steps - 1 the run ends exactly at the final factor. The published schedule is the same curve with
    last_step = steps of its `max_epochs`, more than it trains, so it never comes down to 0.
    """
    if step < warmup_steps:
        return base_lr * (start_factor + (1.0 - start_factor) * step / warmup_steps)
    progress = min((step - warmup_steps) / max(last_step - warmup_steps, 1), 1.0)
    return base_lr * (final_factor + (1.0 - final_factor) * (1.0 + math.cos(math.pi * progress)) / 2.0)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group of `optimizer` the learning rate `lr`."""
    for group in optimizer.param_groups:
        group["lr"] = lr


class EMA:
    """Exponential moving average of a model's weights and of its BatchNorm statistics.

    After update t = 0, 1, ...: average = d * average + (1 - d) * live with d = min(decay, (1 + t) / (10 + t)). The
    average starts at the live weights. Frozen parameters and integer buffers are copied.

    `zero_start` is what the published training does: start at zero and divide by 1 - d^t when the average is used. With
    a d that grows this over-corrects the first steps (a constant 10 reads 10.15 after two), so it serves comparisons
    alone.
    """

    def __init__(self, model: nn.Module, decay: float = 0.9998, *, zero_start: bool = False) -> None:
        if not 0.0 <= decay < 1.0:
            raise ConfigError(f"The decay of the moving average must be at least 0 and less than 1; it is {decay}.")
        self.decay, self.zero_start = decay, zero_start
        self.step = 0
        self._tensors: dict[str, Tensor] = {name: value.clone() for name, value in model.state_dict().items()}
        self._averaged = _averaged_names(model)
        self._copied = sorted(self._tensors.keys() - set(self._averaged))
        if zero_start:
            for name in self._averaged:
                self._tensors[name].zero_()

    def decay_at(self, step: int) -> float:
        """The decay that update number `step` (from 0) applies."""
        return min(self.decay, (1 + step) / (10 + step))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the model's present weights."""
        # not state_dict(): building one takes longer than the averaging
        live: dict[str, Tensor] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        decay = self.decay_at(self.step)
        averages = [self._tensors[name] for name in self._averaged]
        torch._foreach_mul_(averages, decay)
        torch._foreach_add_(averages, [live[name] for name in self._averaged], alpha=1 - decay)
        if self._copied:
            torch._foreach_copy_([self._tensors[name] for name in self._copied], [live[name] for name in self._copied])
        self.step += 1

    @torch.no_grad()
    def restart(self, model: nn.Module) -> None:
        """Begin anew at the model's present weights, as the published PicoDet does every 20 epochs."""
        self.step = 0
        for name, value in model.state_dict().items():
            self._tensors[name].copy_(value)
            if self.zero_start and name in self._averaged:
                self._tensors[name].zero_()

    def weights(self) -> dict[str, Tensor]:
        """The averaged state dict of the model, new tensors of its own."""
        tensors = {name: value.clone() for name, value in self._tensors.items()}
        if self.zero_start and self.step:
            correction = 1 - self.decay_at(self.step - 1) ** self.step
            torch._foreach_div_([tensors[name] for name in self._averaged], correction)
        return tensors

    @torch.no_grad()
    def copy_to(self, model: nn.Module) -> None:
        """Write the average into `model`."""
        _write(model, self.weights())

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Within the block `model` holds the average; afterwards its own weights again, also after an error."""
        own = {name: value.clone() for name, value in model.state_dict().items()}
        self.copy_to(model)
        try:
            yield
        finally:
            _write(model, own)

    def state_dict(self) -> dict[str, Any]:
        """{"step": int, "tensors": name -> tensor}: all that a later run needs to go on exactly."""
        return {"step": self.step, "tensors": {name: value.clone() for name, value in self._tensors.items()}}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave. Raises ModelError if names or shapes are not those of this model."""
        theirs = {name: tuple(value.shape) for name, value in state["tensors"].items()}
        ours = {name: tuple(value.shape) for name, value in self._tensors.items()}
        odd = sorted({name for name, _ in theirs.items() ^ ours.items()})
        if odd:
            raise ModelError(
                f"The moving average is of another model: {len(odd)} tensors differ, first {odd[0]!r}, "
                f"here {ours.get(odd[0], 'absent')}, there {theirs.get(odd[0], 'absent')}."
            )
        for name, value in state["tensors"].items():
            self._tensors[name].copy_(value)
        self.step = int(state["step"])


def _averaged_names(model: nn.Module) -> list[str]:
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    return [name for name, value in model.state_dict().items() if value.is_floating_point() and name not in frozen]


@torch.no_grad()
def _write(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    for name, value in model.state_dict().items():
        value.copy_(tensors[name])
