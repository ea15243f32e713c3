"""From the raw outputs of a detection network to boxes in pixels of its input, one function a kind of head."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.errors import ModelError, did_you_mean
from eyas.fields import Fields
from eyas.vision.boxes import Boxes, Floats
from eyas.vision.nms import Ints, NmsRule, multiclass_nms

Decoded = tuple[Boxes, Floats, Ints]
"""Boxes float32 [N, 4], scores float32 [N] descending, class ids int64 [N] of one image."""


@dataclass(frozen=True)
class HeadSpec:
    """What is needed to read the outputs of a head; the defaults are those of PP-YOLOE SOD (PaddleDetection).

    `strides` are in the order of the outputs; a `boxes` head has no anchors and hence none.
    No box with a score of `score_threshold` or less is ever returned.
    `nms_top_k` candidates a class enter the suppression, `keep_top_k` boxes an image leave it; -1 means all.
    """

    kind: str = "ppyoloe"
    strides: tuple[int, ...] = (32, 16, 8)
    score_threshold: float = 0.01
    nms_top_k: int = 10000
    keep_top_k: int = 500
    nms_iou: float = 0.6

    def __post_init__(self) -> None:
        if self.kind not in DECODERS:
            raise ModelError(f"head.kind {self.kind!r} is unknown. {did_you_mean(self.kind, DECODERS)}")
        if self.kind == "boxes":
            if self.strides:
                raise ModelError(f"head.strides must be empty for a boxes head, got {list(self.strides)}.")
        elif not self.strides or min(self.strides) < 1:
            raise ModelError(f"head.strides must be one or more positive numbers, got {list(self.strides)}.")
        if not 0 < self.nms_iou <= 1:
            raise ModelError(f"head.nms_iou must be above 0 and at most 1, got {self.nms_iou}.")
        if not 0 <= self.score_threshold < 1:
            raise ModelError(f"head.score_threshold must be at least 0 and below 1, got {self.score_threshold}.")
        for key, value in (("nms_top_k", self.nms_top_k), ("keep_top_k", self.keep_top_k)):
            if value < -1:
                raise ModelError(f"head.{key} must be -1 (all) or a count, got {value}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a bundle; `from_dict` reads them."""
        return {
            "kind": self.kind,
            "strides": list(self.strides),
            "score_threshold": self.score_threshold,
            "nms_top_k": self.nms_top_k,
            "keep_top_k": self.keep_top_k,
            "nms_iou": self.nms_iou,
        }

    @staticmethod
    def from_dict(values: object) -> "HeadSpec":
        """The opposite of `to_dict`.  Raises ModelError, with the dotted key, where a value does not fit."""
        keys = ("kind", "strides", "score_threshold", "nms_top_k", "keep_top_k", "nms_iou")
        fields = Fields(values, "head", keys)
        return HeadSpec(
            kind=fields.text("kind"),
            strides=fields.wholes("strides"),
            score_threshold=fields.number("score_threshold"),
            nms_top_k=fields.whole("nms_top_k"),
            keep_top_k=fields.whole("keep_top_k"),
            nms_iou=fields.number("nms_iou"),
        )


def decode(
    outputs: Mapping[str, NDArray[np.float32]], head: HeadSpec, size_hw: tuple[int, int], threshold: float
) -> list[Decoded]:
    """The detections of each image of a batch, in pixels of the network's input of `size_hw` = (height, width).

    Boxes are as the network gives them: they may leave the input or be inverted.  Scores are strictly above both
    `threshold` and the head's own.  Raises ModelError where the outputs do not fit the head or the size.
    """
    return DECODERS[head.kind](outputs, head, size_hw, max(threshold, head.score_threshold))


