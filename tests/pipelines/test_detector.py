"""Detector: from an image to detections in its own pixels, with thresholds of every kind."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.fakes import FakeBackend, manifest, picture, tiny_bundle, write_onnx

from eyas.backends import open_backend
from eyas.bundle import Bundle
from eyas.errors import ConfigError, ModelError
from eyas.pipelines.detector import Detector, Threshold, class_thresholds
from eyas.vision.decode import HeadSpec
from eyas.vision.preprocess import Preprocess


def detector(**changes: object) -> Detector:
    described = manifest(**changes)  # type: ignore[arg-type]
    return Detector(described, FakeBackend(described))


def test_boxes_are_in_the_pixels_of_the_image() -> None:
    """The fake box is 16 +/- 64 px in the 64 px input; clipped it covers the whole image."""
    found = detector()(picture(1, 204, size_hw=(100, 50)))
    np.testing.assert_array_equal(found.boxes_xyxy, [[0, 0, 50, 100]])
    assert (found.class_ids.tolist(), found.names) == ([1], ("person", "car", "bicycle"))
    assert found.scores.tolist() == [pytest.approx(0.8)]
    assert found.image is None


def test_letterbox_is_undone() -> None:
    """In a 256 px input the box spans -48..80 px; the image fills the left 128 px, at half its size."""
    described = manifest(preprocess=Preprocess((256, 256), resize="letterbox"))
    found = Detector(described, FakeBackend(described))(picture(0, 255, size_hw=(512, 256)))
    np.testing.assert_array_equal(found.boxes_xyxy, [[0, 0, 160, 160]])


def test_a_box_without_area_inside_the_image_is_dropped() -> None:
    """The picture fills the top of the input only, and this box lies below it."""
    described = manifest(preprocess=Preprocess((64, 64), resize="letterbox"))

    class Below(FakeBackend):
        def run(self, inputs):  # type: ignore[no-untyped-def]
            outputs = super().run(inputs)
            outputs["distances"][:, 0] = [0.5, -0.25, 0.5, 1]
            return outputs

    found = Detector(described, Below(described))
    assert len(found(picture(0, 255, size_hw=(64, 64))).scores) == 1
    assert len(found(picture(0, 255, size_hw=(16, 64))).scores) == 0


@pytest.mark.parametrize(
    ("threshold", "kept"),
    [
        (None, [0.8]),
        (0.5, [0.8]),
        (0.2, [0.8, 0.4]),
        (0, [0.8, 0.4, 0.2]),
        (1, []),
        (np.float32(0.3), [0.8, 0.4]),
        ({2: 0.1}, [0.8, 0.2]),
        ({"bicycle": 0.1, 0: 0.9}, [0.2]),
        ({"person": 0.9, "car": 0, "bicycle": 0}, [0.4, 0.2]),
        ({np.int64(1): 0.3}, [0.8, 0.4]),
        ({}, [0.8]),
    ],
)
def test_thresholds(threshold: Threshold, kept: list[float]) -> None:
    """Classes 0, 1, 2 come with 0.8, 0.4, 0.2; a class that a mapping leaves out has the model's 0.5."""
    images = [picture(0, 204), picture(1, 102), picture(2, 51)]
    found = detector().detect_batch(images, threshold=threshold)
    assert [round(score, 6) for result in found for score in result.scores.tolist()] == kept


def test_the_comparison_is_strict() -> None:
    limit = float(np.float32(102) / np.float32(255))
    assert len(detector()(picture(0, 102), threshold=limit).scores) == 0
    assert len(detector()(picture(0, 102), threshold=np.nextafter(np.float32(limit), np.float32(0))).scores) == 1


