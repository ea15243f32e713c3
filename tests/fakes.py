"""Networks for tests: one that is only a function, and a real one of a few bytes."""

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.bundle import Bundle, EmbeddingManifest, Manifest
from eyas.vision.decode import HeadSpec, anchor_grid
from eyas.vision.preprocess import Preprocess

NAMES = ("person", "car", "bicycle")


def manifest(size_hw: tuple[int, int] = (64, 64), names: tuple[str, ...] = NAMES, **changes: object) -> Manifest:
    """A manifest for a `FakeBackend` or the network of `write_onnx`."""
    values: dict[str, object] = {
        "model": "Fake",
        "head": HeadSpec(),
        "preprocess": Preprocess(size_hw),
        "names": names,
        "source_ids": tuple(range(1, len(names) + 1)),
    }
    return Manifest(**{**values, **changes})  # type: ignore[arg-type]


class FakeBackend:
    """A network that finds one box in each image: around the centre of the first cell, two strides to each side.

    The first pixel decides: its red value is the class, its green value / 255 the score.
    """

    def __init__(self, manifest: Manifest, delay: float = 0.0) -> None:
        self._manifest = manifest
        self._delay = delay
        self.batches: list[int] = []
        self.threads: set[int] = set()

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """`scores` and `distances` as a network gives them."""
        images = inputs[self._manifest.input_name]
        self.batches.append(len(images))
        self.threads.add(threading.get_ident())
        time.sleep(self._delay)
        count = len(anchor_grid(self._manifest.preprocess.size_hw, self._manifest.head.strides)[0])
        scores = np.zeros((len(images), len(self._manifest.names), count), dtype=np.float32)
        for row, image in zip(scores, images, strict=True):
            row[int(image[0, 0, 0]) % len(row), 0] = image[1, 0, 0] / 255
        return {"scores": scores, "distances": np.full((len(images), count, 4), 2, dtype=np.float32)}


def picture(class_id: int, green: int, size_hw: tuple[int, int] = (64, 64)) -> NDArray[np.uint8]:
    """An RGB image in which a `FakeBackend` finds `class_id` with the score green / 255."""
    return np.full((*size_hw, 3), (class_id, green, 0), dtype=np.uint8)


def embedding_manifest(size_hw: tuple[int, int] = (64, 64), width: int = 3, **changes: object) -> EmbeddingManifest:
    """A manifest for a `FakeFeatures` or the network of `write_feature_onnx`."""
    values: dict[str, object] = {"model": "FakeFeatures", "width": width, "preprocess": Preprocess(size_hw)}
    return EmbeddingManifest(**{**values, **changes})  # type: ignore[arg-type]


class FakeFeatures:
    """A feature network that gives the first pixel of each image: red, green, blue."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """`features` [B, 3] as a network gives them."""
        (images,) = inputs.values()
        self.batches.append(len(images))
        return {"features": images[:, :, 0, 0].copy()}


def write_onnx(
    path: Path,
    size_hw: tuple[int, int],
    names: tuple[str, ...] = NAMES,
    strides: tuple[int, ...] = (32, 16, 8),
    second: str = "distances",
) -> None:
    """A tiny convolutional network with random weights, the outputs of a detector and an open batch size.

    Its outputs are `scores` and the `second` one: `distances`, or the `boxes` that they mean.
    """
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, weights, scores, distances = [], [], [], []

    def weight(name: str, values: NDArray[np.float32] | NDArray[np.int64]) -> str:
        weights.append(numpy_helper.from_array(values, name))
        return name

    channels = len(names) + 4
    weight("scale", np.float32([1 / 255]))
    weight("scores_shape", np.array([0, len(names), -1]))
    weight("distances_shape", np.array([0, 4, -1]))
    weight("split", np.array([len(names), 4]))
    nodes.append(helper.make_node("Mul", ["image", "scale"], ["unit"]))
    for s in strides:
        kernel = rng.normal(0, 3 / s, (channels, 3, s, s)).astype(np.float32)
        nodes += [
            helper.make_node("Conv", ["unit", weight(f"kernel{s}", kernel)], [f"map{s}"], strides=[s, s]),
            helper.make_node("Split", [f"map{s}", "split"], [f"class{s}", f"reach{s}"], axis=1),
            helper.make_node("Reshape", [f"class{s}", "scores_shape"], [f"scores{s}"]),
            helper.make_node("Reshape", [f"reach{s}", "distances_shape"], [f"sides{s}"]),
        ]
        scores.append(f"scores{s}")
        distances.append(f"sides{s}")
    nodes += [
        helper.make_node("Concat", scores, ["logits"], axis=2),
        helper.make_node("Sigmoid", ["logits"], ["scores"]),
        helper.make_node("Concat", distances, ["sides"], axis=2),
        helper.make_node("Softplus", ["sides"], ["positive"]),
        helper.make_node("Transpose", ["positive"], ["distances"], perm=[0, 2, 1]),
    ]
    centres, reach = anchor_grid(size_hw, strides)
    nodes += [
        helper.make_node("Mul", ["distances", weight("strides", reach[:, None])], ["pixels"]),
        helper.make_node("Split", ["pixels", weight("halves", np.array([2, 2]))], ["before", "after"], axis=2),
        helper.make_node("Sub", [weight("centres", centres), "before"], ["top_left"]),
        helper.make_node("Add", ["centres", "after"], ["bottom_right"]),
        helper.make_node("Concat", ["top_left", "bottom_right"], ["boxes"], axis=2),
    ]
    count = len(centres)
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, *size_hw])],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", len(names), count]),
            helper.make_tensor_value_info(second, TensorProto.FLOAT, ["batch", count, 4]),
        ],
        weights,
    )
    _save(graph, path)


def write_feature_onnx(path: Path, size_hw: tuple[int, int], width: int) -> None:
    """A tiny convolutional network with random weights that gives `features` [B, width], with an open batch size."""
    from onnx import TensorProto, helper, numpy_helper

    kernel = np.random.default_rng(1).normal(0, 0.02, (width, 3, 8, 8)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["map"], strides=[8, 8]),
        helper.make_node("Relu", ["map"], ["rectified"]),
        helper.make_node("GlobalAveragePool", ["rectified"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["features"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, *size_hw])
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", width])
    _save(helper.make_graph(nodes, "tiny", [image], [features], [numpy_helper.from_array(kernel, "kernel")]), path)


def _save(graph: Any, path: Path) -> None:
    import onnx
    from onnx import helper

    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def tiny_bundle(folder: Path, size_hw: tuple[int, int] = (64, 96), **changes: object) -> Bundle:
    """A bundle of the network of `write_onnx` in `folder`/bundle."""
    network = folder / "tiny.onnx"
    write_onnx(network, size_hw)
    return Bundle.create(folder / "bundle", manifest(size_hw, **changes), {"model.onnx": network})


def tiny_feature_bundle(
    folder: Path, size_hw: tuple[int, int] = (32, 48), width: int = 16, **changes: object
) -> Bundle:
    """A bundle of the network of `write_feature_onnx` in `folder`/features."""
    network = folder / "features.onnx"
    write_feature_onnx(network, size_hw, width)
    return Bundle.create(folder / "features", embedding_manifest(size_hw, width, **changes), {"model.onnx": network})
