"""The detection loss: classification by varifocal loss, boxes by GIoU and a distribution over distances.

Tensor legend: B images, L anchors, C classes, P positive anchors, n bins a side. Boxes and distances are in grid units
(pixels / stride of the level) unless the name ends in `_px`. Everything is computed in float32.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from eyas.train.assign import Assignment, Targets, TaskAlignedAssigner

CLS_WEIGHT, IOU_WEIGHT, DFL_WEIGHT = 1.0, 2.5, 0.5
"""Weights of the three terms, as the published PP-YOLOE SOD weights were trained."""

NEGATIVE_WEIGHT = 0.75
PROBABILITY_RANGE = (1e-30, 1 - 1e-7)
"""Keeps both logarithms and their gradients finite in float32; only 1 itself and the two numbers below it are cut."""

BOX_EPS = 1e-10
TARGET_MARGIN = 0.01

_ASSIGNER = TaskAlignedAssigner()


@dataclass(frozen=True)
class LossTerms:
    """Scalars float32. `total` carries the gradient; `cls`, `iou`, `dfl` are its detached terms before weighting;
    `l1` is the mean distance between predicted and assigned corners of the positives, reported and not trained."""

    total: Tensor
    cls: Tensor
    iou: Tensor
    dfl: Tensor
    l1: Tensor


def detection_loss(
    scores: Tensor,
    reg_logits: Tensor,
    anchors: Tensor,
    strides: Tensor,
    targets: Targets,
    reg_range: tuple[int, int],
    mean_over_ranks: Callable[[Tensor], Tensor] | None = None,
) -> LossTerms:
    """1.0 varifocal + 2.5 GIoU + 0.5 DFL, each divided by max(sum of the assigned scores, 1).

    scores [B,L,C] after the sigmoid; reg_logits [B,L,4n], side-major; anchors [L,2] centres (x, y) in grid units;
    strides [L,1] pixels; `reg_range` = (first bin, one past the last) in strides. `mean_over_ranks` averages the
    divisor over the processes of a distributed run, so that every rank weighs its images alike.

    Safe under autocast; a batch without objects gives zero box terms whose gradient is zero, not absent.
    """
    with torch.autocast(scores.device.type, enabled=False):
        scores, reg_logits = scores.float(), reg_logits.float()
        with torch.no_grad():
            boxes_px = expected_boxes(reg_logits, anchors, reg_range) * strides
        assigned = _ASSIGNER.assign(scores.detach(), boxes_px, anchors * strides, strides, targets)
        divisor = assigned.scores.sum()
        divisor = (mean_over_ranks(divisor) if mean_over_ranks else divisor).clamp(min=1.0)
        cls = varifocal(scores, assigned, targets.ignore) / divisor
        iou, dfl, l1 = _box_terms(reg_logits, anchors, strides, assigned, reg_range)
        iou, dfl = iou / divisor, dfl / divisor
        total = CLS_WEIGHT * cls + IOU_WEIGHT * iou + DFL_WEIGHT * dfl
    return LossTerms(total, cls.detach(), iou.detach(), dfl.detach(), l1)


def varifocal(scores: Tensor, assigned: Assignment, ignore: Tensor | None = None) -> Tensor:
    """Sum over all anchors and classes of the varifocal loss (Zhang et al. 2021) on probabilities `scores` [B,L,C].

    The assigned class of a positive: q * BCE(p, q) with its target score q. Everything else: 0.75 p^2 * BCE(p, 0),
    and the gradient flows through the p^2 as well. Anchors in `ignore` [B,L] that are not positive give nothing.
    """
    image, anchor = assigned.positive.nonzero(as_tuple=True)
    label = assigned.labels[image, anchor]
    skip = torch.zeros_like(scores, dtype=torch.bool)
    if ignore is not None:
        skip |= (ignore & ~assigned.positive)[..., None]
    skip[image, anchor, label] = True
    p = scores.clamp(*PROBABILITY_RANGE)
    background = p.masked_fill(skip, 0.0)
    negatives = -NEGATIVE_WEIGHT * (background.square() * torch.log1p(-background)).sum()
    p, q = p[image, anchor, label], assigned.scores[image, anchor]
    positives = -(q * (q * p.log() + (1 - q) * torch.log1p(-p))).sum()
    return negatives + positives


def giou(first: Tensor, second: Tensor) -> Tensor:
    """Generalised IoU (Rezatofighi et al. 2019) of paired boxes [P,4] xyxy -> [P] in [-1, 1] for boxes of area > 0."""
    x1, y1, x2, y2 = first.unbind(-1)
    u1, v1, u2, v2 = second.unbind(-1)
    width = (torch.minimum(x2, u2) - torch.maximum(x1, u1)).clamp(min=0)
    height = (torch.minimum(y2, v2) - torch.maximum(y1, v1)).clamp(min=0)
    shared = width * height
    union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - shared + BOX_EPS
    hull_width = torch.maximum(x2, u2) - torch.minimum(x1, u1)
    hull = hull_width * (torch.maximum(y2, v2) - torch.minimum(y1, v1)) + BOX_EPS
    return shared / union - (hull - union) / hull


def distribution_focal(logits: Tensor, distances: Tensor, reg_range: tuple[int, int]) -> Tensor:
    """Distribution focal loss (Li et al. 2020), mean over the four sides.

    logits [P,4,n], distances [P,4] in strides; they are first clipped to the bins that exist. -> [P]: the cross entropy
    with the two bins next to the distance, each weighted by its nearness.
    """
    first, end = reg_range
    distances = distances.clamp(first, end - 1 - TARGET_MARGIN) - first
    left = distances.floor().long()
    part = distances - left
    log_bins = logits.log_softmax(-1)
    left_log = log_bins.gather(-1, left[..., None])[..., 0]
    right_log = log_bins.gather(-1, left[..., None] + 1)[..., 0]
    return -((1 - part) * left_log + part * right_log).mean(-1)


def expected_boxes(reg_logits: Tensor, anchors: Tensor, reg_range: tuple[int, int]) -> Tensor:
    """Distance logits [..., L, 4n] and centres [L, 2] -> boxes [..., L, 4] xyxy by the expected distances.

    Distances may be negative, so a box may be inverted.
    """
    bins = torch.arange(*reg_range, dtype=reg_logits.dtype, device=reg_logits.device)
    # [..., 4, n, L]: the layout the head computed in; a softmax over the last dimension is 8 times slower on CPU
    sides = reg_logits.view(*reg_logits.shape[:-1], 4, len(bins)).movedim(-3, -1)
    distances = (sides.softmax(-2) * bins[:, None]).sum(-2).transpose(-1, -2)
    return torch.cat([anchors - distances[..., :2], anchors + distances[..., 2:]], -1)


def _box_terms(
    reg_logits: Tensor, anchors: Tensor, strides: Tensor, assigned: Assignment, reg_range: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over the positives of GIoU loss and DFL, weighted by the assigned scores, and the mean corner distance."""
    image, anchor = assigned.positive.nonzero(as_tuple=True)
    logits, centres = reg_logits[image, anchor], anchors[anchor]
    wanted = assigned.boxes[image, anchor] / strides[anchor]
    weight = assigned.scores[image, anchor]
    predicted = expected_boxes(logits, centres, reg_range)
    iou = ((1 - giou(predicted, wanted)) * weight).sum()
    distances = torch.cat([centres - wanted[:, :2], wanted[:, 2:] - centres], -1)
    dfl = (
        distribution_focal(logits.view(len(logits), 4, reg_range[1] - reg_range[0]), distances, reg_range) * weight
    ).sum()
    l1 = (predicted.detach() - wanted).abs().sum() / max(wanted.numel(), 1)
    return iou, dfl, l1
