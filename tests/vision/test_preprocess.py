"""From image to network input and back."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyas.errors import ModelError
from eyas.vision.preprocess import Preprocess

SIDE = st.integers(1, 4096)


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 5000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_an_image_that_fits_is_only_rearranged() -> None:
    image = picture(64, 96)
    tensor, placement = Preprocess((64, 96)).apply(image)
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    np.testing.assert_array_equal(tensor, image.transpose(2, 0, 1).astype(np.float32))
    assert (placement.scale_xy, placement.offset_xy, placement.size_hw) == ((1.0, 1.0), (0.0, 0.0), (64, 96))


def test_cubic_stretch_is_opencv_on_uint8() -> None:
    image = picture(50, 70)
    tensor, placement = Preprocess((64, 96), interpolation="cubic").apply(image)
    expected = cv2.resize(image, (96, 64), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_array_equal(tensor, expected.transpose(2, 0, 1))
    assert placement.scale_xy == (96 / 70, 64 / 50)


def test_channels_are_scaled_then_shifted_in_float32() -> None:
    """The form alpha * x + beta with float32 constants gives the last bit that PaddleX gives."""
    image = picture(8, 8)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    alpha, beta = 1 / 255 / std, -mean / std
    tensor, _ = Preprocess((8, 8), alpha=tuple(alpha.tolist()), beta=tuple(beta.tolist())).apply(image)
    expected = image.astype(np.float32) * alpha.astype(np.float32) + beta.astype(np.float32)
    np.testing.assert_array_equal(tensor, expected.transpose(2, 0, 1))


def test_letterbox_keeps_the_ratio_and_fills_right_or_bottom_with_zero() -> None:
    image = np.full((100, 50, 3), 200, dtype=np.uint8)
    tensor, placement = Preprocess((64, 96), resize="letterbox", beta=(1.0, 2.0, 3.0)).apply(image)
    assert placement.scale_xy == (0.64, 0.64)
    np.testing.assert_array_equal(tensor[:, :, :32], np.broadcast_to([[[201]], [[202]], [[203]]], (3, 64, 32)))
    np.testing.assert_array_equal(tensor[:, :, 32:], np.broadcast_to([[[1]], [[2]], [[3]]], (3, 64, 64)))


def test_letterbox_never_leaves_an_image_without_pixels() -> None:
    tensor, placement = Preprocess((32, 32), resize="letterbox").apply(picture(1, 4000))
    assert tensor.shape == (3, 32, 32)
    assert placement.scale_xy == (32 / 4000, 1.0)


def test_result_goes_into_a_given_array() -> None:
    batch = np.full((2, 3, 16, 16), 7, dtype=np.float32)
    tensor, _ = Preprocess((16, 16), resize="letterbox").apply(picture(16, 8), out=batch[1])
    assert tensor.base is batch
    assert (batch[0] == 7).all()
    assert (batch[1, :, :, 8:] == 0).all()


def test_a_painted_box_lands_where_forward_says() -> None:
    """Half-pixel convention: an edge at x moves to x * scale, no matter the interpolation."""
    image = np.zeros((40, 40, 3), dtype=np.uint8)
    image[10:20, 4:30] = 255
    tensor, placement = Preprocess((160, 80), interpolation="area").apply(image)
    x1, y1, x2, y2 = placement.forward(np.array([[4, 10, 30, 20]], dtype=np.float32))[0]
    assert (x1, y1, x2, y2) == (8, 40, 60, 80)
    inside = tensor[0] > 127
    assert (np.flatnonzero(inside.any(axis=0))[[0, -1]] == [8, 59]).all()
    assert (np.flatnonzero(inside.any(axis=1))[[0, -1]] == [40, 79]).all()


@given(height=SIDE, width=SIDE, seed=st.integers(0, 2**32 - 1), resize=st.sampled_from(["stretch", "letterbox"]))
def test_restore_undoes_forward(height: int, width: int, seed: int, resize: str) -> None:
    preprocess = Preprocess((640, 512), resize=resize)
    _, placement = Preprocess((640, 512), resize=resize).apply(np.zeros((height, width, 3), dtype=np.uint8))
    corners = np.random.default_rng(seed).uniform(0, 1, (20, 2, 2)) * (width, height)
    boxes = np.sort(corners, axis=1).reshape(20, 4).astype(np.float32)
    net = placement.forward(boxes)
    assert net.dtype == np.float32
    assert (net >= 0).all()
    assert (net <= np.array([*preprocess.size_hw[::-1]] * 2) + 1e-3).all()
    np.testing.assert_allclose(placement.restore(net), boxes, rtol=0, atol=1e-3)


def test_restore_clips_to_the_image() -> None:
    _, placement = Preprocess((64, 64)).apply(picture(32, 16))
    restored = placement.restore(np.array([[-9, -9, 99, 99]], dtype=np.float32))
    np.testing.assert_array_equal(restored, [[0, 0, 16, 32]])


def test_to_dict_and_back() -> None:
    preprocess = Preprocess((64, 96), resize="letterbox", interpolation="area", alpha=(1, 2.5, 3), beta=(0, -1, 2))
    assert Preprocess.from_dict(preprocess.to_dict()) == preprocess


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size_hw": [64]}, r"preprocess\.size_hw: expected a list of two whole numbers, got \[64\]"),
        ({"size_hw": [64, 0]}, r"preprocess\.size_hw must be two positive numbers"),
        ({"resize": "strech"}, r"preprocess\.resize 'strech' is unknown\. Did you mean 'stretch'\?"),
        ({"interpolation": "lanczos"}, r"preprocess\.interpolation 'lanczos' is unknown\. Known: area, cubic, linear"),
        ({"alpha": [1, 2]}, r"preprocess\.alpha: expected a list of three numbers"),
        ({"beta": [1, float("nan"), 2]}, r"preprocess\.beta must be three finite numbers"),
        ({"mean": [0, 0, 0]}, r"preprocess\.mean: unknown key"),
    ],
)
def test_wrong_values_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Preprocess.from_dict({**Preprocess((64, 64)).to_dict(), **change})
