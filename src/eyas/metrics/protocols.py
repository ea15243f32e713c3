"""Figures as the benchmarks of small objects report them: their size bins, their number of detections."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from eyas.data.sample import Dataset
from eyas.metrics.coco import (
    EVERYTHING,
    IOU_50,
    IOU_75,
    Boxes,
    GroupFigures,
    Range,
    check_known,
    coco_results,
    coco_truth,
    run_coco,
)
from eyas.metrics.detection import objects_of
from eyas.metrics.sizes import AITOD_BINS, SODA_BINS, SODA_SMALL


@dataclass(frozen=True)
class SizeProtocol:
    """`most` detections of a class in an image, figures over objects with an area in `overall`, and those of `bins`."""

    bins: Mapping[str, Range]
    most: int = 500
    overall: Range = EVERYTHING


PROTOCOLS: dict[str, SizeProtocol] = {
    "aitod": SizeProtocol(AITOD_BINS, most=1500),
    "soda": SizeProtocol(SODA_BINS, most=20000, overall=SODA_SMALL),
}


@dataclass(frozen=True)
class ProtocolFigures:
    """Figures between 0 and 1, -1 where there is no object; matching, ignored regions and AP are COCO's."""

    AP: float
    AP50: float
    AP75: float
    AR: float
    by_size: Mapping[str, GroupFigures]
    max_dets: int

    def to_dict(self) -> dict[str, Any]:
        """All figures in full precision, ready for JSON."""
        return asdict(self)


def evaluate_protocol(dataset: Dataset, detections: Mapping[int, Boxes], protocol: SizeProtocol) -> ProtocolFigures:
    """The figures of `detections`, by image id, under `protocol`: one of `PROTOCOLS`, or any list of bins.

    Raises DatasetError for an image or class id that the dataset does not have, and BackendError where hotcoco is not
    installed.
    """
    check_known(dataset, detections)
    ranges = {"": protocol.overall, **{f"bin {name}": span for name, span in protocol.bins.items()}}
    figures = run_coco(coco_truth(dataset), coco_results(dataset, detections), ranges, (protocol.most,))
    areas, _ = objects_of(dataset)
    by_size = {}
    for name, (low, high) in protocol.bins.items():
        count = int(((areas >= low) & (areas <= high)).sum())
        by_size[name] = figures.group(count, f"bin {name}", most=protocol.most)
    most = protocol.most
    return ProtocolFigures(
        AP=figures.ap("", most=most),
        AP50=figures.ap("", most=most, iou=IOU_50),
        AP75=figures.ap("", most=most, iou=IOU_75),
        AR=figures.ar("", most=most),
        by_size=by_size,
        max_dets=most,
    )
