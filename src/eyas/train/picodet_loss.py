"""The loss of PicoDet: that of `eyas.train.losses` with another assigner and other weights.

Tensor legend: B images, L anchors, C classes, P positive anchors, n bins a side.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from eyas.train.assign import Assignment, Targets
from eyas.train.losses import NEGATIVE_WEIGHT, LossTerms, distribution_focal, expected_boxes, giou
from eyas.train.simota import SimOTAAssigner

CLS_WEIGHT, IOU_WEIGHT, DFL_WEIGHT = 1.0, 2.0, 0.25
"""Weights of the three terms, as the published PP-ShiTuV2 weights were trained."""

TARGET_MARGIN = 0.1
ASSIGNER = SimOTAAssigner()


def picodet_loss(
    cls_logits: Tensor,
    reg_logits: Tensor,
    anchors: Tensor,
    strides: Tensor,
    targets: Targets,
    reg_range: tuple[int, int],
    mean_over_ranks: Callable[[Tensor], Tensor] | None = None,
) -> LossTerms:
    """1.0 varifocal / positives + (2.0 GIoU + 0.25 DFL) / sum of their weights; both divisors are at least 1.

    A positive's target score is the IoU of its predicted box; its box terms are weighted by the best of its predicted
    scores. The arguments are those of `eyas.train.losses.detection_loss`, except that the classes [B,L,C] are logits;
    `mean_over_ranks` averages both divisors.

    Safe under autocast; a batch without objects gives zero box terms whose gradient is zero, not absent.
    """
    with torch.autocast(cls_logits.device.type, enabled=False):
        cls_logits, reg_logits = cls_logits.float(), reg_logits.float()
        scores = cls_logits.detach().sigmoid()
        with torch.no_grad():
            boxes_px = expected_boxes(reg_logits, anchors, reg_range) * strides
        assigned = ASSIGNER.assign(scores, boxes_px, anchors * strides, strides, targets)
        image, anchor = assigned.positive.nonzero(as_tuple=True)
        weight = scores[image, anchor].amax(-1)
        divisors = torch.stack([weight.new_tensor(float(len(image))), weight.sum()])
        divisors = (mean_over_ranks(divisors) if mean_over_ranks else divisors).clamp(min=1.0)
        cls = varifocal_of_logits(cls_logits, assigned, targets.ignore) / divisors[0]
        wanted = assigned.boxes[image, anchor] / strides[anchor]
        iou, dfl, l1 = _box_terms(reg_logits[image, anchor], anchors[anchor], wanted, weight, reg_range)
        iou, dfl = iou / divisors[1], dfl / divisors[1]
        total = CLS_WEIGHT * cls + IOU_WEIGHT * iou + DFL_WEIGHT * dfl
    return LossTerms(total, cls.detach(), iou.detach(), dfl.detach(), l1)


def varifocal_of_logits(logits: Tensor, assigned: Assignment, ignore: Tensor | None = None) -> Tensor:
    """`eyas.train.losses.varifocal` of logits [B,L,C], whose gradient does not vanish where the sigmoid is 1.

    A positive whose target score is 0 counts as background.
    """
    image, anchor = (assigned.positive & (assigned.scores > 0)).nonzero(as_tuple=True)
    label = assigned.labels[image, anchor]
    counts = torch.ones_like(logits)
    if ignore is not None:
        counts = counts.masked_fill((ignore & ~assigned.positive)[..., None], 0.0)
    counts[image, anchor, label] = 0.0
    negatives = NEGATIVE_WEIGHT * (counts * logits.sigmoid().square() * F.softplus(logits)).sum()
    x, q = logits[image, anchor, label], assigned.scores[image, anchor]
    return negatives + (q * (F.softplus(x) - q * x)).sum()


def _box_terms(
    logits: Tensor, centres: Tensor, wanted: Tensor, weight: Tensor, reg_range: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over the positives of GIoU loss and DFL, weighted, and the mean corner distance.

    logits [P,4n], centres [P,2] and wanted boxes [P,4] in grid units, weight [P].
    """
    # each row has an anchor of its own, while `expected_boxes` has one set for all
    predicted = expected_boxes(logits, centres, reg_range)
    iou = ((1 - giou(predicted, wanted)) * weight).sum()
    distances = torch.cat([centres - wanted[:, :2], wanted[:, 2:] - centres], -1)
    distances = distances.clamp(max=reg_range[1] - 1 - TARGET_MARGIN)
    dfl = (
        distribution_focal(logits.unflatten(-1, (4, reg_range[1] - reg_range[0])), distances, reg_range) * weight
    ).sum()
    l1 = (predicted.detach() - wanted).abs().sum() / max(wanted.numel(), 1)
    return iou, dfl, l1
