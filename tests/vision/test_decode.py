"""Decoding of raw head outputs, against PaddleDetection's recorded run and against anchors made by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from eyas.errors import ModelError
from eyas.vision.decode import HeadSpec, anchor_grid, decode

NETWORK = "PP-YOLOE_plus_SOD-S"
PICODET = {"score_threshold": 0.025, "nms_top_k": 1000, "keep_top_k": 100, "nms_iou": 0.6}
SIZES = {"eval320": (320, 320), "evalrect": (256, 320)}


def silent(size_hw: tuple[int, int], strides: tuple[int, ...], classes: int = 2) -> dict[str, np.ndarray]:
    """Outputs of one image in which every score is 0 and every distance 1."""
    count = sum(-(-size_hw[0] // s) * -(-size_hw[1] // s) for s in strides)
    return {
        "scores": np.zeros((1, classes, count), dtype=np.float32),
        "distances": np.ones((1, count, 4), dtype=np.float32),
    }


@pytest.mark.parametrize("case", SIZES)
def test_detections_of_paddle(case: str, reference: Path) -> None:
    folder = reference / NETWORK
    factors = json.loads((folder / "cases.json").read_text())["cases"][case]["scale_factor_yx"]
    with np.load(folder / "outputs.npz") as stored:
        outputs = {"scores": stored[f"{case}.raw_scores"], "distances": stored[f"{case}.raw_dist"]}
        rows, counts = stored[f"{case}.bbox"], stored[f"{case}.bbox_num"]
    images = np.split(rows, np.cumsum(counts)[:-1])
    decoded = decode(outputs, HeadSpec(), SIZES[case], threshold=0.0)
    assert len(decoded) == len(images)
    for (boxes, scores, class_ids), expected, (y, x) in zip(decoded, images, factors, strict=True):
        assert (np.diff(scores) <= 0).all()
        order = np.argsort(class_ids, kind="stable")  # Paddle's rows come class by class
        np.testing.assert_array_equal(class_ids[order], expected[:, 0])
        np.testing.assert_allclose(scores[order], expected[:, 1], rtol=0, atol=1e-6)
        np.testing.assert_allclose(boxes[order] / np.array([x, y, x, y]), expected[:, 2:], rtol=0, atol=1e-3)


@pytest.mark.parametrize("case", SIZES)
def test_boxes_of_all_anchors_of_paddle(case: str, reference: Path) -> None:
    """Each anchor alone, with NMS out of the way, gives Paddle's raw box."""
    with np.load(reference / NETWORK / "outputs.npz") as stored:
        distances, expected = stored[f"{case}.raw_dist"][:1], stored[f"{case}.raw_boxes"][0]
    count = distances.shape[1]
    scores = np.linspace(0.9, 0.1, count, dtype=np.float32)[None, None]
    head = HeadSpec(nms_iou=1.0, nms_top_k=-1, keep_top_k=-1)
    boxes, _, _ = decode({"scores": scores, "distances": distances}, head, SIZES[case], 0.0)[0]
    assert len(boxes) == count
    np.testing.assert_allclose(boxes, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", ["ppyoloe", "boxes"])
def test_detections_of_paddle_picodet(kind: str, reference: Path) -> None:
    """From its raw boxes, and from its distances, with a stride-64 level of ceil(size / stride) cells."""
    factors = json.loads((reference / "PP-ShiTuV2_det" / "cases.json").read_text())["cases"]["eval320"]
    with np.load(reference / "PP-ShiTuV2_det" / "eval320.npz") as stored:
        scores, boxes = stored["eval320.raw_scores"], stored["eval320.raw_boxes"]
        images = np.split(stored["eval320.bbox"], np.cumsum(stored["eval320.bbox_num"])[:-1])
    head = HeadSpec(kind=kind, strides=() if kind == "boxes" else (8, 16, 32, 64), **PICODET)  # type: ignore[arg-type]
    outputs = {"scores": scores, "boxes": boxes}
    if kind == "ppyoloe":
        centres, strides = anchor_grid((320, 320), head.strides)
        sides = np.concatenate([centres - boxes[..., :2], boxes[..., 2:] - centres], axis=-1)
        outputs = {"scores": scores, "distances": sides / strides[:, None]}
    decoded = decode(outputs, head, (320, 320), threshold=0.0)
    for (found, score, class_ids), expected, (y, x) in zip(decoded, images, factors["scale_factor_yx"], strict=True):
        np.testing.assert_array_equal(class_ids, expected[:, 0])
        np.testing.assert_allclose(score, expected[:, 1], rtol=0, atol=1e-6)
        np.testing.assert_allclose(found / np.array([x, y, x, y]), expected[:, 2:], rtol=0, atol=1e-3)


def test_boxes_are_taken_as_they_are() -> None:
    boxes = np.array([[[-3, 2, 9, 7], [50, 50, 40, 60], [1, 1, 2, 2]]], dtype=np.float32)
    scores = np.array([[[0.9, 0.6, 0.1], [0.2, 0.7, 0.1]]], dtype=np.float32)
    found = decode({"scores": scores, "boxes": boxes}, HeadSpec(kind="boxes", strides=()), (64, 64), 0.5)
    (got, score, class_ids) = found[0]
    np.testing.assert_array_equal(got, boxes[0, [0, 1, 1]])
    np.testing.assert_array_equal(score, np.float32([0.9, 0.7, 0.6]))
    assert class_ids.tolist() == [0, 1, 0]


def test_boxes_that_do_not_fit_the_scores_are_named() -> None:
    head = HeadSpec(kind="boxes", strides=())
    scores, boxes = np.zeros((1, 2, 84), np.float32), np.zeros((1, 83, 4), np.float32)
    with pytest.raises(ModelError, match=r"got \[1, 2, 84\] and \[1, 83, 4\]"):
        decode({"scores": scores, "boxes": boxes}, head, (64, 64), 0.5)
    with pytest.raises(ModelError, match="no output 'boxes', which a boxes head needs. It gives: scores"):
        decode({"scores": scores}, head, (64, 64), 0.5)
    with pytest.raises(ModelError, match="NaN or infinity"):
        decode({"scores": scores[..., :83], "boxes": np.full_like(boxes, np.inf)}, head, (64, 64), 0.5)


def test_anchor_centres_row_after_row_level_after_level() -> None:
    centres, strides = anchor_grid((8, 16), (8, 4))
    np.testing.assert_array_equal(centres[:2], [[4, 4], [12, 4]])
    np.testing.assert_array_equal(centres[2:7], [[2, 2], [6, 2], [10, 2], [14, 2], [2, 6]])
    np.testing.assert_array_equal(strides, [8, 8, 4, 4, 4, 4, 4, 4, 4, 4])
    assert not centres.flags.writeable


def test_distances_count_in_strides_from_the_cell_centre() -> None:
    outputs = silent((64, 64), (32, 16, 8, 4))
    first_of_stride_4 = 2 * 2 + 4 * 4 + 8 * 8
    outputs["scores"][0, 1, first_of_stride_4 + 17] = 0.8  # second row, second cell of 16 a row
    outputs["distances"][0, first_of_stride_4 + 17] = [0.5, 1, 1.5, 2]
    (boxes, scores, class_ids) = decode(outputs, HeadSpec(strides=(32, 16, 8, 4)), (64, 64), 0.5)[0]
    np.testing.assert_array_equal(boxes, [[4, 2, 12, 14]])
    assert (scores.tolist(), class_ids.tolist()) == ([np.float32(0.8)], [1])


def test_scores_must_be_strictly_above_both_thresholds() -> None:
    outputs = silent((32, 32), (32, 16, 8))
    outputs["scores"][0, 0, :4] = [0.5, 0.25, 0.125, 0.01]
    outputs["distances"][:] = 0.1
    head = HeadSpec(score_threshold=0.125)
    assert [decode(outputs, head, (32, 32), t)[0][1].tolist() for t in (0.0, 0.25, 0.5)] == [[0.5, 0.25], [0.5], []]


def test_an_image_without_detections_has_empty_arrays() -> None:
    boxes, scores, class_ids = decode(silent((64, 64), (32, 16, 8)), HeadSpec(), (64, 64), 0.5)[0]
    assert (boxes.shape, scores.shape, class_ids.shape) == ((0, 4), (0,), (0,))


def test_images_of_a_batch_are_independent() -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(0, 1, (3, 4, 84)).astype(np.float32)
    distances = rng.uniform(-1, 3, (3, 84, 4)).astype(np.float32)
    together = decode({"scores": scores, "distances": distances}, HeadSpec(), (64, 64), 0.3)
    for i, expected in enumerate(together):
        alone = decode({"scores": scores[i : i + 1], "distances": distances[i : i + 1]}, HeadSpec(), (64, 64), 0.3)[0]
        for one, other in zip(alone, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_size_that_does_not_fit_names_both() -> None:
    with pytest.raises(ModelError, match=r"640 x 640 .* \[32, 16, 8\], which give 8400 anchors: .* got \[1, 2, 84\]"):
        decode(silent((64, 64), (32, 16, 8)), HeadSpec(), (640, 640), 0.5)


def test_a_missing_output_is_named() -> None:
    with pytest.raises(ModelError, match="no output 'distances', which a ppyoloe head needs. It gives: scores"):
        decode({"scores": np.zeros((1, 2, 84), np.float32)}, HeadSpec(), (64, 64), 0.5)


def test_nan_is_an_error() -> None:
    outputs = silent((64, 64), (32, 16, 8))
    outputs["distances"][0, 3, 1] = np.nan
    with pytest.raises(ModelError, match="NaN or infinity"):
        decode(outputs, HeadSpec(), (64, 64), 0.5)


def test_head_to_dict_and_back() -> None:
    head = HeadSpec(strides=(16, 4), score_threshold=0.05, nms_top_k=7, keep_top_k=-1, nms_iou=0.5)
    assert HeadSpec.from_dict(head.to_dict()) == head
    assert HeadSpec.from_dict(HeadSpec(kind="boxes", strides=()).to_dict()).strides == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "ppyolo"}, r"head\.kind 'ppyolo' is unknown\. Did you mean 'ppyoloe'\?"),
        ({"strides": []}, r"head\.strides must be one or more positive numbers"),
        ({"kind": "boxes"}, r"head\.strides must be empty for a boxes head, got \[32, 16, 8\]"),
        ({"strides": [8.5]}, r"head\.strides: expected a list of whole numbers, got \[8\.5\]"),
        ({"nms_iou": 0}, r"head\.nms_iou must be above 0"),
        ({"score_threshold": 1}, r"head\.score_threshold must be at least 0 and below 1"),
        ({"keep_top_k": -2}, r"head\.keep_top_k must be -1 \(all\) or a count, got -2"),
        ({"nms_top_k": True}, r"head\.nms_top_k: expected a whole number, got True"),
    ],
)
def test_wrong_head_values_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        HeadSpec.from_dict({**HeadSpec().to_dict(), **change})
