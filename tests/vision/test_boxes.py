"""Areas, IoU and clipping."""

import numpy as np

from eyas.vision.boxes import area, clip_boxes, iou_matrix

BOXES = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 20, 30], [9, 9, 1, 1]], dtype=np.float32)


def test_area_of_boxes_without_extent_is_zero() -> None:
    np.testing.assert_array_equal(area(BOXES), [100, 100, 0, 0])


def test_iou_matrix() -> None:
    expected = [[1, 1 / 3, 0, 0], [1 / 3, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(iou_matrix(BOXES, BOXES), expected, rtol=1e-6)
    assert iou_matrix(BOXES, BOXES[:0]).shape == (4, 0)


def test_clip_moves_corners_into_the_image_and_copies() -> None:
    boxes = np.array([[-5, -5, 40, 12], [50, 50, 60, 60]], dtype=np.float32)
    clipped = clip_boxes(boxes, size_hw=(20, 30))
    np.testing.assert_array_equal(clipped, [[0, 0, 30, 12], [30, 20, 30, 20]])
    assert clipped.dtype == np.float32
    assert boxes[0, 0] == -5
