"""Evaluation through the detector: order, classes, thresholds, and errors that name the image."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from eyas.bundle import Manifest
from eyas.data.sample import ClassMap, Dataset, Sample
from eyas.errors import DatasetError, InputError
from eyas.evaluate.detection import detect_dataset, evaluate_detector
from eyas.evaluate.run import write_evaluate_result
from eyas.pipelines.detector import Detector
from eyas.vision.decode import HeadSpec
from eyas.vision.preprocess import Preprocess

SIDE, CELL = 64, 32


class BrightCells:
    """A "network" with one stride of 32 px that calls a 32 x 32 cell an object when it is bright.

    Its class is 0 where the cell is red and 1 where it is green, its score the brightness.
    """

    def __init__(self) -> None:
        self.batches: list[int] = []

    def run(self, inputs: Any) -> dict[str, Any]:
        images = inputs["image"]
        self.batches.append(len(images))
        cells = images.reshape(len(images), 3, 2, CELL, 2, CELL).mean(axis=(3, 5)).reshape(len(images), 3, 4)
        distances = np.full((len(images), 4, 4), 0.5, np.float32)
        return {"scores": (cells[:, :2] / 255).astype(np.float32), "distances": distances}


def detector(names: tuple[str, ...] = ("red", "green")) -> tuple[Detector, BrightCells]:
    network = BrightCells()
    manifest = Manifest(
        model="cells",
        head=HeadSpec(strides=(CELL,)),
        preprocess=Preprocess(size_hw=(SIDE, SIDE)),
        names=names,
        source_ids=tuple(range(len(names))),
    )
    return Detector(manifest, network), network


def dataset(folder: Path, count: int = 5, classes: ClassMap | None = None) -> Dataset:
    """Images of 64 x 64 with one bright cell each, red in even ones, green in odd ones."""
    samples = []
    classes = classes or ClassMap(("red", "green"), (7, 3))
    for number in range(count):
        row, column, channel = number // 2 % 2, number % 2, number % 2
        image = np.zeros((SIDE, SIDE, 3), np.uint8)
        image[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL, channel] = 200
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), image[..., ::-1])
        box = np.array([[column, row, column + 1, row + 1]], np.float32) * CELL
        class_id = classes.names.index(("red", "green")[channel])
        samples.append(Sample(100 - number, path, SIDE, SIDE, box, np.array([class_id]), np.array([False])))
    return Dataset(tuple(samples), classes, folder / "file.json")


@pytest.mark.parametrize("batch_size", [1, 2, 5, 8])
def test_a_perfect_detector_scores_one_in_any_batch_size(tmp_path: Path, batch_size: int) -> None:
    model, network = detector()
    ticks: list[tuple[int, int]] = []
    data = dataset(tmp_path)
    metrics = evaluate_detector(model, data, batch_size=batch_size, progress=lambda *done: ticks.append(done))
    assert (metrics.AP, metrics.objects, metrics.detections) == (1, 5, 5)
    full, rest = divmod(5, batch_size)
    assert network.batches == [batch_size] * full + [rest] * bool(rest)
    assert ticks[-1] == (5, 5) and len(ticks) == len(network.batches)


def test_classes_in_another_order_are_matched_by_name(tmp_path: Path) -> None:
    model, _ = detector()
    data = dataset(tmp_path, classes=ClassMap(("green", "red"), (1, 2)))
    assert evaluate_detector(model, data).AP == 1
    found = detect_dataset(model, data)
    assert [found[sample.image_id].class_ids.tolist() for sample in data.samples] == [[1], [0], [1], [0], [1]]


def test_other_classes_are_an_error_that_names_them(tmp_path: Path) -> None:
    model, _ = detector(("red", "blue"))
    with pytest.raises(DatasetError, match=r"Only the dataset has \['green'\], only the model has \['blue'\]"):
        evaluate_detector(model, dataset(tmp_path))


def test_the_threshold_counts(tmp_path: Path) -> None:
    model, _ = detector()
    data = dataset(tmp_path)
    assert evaluate_detector(model, data, threshold=0.7).detections == 5
    assert evaluate_detector(model, data, threshold=0.8).detections == 0  # the score is 200 / 255 = 0.784


def test_an_image_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    model, _ = detector()
    data = dataset(tmp_path, count=30)
    data.samples[3].path.write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"3\.png"):
        evaluate_detector(model, data)
    data.samples[3].path.unlink()
    with pytest.raises(InputError, match=r"3\.png"):
        evaluate_detector(model, data)


def test_an_image_of_another_size_is_named(tmp_path: Path) -> None:
    model, _ = detector()
    data = dataset(tmp_path)
    cv2.imwrite(str(data.samples[2].path), np.zeros((32, 48, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"2\.png is 48 x 32 pixels, its annotation \(image id 98\) says 64 x 64"):
        evaluate_detector(model, data)


def test_an_empty_dataset_and_a_wrong_batch_size(tmp_path: Path) -> None:
    model, _ = detector()
    empty = Dataset((), ClassMap(("red", "green"), (1, 2)), tmp_path)
    assert evaluate_detector(model, empty).AP == -1
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        evaluate_detector(model, empty, batch_size=0)


def test_writes_the_result_file_in_full_precision(tmp_path: Path) -> None:
    model, _ = detector()
    metrics = evaluate_detector(model, dataset(tmp_path), threshold=0.1)
    file = write_evaluate_result(tmp_path / "new" / "out", metrics, {"model": "cells"})
    assert file == tmp_path / "new" / "out" / "evaluate_result.json"
    content = json.loads(file.read_text())
    assert content["done_flag"] is True and content["model"] == "cells"
    assert content["metrics"] == json.loads(json.dumps(metrics.to_dict()))
