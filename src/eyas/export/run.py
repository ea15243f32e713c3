"""`eyas export`: trained weights -> a bundle, checked against the network that it came from."""

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.backends import open_backend
from eyas.bundle import Bundle, Manifest
from eyas.data import load_dataset
from eyas.data.sample import Dataset
from eyas.data.synthetic import scene
from eyas.errors import ConfigError, ModelError
from eyas.export.convert import to_onnx
from eyas.export.verify import Difference, compare
from eyas.models.backend import TorchBackend, open_weights
from eyas.models.files import find_weights
from eyas.models.ppyoloe import PPYOLOE
from eyas.pipelines.detector import Detector
from eyas.schema import Export, ModuleConfig
from eyas.vision.image import read_image

log = logging.getLogger(__name__)

CHECK_IMAGES = 8
CHECK_THRESHOLD = 0.05
"""Detections below this score are left out of the comparison: thousands of them are near ties."""


def run(config: ModuleConfig) -> Path:
    """Export the weights that the configuration names; the bundle's directory."""
    output = Path(config.global_.output)
    weights = config.export.weight_path
    if weights is None:
        raise ConfigError("Export.weight_path: not given. Name the weights: -o Export.weight_path=output/best_model")
    data = load_dataset(config.global_.dataset_dir, "val") if config.global_.dataset_dir else None
    return export_bundle(find_weights(Path(weights)), output, config.export, data)


def export_bundle(weights: Path, target: Path, config: Export, data: Dataset | None) -> Path:
    """Write the bundle of `weights` at `target` and prove it on pictures of `data` (else on drawn scenes).

    Raises ModelError where a format's detections differ by more than the tolerances; nothing is left at `target` then.
    """
    model, manifest = open_weights(weights)
    manifest = replace(manifest, threshold=config.threshold)
    images = check_images(data)
    with tempfile.TemporaryDirectory() as folder:
        files = _convert(model, manifest, config, Path(folder))
        draft = Bundle.create(Path(folder) / "bundle", manifest, files)
        differences = {name: _difference(model, draft, name, images) for name in ("openvino", "onnxruntime")}
        for name, difference in differences.items():
            _judge(name, difference, config)
        checks: dict[str, Any] = {name: asdict(difference) for name, difference in differences.items()}
        made = {**manifest.made, "export_check": {"images": len(images), **checks}}
        Bundle.create(target, replace(manifest, made=made), files)
    log.info("bundle written to %s", target)
    return target


def check_images(data: Dataset | None) -> list[NDArray[np.uint8]]:
    """The pictures of the check: the first ones of `data`, else seeded scenes."""
    if data is None:
        return [scene(seed).image for seed in range(CHECK_IMAGES)]
    return [read_image(sample.path) for sample in data.samples[:CHECK_IMAGES]]


def _convert(model: PPYOLOE, manifest: Manifest, config: Export, folder: Path) -> Mapping[str, Path]:
    onnx = folder / "model.onnx"
    to_onnx(model, manifest.preprocess.size_hw, onnx, config.opset)
    return {"model.onnx": onnx}


def _difference(model: PPYOLOE, bundle: Bundle, engine: str, images: list[NDArray[np.uint8]]) -> Difference:
    manifest = bundle.manifest
    expected = Detector(manifest, TorchBackend(model))
    got = Detector(manifest, open_backend(bundle, device="cpu", engine=engine))
    return compare(
        expected.detect_batch(images, threshold=CHECK_THRESHOLD), got.detect_batch(images, threshold=CHECK_THRESHOLD)
    )


def _judge(engine: str, difference: Difference, config: Export) -> None:
    log.info(
        "%s against torch: %d detections, boxes within %.2g px, scores within %.2g, %d alone (score up to %.2g)",
        engine, difference.pairs, difference.box, difference.score, difference.unmatched, difference.unmatched_score,
    )  # fmt: skip
    edge = CHECK_THRESHOLD + config.score_tolerance
    if (
        difference.box > config.box_tolerance
        or difference.score > config.score_tolerance
        or difference.unmatched_score > edge
    ):
        raise ModelError(
            f"The exported network does not predict what the trained one does. {engine}: boxes differ by "
            f"{difference.box:.3g} px (allowed {config.box_tolerance:g}), scores by {difference.score:.3g} (allowed "
            f"{config.score_tolerance:g}), {difference.unmatched} detections have no partner (highest score "
            f"{difference.unmatched_score:.3g})."
        )
