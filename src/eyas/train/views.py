"""A labelled picture as it is seen in training: part of it, moved, turned, recoloured.

All geometry is one affine map from the picture to the network's input, so pixels are interpolated once. All randomness
comes from the generator passed in; nothing here has state.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from eyas.schema import Pictures
from eyas.train.augment import colour

Image = NDArray[np.uint8]
Matrix = NDArray[np.float64]

ERASED = (0.02, 0.25)
"""Share of the view that is painted over, where anything is."""


def random_view(picture: Image, size_hw: tuple[int, int], config: Pictures, rng: np.random.Generator) -> Image:
    """A random view of `picture` (uint8 RGB [h,w,3]) of `size_hw`; the rim is mirrored outwards."""
    affine = random_map((picture.shape[0], picture.shape[1]), size_hw, config, rng)
    if config.smooth:
        picture, affine = shrunk_first(picture, affine)
    view = warped(picture, affine, size_hw)
    if config.colour > 0:
        view = colour(view, config.colour, rng)
    return erased(view, rng) if rng.random() < config.erase else view


def random_map(
    picture_hw: tuple[int, int], size_hw: tuple[int, int], config: Pictures, rng: np.random.Generator
) -> Matrix:
    """A random affine map [2,3] from edge coordinates (x, y) of a picture to those of the view."""
    start, window = _random_window(picture_hw, config, rng)
    angle = math.radians(rng.uniform(-config.rotate, config.rotate)) if rng.random() < config.rotate_chance else 0.0
    mirror = -1.0 if rng.random() < config.flip else 1.0
    shift = rng.integers(-config.shift, config.shift + 1, 2)
    size = np.array([size_hw[1], size_hw[0]])
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = np.array([[mirror], [1.0]]) * (turn * (size / window))
    offset = size / 2 + shift - linear @ (start + window / 2)
    return np.column_stack([linear, offset])


def shrunk_first(picture: Image, affine: Matrix) -> tuple[Image, Matrix]:
    """`picture` made smaller, its pixels averaged, as far as `affine` shrinks it, and the map that is left to do."""
    scale = math.sqrt(abs(float(np.linalg.det(affine[:, :2]))))
    height, width = picture.shape[:2]
    size_wh = max(1, round(width * scale)), max(1, round(height * scale))
    if scale >= 1 or size_wh == (width, height):
        return picture, affine
    small = np.asarray(cv2.resize(picture, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
    left = affine.copy()
    left[:, :2] *= (width / size_wh[0], height / size_wh[1])
    return small, left


def warped(picture: Image, affine: Matrix, size_hw: tuple[int, int]) -> Image:
    """`picture` through `affine`, sampled linearly, without smoothing where it shrinks."""
    # OpenCV maps pixel centres; `affine` maps pixel edges, half a pixel away.
    matrix = affine.copy()
    matrix[:, 2] += affine[:, :2].sum(1) / 2 - 0.5
    size_wh = (size_hw[1], size_hw[0])
    view = cv2.warpAffine(picture, matrix, size_wh, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(view, np.uint8)


def erased(view: Image, rng: np.random.Generator) -> Image:
    """A copy of `view` with one rectangle of one random colour."""
    height, width = view.shape[:2]
    area = rng.uniform(*ERASED) * height * width
    ratio = math.exp(rng.uniform(-1, 1))
    w, h = (min(int(math.sqrt(area * r)) + 1, side) for r, side in ((ratio, width), (1 / ratio, height)))
    x, y = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
    out = view.copy()
    out[y : y + h, x : x + w] = rng.integers(0, 256, 3)
    return out


def cutmix(view: Image, other: Image, rng: np.random.Generator) -> tuple[Image, float]:
    """`view` with a rectangle from the same place of `other`, and the share of it that this covers.

    CutMix (Yun et al. 2019): the rectangle has the shape of the view, its area is uniform and its centre anywhere; what
    sticks out is cut off.
    """
    height, width = view.shape[:2]
    side = math.sqrt(rng.random())
    x, y = rng.random(2) * (width, height)
    left, right = (int(np.clip(round(x + sign * side * width / 2), 0, width)) for sign in (-1, 1))
    top, bottom = (int(np.clip(round(y + sign * side * height / 2), 0, height)) for sign in (-1, 1))
    out = view.copy()
    out[top:bottom, left:right] = other[top:bottom, left:right]
    return out, (bottom - top) * (right - left) / (height * width)


def _random_window(
    picture_hw: tuple[int, int], config: Pictures, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(left top corner, size), both (x, y) in pixels, of the part of a picture that is shown."""
    whole = np.array([picture_hw[1], picture_hw[0]], np.float64)
    share = rng.uniform(*config.area)
    if share >= 1.0:
        return np.zeros(2), whole
    ratio = math.exp(rng.uniform(math.log(config.ratio[0]), math.log(config.ratio[1])))
    area = share * whole[0] * whole[1]
    window = np.minimum(np.sqrt([area * ratio, area / ratio]), whole)
    return rng.random(2) * (whole - window), window
