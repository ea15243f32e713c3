"""Everything that changes a training image, with its boxes kept exact.

All geometry is one axis-aligned affine map (scale, flip, shift), so a box is transformed by two corners and stays
exact. Frames: boxes are xyxy pixels, half-open, of the image they belong to. All randomness comes from the generator
passed in; nothing here has state.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

MIN_VISIBLE = 0.4
"""A box of which less is left inside a crop becomes an ignore region: neither an object to find nor background."""


@dataclass(frozen=True)
class Example:
    """A training image uint8 RGB [H,W,3], boxes float32 [N,4], class ids int64 [N], and which boxes to ignore [N]."""

    image: NDArray[np.uint8]
    boxes_xyxy: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    ignore: NDArray[np.bool_]

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.image.shape[0], self.image.shape[1]


@dataclass(frozen=True)
class Affine:
    """x' = scale_x * x + shift_x, y' = scale_y * y + shift_y; a negative scale_x is a horizontal flip."""

    scale_x: float
    scale_y: float
    shift_x: float
    shift_y: float

    def boxes(self, boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Boxes in the target frame, corners ordered again after a flip."""
        scale = np.array([self.scale_x, self.scale_y], np.float32)
        shift = np.array([self.shift_x, self.shift_y], np.float32)
        corners = boxes_xyxy.reshape(-1, 2, 2) * scale + shift
        ordered = np.concatenate([corners.min(1), corners.max(1)], 1)
        return ordered.astype(np.float32)

    def image(self, image: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
        """The image in the target frame of size (height, width); outside is black, as in letterboxed prediction."""
        # OpenCV maps pixel centres; our frame maps pixel edges, half a pixel away.
        shift_x = self.shift_x + 0.5 * self.scale_x - 0.5
        shift_y = self.shift_y + 0.5 * self.scale_y - 0.5
        matrix = np.array([[self.scale_x, 0, shift_x], [0, self.scale_y, shift_y]], np.float64)
        shrinks = min(abs(self.scale_x), abs(self.scale_y)) < 0.75
        source = cv2.GaussianBlur(image, (3, 3), 0) if shrinks else image
        warped = cv2.warpAffine(source, matrix, (size_hw[1], size_hw[0]), flags=cv2.INTER_LINEAR)
        return warped.astype(np.uint8, copy=False)


def warp(example: Example, affine: Affine, size_hw: tuple[int, int]) -> Example:
    """`example` seen through `affine` in a window of `size_hw`; boxes clipped, slivers ignored, the rest dropped."""
    boxes = affine.boxes(example.boxes_xyxy)
    limit = np.array([size_hw[1], size_hw[0]] * 2, np.float32)
    clipped = np.clip(boxes, 0, limit)
    before = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    after = np.prod(clipped[:, 2:] - clipped[:, :2], axis=1)
    visible = after / np.maximum(before, 1e-9)
    keep = after > 0
    ignore = example.ignore | (visible < MIN_VISIBLE)
    image = affine.image(example.image, size_hw)
    return Example(image, clipped[keep], example.class_ids[keep], ignore[keep])


@dataclass(frozen=True)
class CropPlan:
    """How to choose a window: its size, the range of scales, the chance to aim at an object, the chance to flip.

    `min_side` keeps small objects: the scale is never so small that the smallest object of the image falls below
    this many pixels (objects that are smaller already are not shrunk at all).
    """

    size_hw: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    aim: float = 1.0
    flip: float = 0.5
    min_side: float = 8.0


def random_crop(example: Example, plan: CropPlan, weights: NDArray[np.float64], rng: np.random.Generator) -> Example:
    """A random window of `plan.size_hw`, aimed at an object chosen by the class `weights` where there is one."""
    scale = _random_scale(example, plan, rng)
    height, width = example.size_hw
    window = np.array([plan.size_hw[1], plan.size_hw[0]]) / scale
    span = np.array([width, height]) - window
    start = rng.random(2) * span
    objects = np.flatnonzero(~example.ignore)
    if len(objects) and rng.random() < plan.aim:
        chance = weights[example.class_ids[objects]]
        box = example.boxes_xyxy[rng.choice(objects, p=chance / chance.sum())]
        start = _window_with(box, window, rng)
    # Windows stay inside the image where it is large enough, else the image sits somewhere inside the window.
    start = np.clip(start, np.minimum(span, 0), np.maximum(span, 0))
    affine = Affine(scale, scale, -start[0] * scale, -start[1] * scale)
    if rng.random() < plan.flip:
        affine = Affine(-scale, scale, plan.size_hw[1] + start[0] * scale, affine.shift_y)
    return warp(example, affine, plan.size_hw)


def _random_scale(example: Example, plan: CropPlan, rng: np.random.Generator) -> float:
    low, high = plan.scale
    sides = (example.boxes_xyxy[:, 2:] - example.boxes_xyxy[:, :2])[~example.ignore]
    if len(sides):
        smallest = float(np.sqrt(sides.prod(1)).min())
        low = max(low, min(1.0, plan.min_side / max(smallest, 1e-6)))
    return float(np.exp(rng.uniform(np.log(low), np.log(max(high, low)))))


def _window_with(
    box: NDArray[np.float32], window: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """A window start such that the whole box (or, where it is too large, its centre) lies inside."""
    fits = (box[2:] - box[:2]) <= window
    centre = (box[:2] + box[2:]) / 2
    low = np.where(fits, box[2:], centre) - window
    high = np.where(fits, box[:2], centre)
    return np.asarray(low + rng.random(2) * (high - low), np.float64)


def resize_to(example: Example, size_hw: tuple[int, int], flip: bool) -> Example:
    """The whole image letterboxed into `size_hw` at the top left, exactly as prediction does; flipped on request."""
    height, width = example.size_hw
    scale = min(size_hw[0] / height, size_hw[1] / width)
    # Prediction rounds the resized size to whole pixels; follow it.
    scale_x, scale_y = round(width * scale) / width, round(height * scale) / height
    affine = Affine(-scale_x, scale_y, width * scale_x, 0.0) if flip else Affine(scale_x, scale_y, 0.0, 0.0)
    return warp(example, affine, size_hw)


def stretch_to(example: Example, size_hw: tuple[int, int], flip: bool) -> Example:
    """The whole image stretched to `size_hw` without keeping its ratio (the published recipe); flipped on request."""
    height, width = example.size_hw
    scale_x, scale_y = size_hw[1] / width, size_hw[0] / height
    affine = Affine(-scale_x, scale_y, float(size_hw[1]), 0.0) if flip else Affine(scale_x, scale_y, 0.0, 0.0)
    return warp(example, affine, size_hw)


def mosaic(
    parts: tuple[Example, Example, Example, Example], size_hw: tuple[int, int], centre: tuple[int, int]
) -> Example:
    """Four examples in the quadrants around `centre` = (x, y); each part must be at least as large as its quadrant."""
    height, width = size_hw
    x, y = centre
    windows = ((0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height))
    canvas = np.zeros((height, width, 3), np.uint8)
    pieces = []
    for part, (x1, y1, x2, y2) in zip(parts, windows, strict=True):
        if x2 > x1 and y2 > y1:
            piece = warp(part, Affine(1.0, 1.0, 0.0, 0.0), (y2 - y1, x2 - x1))
            canvas[y1:y2, x1:x2] = piece.image
            shift = np.array([x1, y1, x1, y1], np.float32)
            pieces.append(replace(piece, boxes_xyxy=piece.boxes_xyxy + shift))
    return Example(
        canvas,
        np.concatenate([p.boxes_xyxy for p in pieces]),
        np.concatenate([p.class_ids for p in pieces]),
        np.concatenate([p.ignore for p in pieces]),
    )


def copy_paste(
    target: Example, source: Example, chance: NDArray[np.float64], count: int, rng: np.random.Generator
) -> Example:
    """`target` with up to `count` objects of `source` (chosen by class `chance`) pasted where nothing else is.

    An object is taken with a margin of its surroundings and faded in over that margin, so that no hard edge tells
    the network where it was pasted. A place that touches another box, or ignored ground, is not used.
    """
    usable = np.flatnonzero(~source.ignore)
    if not len(usable) or count <= 0:
        return target
    weights = chance[source.class_ids[usable]]
    picks = rng.choice(usable, size=min(count, len(usable)), replace=False, p=weights / weights.sum())
    image, boxes = target.image.copy(), [*target.boxes_xyxy]
    pasted, classes = [], []
    for index in picks:
        box = _paste(image, np.array(boxes, np.float32).reshape(-1, 4), source, int(index), rng)
        if box is not None:
            boxes.append(box)
            pasted.append(box)
            classes.append(source.class_ids[index])
    if not pasted:
        return target
    return Example(
        image,
        np.concatenate([target.boxes_xyxy, np.array(pasted, np.float32)]),
        np.concatenate([target.class_ids, np.array(classes, np.int64)]),
        np.concatenate([target.ignore, np.zeros(len(pasted), np.bool_)]),
    )


def _paste(
    image: NDArray[np.uint8], taken: NDArray[np.float32], source: Example, index: int, rng: np.random.Generator
) -> NDArray[np.float32] | None:
    """Paste one object into `image` in place; its box there, or None where no free place was found."""
    box = source.boxes_xyxy[index]
    margin = int(np.clip(0.25 * np.sqrt(np.prod(box[2:] - box[:2])), 2, 8))
    x1, y1 = np.floor(box[:2]).astype(int) - margin
    x2, y2 = np.ceil(box[2:]).astype(int) + margin
    height, width = source.size_hw
    if x1 < 0 or y1 < 0 or x2 > width or y2 > height:
        return None
    patch = source.image[y1:y2, x1:x2]
    room = np.array([image.shape[1] - (x2 - x1), image.shape[0] - (y2 - y1)])
    if (room < 0).any():
        return None
    for _ in range(5):
        place = rng.integers(0, room + 1)
        area = np.array([*place, place[0] + x2 - x1, place[1] + y2 - y1])
        overlaps = (taken[:, :2] < area[2:]).all(1) & (taken[:, 2:] > area[:2]).all(1)
        if not overlaps.any():
            break
    else:
        return None
    flip = bool(rng.random() < 0.5)
    patch = patch[:, ::-1] if flip else patch
    fade = _fade(patch.shape[0], patch.shape[1], margin)[..., None]
    window = image[area[1] : area[3], area[0] : area[2]]
    window[:] = np.rint(fade * patch + (1 - fade) * window).astype(np.uint8)
    left = x2 - box[2] if flip else box[0] - x1
    corner = place + np.array([left, box[1] - y1])
    return np.concatenate([corner, corner + box[2:] - box[:2]]).astype(np.float32)


def _fade(height: int, width: int, margin: int) -> NDArray[np.float32]:
    """A weight of 1 on the object that falls to 0 at the rim of its margin."""
    rows = np.minimum(np.arange(height) + 0.5, height - np.arange(height) - 0.5) / margin
    columns = np.minimum(np.arange(width) + 0.5, width - np.arange(width) - 0.5) / margin
    return np.clip(np.minimum.outer(rows, columns), 0, 1).astype(np.float32)


def colour(image: NDArray[np.uint8], strength: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """`image` with random gain, offset, gamma and saturation, and now and then blur or noise; boxes do not change."""
    gain = np.exp(rng.normal(0, 0.25 * strength))
    offset = rng.normal(0, 20 * strength)
    gamma = np.exp(rng.normal(0, 0.2 * strength))
    ramp = (np.arange(256) / 255.0) ** gamma * 255.0
    table = np.clip((ramp - 128) * gain + 128 + offset, 0, 255)
    out = cv2.LUT(image, np.rint(table).astype(np.uint8))
    saturation = float(np.clip(rng.normal(1, 0.3 * strength), 0, 2))
    grey = cv2.cvtColor(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    out = cv2.addWeighted(out, saturation, grey, 1 - saturation, 0)
    chance = rng.random()
    if chance < 0.1 * strength:
        out = cv2.GaussianBlur(out, (3, 3), 0)
    elif chance < 0.25 * strength:
        noise = rng.normal(0, rng.uniform(2, 8), out.shape[:2]).astype(np.float32)
        out = np.clip(out + noise[..., None], 0, 255)
    return np.asarray(out, np.uint8)
