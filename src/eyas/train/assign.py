"""Which anchor learns which object: task-aligned assignment with a centre radius.

Tensor legend: B images, L anchors over all levels, C classes, N padded objects an image, n objects of one image.
Pixels are those of the network's input.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

IOU_EPS = 1e-9


@dataclass(frozen=True)
class Targets:
    """The objects of a batch: boxes [B,N,4] xyxy in input pixels, class ids [B,N] int64, and which rows are objects
    and not padding [B,N] bool. `ignore` [B,L] bool, where given, marks anchors inside regions that count neither as
    object nor as background (see `anchors_inside`)."""

    boxes: Tensor
    classes: Tensor
    valid: Tensor
    ignore: Tensor | None = None


@dataclass(frozen=True)
class Assignment:
    """What each anchor should predict: label [B,L] int64 (C means background), box [B,L,4] xyxy in input pixels
    (zeros on background), score [B,L] for that label (0 on background), positive [B,L] bool."""

    labels: Tensor
    boxes: Tensor
    scores: Tensor
    positive: Tensor


@dataclass(frozen=True)
class TaskAlignedAssigner:
    """Gives each object the anchors that already predict it best: metric = score^alpha * IoU^beta.

    Among all anchors the `topk` with the largest metric are taken for each object; those remain whose centre lies
    in the object or within `center_radius` strides (a square) of its centre. An object that holds no anchor centre at
    all prefers the anchors near its centre (metric + 1), so that tiny objects are learnt too. An anchor wanted by
    several objects goes to the one it overlaps most. Its target score is metric / (largest metric of the object) *
    (largest IoU of the object). This is TOOD's alignment (Feng et al. 2021) as the published PP-YOLOE SOD weights
    were trained, centre radius included.

    Boxes without width or height are no objects. Work is done image by image on [n, L] matrices: nothing of size
    B*N*L or n*L*C is made.
    """

    topk: int = 13
    alpha: float = 1.0
    beta: float = 6.0
    center_radius: float = 1.0
    eps: float = 1e-9

    @torch.no_grad()
    def assign(
        self, scores: Tensor, boxes_px: Tensor, anchors_px: Tensor, strides: Tensor, targets: Targets
    ) -> Assignment:
        """Assign every anchor of a batch.

        scores [B,L,C] after the sigmoid, boxes_px [B,L,4] predicted xyxy, anchors_px [L,2] centres, strides [L] or
        [L,1]; all in input pixels, float32. The result carries no gradient.
        """
        batch, anchors, num_classes = scores.shape
        result = Assignment(
            labels=torch.full((batch, anchors), num_classes, dtype=torch.int64, device=scores.device),
            boxes=scores.new_zeros(batch, anchors, 4),
            scores=scores.new_zeros(batch, anchors),
            positive=torch.zeros(batch, anchors, dtype=torch.bool, device=scores.device),
        )
        sized = targets.valid & (targets.boxes[..., 2:] > targets.boxes[..., :2]).all(-1)
        strides = strides.reshape(-1)
        for i, keep in enumerate(sized):
            boxes, classes = targets.boxes[i, keep].to(scores.dtype), targets.classes[i, keep]
            if not len(boxes):
                continue
            iou = box_iou(boxes, boxes_px[i])
            # classes of one image repeat: gather [n, L] straight from the scores, never [n, L, C]
            metric = scores[i].t().index_select(0, classes).pow_(self.alpha).mul_(iou.pow(self.beta))
            inside = points_inside(anchors_px, boxes)
            near = self._near_centre(anchors_px, strides, boxes)
            wanted = self._select(metric, inside, near)
            self._write(result, i, (boxes, classes), (metric, iou, wanted))
        return result

    def _near_centre(self, anchors_px: Tensor, strides: Tensor, boxes: Tensor) -> Tensor:
        """[n,L] bool: the object's centre lies in the square of `center_radius` strides around the anchor."""
        reach = strides[:, None] * self.center_radius
        squares = torch.cat([anchors_px - reach, anchors_px + reach], 1)
        return _within((boxes[:, None, :2] + boxes[:, None, 2:]) / 2, squares)

    def _select(self, metric: Tensor, inside: Tensor, near: Tensor) -> Tensor:
        """[n,L] bool: the anchors that each object wants."""
        holds_none = ~inside.any(1, keepdim=True)
        best = (metric + (near & holds_none)).topk(min(self.topk, metric.shape[1]), dim=1).indices
        return torch.zeros_like(inside).scatter_(1, best, True) & (inside | near)

    def _write(
        self, result: Assignment, image: int, objects: tuple[Tensor, Tensor], rows: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        """Resolve conflicts of one image and write its rows of `result`; `rows` are metric, IoU, wanted, all [n,L]."""
        anchor = rows[2].any(0).nonzero()[:, 0]
        if not len(anchor):
            return
        metric, iou, wanted = (x[:, anchor] for x in rows)
        owner = torch.where(wanted, iou, -1.0).argmax(0)
        mine = torch.zeros_like(wanted).scatter_(0, owner[None], True)
        metric, iou = metric * mine, iou * mine
        score = metric / (metric.amax(1, keepdim=True) + self.eps) * iou.amax(1, keepdim=True)
        boxes, classes = objects
        result.labels[image, anchor] = classes[owner]
        result.boxes[image, anchor] = boxes[owner]
        result.scores[image, anchor] = score.amax(0)
        result.positive[image, anchor] = True


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU [n,L] of every box of `first` [n,4] with every box of `second` [L,4], xyxy. Inverted boxes have no area."""
    x1, y1, x2, y2 = first[:, None].unbind(-1)
    u1, v1, u2, v2 = second.t().contiguous()
    shared = torch.minimum(x2, u2).sub_(torch.maximum(x1, u1)).clamp_(min=0)
    shared *= torch.minimum(y2, v2).sub_(torch.maximum(y1, v1)).clamp_(min=0)
    area_first = (x2 - x1).clamp(min=0) * (y2 - y1).clamp(min=0)
    area_second = (u2 - u1).clamp(min=0) * (v2 - v1).clamp(min=0)
    union = (area_first + area_second).sub_(shared).add_(IOU_EPS)
    return shared.div_(union)


def points_inside(points: Tensor, boxes: Tensor) -> Tensor:
    """[n,L] bool: point [L,2] lies strictly inside box [n,4] xyxy."""
    return _within(points, boxes[:, None])


def _within(points: Tensor, boxes: Tensor) -> Tensor:
    """Strictly inside, for points [..., 2] and boxes [..., 4] whose leading dimensions broadcast."""
    x, y = (c.contiguous() for c in points.unbind(-1))
    x1, y1, x2, y2 = (c.contiguous() for c in boxes.unbind(-1))
    return (x > x1) & (x < x2) & (y > y1) & (y < y2)


def anchors_inside(anchors_px: Tensor, regions: Tensor, valid: Tensor) -> Tensor:
    """[B,L] bool for `Targets.ignore`: the anchor centre [L,2] lies in one of the image's valid regions [B,R,4]."""
    rows = [points_inside(anchors_px, boxes[keep]).any(0) for boxes, keep in zip(regions, valid, strict=True)]
    return torch.stack(rows)
