"""PicoDet's assignment and loss against the reference, and what must hold for any objects."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import weights
from tests.train.targets import grid, make_targets
from torch import Tensor

from eyas.train import picodet_loss as loss_module
from eyas.train.assign import Assignment, Targets, anchors_inside
from eyas.train.losses import LossTerms, expected_boxes, varifocal
from eyas.train.picodet_loss import picodet_loss, varifocal_of_logits
from eyas.train.simota import SimOTAAssigner, class_cost

MODEL = "PP-ShiTuV2_det"
STRIDES = (8, 16, 32, 64)
RANGE = (0, 8)
PUBLISHED = SimOTAAssigner(far_type=torch.float32)
"""With the float32 sum of the published training, whose assignments the fixtures hold."""


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(loss_module, "ASSIGNER", PUBLISHED)
    yield


@dataclass(frozen=True)
class Unit:
    """The well-conditioned reference case: predictions made by a formula at 640 pixels, leaves by level."""

    record: dict[str, Any]
    arrays: Any
    cls: list[Tensor]
    reg: list[Tensor]

    def logits(self) -> tuple[Tensor, Tensor]:
        cls, reg = (torch.cat([x.flatten(2) for x in kind], 2).transpose(1, 2) for kind in (self.cls, self.reg))
        return cls, reg

    def loss(self, boxes: list[Any]) -> LossTerms:
        targets = make_targets(boxes, [[0] * len(rows) for rows in boxes], padding=1)
        return picodet_loss(*self.logits(), *grid(640, STRIDES), targets, RANGE)


@pytest.fixture
def unit(reference: Path) -> Unit:
    def made(name: str, channels: int, stride: int) -> Tensor:
        shape = (3, channels, 640 // stride, 640 // stride)
        return torch.from_numpy(weights.normal(f"{MODEL}/unit/{name}{stride}", shape) * np.float32(1.5))

    return Unit(
        json.loads((reference / MODEL / "loss_unit.json").read_text()),
        np.load(reference / MODEL / "loss_unit.npz"),
        [(made("cls", 1, stride) - 1).requires_grad_() for stride in STRIDES],
        [made("reg", 32, stride).requires_grad_() for stride in STRIDES],
    )


def assert_terms(got: LossTerms, expected: dict[str, float]) -> None:
    """The record holds the terms after weighting."""
    assert got.total.item() == pytest.approx(expected["loss"], rel=1e-6)
    assert got.cls.item() == pytest.approx(expected["loss_vfl"], rel=1e-6)
    assert 2.0 * got.iou.item() == pytest.approx(expected["loss_bbox"], rel=1e-6)
    assert 0.25 * got.dfl.item() == pytest.approx(expected["loss_dfl"], rel=1e-6)


# ---- against the reference


def test_unit_case_is_assigned_as_in_the_reference(unit: Unit) -> None:
    cls, reg = (x.detach() for x in unit.logits())
    anchors, strides = grid(640, STRIDES)
    boxes = unit.record["gt_bbox"]
    targets = make_targets(boxes, [[0] * len(rows) for rows in boxes])
    predicted = expected_boxes(reg, anchors, RANGE) * strides
    got = PUBLISHED.assign(cls.sigmoid(), predicted, anchors * strides, strides, targets)
    assert got.positive.sum(1).tolist() == unit.record["num_pos"]
    for i in range(3):
        index = unit.arrays[f"pos_index{i}"]
        np.testing.assert_array_equal(got.positive[i].nonzero()[:, 0], index)
        np.testing.assert_array_equal(got.boxes[i, index], unit.arrays[f"pos_bbox{i}"])


def test_unit_case_losses_and_gradients_are_those_of_the_reference(unit: Unit, published: None) -> None:
    got = unit.loss(unit.record["gt_bbox"])
    assert_terms(got, unit.record["loss"])
    got.total.backward()
    for stride, cls, reg in zip(STRIDES, unit.cls, unit.reg, strict=True):
        assert cls.grad is not None and reg.grad is not None
        assert cls.grad.norm().item() == pytest.approx(unit.arrays[f"grad_cls{stride}_norm"], rel=1e-5)
        assert reg.grad.norm().item() == pytest.approx(unit.arrays[f"grad_reg{stride}_norm"], rel=1e-5)


def test_an_image_without_objects_adds_no_positive(unit: Unit, published: None) -> None:
    assert_terms(unit.loss([*unit.record["gt_bbox"][:2], []]), unit.record["loss_third_image_empty"])


def test_stored_predictions_are_assigned_as_in_the_reference(reference: Path) -> None:
    record = json.loads((reference / MODEL / "train.json").read_text())
    arrays = np.load(reference / MODEL / "train.npz")
    anchors, strides = grid(320, STRIDES)
    scores, boxes = (
        torch.from_numpy(np.stack([arrays[f"assign.{i}.{what}"] for i in range(2)])) for what in ("scores", "bboxes")
    )
    targets = make_targets(record["gt_bbox"], record["gt_class"])
    got = PUBLISHED.assign(scores, boxes, anchors * strides, strides, targets)
    for i in range(2):
        np.testing.assert_array_equal(got.labels[i], arrays[f"assign.{i}.label"])
        index = arrays[f"assign.{i}.pos_index"]
        np.testing.assert_array_equal(got.positive[i].nonzero()[:, 0], index)
        np.testing.assert_array_equal(got.boxes[i, index], arrays[f"assign.{i}.pos_bbox"])


# ---- the assigner


def test_an_object_without_a_cheap_anchor_learns_near_itself(unit: Unit) -> None:
    """Published, such objects take the first candidate of the picture: here one 300 pixels away."""
    cls, reg = (x.detach() for x in unit.logits())
    anchors, strides = grid(640, STRIDES)
    tiny, other = [5.5, 300.0, 11.5, 306.5], [0.0, 0.0, 639.0, 639.0]  # no anchor centre lies in the first
    targets = make_targets([[other, tiny]] * 3, [[0, 0]] * 3)
    args = (cls.sigmoid(), expected_boxes(reg, anchors, RANGE) * strides, anchors * strides, strides, targets)

    def distance(assigned: Assignment) -> float:
        mine = (assigned.boxes == torch.tensor(tiny)).all(-1)
        assert mine.any(1).all()
        return float(((anchors * strides)[mine.nonzero()[:, 1]] - torch.tensor([8.5, 303.25])).abs().max())

    assert distance(SimOTAAssigner().assign(*args)) < 2.5 * 16
    assert distance(PUBLISHED.assign(*args)) > 250


def perfect(boxes: list[list[float]], classes: list[int], size: int = 96) -> tuple[Assignment, Tensor]:
    """Assignment where each anchor predicts, for certain, the smallest box that holds its centre (or a small one)."""
    anchors, strides = grid(size, STRIDES)
    centres = anchors * strides
    scores = torch.full((1, len(anchors), 3), 0.01)
    predicted = torch.cat([centres - 1, centres + 1], 1)
    for box, label in sorted(zip(boxes, classes, strict=True), key=lambda item: item[0][0] - item[0][2]):
        rows = ((centres > torch.tensor(box[:2])) & (centres < torch.tensor(box[2:]))).all(1)
        predicted[rows] = torch.tensor(box)
        scores[0, rows, label] = 0.9
    targets = make_targets([boxes], [classes])
    return SimOTAAssigner().assign(scores, predicted[None], centres, strides, targets), centres


def test_an_object_takes_as_many_anchors_as_its_best_overlaps_add_up_to() -> None:
    got, _ = perfect([[0.0, 0.0, 96.0, 96.0]], [2])
    assert got.positive.sum() == 10
    assert got.labels[got.positive].tolist() == [2] * 10
    torch.testing.assert_close(got.scores[got.positive], torch.ones(10))
    assert got.scores[~got.positive].abs().sum() == 0
    assert got.labels[~got.positive].eq(3).all()


def test_the_class_decides_between_equal_boxes() -> None:
    anchors, strides = grid(64, STRIDES)
    box = [16.0, 16.0, 48.0, 48.0]
    scores = torch.full((1, len(anchors), 2), 0.3)
    scores[..., 1] = 0.9
    predicted = torch.tensor(box).expand(1, len(anchors), 4)
    got = SimOTAAssigner().assign(scores, predicted, anchors * strides, strides, make_targets([[box, box]], [[0, 1]]))
    assert set(got.labels[got.positive].tolist()) == {1}


def test_class_cost_by_the_formula() -> None:
    generator = torch.Generator().manual_seed(2)
    scores = torch.rand(7, 4, generator=generator, dtype=torch.float64)
    iou = torch.rand(3, 7, generator=generator, dtype=torch.float64)
    iou[:, 2] = 0
    classes = torch.tensor([1, 3, 1])
    p = scores.numpy()
    for i, label in enumerate(classes.tolist()):
        for j in range(7):
            target = np.zeros(4)
            target[label] = iou[i, j]
            weight = np.where(target > 0, target, 0.75 * p[j] ** 2)
            expected = (weight * -(target * np.log(p[j]) + (1 - target) * np.log(1 - p[j]))).sum()
            assert class_cost(scores, classes, iou)[i, j].item() == pytest.approx(expected, rel=1e-9)


def test_padding_and_boxes_without_area_are_no_objects() -> None:
    anchors, strides = grid(64, STRIDES)
    predicted = (torch.cat([anchors - 1, anchors + 1], 1) * strides)[None].repeat(3, 1, 1)
    targets = make_targets([[[8.0, 8.0, 8.0, 24.0]], [], [[9.0, 9.0, 5.0, 5.0]]], [[0], [], [1]], 1)
    got = SimOTAAssigner().assign(torch.full((3, len(anchors), 2), 0.5), predicted, anchors * strides, strides, targets)
    assert not got.positive.any()
    assert got.labels.eq(2).all()


def test_an_object_out_of_reach_of_every_anchor_changes_nothing() -> None:
    got, _ = perfect([[900.0, 900.0, 904.0, 904.0]], [0])
    assert not got.positive.any()


def test_more_objects_than_anchors() -> None:
    got, _ = perfect([[float(i), 0.0, i + 30.0, 30.0] for i in range(40)], [i % 3 for i in range(40)], size=32)
    assert 0 < got.positive.sum() <= 16 + 4 + 1 + 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_every_positive_is_a_candidate_of_its_object_and_order_does_not_matter(seed: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    anchors, strides = grid(96, STRIDES)
    centres = anchors * strides
    corner = torch.rand(count, 2, generator=generator) * 70
    boxes = torch.cat([corner, corner + 2 + torch.rand(count, 2, generator=generator) * 24], 1)
    classes = torch.randint(0, 3, (count,), generator=generator)
    scores = torch.rand(1, len(anchors), 3, generator=generator)
    reach = strides * (1 + torch.rand(len(anchors), 2, generator=generator))
    predicted = torch.cat([centres - reach, centres + reach], 1)[None]

    def assign(order: Tensor) -> Assignment:
        targets = Targets(boxes[None, order], classes[None, order], torch.ones(1, count, dtype=torch.bool))
        return SimOTAAssigner().assign(scores, predicted, centres, strides, targets)

    got, shuffled = assign(torch.arange(count)), assign(torch.randperm(count, generator=generator))
    assert 1 <= got.positive.sum() <= 10 * count
    assert got.scores.ge(0).all() and got.scores.le(1).all()
    taken = {tuple(box) for box in got.boxes[got.positive].tolist()}
    assert taken <= {tuple(box) for box in boxes.tolist()}
    assert torch.equal(got.positive, shuffled.positive)
    assert torch.equal(got.boxes, shuffled.boxes)
    assert torch.equal(got.labels, shuffled.labels)


# ---- the loss


def test_varifocal_of_logits_is_varifocal_of_probabilities() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(1, 30, 3, generator=generator, dtype=torch.float64).mul(3).requires_grad_()
    labels = torch.randint(0, 4, (1, 30), generator=generator)
    scores = torch.rand(1, 30, generator=generator, dtype=torch.float64) * (labels < 3)
    assigned = Assignment(labels, torch.zeros(1, 30, 4), scores, labels < 3)
    ignore = torch.rand(1, 30, generator=generator) < 0.3
    gradients = []
    for value in (varifocal_of_logits(logits, assigned, ignore), varifocal(logits.sigmoid(), assigned, ignore)):
        gradients.append((value.detach(), *torch.autograd.grad(value, logits)))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_a_certain_false_alarm_still_has_a_gradient() -> None:
    logits = torch.tensor([[[40.0]]], requires_grad=True)
    nothing = Assignment(
        torch.ones(1, 1, dtype=torch.int64),
        torch.zeros(1, 1, 4),
        torch.zeros(1, 1),
        torch.zeros(1, 1, dtype=torch.bool),
    )
    varifocal_of_logits(logits, nothing).backward()
    assert logits.grad is not None and logits.grad.item() == pytest.approx(0.75)


def test_a_positive_that_misses_its_object_counts_as_background() -> None:
    logits = torch.tensor([[[0.3, -0.2]]])
    missed = Assignment(
        torch.zeros(1, 1, dtype=torch.int64),
        torch.zeros(1, 1, 4),
        torch.zeros(1, 1),
        torch.ones(1, 1, dtype=torch.bool),
    )
    background = replace(missed, positive=torch.zeros(1, 1, dtype=torch.bool))
    assert varifocal_of_logits(logits, missed) == varifocal_of_logits(logits, background)


def test_a_batch_without_objects_has_box_terms_with_zero_gradient(unit: Unit) -> None:
    got = unit.loss([[], [], []])
    assert got.iou == 0 and got.dfl == 0 and got.l1 == 0
    got.total.backward()
    for cls, reg in zip(unit.cls, unit.reg, strict=True):
        assert cls.grad is not None and cls.grad.gt(0).all()
        assert reg.grad is not None and reg.grad.abs().sum() == 0


def test_both_divisors_are_averaged_over_ranks(unit: Unit) -> None:
    targets = make_targets(unit.record["gt_bbox"], [[0] * len(rows) for rows in unit.record["gt_bbox"]])
    args = (*unit.logits(), *grid(640, STRIDES), targets, RANGE)
    alone, shared = picodet_loss(*args), picodet_loss(*args, lambda divisors: divisors * 2)
    for term in ("total", "cls", "iou", "dfl"):
        assert getattr(shared, term).item() == pytest.approx(getattr(alone, term).item() / 2, rel=1e-6)


def test_bf16_predictions_are_computed_in_float32(unit: Unit) -> None:
    targets = make_targets(unit.record["gt_bbox"], [[0] * len(rows) for rows in unit.record["gt_bbox"]])
    rounded = [x.detach().bfloat16() for x in unit.logits()]
    with torch.autocast("cpu", torch.bfloat16):
        low = picodet_loss(rounded[0], rounded[1], *grid(640, STRIDES), targets, RANGE)
    high = picodet_loss(rounded[0].float(), rounded[1].float(), *grid(640, STRIDES), targets, RANGE)
    assert low.total.dtype == torch.float32
    assert torch.equal(low.total, high.total)


def test_ignored_anchors_get_no_gradient_unless_they_are_positive(unit: Unit) -> None:
    anchors, strides = grid(640, STRIDES)
    targets = make_targets(unit.record["gt_bbox"], [[0] * len(rows) for rows in unit.record["gt_bbox"]])
    everywhere = torch.tensor([[[0.0, 0.0, 640.0, 640.0]]] * 3)
    ignore = anchors_inside(anchors * strides, everywhere, torch.ones(3, 1, dtype=torch.bool))
    cls, reg = (x.detach().requires_grad_() for x in unit.logits())
    picodet_loss(cls, reg, anchors, strides, replace(targets, ignore=ignore), RANGE).total.backward()
    assert cls.grad is not None and reg.grad is not None
    assert torch.equal(cls.grad.abs().sum(-1) > 0, reg.grad.abs().sum(-1) > 0)
