"""Every transform keeps boxes exact: what is drawn before a transform is found where its box says after it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyas.train import augment
from eyas.train.augment import Affine, CropPlan, Example

WEIGHTS = np.ones(3)


def picture(seed: int, size_hw: tuple[int, int] = (96, 128), objects: int = 5) -> Example:
    """Black, with solid rectangles on whole pixels that do not touch; class ids 0, 1, 2."""
    rng = np.random.default_rng(seed)
    image = np.zeros((*size_hw, 3), np.uint8)
    boxes: list[list[int]] = []
    for _ in range(200):
        if len(boxes) == objects:
            break
        width, height = (int(v) for v in rng.integers(6, 20, 2))
        x, y = int(rng.integers(0, size_hw[1] - width)), int(rng.integers(0, size_hw[0] - height))
        if all(x + width + 4 < b[0] or b[2] + 4 < x or y + height + 4 < b[1] or b[3] + 4 < y for b in boxes):
            boxes.append([x, y, x + width, y + height])
            image[y : y + height, x : x + width] = 255
    count = len(boxes)
    return Example(
        image, np.array(boxes, np.float32), rng.integers(0, 3, count).astype(np.int64), np.zeros(count, np.bool_)
    )


def found_boxes(image: np.ndarray) -> np.ndarray:
    """Bounds of the bright areas to a fraction of a pixel, from the mass of each row and column."""
    import cv2

    grey = image[..., 0].astype(np.float32) / 255
    count, labels = cv2.connectedComponents((grey > 0.02).astype(np.uint8))
    boxes = []
    for i in range(1, count):
        part = np.where(labels == i, grey, 0)
        spans = []
        for axis in (0, 1):
            line = part.max(axis)
            inside = np.flatnonzero(line > 0.98)
            if not len(inside):
                break
            spans += [inside[0] - line[: inside[0]].sum(), inside[-1] + 1 + line[inside[-1] + 1 :].sum()]
        else:
            boxes.append([spans[0], spans[2], spans[1], spans[3]])
    return np.array(boxes, np.float32).reshape(-1, 4)


def assert_boxes_match(example: Example, tolerance: float) -> None:
    """Every box that lies well inside the picture is found in its pixels."""
    found = found_boxes(example.image)
    height, width = example.size_hw
    for box, ignored in zip(example.boxes_xyxy, example.ignore, strict=True):
        inside = box[0] > 2 and box[1] > 2 and box[2] < width - 2 and box[3] < height - 2
        if inside and not ignored:
            assert np.abs(found - box).max(1).min() <= tolerance, (box, found)


@given(
    seed=st.integers(0, 999), scale=st.floats(0.8, 2.5), flip=st.booleans(), x=st.floats(-30, 30), y=st.floats(-30, 30)
)
@settings(max_examples=60, deadline=None)
def test_warp_moves_boxes_with_their_pixels(seed: int, scale: float, flip: bool, x: float, y: float) -> None:
    example = picture(seed)
    affine = Affine(-scale if flip else scale, scale, (128 * scale if flip else 0) + x, y)
    assert_boxes_match(augment.warp(example, affine, (96, 128)), tolerance=0.35)


@given(seed=st.integers(0, 999))
@settings(max_examples=60, deadline=None)
def test_random_crop_boxes_are_exact_and_inside(seed: int) -> None:
    rng = np.random.default_rng(seed)
    crop = augment.random_crop(picture(seed), CropPlan((64, 64), (0.8, 1.6), 1.0, 0.5), WEIGHTS, rng)
    assert crop.size_hw == (64, 64)
    assert (crop.boxes_xyxy >= 0).all() and (crop.boxes_xyxy <= 64).all()
    assert_boxes_match(crop, tolerance=0.35)


@given(seed=st.integers(0, 999))
@settings(max_examples=60, deadline=None)
def test_an_aimed_crop_holds_a_whole_object(seed: int) -> None:
    rng = np.random.default_rng(seed)
    crop = augment.random_crop(picture(seed), CropPlan((48, 48), aim=1.0, flip=0.0), WEIGHTS, rng)
    assert (~crop.ignore).any()


def test_small_objects_are_never_shrunk_away() -> None:
    """The smallest object is 6 px: with min_side 8 it may not be shrunk at all, one of 16 px to half."""
    for side, lowest in ((6, 1.0), (16, 0.5)):
        image = np.zeros((100, 100, 3), np.uint8)
        box = np.array([[40, 40, 40 + side, 40 + side]], np.float32)
        example = Example(image, box, np.zeros(1, np.int64), np.zeros(1, np.bool_))
        rng = np.random.default_rng(0)
        plan = CropPlan((64, 64), scale=(0.2, 1.0), min_side=8.0)
        sides = [np.ptp(augment.random_crop(example, plan, WEIGHTS, rng).boxes_xyxy[0, [0, 2]]) for _ in range(300)]
        assert min(sides) >= side * lowest - 1e-3
        assert max(sides) <= side + 1e-3


def test_a_sliver_becomes_an_ignore_region_and_the_rest_goes() -> None:
    example = Example(
        np.zeros((40, 40, 3), np.uint8),
        np.array([[0, 0, 10, 10], [12, 0, 22, 10], [30, 30, 40, 40]], np.float32),
        np.array([0, 1, 2]),
        np.zeros(3, np.bool_),
    )
    seen = augment.warp(example, Affine(1, 1, -7, 0), (20, 20))
    assert seen.boxes_xyxy.tolist() == [[0, 0, 3, 10], [5, 0, 15, 10]]
    assert seen.ignore.tolist() == [True, False]
    assert seen.class_ids.tolist() == [0, 1]


def test_letterbox_and_stretch_agree_with_prediction() -> None:
    """A whole training image is the array that prediction feeds, up to the interpolation of its edges."""
    from eyas.vision.preprocess import Preprocess

    example = picture(3, (96, 128))
    for place, kind in ((augment.resize_to, "letterbox"), (augment.stretch_to, "stretch")):
        ours = place(example, (160, 160), flip=False)
        array, placement = Preprocess((160, 160), resize=kind, interpolation="linear").apply(example.image)
        np.testing.assert_allclose(placement.forward(example.boxes_xyxy), ours.boxes_xyxy, atol=1e-3)
        assert np.abs(array.transpose(1, 2, 0) - ours.image).mean() < 0.2


@pytest.mark.parametrize("flip", [False, True])
def test_whole_images_keep_every_box(flip: bool) -> None:
    example = picture(5)
    placed = augment.resize_to(example, (192, 256), flip)
    assert len(placed.boxes_xyxy) == len(example.boxes_xyxy)
    assert_boxes_match(placed, tolerance=0.35)


@given(seed=st.integers(0, 999), x=st.integers(20, 44), y=st.integers(20, 44))
@settings(max_examples=40, deadline=None)
def test_mosaic_boxes_are_exact(seed: int, x: int, y: int) -> None:
    parts = tuple(picture(seed + i, (64, 64), objects=3) for i in range(4))
    whole = augment.mosaic(parts, (64, 64), (x, y))  # type: ignore[arg-type]
    corners = [(0, 0), (x, 0), (0, y), (x, y)]
    for part, (left, top) in zip(parts, corners, strict=True):
        width, height = (x if left == 0 else 64 - x), (y if top == 0 else 64 - y)
        np.testing.assert_array_equal(whole.image[top : top + height, left : left + width], part.image[:height, :width])
    assert (whole.boxes_xyxy[:, 2:] > whole.boxes_xyxy[:, :2]).all()


@given(seed=st.integers(0, 999))
@settings(max_examples=60, deadline=None)
def test_pasted_objects_sit_under_their_boxes_and_touch_nothing(seed: int) -> None:
    target = Example(
        np.zeros((96, 128, 3), np.uint8),
        np.array([[50, 40, 70, 60]], np.float32),
        np.array([0]),
        np.zeros(1, np.bool_),
    )
    pasted = augment.copy_paste(target, picture(seed), WEIGHTS, 4, np.random.default_rng(seed))
    new = pasted.boxes_xyxy[1:].astype(int)
    for x1, y1, x2, y2 in new:
        assert (pasted.image[y1:y2, x1:x2] == 255).all()
    boxes = pasted.boxes_xyxy
    for i in range(len(boxes)):
        for j in range(i):
            assert (boxes[i, 2:] <= boxes[j, :2]).any() or (boxes[j, 2:] <= boxes[i, :2]).any()
    assert target.image.max() == 0, "the target itself must not change"


def test_colour_keeps_the_shape_and_changes_the_values() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    before = image.copy()
    changed = [augment.colour(image, 1.0, np.random.default_rng(i)) for i in range(20)]
    assert all(c.shape == image.shape and c.dtype == np.uint8 for c in changed)
    assert sum((c != image).any() for c in changed) == 20
    np.testing.assert_array_equal(image, before)
