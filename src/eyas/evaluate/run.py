"""`eyas evaluate`: a model, or saved detections, measured on a dataset."""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eyas.backends import Backend, open_backend
from eyas.bundle import AnyManifest, Bundle, EmbeddingManifest
from eyas.convert import resolve_model, trained_or_named
from eyas.data import load_dataset
from eyas.data.sample import Dataset
from eyas.errors import ConfigError, DatasetError
from eyas.evaluate.detection import detect_dataset
from eyas.evaluate.features import FeatureEvaluation, evaluate_embedder
from eyas.metrics.bootstrap import compare
from eyas.metrics.coco import Boxes, to_coco_results
from eyas.metrics.detection import DetectionMetrics
from eyas.metrics.evaluation import Evaluation, evaluate_all
from eyas.metrics.overlaps import find_overlaps
from eyas.metrics.predictions import read_predictions
from eyas.pipelines.detector import Detector
from eyas.pipelines.embedder import Embedder
from eyas.report.comparison import Comparison
from eyas.report.evaluation import write_evaluation_report
from eyas.report.recognition import write_recognition_report
from eyas.saving import write_text
from eyas.schema import Evaluate, ModuleConfig

log = logging.getLogger(__name__)

RESULT_FILE = "evaluate_result.json"
PREDICTIONS_FILE = "predictions.json"
"""COCO results: what another evaluation can be compared with."""
REPORT_FILE = "evaluate_report.html"

Results = DetectionMetrics | Evaluation | FeatureEvaluation


def run(config: ModuleConfig) -> Evaluation | FeatureEvaluation:
    """Measure what `Evaluate.weight_path` names, or the detections in `Evaluate.predictions`.

    A directory means the bundle in it, a file means weights (which takes torch); None is the bundle that training left
    in Global.output. A detector is measured on the validation part of the dataset, a feature model on its queries.
    Writes `evaluate_result.json`, and of detections `predictions.json` and `evaluate_report.html`.
    Raises ConfigError, DatasetError, ModelError or InputError.
    """
    settings, output, root = config.evaluate, Path(config.global_.output), config.global_.dataset_dir
    if root is None:
        raise ConfigError("Global.dataset_dir: not given. Say where the dataset is: -o Global.dataset_dir=PATH")
    if not Path(root).is_dir():  # said before a model is fetched and opened
        raise DatasetError(f"the dataset folder {root} is not there")
    if settings.predictions is not None:
        dataset = load_dataset(root, "val")
        return _measured(dataset, dict(read_predictions(settings.predictions, dataset)), config, {
            "model_name": Path(settings.predictions).name, "images": len(dataset),
        })  # fmt: skip
    started = time.perf_counter()
    manifest, backend = _open_model(config, output)
    if isinstance(manifest, EmbeddingManifest):
        found = evaluate_embedder(Embedder(manifest, backend), root, settings.batch_size)
        seconds = time.perf_counter() - started
        write_evaluate_result(output, found, {"model_name": manifest.model, "seconds": seconds})
        facts = {"Model": manifest.model, "Dataset": str(root)}
        write_recognition_report(output / REPORT_FILE, found.metrics, found.open_set, found.mistakes, facts)
        return found
    dataset = load_dataset(root, "val")
    detections = _detect(Detector(manifest, backend), dataset, settings)
    seconds = time.perf_counter() - started
    extra = {"model_name": manifest.model, "images": len(dataset), "seconds": seconds}
    return _measured(dataset, detections, config, extra)


def _measured(
    dataset: Dataset, detections: dict[int, Boxes], config: ModuleConfig, extra: dict[str, Any]
) -> Evaluation:
    settings, output = config.evaluate, Path(config.global_.output)
    edges = settings.size_bins
    if edges is not None and list(edges) != sorted(set(edges)):
        raise ConfigError(f"Evaluate.size_bins: expected rising numbers, came {list(edges)}")
    evaluation = evaluate_all(dataset, detections, resamples=settings.resamples, size_edges=edges)
    for warning in evaluation.metrics.warnings():
        log.info("%s", warning)
    comparison = None
    if settings.compare_with is not None:
        name = str(extra["model_name"])
        comparison = _compared(dataset, detections, settings.compare_with, settings.resamples, name)
        extra = extra | {"comparison": {key: asdict(found) for key, found in comparison.differences.items()}}
    write_evaluate_result(output, evaluation, extra)
    rows = to_coco_results(dataset, detections)
    write_text(output / PREDICTIONS_FILE, json.dumps(rows, separators=(",", ":")) + "\n")
    facts = {"Model": str(extra["model_name"])}
    report = write_evaluation_report(
        output / REPORT_FILE, evaluation, dataset, detections, facts=facts, comparison=comparison
    )
    log.info("the report is %s", report)
    return evaluation


def _detect(detector: Detector, dataset: Dataset, settings: Evaluate) -> dict[int, Boxes]:
    every = settings.log_interval * settings.batch_size

    def tick(done: int, of: int) -> None:
        if done % every == 0 or done == of:
            log.info("evaluated %d of %d images", done, of)

    return detect_dataset(detector, dataset, settings.batch_size, settings.threshold, tick)


def _compared(dataset: Dataset, detections: Mapping[int, Boxes], path: str, resamples: int, name: str) -> Comparison:
    """What is to be said of this run beside the detections that another one has saved at `path`."""
    other = read_predictions(path, dataset)
    runs = find_overlaps(dataset, other), find_overlaps(dataset, detections)
    differences = compare(*runs, resamples=max(resamples, 1))
    for figure, found in differences.items():
        log.info(
            "%s %.4f, in %s %.4f: difference %+.4f (%+.4f to %+.4f), p %.3f",
            figure, found.second, path, found.first, found.difference, found.low, found.high, found.p_value,
        )  # fmt: skip
    return Comparison(Path(path).stem, name, evaluate_all(dataset, other, resamples=0), differences)


def _open_model(config: ModuleConfig, output: Path) -> tuple[AnyManifest, Backend]:
    """The model of a bundle, or of weights; torch is loaded for weights alone."""
    asked, device = config.evaluate.weight_path, config.global_.device
    if asked is None or Path(asked).is_dir():
        folder = trained_or_named(output, config.global_.model) if asked is None else resolve_model(None, asked)
        bundle = Bundle.open(folder)
        return bundle.manifest, open_backend(bundle, device=device, engine=config.evaluate.engine)
    from eyas.models.backend import TorchBackend, open_weights
    from eyas.models.files import find_weights
    from eyas.train.ranks import open_ranks

    model, manifest = open_weights(find_weights(asked), config.global_.model, _class_names(config))
    with open_ranks(device) as ranks:
        return manifest, TorchBackend(model, ranks.device)


def _class_names(config: ModuleConfig) -> tuple[str, ...] | None:
    """What a detector finds whose weights do not say it: the classes of the data. None for a feature model."""
    from eyas.models import MODELS, is_feature_network

    name = config.global_.model
    if name in MODELS and is_feature_network(name):
        return None
    assert config.global_.dataset_dir is not None
    return load_dataset(config.global_.dataset_dir, "val").classes.names


def write_evaluate_result(output_dir: str | Path, metrics: Results, extra: Mapping[str, Any] | None = None) -> Path:
    """Write `evaluate_result.json` into `output_dir` and return its path.

    It is PaddleX's `{"done_flag": true, "metrics": {"AP": ...}}` with every figure in full precision; `extra` (model,
    dataset, speed …) goes beside these two keys.
    """
    content = {"done_flag": True, "metrics": metrics.to_dict(), **(extra or {})}
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / RESULT_FILE, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return folder / RESULT_FILE
