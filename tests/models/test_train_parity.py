"""One training step of the whole network against the published training: losses, gradients, BatchNorm statistics.

Batch statistics of small maps amplify rounding, so whole-network numbers carry a floor: when the reference repeated
its own float32 step with 1e-6 relative noise on the input, its losses moved by 1e-5 and its gradient norms by 2e-5
(median), 1e-4 (95 %) and 6e-2 (maximum). Our network runs in float64 here, which leaves the rounding of the reference
alone; in float32 it differs by twice as much. The exact comparisons are in tests/train.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.reference import weights
from tests.train.targets import MODEL, make_targets

from eyas.models import build
from eyas.models.blocks import BatchNorm2d
from eyas.models.weights import load_published, to_published
from eyas.train.losses import LossTerms, detection_loss


@dataclass(frozen=True)
class Step:
    """What one forward and backward of the network gave, under published names, beside the record of the reference."""

    terms: LossTerms
    gradient_norms: dict[str, float]
    state: dict[str, Any]
    record: dict[str, Any]
    arrays: Any


@pytest.fixture(scope="module")
def step(reference: Path) -> Step:
    folder = reference / MODEL
    record = json.loads((folder / "train.json").read_text())
    model = build(MODEL, 10, dropout=0.0).train()
    load_published(model, weights.state_dict(json.loads((folder / "params.json").read_text())["params"]))
    model.double()
    # the record's input is already divided by 255; the network divides once more
    image = torch.from_numpy(weights.image(record["image"]["name"], record["image"]["shape"])).double() * 255
    out = model.forward_train(image)
    targets = make_targets(record["gt_bbox"], record["gt_class"])
    terms = detection_loss(out.scores, out.reg_logits, out.anchors, out.strides, targets, model.config.reg_range)
    terms.total.backward()
    norms = {name: p.grad.double().norm().item() for name, p in model.named_parameters() if p.grad is not None}
    return Step(terms, norms, to_published(model.state_dict()), record, np.load(folder / "train.npz"))


@pytest.mark.parametrize("term", ["total", "cls", "iou", "dfl", "l1"])
def test_losses(step: Step, term: str) -> None:
    expected = step.record["loss"]["loss" if term == "total" else f"loss_{term}"]
    assert getattr(step.terms, term).item() == pytest.approx(expected, rel=2e-5)


def test_gradient_norm_of_every_parameter(step: Step) -> None:
    expected = step.record["grad_norm"]
    assert step.gradient_norms.keys() == expected.keys()
    got = np.array([step.gradient_norms[name] for name in expected])
    wanted = np.array(list(expected.values()))
    # the bias before a BatchNorm has no gradient at all; the reference records its rounding, 9e-6
    np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=2e-5)
    relative = np.abs(got / wanted - 1)
    assert np.median(relative) < 3e-5
    assert np.quantile(relative, 0.95) < 1e-4


def test_batchnorm_statistics_after_the_step(step: Step) -> None:
    names = [key for key in step.arrays if key.startswith("bn_after.")]
    assert len(names) == 6
    for key in names:
        got = step.state[key.removeprefix("bn_after.")]
        np.testing.assert_allclose(got, step.arrays[key], rtol=1e-5, atol=1e-6, err_msg=key)


def test_batchnorm_averages_the_biased_variance(reference: Path) -> None:
    record = json.loads((reference / "misc" / "misc.json").read_text())["batchnorm"]
    norm = BatchNorm2d(3).train()
    norm(torch.from_numpy(weights.normal("bn", (2, 3, 4, 5))))
    assert norm.running_mean is not None and norm.running_var is not None
    np.testing.assert_allclose(norm.running_mean.numpy(), record["running_mean"], rtol=0, atol=1e-7)
    np.testing.assert_allclose(norm.running_var.numpy(), record["running_var"], rtol=0, atol=2e-7)
    assert norm.eps == record["epsilon"]
