"""The detection loss and its gradients against the reference, and what must hold for any prediction."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import weights
from tests.train.targets import Unit, grid, load_unit, make_targets
from torch import Tensor

from eyas.train.assign import Assignment, Targets
from eyas.train.losses import (
    LossTerms,
    detection_loss,
    distribution_focal,
    expected_boxes,
    giou,
    varifocal,
)

RANGE = (-2, 8)


def unit_loss(unit: Unit, targets: Targets) -> LossTerms:
    return detection_loss(unit.scores, unit.reg_logits, unit.anchors, unit.strides, targets, RANGE)


def assert_terms(got: LossTerms, expected: dict[str, float]) -> None:
    assert got.total.item() == pytest.approx(expected["loss"], rel=1e-5)
    assert got.cls.item() == pytest.approx(expected["loss_cls"], rel=1e-5)
    assert got.iou.item() == pytest.approx(expected["loss_iou"], rel=1e-5)
    assert got.dfl.item() == pytest.approx(expected["loss_dfl"], rel=1e-5)
    assert got.l1.item() == pytest.approx(expected["loss_l1"], rel=1e-5)


def test_unit_case_equals_the_reference(reference: Path) -> None:
    unit = load_unit(reference)
    got = unit_loss(unit, unit.targets)
    assert_terms(got, unit.record["loss"])
    got.total.backward()
    grad_scores, grad_dist = unit.scores.grad, unit.reg_logits.grad
    assert grad_scores is not None and grad_dist is not None
    norms = np.linalg.norm(grad_scores.double().numpy(), axis=(1, 2))
    np.testing.assert_allclose(norms, unit.arrays["grad_scores_norm"], rtol=1e-5)
    norms = np.linalg.norm(grad_dist.double().numpy(), axis=(1, 2))
    np.testing.assert_allclose(norms, unit.arrays["grad_dist_norm"], rtol=1e-5)
    largest = unit.arrays["grad_scores__stat"][3]
    assert weights.check("grad_scores", grad_scores.numpy(), unit.arrays) < 1e-6 * largest
    image, anchor = unit.arrays["pos_index"].T
    expected = unit.arrays["grad_dist_pos"]
    np.testing.assert_allclose(grad_dist.numpy()[image, anchor], expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("key", "boxes", "classes"),
    [
        ("loss_no_gt", [[], [], []], [[], [], []]),
        ("loss_zero_width_gt", [[[8, 8, 8, 24]], [], [[30, 30, 30, 30]]], [[1], [], [2]]),
    ],
)
def test_a_batch_without_objects(reference: Path, key: str, boxes: list[Any], classes: list[Any]) -> None:
    unit = load_unit(reference)
    got = unit_loss(unit, make_targets(boxes, classes, padding=1))
    assert_terms(got, unit.record[key])
    got.total.backward()
    assert unit.reg_logits.grad is not None and unit.scores.grad is not None
    assert unit.reg_logits.grad.abs().sum() == 0
    assert unit.scores.grad.gt(0).all()


def test_bf16_predictions_are_computed_in_float32(reference: Path) -> None:
    unit = load_unit(reference)
    rounded = [x.detach().bfloat16() for x in (unit.scores, unit.reg_logits)]
    exact = [x.float() for x in rounded]
    with torch.autocast("cpu", torch.bfloat16):
        low = detection_loss(*rounded, unit.anchors, unit.strides, unit.targets, RANGE)
    high = detection_loss(*exact, unit.anchors, unit.strides, unit.targets, RANGE)
    assert low.total.dtype == torch.float32
    assert torch.equal(low.total, high.total)


def test_the_divisor_is_averaged_over_ranks(reference: Path) -> None:
    unit = load_unit(reference)
    args = (unit.scores, unit.reg_logits, unit.anchors, unit.strides, unit.targets, RANGE)
    alone, shared = detection_loss(*args), detection_loss(*args, lambda total: total * 2)
    tiny = detection_loss(*args, lambda total: total * 0)
    sum_of_scores = unit.record["assign"]["scores_sum"]
    assert shared.total.item() == pytest.approx(alone.total.item() / 2, rel=1e-6)
    assert tiny.dfl.item() == pytest.approx(alone.dfl.item() * sum_of_scores, rel=1e-5)


def test_total_is_the_weighted_sum(reference: Path) -> None:
    unit = load_unit(reference)
    got = unit_loss(unit, unit.targets)
    assert got.total.item() == pytest.approx((got.cls + 2.5 * got.iou + 0.5 * got.dfl).item(), rel=1e-6)
    assert got.total.requires_grad
    assert not any(term.requires_grad for term in (got.cls, got.iou, got.dfl, got.l1))


# ---- regions that count as neither


SMALL_ANCHORS, SMALL_STRIDES = grid(64)
SMALL_TARGETS = make_targets([[[6.0, 6.0, 30.0, 28.0]]], [[1]])


def small_gradients(ignore: Tensor | None) -> tuple[Tensor, Tensor]:
    """Gradients of the loss with regard to fixed scores [1,84,3] and distance logits [1,84,40]."""
    generator = torch.Generator().manual_seed(3)
    scores = (torch.rand(1, 84, 3, generator=generator) * 0.8 + 0.1).requires_grad_()
    logits = torch.randn(1, 84, 40, generator=generator).requires_grad_()
    targets = replace(SMALL_TARGETS, ignore=ignore)
    detection_loss(scores, logits, SMALL_ANCHORS, SMALL_STRIDES, targets, RANGE).total.backward()
    assert scores.grad is not None and logits.grad is not None
    return scores.grad, logits.grad


@settings(max_examples=25, deadline=None)
@given(st.lists(st.booleans(), min_size=84, max_size=84))
def test_ignored_anchors_get_no_gradient_and_the_rest_the_same(flags: list[bool]) -> None:
    ignore = torch.tensor([flags])
    plain_scores, plain_logits = small_gradients(None)
    scores, logits = small_gradients(ignore)
    positive = plain_logits.abs().sum(-1) > 0
    assert 0 < positive.sum() <= 13
    dropped = ignore & ~positive
    assert scores[dropped].abs().sum() == 0
    assert torch.equal(scores[~dropped], plain_scores[~dropped])
    assert torch.equal(logits, plain_logits)


# ---- varifocal


def assignment(labels: list[int], scores: list[float], num_classes: int) -> Assignment:
    label = torch.tensor([labels])
    return Assignment(label, torch.zeros(1, len(labels), 4), torch.tensor([scores]), label < num_classes)


def test_varifocal_by_hand_with_the_gradient_through_its_weight() -> None:
    p = torch.tensor([[[0.2, 0.6], [0.3, 0.9]]], dtype=torch.float64, requires_grad=True)
    q = 0.7
    got = varifocal(p, assignment([1, 2], [q, 0.0], 2))

    def negative(x: float) -> float:
        return float(-0.75 * x * x * np.log(1 - x))

    def slope(x: float) -> float:
        return float(-1.5 * x * np.log(1 - x) + 0.75 * x * x / (1 - x))

    positive = -q * (q * np.log(0.6) + (1 - q) * np.log(0.4))
    assert got.item() == pytest.approx(negative(0.2) + positive + negative(0.3) + negative(0.9), rel=1e-6)
    got.backward()
    expected = [[slope(0.2), q * (0.6 - q) / (0.6 * 0.4)], [slope(0.3), slope(0.9)]]
    assert p.grad is not None
    np.testing.assert_allclose(p.grad[0].numpy(), expected, rtol=1e-6)


def test_varifocal_stays_finite_for_certain_scores() -> None:
    p = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]], requires_grad=True)
    got = varifocal(p, assignment([0, 2], [1.0, 0.0], 2))
    got.backward()
    assert torch.isfinite(got)
    assert p.grad is not None and torch.isfinite(p.grad).all()


# ---- GIoU


def test_giou_by_hand() -> None:
    first = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    second = torch.tensor([[0.0, 0.0, 2.0, 2.0], [2.0, 0.0, 3.0, 1.0], [0.5, 0.0, 1.5, 1.0]])
    torch.testing.assert_close(giou(first, second), torch.tensor([1.0, -1 / 3, 1 / 3]))


position, length = st.floats(-50, 50, width=32), st.floats(0.125, 50, width=32)
sized_box = st.tuples(position, position, length, length)


@given(sized_box, sized_box)
def test_giou_is_bounded_symmetric_and_at_most_iou(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    first, second = (torch.tensor([[x, y, x + w, y + h]], dtype=torch.float64) for x, y, w, h in (a, b))
    value = giou(first, second).item()
    assert -1 - 1e-9 <= value <= 1 + 1e-9
    assert value == pytest.approx(giou(second, first).item(), abs=1e-12)
    if a == b:
        assert value == pytest.approx(1, abs=1e-6)


# ---- distances


@settings(deadline=None)
@given(st.integers(-2, 6), st.integers(0, 1000))
def test_dfl_of_a_whole_distance_is_the_cross_entropy_of_its_bin(distance: int, seed: int) -> None:
    logits = torch.randn(1, 4, 10, generator=torch.Generator().manual_seed(seed))
    got = distribution_focal(logits, torch.full((1, 4), float(distance)), RANGE)
    torch.testing.assert_close(got[0], -logits[0].log_softmax(-1)[:, distance + 2].mean())


def test_dfl_shares_a_distance_between_its_neighbours_and_clips() -> None:
    logits = torch.randn(1, 4, 10, generator=torch.Generator().manual_seed(0))
    log = logits[0].log_softmax(-1)
    got = distribution_focal(logits, torch.tensor([[0.25, -9.0, 99.0, 6.5]]), RANGE)
    expected = -torch.stack(
        [
            0.75 * log[0, 2] + 0.25 * log[0, 3],
            log[1, 0],
            0.01 * log[2, 8] + 0.99 * log[2, 9],
            0.5 * log[3, 8] + 0.5 * log[3, 9],
        ]
    ).mean()
    torch.testing.assert_close(got[0], expected)


@pytest.mark.parametrize("bins", [(-2, 8), (-2, 20)])
def test_expected_boxes_of_certain_bins(bins: tuple[int, int]) -> None:
    logits = torch.full((1, 4, bins[1] - bins[0]), -50.0)
    for side, distance in enumerate((-1, 0, 3, 5)):
        logits[0, side, distance - bins[0]] = 50.0
    boxes = expected_boxes(logits.reshape(1, -1), torch.tensor([[2.5, 4.5]]), bins)
    torch.testing.assert_close(boxes, torch.tensor([[3.5, 4.5, 5.5, 9.5]]))


def test_expected_boxes_do_not_depend_on_memory_layout() -> None:
    logits = torch.randn(2, 40, 84, generator=torch.Generator().manual_seed(0)).transpose(1, 2)
    anchors, _ = grid(64)
    torch.testing.assert_close(
        expected_boxes(logits, anchors, RANGE), expected_boxes(logits.contiguous(), anchors, RANGE)
    )
