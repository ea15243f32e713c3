"""Embedder: from images to features of length 1."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from tests.fakes import FakeFeatures, embedding_manifest, manifest, picture, tiny_bundle, tiny_feature_bundle

from eyas.backends import open_backend
from eyas.errors import ConfigError, ModelError
from eyas.pipelines.detector import Detector
from eyas.pipelines.embedder import Embedder, l2_normalised
from eyas.vision.preprocess import Preprocess


def embedder() -> Embedder:
    return Embedder(embedding_manifest(), FakeFeatures())


class Scripted(FakeFeatures):
    """A network that gives these features, whatever the images."""

    def __init__(self, features: object) -> None:
        super().__init__()
        self._features = np.array(features, dtype=np.float32)

    def run(self, inputs):  # type: ignore[no-untyped-def]
        return {"features": self._features}


def colour(red: int, green: int, blue: int, size_hw: tuple[int, int] = (64, 64)) -> NDArray[np.uint8]:
    return np.full((*size_hw, 3), (red, green, blue), dtype=np.uint8)


def test_a_feature_has_the_direction_of_the_output_and_the_length_one() -> None:
    feature = embedder()(colour(30, 40, 0, size_hw=(10, 90)))
    assert feature.dtype == np.float32
    np.testing.assert_allclose(feature, [0.6, 0.8, 0], rtol=1e-7)


def test_the_preprocessing_is_the_manifests() -> None:
    described = embedding_manifest(preprocess=Preprocess((8, 8), alpha=(1, -1, 0), beta=(0, 0, 12)))
    np.testing.assert_allclose(Embedder(described, FakeFeatures())(colour(3, 4, 200)), np.array([3, -4, 12]) / 13)


def test_a_batch_is_one_run_and_equals_single_images() -> None:
    network = FakeFeatures()
    images = [colour(i, 2 * i + 1, 90 - i, size_hw=(40 + i, 64)) for i in range(7)]
    together = Embedder(embedding_manifest(), network).embed_batch(images)
    assert network.batches == [7]
    assert together.shape == (7, 3)
    np.testing.assert_array_equal(together, [embedder()(image) for image in images])
    assert embedder().embed_batch([]).shape == (0, 3)


def test_features_of_paddle(reference: Path) -> None:
    stored = np.load(reference / "PP-ShiTuV2_rec" / "outputs.npz")
    for case in ("eval224", "eval192x256"):
        got = l2_normalised(stored[f"{case}.features"])
        np.testing.assert_allclose(got, stored[f"{case}.embedding"], rtol=2e-7, atol=0)


@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(1, 40)),
        elements=st.floats(-(2.0**120), 2.0**120, width=32, allow_subnormal=False),
    )
)
def test_every_row_has_the_length_one_however_large_or_small(features: NDArray[np.float32]) -> None:
    features[:, 0] = np.where(features.any(axis=1), features[:, 0], 1e-30)
    got = l2_normalised(features)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, rtol=1e-5)
    assert (np.sign(got) == np.sign(features))[np.abs(got) > 0].all()
    np.testing.assert_array_equal(got, np.concatenate([l2_normalised(row[None]) for row in features]))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ([[0, 0, 0]], "is all zeros, which has no direction"),
        ([[np.nan, 1, 2]], "hold NaN or infinity"),
        ([[np.inf, 1, 2]], "hold NaN or infinity"),
        ([[1, 2]], r"'features' should be the features of 1 images, \[1, 3\], and is \[1, 2\]"),
        ([[1, 2, 3]] * 2, r"and is \[2, 3\]"),
        ([[[1, 2, 3]]], r"and is \[1, 1, 3\]"),
    ],
)
def test_broken_networks_are_explained(features: object, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Embedder(embedding_manifest(), Scripted(features))(picture(1, 2))


def test_a_threshold_means_nothing_to_features() -> None:
    embedder().work(None)
    with pytest.raises(ConfigError, match=r"threshold: FakeFeatures gives features, .* got 0\.5\. Leave it out"):
        embedder().work(0.5)


def test_a_manifest_of_the_other_task_is_refused() -> None:
    with pytest.raises(ModelError, match="The model Fake is for detection, and one for embedding is needed here"):
        Embedder(manifest(), FakeFeatures())
    with pytest.raises(ModelError, match="The model FakeFeatures is for embedding, and one for detection is needed"):
        Detector(embedding_manifest(), FakeFeatures())


def test_threads_may_share_an_embedder() -> None:
    shared = embedder()
    images = [colour(i, 1, 200 - i, size_hw=(30 + i % 7, 50)) for i in range(40)]
    expected = shared.embed_batch(images)

    def work(_: int) -> NDArray[np.float32]:
        return np.stack([shared(image) for image in images])

    with ThreadPoolExecutor(8) as pool:
        for got in pool.map(work, range(8)):
            np.testing.assert_array_equal(got, expected)


def expected_features(network: Path, images: NDArray[np.float32]) -> NDArray[np.float64]:
    """The tiny network in float64, from the weights in its file: convolution 8 x 8, ReLU, mean."""
    import onnx
    from onnx import numpy_helper

    (kernel,) = (numpy_helper.to_array(w).astype(np.float64) for w in onnx.load(network).graph.initializer)
    count, _, height, width = images.shape
    patches = images.astype(np.float64).reshape(count, 3, height // 8, 8, width // 8, 8)
    features = np.maximum(np.einsum("bcryxs,ocys->borx", patches, kernel), 0).mean(axis=(2, 3))
    return features / np.linalg.norm(features, axis=1, keepdims=True)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_golden_values_of_both_engines(tmp_path: Path, engine: str) -> None:
    bundle = tiny_feature_bundle(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 48, 3), dtype=np.uint8)
    found = Embedder(bundle.manifest, open_backend(bundle, device="cpu", engine=engine, threads=1))
    got = found.embed_batch(list(images))
    expected = expected_features(bundle.network, images.transpose(0, 3, 1, 2).astype(np.float32))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(got, [found(image) for image in images], rtol=0, atol=1e-6)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_network_without_features_is_refused_when_it_is_opened(tmp_path: Path, engine: str) -> None:
    bundle = replace(tiny_bundle(tmp_path, (64, 96)), manifest=embedding_manifest((64, 96)))
    with pytest.raises(ModelError, match=r"output 'features' is missing, the network gives \['scores', 'distances'\]"):
        open_backend(bundle, device="cpu", engine=engine)
