"""Which parts of a picture are looked at, and cutting them out."""

import numpy as np

from eyas.pipelines.options import FullImage
from eyas.vision.boxes import Boxes, Floats
from eyas.vision.preprocess import Image


def pixel_box(box: Floats, size_hw: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Whole pixels x1, y1, x2, y2 (half-open) of a box in a picture of `size_hw`; None where it has no area inside.

    Corners lose their fractions, as in PaddleX; a box narrower than a pixel keeps the one it begins in.
    """
    height, width = size_hw
    x1, y1, x2, y2 = np.clip(box, 0, (width, height, width, height)).tolist()
    if not (x1 < x2 and y1 < y2):
        return None
    left, top = int(x1), int(y1)
    return left, top, max(int(x2), left + 1), max(int(y2), top + 1)


def cut(image_rgb: Image, box: Floats) -> Image | None:
    """The part of a picture (uint8 RGB [H, W, 3]) in `box`, at least a pixel, not copied; None where there is none."""
    place = pixel_box(box, (image_rgb.shape[0], image_rgb.shape[1]))
    if place is None:
        return None
    left, top, right, bottom = place
    return image_rgb[top:bottom, left:right]


def whole(size_hw: tuple[int, int]) -> Boxes:
    """The one box [1, 4] that is a whole picture of `size_hw` = (height, width)."""
    return np.array([[0, 0, size_hw[1], size_hw[0]]], dtype=np.float32)


def candidates(
    boxes: Boxes, scores: Floats, size_hw: tuple[int, int], full_image: FullImage, most: int | None
) -> tuple[Boxes, Floats]:
    """The boxes [N, 4] to look at in a picture of `size_hw`, and their detection scores [N].

    `boxes` [M, 4] are those detected, by falling score; the first `most` with an area are taken. The whole picture,
    of score 0, is added where there are none ("auto"), or "always", or "never".
    """
    useful = [place for place, box in enumerate(boxes) if pixel_box(box, size_hw) is not None][:most]
    boxes, scores = boxes[useful], scores[useful]
    if full_image == "always" or (full_image == "auto" and not useful):
        boxes, scores = np.concatenate((boxes, whole(size_hw))), np.append(scores, np.float32(0))
    return boxes, scores
