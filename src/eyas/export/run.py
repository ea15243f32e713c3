"""`eyas export`: trained weights -> a bundle, checked against the network that it came from."""

import logging
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eyas.bundle import AnyManifest, Bundle, Manifest
from eyas.data import load_dataset
from eyas.data.labelled import LabelledImages
from eyas.data.sample import Dataset
from eyas.data.synthetic import scene
from eyas.errors import ConfigError
from eyas.evaluate.features import query_parts
from eyas.export.convert import to_onnx
from eyas.export.verify import Images, check_detector, check_embedder
from eyas.models import Network, is_feature_network
from eyas.models.backend import open_weights
from eyas.models.files import find_weights
from eyas.schema import Export, ModuleConfig
from eyas.vision.image import read_image

log = logging.getLogger(__name__)

CHECK_IMAGES = 8
CHECK_SCENES = 2
"""Drawn scenes are all alike; a network of 1920 x 1920 takes seconds for each."""


def run(config: ModuleConfig) -> Path:
    """Export the weights that the configuration names; the bundle's directory."""
    output, root = Path(config.global_.output), config.global_.dataset_dir
    asked = config.export.weight_path
    if asked is None:
        raise ConfigError("Export.weight_path: not given. Name the weights: -o Export.weight_path=output/best_model")
    weights, name = find_weights(asked), config.global_.model
    if root is not None and is_feature_network(name):
        _, queries = query_parts(root)
        return export_bundle(weights, output, config.export, first_pictures(queries), name)
    data = load_dataset(root, "val") if root else None
    names = data.classes.names if data else None
    return export_bundle(weights, output, config.export, first_images(data) if data else None, name, names)


def export_bundle(
    weights: Path,
    target: Path,
    config: Export,
    images: Images | None,
    name: str | None = None,
    classes: tuple[str, ...] | None = None,
) -> Path:
    """`write_bundle` for a weights file, which `open_weights` opens as the network `name` with these `classes`."""
    return write_bundle(*open_weights(weights, name, classes), target, config, images)


def write_bundle(
    model: Network, manifest: AnyManifest, target: Path, config: Export, images: Images | None = None
) -> Path:
    """Write the bundle of `model` at `target` and prove it on `images` (None: on drawn scenes).

    Raises ModelError where a runtime's results differ by more than the tolerances; nothing is left at `target` then.
    """
    if isinstance(manifest, Manifest):
        manifest = replace(manifest, threshold=config.threshold)
    if images is None:
        images = [scene(seed).image for seed in range(CHECK_SCENES)]
    with tempfile.TemporaryDirectory() as folder:
        files = {"model.onnx": Path(folder) / "model.onnx"}
        to_onnx(model, manifest.preprocess.size_hw, files["model.onnx"], config.opset)
        draft = Bundle.create(Path(folder) / "bundle", manifest, files)
        check = check_detector if isinstance(manifest, Manifest) else check_embedder
        checks = check(model, draft, images, config)
        made = {**manifest.made, "export_check": {"images": len(images), **checks}}
        Bundle.create(target, replace(manifest, made=made), files)
    log.info("bundle written to %s", target)
    return target


def first_images(data: Dataset) -> list[NDArray[np.uint8]]:
    """The first images of `data`, for the check."""
    return [read_image(sample.path) for sample in data.samples[:CHECK_IMAGES]]


def first_pictures(data: LabelledImages) -> list[NDArray[np.uint8]]:
    """The first pictures of `data`, for the check."""
    return [read_image(path) for path in data.paths[:CHECK_IMAGES]]
