"""The boxes of a split: do they stay inside their image, is one drawn twice, does an image miss some."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eyas.check.frames import GAP, videos_of
from eyas.check.images import record_of
from eyas.data.faults import Fault, Report
from eyas.data.sample import Dataset, Sample

OVER_EDGE = 1.0  # px; tools that count from 1, or round, write boxes that reach so far
_AROUND = 3  # frames on each side
_MANY = 8  # boxes that the frames around have
_FEW = 0.2  # of those


def check_boxes(dataset: Dataset, report: Report) -> None:
    """Tell the boxes that reach over the edge of their image and those that are there twice; ignored regions may."""
    for sample in dataset.samples:
        for place, code, message, fix in (*_over_edge(sample), *_twice(sample, dataset.classes.names)):
            value = [round(number, 2) for number in sample.boxes_xyxy[place].tolist()]
            where = f"{record_of(dataset, sample)}, box {place + 1} ({dataset.classes.names[sample.class_ids[place]]})"
            text = f"the box {value} (x1, y1, x2, y2) of {sample.path.name} {message}"
            report(Fault("warning", code, dataset.file_of(sample), text, where, "bbox", value, fix))


def _over_edge(sample: Sample) -> Iterator[tuple[int, str, str, str]]:
    boxes = sample.boxes_xyxy
    beyond = np.hstack([-boxes[:, :2], boxes[:, 2:] - (sample.width, sample.height)])
    for place in np.flatnonzero((beyond.max(axis=1, initial=0) > OVER_EDGE) & ~sample.ignore).tolist():
        what = f"reaches {beyond[place].max():.1f} px over the edge of {sample.width} x {sample.height} pixels"
        yield place, "box-over-edge", what, "Draw the box again, or cut it at the edge."


def _twice(sample: Sample, names: tuple[str, ...]) -> Iterator[tuple[int, str, str, str]]:
    """Boxes that are those of an earlier one to the pixel."""
    first: dict[tuple[int, ...], int] = {}
    corners: NDArray[np.int64] = np.rint(sample.boxes_xyxy).astype(np.int64)
    for place, corner in enumerate(map(tuple, corners.tolist())):
        if sample.ignore[place]:
            continue
        earlier = first.setdefault(corner, place)
        if earlier == place:
            continue
        ours, other = int(sample.class_ids[place]), int(sample.class_ids[earlier])
        if ours == other:
            yield place, "box-twice", f"is that of box {earlier + 1} again", "Remove one of the two."
        else:
            what = f"is that of box {earlier + 1}, which is a {names[other]}"
            yield place, "box-of-two-classes", what, "Keep the right class."


def tell_empty(split: str, dataset: Dataset, report: Report) -> None:
    """Tell how many images show no object, and those that look forgotten: the frames around them have many boxes."""
    empty = [sample for sample in dataset.samples if not len(sample.boxes_xyxy)]
    if empty and len(dataset.classes):
        message = f"{len(empty)} of {len(dataset)} images of {split} show no object, the first is {empty[0].path}"
        report(Fault("info", "image-without-boxes", dataset.source, message, value=len(empty)))
    counts = np.array([len(sample.boxes_xyxy) for sample in dataset.samples])
    for place, usual in _forgotten([sample.path for sample in dataset.samples], counts).items():
        sample = dataset.samples[place]
        message = f"{sample.path} has {counts[place]} boxes, the frames around it have about {usual:.0f}"
        fix = "Look whether objects were left out."
        file, value = dataset.file_of(sample), int(counts[place])
        report(Fault("info", "few-boxes", file, message, record_of(dataset, sample), value=value, fix=fix))


def _forgotten(paths: Sequence[Path], counts: NDArray[np.int64]) -> Mapping[int, float]:
    """Place -> median number of boxes of the frames around, for frames that have far fewer."""
    found: dict[int, float] = {}
    for frames in videos_of(paths).values():
        for at, (number, place) in enumerate(frames):
            near = frames[max(at - _AROUND, 0) : at] + frames[at + 1 : at + 1 + _AROUND]
            around = [counts[other] for value, other in near if abs(value - number) <= GAP]
            if len(around) >= _AROUND and counts[place] <= _FEW * np.median(around) and np.median(around) >= _MANY:
                found[place] = float(np.median(around))
    return found