@pytest.mark.parametrize(
    ("threshold", "message"),
    [
        (True, r"threshold must be a number from 0 to 1, or a mapping from classes to numbers, got True"),
        ("0.5", r"threshold must be a number .* got '0\.5'"),
        (1.5, r"threshold must lie in 0\.\.1, got 1\.5"),
        (-0.1, r"threshold must lie in 0\.\.1, got -0\.1"),
        (float("nan"), r"threshold must lie in 0\.\.1, got nan"),
        ({"persn": 0.5}, r"class 'persn', which the model does not have\. Did you mean 'person'\?"),
        ({3: 0.5}, r"class 3, which the model does not have\. Class ids run from 0 to 2"),
        ({-1: 0.5}, r"class -1"),
        ({True: 0.5}, r"class True"),
        ({0: "high"}, r"threshold\[0\] must be a number"),
    ],
)
def test_wrong_thresholds_are_explained(threshold: Threshold, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        detector()(picture(0, 204), threshold=threshold)


def test_class_thresholds_start_from_the_manifest() -> None:
    limits = class_thresholds({"car": 0.25}, manifest(threshold=0.75))
    assert limits.tolist() == [0.75, 0.25, 0.75]


def test_a_batch_is_one_run_and_equals_single_images() -> None:
    described = manifest()
    backend = FakeBackend(described)
    images = [picture(i % 3, 150 + i, size_hw=(40 + i, 64)) for i in range(5)]
    together = Detector(described, backend).detect_batch(images)
    assert backend.batches == [5]
    for image, expected in zip(images, together, strict=True):
        alone = detector()(image)
        np.testing.assert_array_equal(alone.boxes_xyxy, expected.boxes_xyxy)
        np.testing.assert_array_equal(alone.scores, expected.scores)
        np.testing.assert_array_equal(alone.class_ids, expected.class_ids)
    assert detector().detect_batch([]) == []


def test_a_network_with_other_classes_or_another_count_of_images() -> None:
    described = manifest()
    with pytest.raises(ModelError, match="The network has 3 classes, but its manifest names 2"):
        Detector(manifest(names=("a", "b")), FakeBackend(described))(picture(0, 255))

    class Forgetful(FakeBackend):
        def run(self, inputs):  # type: ignore[no-untyped-def]
            return {name: array[:1] for name, array in super().run(inputs).items()}

    with pytest.raises(ModelError, match="given 2 images and answered for 1"):
        Detector(described, Forgetful(described)).detect_batch([picture(0, 255)] * 2)


def test_threads_may_share_a_detector() -> None:
    shared = detector()
    images = [picture(i % 3, 10 + i, size_hw=(30 + i % 7, 50)) for i in range(40)]
    expected = [shared(image, threshold=0.0).to_dict() for image in images]

    def work(_: int) -> list[dict[str, object]]:
        return [shared(image, threshold=0.0).to_dict() for image in images]

    with ThreadPoolExecutor(8) as pool:
        assert all(result == expected for result in pool.map(work, range(8)))


def test_the_detections_of_both_engines_are_the_same(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path, head=HeadSpec(nms_iou=0.9))
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    results = [
        Detector(bundle.manifest, open_backend(bundle, device="cpu", engine=engine, threads=1))(image, threshold=0.2)
        for engine in ("openvino", "onnxruntime")
    ]
    assert len(results[0].scores) > 20
    np.testing.assert_array_equal(results[0].class_ids, results[1].class_ids)
    np.testing.assert_allclose(results[0].scores, results[1].scores, atol=1e-5)
    np.testing.assert_allclose(results[0].boxes_xyxy, results[1].boxes_xyxy, atol=1e-3)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_network_that_gives_boxes_finds_what_one_that_gives_distances_does(tmp_path: Path, engine: str) -> None:
    described = manifest((64, 96), head=HeadSpec("boxes", (), nms_iou=0.9), outputs=("scores", "boxes"))
    write_onnx(tmp_path / "boxes.onnx", (64, 96), second="boxes")
    translated = Bundle.create(tmp_path / "boxes", described, {"model.onnx": tmp_path / "boxes.onnx"})
    assert Bundle.open(translated.path) == translated
    bundles = translated, tiny_bundle(tmp_path, head=HeadSpec(nms_iou=0.9))
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    got, expected = (
        Detector(bundle.manifest, open_backend(bundle, device="cpu", engine=engine, threads=1))(image, threshold=0.2)
        for bundle in bundles
    )
    assert len(got.scores) > 20
    np.testing.assert_array_equal(got.class_ids, expected.class_ids)
    np.testing.assert_array_equal(got.scores, expected.scores)
    np.testing.assert_allclose(got.boxes_xyxy, expected.boxes_xyxy, atol=1e-4)


def test_a_boxes_network_with_other_classes_is_told() -> None:
    class Boxes:
        def run(self, inputs):  # type: ignore[no-untyped-def]
            return {"scores": np.zeros((1, 2, 5), np.float32), "boxes": np.zeros((1, 5, 4), np.float32)}

    described = manifest(head=HeadSpec("boxes", ()), outputs=("scores", "boxes"))
    with pytest.raises(ModelError, match="The network has 2 classes, but its manifest names 3"):
        Detector(described, Boxes())(picture(0, 255))
