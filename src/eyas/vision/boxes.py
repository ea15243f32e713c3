"""Geometry of axis-aligned boxes: float32 [N, 4] rows x1, y1, x2, y2 in pixels, half-open."""

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]
Floats = NDArray[np.float32]


def area(boxes: Boxes) -> Floats:
    """Areas float32 [N] in square pixels; a box whose right or bottom edge lies before the other one has area 0."""
    size = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    areas: Floats = size[:, 0] * size[:, 1]
    return areas


def iou_matrix(a: Boxes, b: Boxes) -> Floats:
    """Intersection over union of every box of `a` [N, 4] with every box of `b` [M, 4]: float32 [N, M] in 0..1.

    Two boxes without area have an IoU of 0, wherever they are.
    """
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    size = np.maximum(high - low, 0)
    shared = size[..., 0] * size[..., 1]
    union = area(a)[:, None] + area(b)[None, :] - shared
    iou: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return iou


def clip_boxes(boxes: Boxes, size_hw: tuple[int, int]) -> Boxes:
    """A copy of `boxes` [N, 4] with every corner moved into an image of `size_hw` = (height, width)."""
    height, width = size_hw
    limits = np.array([width, height, width, height], dtype=np.float32)
    clipped: Boxes = np.clip(boxes, np.float32(0), limits)
    return clipped
