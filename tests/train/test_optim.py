"""Optimisers, schedule and moving average against recorded sequences of the published training."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from eyas.errors import ConfigError, ModelError
from eyas.train.optim import EMA, build_optimizer, lr_at, parameter_groups, set_lr


@pytest.fixture(scope="module")
def misc(reference: Path) -> dict[str, Any]:
    return json.loads((reference / "misc" / "misc.json").read_text())


class Net(nn.Module):
    """One parameter of each kind, a frozen one, and buffers of both kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 1)
        self.bn = nn.BatchNorm2d(3)
        self.norm = nn.LayerNorm(3)
        self.keep = nn.Parameter(torch.tensor([1.0]), requires_grad=False)


def single(value: float) -> nn.Module:
    module = nn.Module()
    module.register_parameter("p", nn.Parameter(torch.tensor([value])))
    module.register_parameter("keep", nn.Parameter(torch.tensor([0.0]), requires_grad=False))
    return module


def set_values(module: nn.Module, p: float, keep: float = 0.0) -> None:
    with torch.no_grad():
        module.get_parameter("p").fill_(p)
        module.get_parameter("keep").fill_(keep)


# ---- optimisers


def test_sgd_follows_the_recorded_steps(misc: dict[str, Any]) -> None:
    names = ("l2", "param_regularizer_zero", "lr_scale_2")
    weights = {name: nn.Parameter(torch.tensor([1.0, -2.0])) for name in names}
    plain, exempt, fast = nn.Module(), nn.BatchNorm2d(2), nn.Module()
    plain.register_parameter("w", weights["l2"])
    exempt.weight = weights["param_regularizer_zero"]
    fast.register_parameter("w", weights["lr_scale_2"])
    optimizers = [
        build_optimizer(nn.ModuleList([plain, exempt]), "sgd", 0.1, 0.05),
        build_optimizer(fast, "sgd", 0.2, 0.05),
    ]
    for expected in misc["momentum"]["after_steps"]:
        for weight in [*weights.values(), exempt.bias]:
            weight.grad = torch.tensor([0.5, 0.25])
        for optimizer in optimizers:
            optimizer.step()
        for name in names:
            np.testing.assert_allclose(weights[name].detach().numpy(), expected[name], rtol=0, atol=3e-7)


def test_only_batchnorm_is_exempt_from_decay() -> None:
    net = Net()
    decayed, exempt = parameter_groups(net, 5e-4)
    assert {id(p) for p in exempt["params"]} == {id(net.bn.weight), id(net.bn.bias)}
    assert {id(p) for p in decayed["params"]} == {
        id(p) for p in (net.conv.weight, net.conv.bias, net.norm.weight, net.norm.bias)
    }
    assert (decayed["weight_decay"], exempt["weight_decay"]) == (5e-4, 0.0)


def test_no_empty_group() -> None:
    assert len(parameter_groups(nn.Linear(2, 2), 0.1)) == 1


def test_adamw_first_step_is_signed_lr_plus_decay() -> None:
    net = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        net.weight.fill_(2.0)
    optimizer = build_optimizer(net, "adamw", 0.1, 0.5)
    net.weight.grad = torch.tensor([[3.0]])
    optimizer.step()
    assert net.weight.item() == pytest.approx(2.0 - 0.1 * 0.5 * 2.0 - 0.1, abs=1e-6)


def test_unknown_optimizer_is_named() -> None:
    with pytest.raises(ConfigError, match="'adamv'.*adamw"):
        build_optimizer(nn.Linear(1, 1), "adamv", 0.1, 0.0)


def test_set_lr_reaches_every_group() -> None:
    optimizer = build_optimizer(Net(), "sgd", 0.1, 0.1)
    set_lr(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]


# ---- learning rate


@pytest.mark.parametrize(
    ("name", "warmup_steps", "steps", "start_factor"),
    [("lr_sod", 5, 30, 0.0), ("lr_pico", 8, 20, 0.1), ("lr_sod_pdx_warmup_steps", 3, 30, 0.0)],
)
def test_recorded_schedules(
    misc: dict[str, Any], name: str, warmup_steps: int, steps: int, start_factor: float
) -> None:
    recorded = misc[name]
    for step, expected in enumerate(recorded["lr"]):
        # the recording goes on past its last step and repeats the last value
        got = lr_at(
            min(step, steps - 1),
            recorded["base_lr"],
            warmup_steps=warmup_steps,
            last_step=steps,
            start_factor=start_factor,
        )
        assert got == pytest.approx(expected, rel=1e-12, abs=1e-15), step


def test_a_run_ends_at_the_final_factor() -> None:
    def lr(step: int, final: float) -> float:
        return lr_at(step, 0.4, warmup_steps=10, last_step=99, final_factor=final)

    assert lr(10, 0.02) == 0.4
    assert lr(99, 0.0) == 0.0
    assert lr(99, 0.02) == lr(1000, 0.02) == pytest.approx(0.008)
    rates = [lr(step, 0.02) for step in range(10, 100)]
    assert rates == sorted(rates, reverse=True)


