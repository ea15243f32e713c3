"""Proof that an exported network gives what the trained one does: the same pictures through both, compared."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.backends import Backend, open_backend
from eyas.bundle import Bundle, Manifest, need_task
from eyas.errors import ModelError
from eyas.models import Network
from eyas.models.backend import TorchBackend
from eyas.pipelines.detector import Detector
from eyas.pipelines.embedder import Embedder
from eyas.results import Detections
from eyas.schema import Export
from eyas.vision.decode import anchor_grid

log = logging.getLogger(__name__)

Images = Sequence[NDArray[np.uint8]]

ENGINES = ("openvino", "onnxruntime")

CHECK_THRESHOLD = 0.05
"""Detections below this score are left out of the comparison: thousands of them are near ties."""


@dataclass(frozen=True)
class Difference:
    """Largest difference of any box side (pixels of the image) and any score, over `pairs` matched detections.

    `unmatched` detections, of either side, have no partner of their class that overlaps them; their highest score is
    `unmatched_score`. `raw_score` and `raw_box` (pixels of the network's input) are the largest differences of the raw
    outputs over all anchors: they say something also where nothing is detected.
    """

    box: float
    score: float
    pairs: int
    unmatched: int
    unmatched_score: float
    raw_score: float = 0.0
    raw_box: float = 0.0


class _Recorder:
    """A backend that keeps what it gave."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.outputs: list[dict[str, NDArray[np.float32]]] = []

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        self.outputs.append(self._backend.run(inputs))
        return self.outputs[-1]


def check_detector(model: Network, bundle: Bundle, images: Images, config: Export) -> dict[str, Any]:
    """Engine -> how far the detections of `bundle` there are from those of `model`; see `Difference`.

    Raises ModelError where they differ by more than the tolerances of `config`.
    """
    manifest = need_task(bundle.manifest, Manifest)
    _, strides = anchor_grid(manifest.preprocess.size_hw, manifest.head.strides)

    def run(backend: Backend) -> tuple[list[Detections], list[dict[str, NDArray[np.float32]]]]:
        recorder = _Recorder(backend)
        detector = Detector(manifest, recorder)
        return [detector(image, threshold=CHECK_THRESHOLD) for image in images], recorder.outputs

    expected, expected_raw = run(TorchBackend(model))
    differences = {}
    for engine in ENGINES:
        got, got_raw = run(open_backend(bundle, device="cpu", engine=engine))
        raw = [compare_raw(one, other, strides) for one, other in zip(expected_raw, got_raw, strict=True)]
        difference = replace(compare(expected, got), raw_score=max(s for s, _ in raw), raw_box=max(b for _, b in raw))
        _judge(engine, difference, config)
        differences[engine] = asdict(difference)
    return differences


def check_embedder(model: Network, bundle: Bundle, images: Images, config: Export) -> dict[str, Any]:
    """Engine -> the largest difference of any number of any feature (of length 1) between `bundle` there and `model`.

    Raises ModelError where it is more than `config.score_tolerance`.
    """
    expected = Embedder(bundle.manifest, TorchBackend(model)).embed_batch(images)
    differences = {}
    for engine in ENGINES:
        got = Embedder(bundle.manifest, open_backend(bundle, device="cpu", engine=engine)).embed_batch(images)
        feature = float(np.abs(expected - got).max())
        log.info("%s against torch: features of %d images within %.2g", engine, len(images), feature)
        if feature > config.score_tolerance:
            raise ModelError(
                f"The exported network does not give what the trained one does. {engine}: features differ by "
                f"{feature:.3g} (allowed {config.score_tolerance:g})."
            )
        differences[engine] = {"feature": feature}
    return differences


def compare(expected: Sequence[Detections], got: Sequence[Detections]) -> Difference:
    """The difference of two runs over the same pictures, detections matched as sets: nearest box of the same class."""
    boxes, scores, pairs, alone = [0.0], [0.0], 0, [0.0]
    for one, other in zip(expected, got, strict=True):
        partner = _partners(one, other)
        matched = partner >= 0
        pairs += int(matched.sum())
        alone += [*one.scores[~matched].tolist(), *np.delete(other.scores, partner[matched]).tolist()]
        boxes += np.abs(one.boxes_xyxy[matched] - other.boxes_xyxy[partner[matched]]).max(1, initial=0).tolist()
        scores += np.abs(one.scores[matched] - other.scores[partner[matched]]).tolist()
    return Difference(max(boxes), max(scores), pairs, len(alone) - 1, max(alone))


def compare_raw(
    expected: Mapping[str, NDArray[np.float32]], got: Mapping[str, NDArray[np.float32]], strides: NDArray[np.float32]
) -> tuple[float, float]:
    """Largest difference of the scores, and of the distances in pixels; `strides` [L] of the anchors."""
    score = float(np.abs(expected["scores"] - got["scores"]).max())
    box = float((np.abs(expected["distances"] - got["distances"]).max(-1) * strides).max())
    return score, box


def _judge(engine: str, difference: Difference, config: Export) -> None:
    """Raise ModelError where the difference is beyond the tolerances."""
    log.info(
        "%s against torch: %d detections, boxes within %.2g px, scores within %.2g, %d alone; raw %.2g px, %.2g",
        engine, difference.pairs, difference.box, difference.score, difference.unmatched,
        difference.raw_box, difference.raw_score,
    )  # fmt: skip
    box, score = max(difference.box, difference.raw_box), max(difference.score, difference.raw_score)
    # Detections without a partner are no reason: all anchors agree here, and differences far below the tolerances can
    # still turn a suppression, or the place of a score at the threshold or in the last ranks, the other way.
    if box > config.box_tolerance or score > config.score_tolerance:
        raise ModelError(
            f"The exported network does not predict what the trained one does. {engine}: boxes differ by {box:.3g} px "
            f"(allowed {config.box_tolerance:g}), scores by {score:.3g} (allowed {config.score_tolerance:g})."
        )


def _partners(one: Detections, other: Detections) -> NDArray[np.int64]:
    """For each detection of `one` the index of its partner in `other`, each used once; -1 where there is none."""
    partner = np.full(len(one.scores), -1, np.int64)
    if not len(other.scores):
        return partner
    far = np.abs(one.boxes_xyxy[:, None] - other.boxes_xyxy[None]).max(-1)
    far[one.class_ids[:, None] != other.class_ids[None]] = np.inf
    taken = np.zeros(len(other.scores), np.bool_)
    for index in range(len(one.scores)):
        distance = np.where(taken, np.inf, far[index])
        best = int(distance.argmin())
        if distance[best] < 1.0:
            partner[index], taken[best] = best, True
    return partner
