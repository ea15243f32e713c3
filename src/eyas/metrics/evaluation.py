"""One evaluation: every protocol and every look at the errors, from detections that are matched once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eyas.data.sample import Dataset
from eyas.metrics.bootstrap import FIGURES, Interval, bootstrap
from eyas.metrics.coco import Boxes
from eyas.metrics.confusion import Confusion, confusion
from eyas.metrics.curves import PrecisionRecall, precision_recall
from eyas.metrics.detection import DetectionMetrics, evaluate_detections
from eyas.metrics.overlaps import find_overlaps
from eyas.metrics.protocols import PROTOCOLS, ProtocolFigures, SizeProtocol, evaluate_protocol
from eyas.metrics.sizes import size_bins
from eyas.metrics.tide import ErrorSplit, split_errors
from eyas.metrics.visdrone import VisDroneFigures, evaluate_visdrone


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything that is measured on the detections of a dataset.

    `metrics` are COCO's figures at 100 and 500 detections; `protocols` those of AI-TOD ("aitod"), SODA ("soda") and own
    bins ("own"); `intervals` are by the names of `bootstrap.FIGURES`, empty where none were asked for; `curves` are at
    IoU 0.5 and 0.75.
    """

    metrics: DetectionMetrics
    visdrone: VisDroneFigures
    protocols: Mapping[str, ProtocolFigures]
    intervals: Mapping[str, Interval]
    curves: tuple[PrecisionRecall, ...]
    confusion: Confusion
    errors: ErrorSplit

    def lines(self) -> list[str]:
        """COCO's twelve lines."""
        return self.metrics.coco_lines()

    def to_dict(self) -> dict[str, Any]:
        """All figures in full precision, ready for JSON: those of `metrics` at the top, the others by their names."""
        return {
            **self.metrics.to_dict(),
            "visdrone": self.visdrone.to_dict(),
            "protocols": {name: figures.to_dict() for name, figures in self.protocols.items()},
            "intervals": {name: interval.to_dict() for name, interval in self.intervals.items()},
            "curves": [curve.to_dict() for curve in self.curves],
            "confusion": self.confusion.to_dict(),
            "errors": self.errors.to_dict(),
        }


def evaluate_all(
    dataset: Dataset,
    detections: Mapping[int, Boxes],
    *,
    threshold: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
    size_edges: Sequence[float] | None = None,
) -> Evaluation:
    """Everything about `detections`, by image id, against `dataset`.

    `threshold` is the score above which detections count in the confusion matrix; None takes that with the best F1 over
    all classes at IoU 0.5. `resamples` of the bootstrap, 0 for no intervals. `size_edges` in pixels add the protocol
    "own" with 500 detections in the bins between them. Raises ValueError where they do not rise, DatasetError for an
    image or class id that the dataset does not have, and BackendError where hotcoco is not installed.
    """
    protocols = dict(PROTOCOLS)
    if size_edges is not None:
        protocols["own"] = SizeProtocol(size_bins(size_edges))
    overlaps = find_overlaps(dataset, detections)
    curves = precision_recall(overlaps)
    if threshold is None:
        best = curves[0].best_overall
        threshold = best.threshold if best else 0.5
    return Evaluation(
        metrics=evaluate_detections(dataset, detections),
        visdrone=evaluate_visdrone(dataset, detections),
        protocols={name: evaluate_protocol(dataset, detections, which) for name, which in protocols.items()},
        intervals=bootstrap(overlaps, FIGURES, resamples=resamples, seed=seed) if resamples else {},
        curves=curves,
        confusion=confusion(overlaps, threshold),
        errors=split_errors(overlaps),
    )