def test_a_warm_up_as_long_as_the_run() -> None:
    assert lr_at(4, 1.0, warmup_steps=5, last_step=4) == pytest.approx(0.8)
    assert lr_at(5, 1.0, warmup_steps=5, last_step=5) == 1.0
    assert lr_at(0, 1.0, warmup_steps=0, last_step=9) == 1.0


# ---- moving average


def test_published_average_follows_the_recorded_sequence(misc: dict[str, Any]) -> None:
    model = single(0.0)
    ema = EMA(model, 0.9998, zero_start=True)
    for i, row in enumerate(misc["ema_threshold_0.9998"]):
        set_values(model, row["param"], row["keep_raw"])
        assert ema.decay_at(i) == pytest.approx(row["decay"], rel=1e-15)
        ema.update(model)
        raw = ema.state_dict()["tensors"]
        assert raw["p"].item() == pytest.approx(row["ema_raw"], rel=1.3e-7)
        assert raw["keep"].item() == row["keep_raw"]
        assert ema.weights()["p"].item() == pytest.approx(row["applied"], rel=1.3e-7)


def test_published_average_restarted_every_two_epochs(misc: dict[str, Any]) -> None:
    model = single(10.0)
    for row in misc["ema_cycle_epoch_2"]:
        if row["epoch"] % 2 == 0:
            ema = EMA(model, 0.9998, zero_start=True)
        ema.update(model)
        ema.update(model)
        assert ema.step == row["step_before_apply"]
        assert ema.weights()["p"].item() == pytest.approx(row["applied"], rel=1.3e-7)


def test_average_of_a_constant_is_that_constant() -> None:
    model = single(10.0)
    ema = EMA(model)
    for _ in range(50):
        ema.update(model)
        assert ema.weights()["p"].item() == pytest.approx(10.0, rel=1e-6)


def test_average_follows_its_formula() -> None:
    model = single(3.0)
    ema = EMA(model, 0.3)
    expected = 3.0
    for step, value in enumerate([4.0, -1.0, 7.0, 2.0, 5.0]):
        set_values(model, value)
        ema.update(model)
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
        assert ema.weights()["p"].item() == pytest.approx(expected, rel=1e-6)


def test_batchnorm_statistics_are_averaged_and_counters_copied() -> None:
    torch.manual_seed(0)
    net = Net()
    ema = EMA(net, 0.9)
    net.bn(torch.randn(4, 3, 5, 5) + 2)
    ema.update(net)
    weights = ema.weights()
    torch.testing.assert_close(weights["bn.running_mean"], 0.9 * net.bn.running_mean)
    assert weights["bn.num_batches_tracked"].item() == 1
    assert weights["keep"].item() == 1.0


def test_a_model_with_nothing_to_copy() -> None:
    net = nn.Linear(1, 1, bias=False)
    ema = EMA(net, 0.5)
    ema.update(net)
    assert ema.weights()["weight"].item() == pytest.approx(net.weight.item(), rel=1e-6)


def test_applied_swaps_and_restores_after_an_error() -> None:
    model = single(1.0)
    ema = EMA(model)
    set_values(model, 5.0)

    def fail() -> None:
        with ema.applied(model):
            assert model.get_parameter("p").item() == 1.0
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert model.get_parameter("p").item() == 5.0
    ema.copy_to(model)
    assert model.get_parameter("p").item() == 1.0
    assert model.get_parameter("p").requires_grad


def test_state_goes_on_exactly() -> None:
    torch.manual_seed(0)
    net = Net()
    first = EMA(net)
    first.update(net)
    second = EMA(Net())
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        net.conv.weight.mul_(3)
    for ema in (first, second):
        ema.update(net)
    assert second.step == 2
    for name, value in first.weights().items():
        assert torch.equal(value, second.weights()[name]), name


def test_state_of_another_model_is_refused() -> None:
    ema = EMA(nn.Linear(2, 3))
    with pytest.raises(ModelError, match=r"'bias'.*\(3,\).*\(4,\)"):
        ema.load_state_dict(EMA(nn.Linear(2, 4)).state_dict())
    with pytest.raises(ModelError, match="absent"):
        ema.load_state_dict(EMA(nn.Linear(2, 3, bias=False)).state_dict())


def test_a_decay_of_one_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"less than 1; it is 1\.0"):
        EMA(nn.Linear(1, 1), 1.0)


def test_an_average_that_starts_anew_forgets() -> None:
    """After a restart it is that of a run which began with the present weights."""
    net = Net()
    ema = EMA(net, 0.9)
    for _ in range(3):
        shift(net)
        ema.update(net)
    ema.restart(net)
    fresh = EMA(net, 0.9)
    for _ in range(2):
        assert ema.step == fresh.step
        assert all(torch.equal(value, fresh.weights()[name]) for name, value in ema.weights().items())
        shift(net)
        ema.update(net)
        fresh.update(net)


def shift(net: nn.Module) -> None:
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.rand_like(parameter))
