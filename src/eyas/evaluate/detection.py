"""Measures a detector on a dataset, through the same `Detector` that predicts."""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from eyas.data.sample import Dataset, Sample
from eyas.errors import DatasetError
from eyas.metrics.coco import Boxes
from eyas.metrics.detection import DetectionMetrics, evaluate_detections
from eyas.pipelines.detector import Detector, Prepared
from eyas.results import Detections
from eyas.vision.image import read_image

log = logging.getLogger(__name__)

Tick = Callable[[int, int], None]
"""Called after every batch with (images done, images in all)."""


def evaluate_detector(
    detector: Detector,
    dataset: Dataset,
    *,
    batch_size: int = 1,
    threshold: float | None = None,
    progress: Tick | None = None,
) -> DetectionMetrics:
    """The figures of `detector` on all images of `dataset`.

    Scores above `threshold` count; None means the lowest that the network's head gives, because AP asks for the whole
    curve. Images are read and prepared in threads while the network runs. Raises DatasetError where the classes differ
    or an image is not as large as its annotation says, and InputError, with the file, where one cannot be read.
    """
    return evaluate_detections(dataset, detect_dataset(detector, dataset, batch_size, threshold, progress))


def detect_dataset(
    detector: Detector,
    dataset: Dataset,
    batch_size: int = 1,
    threshold: float | None = None,
    progress: Tick | None = None,
) -> dict[int, Boxes]:
    """The detections of every image by image id, with the class ids of `dataset`. Arguments as `evaluate_detector`."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    lowest = detector.manifest.head.score_threshold if threshold is None else threshold
    class_ids = _dataset_ids(detector.manifest.names, dataset)
    names = dataset.classes.names
    results: dict[int, Boxes] = {}
    batch: list[tuple[Sample, Prepared]] = []
    for place, item in enumerate(_prepared(detector, dataset, ahead=2 * batch_size + 2), start=1):
        batch.append(item)
        if len(batch) == batch_size or place == len(dataset):
            found = detector.detect_prepared([prepared for _, prepared in batch], threshold=lowest)
            for (sample, _), one in zip(batch, found, strict=True):
                results[sample.image_id] = Detections(one.boxes_xyxy, one.scores, class_ids[one.class_ids], names)
            batch.clear()
            if progress is not None:
                progress(place, len(dataset))
    return results


def _dataset_ids(model_names: tuple[str, ...], dataset: Dataset) -> NDArray[np.int64]:
    """The dataset's class id of each class of the model, int64 [C]: the same names, perhaps in another order."""
    names = dataset.classes.names
    missing, strange = sorted(set(names) - set(model_names)), sorted(set(model_names) - set(names))
    if missing or strange:
        raise DatasetError(
            f"{dataset.source}: its classes do not fit the model. Only the dataset has {missing}, only the model has "
            f"{strange}"
        )
    return np.array([names.index(name) for name in model_names], dtype=np.int64)


def _prepared(detector: Detector, dataset: Dataset, ahead: int) -> Iterator[tuple[Sample, Prepared]]:
    """Every sample with its image ready for the network, in order; up to `ahead` are made in advance."""
    waiting: deque[tuple[Sample, Future[Prepared]]] = deque()
    with ThreadPoolExecutor(min(ahead, os.cpu_count() or 1), thread_name_prefix="eyas-read") as pool:
        try:
            for sample in dataset.samples:
                waiting.append((sample, pool.submit(_prepare, detector, sample)))
                if len(waiting) > ahead:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def _prepare(detector: Detector, sample: Sample) -> Prepared:
    image = read_image(sample.path)
    if image.shape[:2] != (sample.height, sample.width):
        raise DatasetError(
            f"{sample.path} is {image.shape[1]} x {image.shape[0]} pixels, its annotation (image id {sample.image_id}) "
            f"says {sample.width} x {sample.height}: its boxes would be off. Mend the annotation"
        )
    return detector.prepare(image)
