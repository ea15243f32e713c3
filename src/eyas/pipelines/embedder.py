"""Images in, their features out: preprocessing, a network, features of length 1."""

from collections.abc import Sequence

import numpy as np

from eyas.backends import Backend
from eyas.bundle import AnyManifest, EmbeddingManifest, need_task
from eyas.errors import ConfigError, ModelError
from eyas.pipelines.detector import Threshold, stacked
from eyas.pipelines.stream import Work
from eyas.results import Features
from eyas.vision.boxes import Floats
from eyas.vision.preprocess import Image


class Embedder:
    """Runs a feature network.  Safe to share between threads: nothing is kept between calls."""

    def __init__(self, manifest: AnyManifest, backend: Backend) -> None:
        """Raises ModelError for the manifest of another task."""
        self.manifest = need_task(manifest, EmbeddingManifest)
        self._backend = backend

    def __call__(self, image_rgb: Image) -> Floats:
        """The feature of one image (uint8 RGB [H, W, 3]): float32 [D], of length 1.

        Raises ModelError where the network does not fit its manifest or gives what has no direction: NaN or zeros.
        """
        vector: Floats = self.embed_batch([image_rgb])[0]
        return vector

    def embed_batch(self, images: Sequence[Image]) -> Floats:
        """The features of several images, of any sizes, in one run of the network: float32 [N, D], a row an image."""
        return self.embed_prepared([self.prepare(image) for image in images])

    def prepare(self, image_rgb: Image) -> Floats:
        """The part before the network, float32 [3, H, W]; it may run in other threads while the network is busy."""
        return self.manifest.preprocess.apply(image_rgb)[0]

    def embed_prepared(self, batch: Sequence[Floats]) -> Floats:
        """The network and everything after it, for images that went through `prepare`."""
        width = self.manifest.width
        if not batch:
            return np.zeros((0, width), dtype=np.float32)
        (name,) = self.manifest.outputs
        features = self._backend.run({self.manifest.input_name: stacked(batch)})[name]
        if features.shape != (len(batch), width):
            raise ModelError(
                f"The network's output {name!r} should be the features of {len(batch)} images, "
                f"[{len(batch)}, {width}], and is {list(features.shape)}."
            )
        return l2_normalised(features)

    def work(self, threshold: Threshold = None) -> Work[Floats, Features]:
        """What a `Predictor` does with pictures.  Raises ConfigError for a threshold: features have no score."""
        if threshold is not None:
            raise ConfigError(
                f"threshold: {self.manifest.model} gives features, which have no score to compare, got {threshold!r}. "
                "Leave it out."
            )
        return Work(self.prepare, lambda batch: [Features(row) for row in self.embed_prepared(batch)])


def l2_normalised(features: Floats) -> Floats:
    """`features` float32 [N, D], each row divided by its length, the root of the sum of its squares.

    Raises ModelError for NaN, infinity and a row of zeros, which has no direction: only a broken network gives them.
    """
    if not np.isfinite(features).all():
        raise ModelError("The network's features hold NaN or infinity. Its weights are broken, or its input was.")
    wide = features.astype(np.float64)  # squares of float32 may overflow float32
    lengths = np.sqrt(np.square(wide).sum(axis=1, keepdims=True))
    if not lengths.all():
        raise ModelError(
            "The network's feature of an image is all zeros, which has no direction. Its weights are broken."
        )
    normalised: Floats = (wide / lengths).astype(np.float32)
    return normalised