def decode_ppyoloe(
    outputs: Mapping[str, NDArray[np.float32]], head: HeadSpec, size_hw: tuple[int, int], threshold: float
) -> list[Decoded]:
    """PP-YOLOE and PicoDet: `scores` [B, C, L] after the sigmoid, `distances` [B, L, 4] to the four edges in strides.

    Edges are in the order left, top, right, bottom.  A box is the centre of its anchor -/+ distance * stride
    (PaddleDetection, ppyoloe_head.py, batch_distance2bbox).
    """
    scores, distances = _outputs(outputs, head, "distances")
    centres, strides = anchor_grid(size_hw, head.strides)
    count = len(centres)
    if scores.ndim != 3 or scores.shape[2] != count or distances.shape != (len(scores), count, 4):
        raise ModelError(
            f"The network's outputs do not fit an input of {size_hw[0]} x {size_hw[1]} (height x width) and strides "
            f"{list(head.strides)}, which give {count} anchors: expected scores [B, C, {count}] and distances "
            f"[B, {count}, 4], got {list(scores.shape)} and {list(distances.shape)}."
        )
    found = []
    for image_scores, image_distances in zip(scores, distances, strict=True):
        used = _above(image_scores, threshold)
        near, reach = centres[used], image_distances[used] * strides[used, None]
        boxes = np.concatenate([near - reach[:, :2], near + reach[:, 2:]], axis=1)
        found.append(_suppressed(boxes, image_scores[:, used], head, threshold))
    return found


def decode_boxes(
    outputs: Mapping[str, NDArray[np.float32]], head: HeadSpec, size_hw: tuple[int, int], threshold: float
) -> list[Decoded]:
    """Networks that place their boxes themselves: `scores` [B, C, L], `boxes` [B, L, 4] in pixels of the input.

    Those translated from Paddle's inference graphs do, when cut off before the suppression.
    """
    scores, boxes = _outputs(outputs, head, "boxes")
    if scores.ndim != 3 or boxes.shape != (len(scores), scores.shape[2], 4):
        raise ModelError(
            "The network's outputs do not fit each other: expected scores [B, C, L] and boxes [B, L, 4], "
            f"got {list(scores.shape)} and {list(boxes.shape)}."
        )
    found = []
    for image_scores, image_boxes in zip(scores, boxes, strict=True):
        used = _above(image_scores, threshold)
        found.append(_suppressed(image_boxes[used], image_scores[:, used], head, threshold))
    return found


def _above(scores: Floats, threshold: float) -> Ints:
    """The anchors of `scores` [C, L] with a class above `threshold`: few, so the boxes of the rest are never made."""
    return np.flatnonzero(scores.max(axis=0) > np.float32(threshold))


def _suppressed(boxes: Boxes, scores: Floats, head: HeadSpec, threshold: float) -> Decoded:
    rule = NmsRule(threshold, head.nms_iou, head.nms_top_k, head.keep_top_k)
    candidates = np.ascontiguousarray(scores)
    class_ids, anchors = multiclass_nms(boxes, candidates, rule)
    return boxes[anchors], candidates[class_ids, anchors], class_ids


def _outputs(outputs: Mapping[str, NDArray[np.float32]], head: HeadSpec, places: str) -> tuple[Floats, Floats]:
    """The arrays `scores` and `places`, both there and finite."""
    missing = [name for name in ("scores", places) if name not in outputs]
    if missing:
        raise ModelError(
            f"The network gives no output {missing[0]!r}, which a {head.kind} head needs. "
            f"It gives: {', '.join(outputs)}."
        )
    scores, values = outputs["scores"], outputs[places]
    if not (np.isfinite(scores).all() and np.isfinite(values).all()):
        raise ModelError("The network's outputs hold NaN or infinity. Its weights are broken, or its input was.")
    return scores, values


@lru_cache(maxsize=32)
def anchor_grid(size_hw: tuple[int, int], strides: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Centres float32 [L, 2] (x, y in pixels) and strides float32 [L] of all anchors, read-only.

    Level after level in the order of `strides`, row after row inside a level.  A level has ceil(size / stride) cells a
    side, as a chain of padded stride-2 convolutions gives.
    """
    centres, sizes = [], []
    for stride in strides:
        rows, columns = (np.arange(-(-side // stride), dtype=np.float32) for side in size_hw)
        y, x = np.meshgrid(rows, columns, indexing="ij")
        centres.append((np.stack([x, y], axis=-1).reshape(-1, 2) + np.float32(0.5)) * np.float32(stride))
        sizes.append(np.full(len(rows) * len(columns), stride, dtype=np.float32))
    grid = np.concatenate(centres), np.concatenate(sizes)
    for array in grid:
        array.flags.writeable = False
    return grid


Decoder = Callable[[Mapping[str, NDArray[np.float32]], HeadSpec, tuple[int, int], float], list[Decoded]]

DECODERS: dict[str, Decoder] = {"ppyoloe": decode_ppyoloe, "boxes": decode_boxes}
