"""Targets and reference predictions shared by the tests of assignment and losses."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests.reference import weights
from torch import Tensor

from eyas.models.ppyoloe import anchor_grid
from eyas.train.assign import Targets

MODEL = "PP-YOLOE_plus_SOD-S"
STRIDES = (32, 16, 8)


def make_targets(boxes: Sequence[Sequence[Any]], classes: Sequence[Sequence[int]], padding: int = 0) -> Targets:
    """Lists of boxes and classes, one an image -> padded tensors with `padding` more rows than needed."""
    rows = max(map(len, boxes)) + padding
    targets = Targets(
        torch.zeros(len(boxes), rows, 4),
        torch.zeros(len(boxes), rows, dtype=torch.int64),
        torch.zeros(len(boxes), rows, dtype=torch.bool),
    )
    for i, (image_boxes, image_classes) in enumerate(zip(boxes, classes, strict=True)):
        count = len(image_boxes)
        targets.boxes[i, :count] = torch.tensor(image_boxes, dtype=torch.float32).reshape(-1, 4)
        targets.classes[i, :count] = torch.tensor(image_classes, dtype=torch.int64)
        targets.valid[i, :count] = True
    return targets


def grid(size: int, strides: Sequence[int] = STRIDES) -> tuple[Tensor, Tensor]:
    """Anchor centres in grid units and strides of a square input."""
    return anchor_grid([torch.Size((size // s, size // s)) for s in strides], tuple(strides))


@dataclass(frozen=True)
class Unit:
    """The well-conditioned reference case: predictions made by a formula at 640 pixels."""

    record: dict[str, Any]
    arrays: Any
    scores: Tensor
    reg_logits: Tensor
    anchors: Tensor
    strides: Tensor

    @property
    def targets(self) -> Targets:
        return make_targets(self.record["gt_bbox"], self.record["gt_class"])


def load_unit(reference: Path) -> Unit:
    """The reference case with leaf tensors that collect gradients."""
    scores = weights.uniform(f"{MODEL}/unit/scores", (3, 8400, 10)) ** 2 * np.float32(0.98) + np.float32(0.01)
    logits = weights.normal(f"{MODEL}/unit/dist", (3, 8400, 40)) * np.float32(1.5)
    anchors, strides = grid(640)
    return Unit(
        record=json.loads((reference / MODEL / "loss_unit.json").read_text()),
        arrays=np.load(reference / MODEL / "loss_unit.npz"),
        scores=torch.from_numpy(scores).requires_grad_(),
        reg_logits=torch.from_numpy(logits).requires_grad_(),
        anchors=anchors,
        strides=strides,
    )
