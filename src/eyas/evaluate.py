"""Measures a detector on a dataset, through the same `Detector` that predicts."""

import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.backends import open_backend
from eyas.bundle import Bundle
from eyas.convert import resolve_model, trained_or_named
from eyas.data import load_dataset
from eyas.data.sample import Dataset, Sample
from eyas.errors import ConfigError, DatasetError
from eyas.metrics.bootstrap import compare
from eyas.metrics.coco import Boxes, to_coco_results
from eyas.metrics.detection import DetectionMetrics, evaluate_detections
from eyas.metrics.evaluation import Evaluation, evaluate_all
from eyas.metrics.overlaps import find_overlaps
from eyas.metrics.predictions import read_predictions
from eyas.pipelines.detector import Detector, Prepared
from eyas.results import Detections
from eyas.saving import write_text
from eyas.schema import Evaluate, ModuleConfig
from eyas.vision.image import read_image

log = logging.getLogger(__name__)

RESULT_FILE = "evaluate_result.json"
PREDICTIONS_FILE = "predictions.json"
"""COCO results: what another evaluation can be compared with."""

Tick = Callable[[int, int], None]
"""Called after every batch with (images done, images in all)."""


def run(config: ModuleConfig) -> Evaluation:
    """Measure what `Evaluate.weight_path` names, or the detections in `Evaluate.predictions`, on the validation part.

    A directory means the bundle in it, a file means weights (which takes torch); None is the bundle that training left
    in Global.output. Writes `evaluate_result.json` and `predictions.json` there.
    Raises ConfigError, DatasetError, ModelError or InputError.
    """
    settings, output = config.evaluate, Path(config.global_.output)
    if config.global_.dataset_dir is None:
        raise ConfigError("Global.dataset_dir: not given. Say where the dataset is: -o Global.dataset_dir=PATH")
    dataset = load_dataset(config.global_.dataset_dir, "val")
    started = time.perf_counter()
    if settings.predictions is not None:
        name, detections = Path(settings.predictions).name, _saved(settings.predictions, dataset)
    else:
        detector = _open_detector(config, output, dataset)
        name, detections = detector.manifest.model, _detect(detector, dataset, settings)
    seconds = time.perf_counter() - started
    evaluation = evaluate_all(dataset, detections, resamples=settings.resamples)
    for warning in evaluation.metrics.warnings():
        log.warning("%s", warning)
    extra: dict[str, Any] = {"model_name": name, "images": len(dataset), "seconds": seconds}
    if settings.compare_with is not None:
        extra["comparison"] = _compared(dataset, detections, settings)
    write_evaluate_result(output, evaluation, extra)
    rows = to_coco_results(dataset, detections)
    write_text(output / PREDICTIONS_FILE, json.dumps(rows, separators=(",", ":")) + "\n")
    return evaluation


def _detect(detector: Detector, dataset: Dataset, settings: Evaluate) -> dict[int, Boxes]:
    every = settings.log_interval * settings.batch_size

    def tick(done: int, of: int) -> None:
        if done % every == 0 or done == of:
            log.info("evaluated %d of %d images", done, of)

    return detect_dataset(detector, dataset, settings.batch_size, settings.threshold, tick)


def _saved(path: str, dataset: Dataset) -> dict[int, Boxes]:
    return dict(read_predictions(path, dataset))


def _compared(dataset: Dataset, detections: Mapping[int, Boxes], settings: Evaluate) -> dict[str, Any]:
    """Name of a figure -> its value in the other run and here, and what is to be said of the difference."""
    assert settings.compare_with is not None
    other = _saved(settings.compare_with, dataset)
    runs = find_overlaps(dataset, other), find_overlaps(dataset, detections)
    differences = compare(*runs, resamples=max(settings.resamples, 1))
    for name, found in differences.items():
        log.info(
            "%s %.4f, in %s %.4f: difference %+.4f (%+.4f to %+.4f), p %.3f",
            name, found.second, settings.compare_with, found.first, found.difference, found.low, found.high,
            found.p_value,
        )  # fmt: skip
    return {name: asdict(found) for name, found in differences.items()}


def _open_detector(config: ModuleConfig, output: Path, dataset: Dataset) -> Detector:
    """The detector of a bundle, or of weights; torch is loaded for weights alone."""
    asked, device = config.evaluate.weight_path, config.global_.device
    if asked is None or Path(asked).is_dir():
        folder = trained_or_named(output, config.global_.model) if asked is None else resolve_model(None, asked)
        bundle = Bundle.open(folder)
        return Detector(bundle.manifest, open_backend(bundle, device=device, engine=config.evaluate.engine))
    from eyas.models.backend import TorchBackend, open_weights
    from eyas.models.files import find_weights
    from eyas.train.ranks import open_ranks

    model, manifest = open_weights(find_weights(asked), config.global_.model, dataset.classes.names)
    with open_ranks(device) as ranks:
        return Detector(manifest, TorchBackend(model, ranks.device))


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


def write_evaluate_result(
    output_dir: str | Path, metrics: DetectionMetrics | Evaluation, extra: Mapping[str, Any] | None = None
) -> Path:
    """Write `evaluate_result.json` into `output_dir` and return its path.

    It is PaddleX's `{"done_flag": true, "metrics": {"AP": ...}}` with every figure in full precision; `extra` (model,
    dataset, speed …) goes beside these two keys.
    """
    content = {"done_flag": True, "metrics": metrics.to_dict(), **(extra or {})}
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / RESULT_FILE, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return folder / RESULT_FILE


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
