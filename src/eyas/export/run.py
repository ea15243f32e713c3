"""`eyas export`: trained weights -> a bundle, checked against the network that it came from."""

import logging
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.backends import open_backend
from eyas.bundle import Bundle
from eyas.data import load_dataset
from eyas.data.sample import Dataset
from eyas.data.synthetic import scene
from eyas.errors import ConfigError, ModelError
from eyas.export.convert import to_onnx
from eyas.export.verify import Difference, compare, compare_raw
from eyas.models.backend import TorchBackend, open_weights
from eyas.models.files import find_weights
from eyas.models.ppyoloe import PPYOLOE
from eyas.pipelines.detector import Detector
from eyas.schema import Export, ModuleConfig
from eyas.vision.decode import anchor_grid
from eyas.vision.image import read_image

log = logging.getLogger(__name__)

CHECK_IMAGES = 8
CHECK_THRESHOLD = 0.05
"""Detections below this score are left out of the comparison: thousands of them are near ties."""


TIES = 0.005
"""Share of the detections that may have no partner: near ties of the suppression."""


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
        files = {"model.onnx": Path(folder) / "model.onnx"}
        to_onnx(model, manifest.preprocess.size_hw, files["model.onnx"], config.opset)
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


def _difference(model: PPYOLOE, bundle: Bundle, engine: str, images: list[NDArray[np.uint8]]) -> Difference:
    manifest = bundle.manifest
    backends = TorchBackend(model), open_backend(bundle, device="cpu", engine=engine)
    expected, got = (
        Detector(manifest, backend).detect_batch(images, threshold=CHECK_THRESHOLD) for backend in backends
    )
    _, strides = anchor_grid(manifest.preprocess.size_hw, manifest.head.strides)
    inputs = ({manifest.input_name: manifest.preprocess.apply(image)[0][None]} for image in images)
    torch_backend, other = backends
    raw = [compare_raw(torch_backend.run(item), other.run(item), strides) for item in inputs]
    return replace(compare(expected, got), raw_score=max(s for s, _ in raw), raw_box=max(b for _, b in raw))


def _judge(engine: str, difference: Difference, config: Export) -> None:
    """Raise ModelError where the difference is beyond the tolerances."""
    log.info(
        "%s against torch: %d detections, boxes within %.2g px, scores within %.2g, %d alone; raw %.2g px, %.2g",
        engine, difference.pairs, difference.box, difference.score, difference.unmatched,
        difference.raw_box, difference.raw_score,
    )  # fmt: skip
    box, score = max(difference.box, difference.raw_box), max(difference.score, difference.raw_score)
    # Differences far below the tolerances can still turn a suppression, or a score at the threshold, the other way.
    ties = 1 + TIES * difference.pairs
    if box > config.box_tolerance or score > config.score_tolerance or difference.unmatched > ties:
        raise ModelError(
            f"The exported network does not predict what the trained one does. {engine}: boxes differ by {box:.3g} px "
            f"(allowed {config.box_tolerance:g}), scores by {score:.3g} (allowed {config.score_tolerance:g}), "
            f"{difference.unmatched} detections have no partner (highest score {difference.unmatched_score:.3g})."
        )
