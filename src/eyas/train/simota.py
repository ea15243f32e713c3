"""Which anchor learns which object in PicoDet: SimOTA.

Tensor legend: B images, L anchors over all levels, V candidate anchors of one image, C classes, n objects of one image.
Pixels are those of the network's input.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from eyas.train.assign import Assignment, Targets, box_iou, points_inside
from eyas.train.losses import NEGATIVE_WEIGHT, PROBABILITY_RANGE, giou

FAR = 1e8


@dataclass(frozen=True)
class SimOTAAssigner:
    """Gives each object the anchors that predict it at the least cost (Ge et al. 2021, as PicoDet was trained).

    cost = varifocal loss of the class + `iou_weight` * (1 - GIoU) + 1e8 unless the anchor's centre lies in the object
    and within `center_radius` strides (a square) of its centre. Anchors near no object at all are no candidates. An
    object takes as many anchors as its `topk` best IoUs add up to, one at least. An anchor taken by several objects
    goes to the one it costs least.

    The published training adds the 1e8 in float32, where it swallows the cost beside it: an object whose box holds no
    centre, hence no cheap anchor, then takes the first candidate of the picture, wherever that lies. `far_type` is the
    type of that sum; in float64 such an object takes the anchor that predicts it best.
    """

    topk: int = 10
    center_radius: float = 2.5
    iou_weight: float = 6.0
    far_type: torch.dtype = torch.float64

    @torch.no_grad()
    def assign(
        self, scores: Tensor, boxes_px: Tensor, anchors_px: Tensor, strides: Tensor, targets: Targets
    ) -> Assignment:
        """Assign every anchor of a batch; the score of a positive is the IoU of its predicted box with its object.

        scores [B,L,C] after the sigmoid, boxes_px [B,L,4] predicted xyxy, anchors_px [L,2] centres, strides [L] or
        [L,1]; all in input pixels, float32. The result carries no gradient. Boxes without area are no objects.
        """
        batch, anchors, num_classes = scores.shape
        result = Assignment(
            labels=torch.full((batch, anchors), num_classes, dtype=torch.int64, device=scores.device),
            boxes=scores.new_zeros(batch, anchors, 4),
            scores=scores.new_zeros(batch, anchors),
            positive=torch.zeros(batch, anchors, dtype=torch.bool, device=scores.device),
        )
        sized = targets.valid & (targets.boxes[..., 2:] > targets.boxes[..., :2]).all(-1)
        for i, keep in enumerate(sized):
            boxes, classes = targets.boxes[i, keep].to(scores.dtype), targets.classes[i, keep]
            inside = points_inside(anchors_px, boxes)
            near = self._near_centre(anchors_px, strides.reshape(-1), boxes)
            candidate = (inside | near).any(0).nonzero()[:, 0]
            if not len(candidate):
                continue
            predicted = boxes_px[i, candidate]
            iou = box_iou(boxes, predicted)
            cost = class_cost(scores[i, candidate], classes, iou)
            cost += self.iou_weight * (1 - giou(predicted, boxes[:, None]))
            cost = cost.to(self.far_type) + FAR * ~(inside & near)[:, candidate]
            wanted = self._wanted(cost, iou)
            # As published, the cheapest object of all gets a contested anchor, whether it wanted it or not.
            owner = torch.where(wanted.sum(0) > 1, cost.argmin(0), wanted.int().argmax(0))
            taken = wanted.any(0)
            anchor, owner = candidate[taken], owner[taken]
            result.labels[i, anchor] = classes[owner]
            result.boxes[i, anchor] = boxes[owner]
            result.scores[i, anchor] = iou[owner, taken.nonzero()[:, 0]]
            result.positive[i, anchor] = True
        return result

    def _near_centre(self, anchors_px: Tensor, strides: Tensor, boxes: Tensor) -> Tensor:
        """[n,L] bool: the anchor lies in the square of `center_radius` strides around the object's centre."""
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        return (anchors_px - centres[:, None]).abs().amax(-1) < self.center_radius * strides

    def _wanted(self, cost: Tensor, iou: Tensor) -> Tensor:
        """[n,V] bool: the cheapest anchors of each object, as many as its best IoUs add up to."""
        most = min(self.topk, cost.shape[1])
        count = iou.topk(most, dim=1).values.sum(1).int().clamp(min=1)
        cheapest = cost.argsort(dim=1, stable=True)[:, :most]
        rank = torch.arange(most, device=cost.device)
        return torch.zeros_like(cost, dtype=torch.bool).scatter_(1, cheapest, rank < count[:, None])


def class_cost(scores: Tensor, classes: Tensor, iou: Tensor) -> Tensor:
    """[n,V]: the varifocal loss of the scores [V,C] if the anchor were to predict the object's class with its IoU."""
    p = scores.clamp(*PROBABILITY_RANGE)
    background = -NEGATIVE_WEIGHT * p.square() * torch.log1p(-p)
    own, p = background.t()[classes], p.t()[classes]
    foreground = -iou * (iou * p.log() + (1 - iou) * torch.log1p(-p))
    # without any overlap the class counts as background
    return background.sum(1) - own + torch.where(iou > 0, foreground, own)
