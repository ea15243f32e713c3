"""The images with the most errors at the score threshold of use, with every error marked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyas.data.sample import Dataset, Sample
from eyas.errors import InputError
from eyas.metrics.coco import Boxes
from eyas.metrics.overlaps import find_overlaps
from eyas.metrics.tide import ErrorType, label_errors
from eyas.report.marks import LONGEST_SIDE, RGB, Kind, draw_frames, encoded, fitted, picture_of
from eyas.report.page import Picture

FOUND = Kind("found", (86, 200, 255), "thin")
MISSED = Kind("missed", (255, 225, 25), "dashed")
FALSE_ALARM = Kind("false alarm", (255, 75, 20), "solid")
CONFUSED = Kind("wrong class", (240, 130, 255), "double")
MISPLACED = Kind("badly placed", (90, 255, 170), "corners")
IGNORED = Kind("ignored region", (190, 190, 190), "dashed")
WORDS = {
    FOUND: "found: right class, IoU of 0.5 or more",
    MISSED: "missed object",
    FALSE_ALARM: "false alarm: nothing of its class there, or found a second time",
    CONFUSED: "wrong class: an object, taken for another",
    MISPLACED: "badly placed: IoU with its object of 0.1 to 0.5",
    IGNORED: "ignored region",
}

_KIND_OF = {
    ErrorType.localization: MISPLACED,
    ErrorType.classification: CONFUSED,
    ErrorType.duplicate: FALSE_ALARM,
    ErrorType.background: FALSE_ALARM,
    ErrorType.both: FALSE_ALARM,
}
_ORDER = (IGNORED, FOUND, MISPLACED, CONFUSED, FALSE_ALARM, MISSED)  # the last lies on top
_PLURAL = (FALSE_ALARM.name, IGNORED.name)
_CLOSE_UP = (880, 600)  # width and height of a close-up, pixels of the image


@dataclass(frozen=True, eq=False)
class _Used:
    """The detections above the threshold."""

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Judged:
    """An image with what became of its objects and detections: boxes [N, 4] with their kinds."""

    sample: Sample
    boxes_xyxy: NDArray[np.float32]
    kinds: tuple[Kind, ...]

    def count(self, kind: Kind) -> int:
        """How many boxes are of this kind."""
        return self.kinds.count(kind)

    @property
    def errors(self) -> int:
        """How many objects are missed and detections wrong."""
        return sum(map(self.count, (MISSED, FALSE_ALARM, CONFUSED, MISPLACED)))


def judge(dataset: Dataset, detections: Mapping[int, Boxes], threshold: float) -> list[Judged]:
    """Every image, that with the most errors first; detections with a score above `threshold` count.

    What is right is COCO's judgement at IoU 0.5, and TIDE says what is wrong with the others (`ErrorType`).
    """
    used = {image_id: _above(boxes, threshold) for image_id, boxes in detections.items()}
    overlaps = find_overlaps(dataset, used)
    labels, found, wanted = label_errors(overlaps), overlaps.found, overlaps.wanted
    samples = {sample.image_id: sample for sample in dataset.samples}
    judged = []
    for number, image_id in enumerate(overlaps.image_ids):
        sample = samples[image_id]
        rows, objects = (
            np.arange(*np.searchsorted(column, (number, number + 1))) for column in (found.image, wanted.image)
        )
        kinds = [_kind(*pair) for pair in zip(labels.kind[rows].tolist(), labels.right[rows].tolist(), strict=True)]
        drawn = [place for place, kind in enumerate(kinds) if kind is not None]
        missed = wanted.place[objects[labels.missed[objects]]]
        groups: list[tuple[NDArray[np.float32], list[Kind]]] = [
            (sample.boxes_xyxy[sample.ignore], [IGNORED] * int(sample.ignore.sum())),
            (sample.boxes_xyxy[missed], [MISSED] * len(missed)),
        ]
        if drawn:
            groups.append(
                (used[image_id].boxes_xyxy[found.place[rows[drawn]]], [kinds[place] or FOUND for place in drawn])
            )
        judged.append(_judged(sample, groups))
    return sorted(judged, key=lambda one: (-one.errors, one.sample.image_id))


def _above(boxes: Boxes, threshold: float) -> _Used:
    rows = boxes.scores > np.float32(threshold)
    return _Used(boxes.boxes_xyxy[rows], boxes.scores[rows], boxes.class_ids[rows])


def _kind(number: int, right: bool) -> Kind | None:
    """How a detection is drawn; None: it does not count, because it lies in an ignored region."""
    if right:
        return FOUND
    return _KIND_OF[ErrorType(number)] if number >= 0 else None


def _judged(sample: Sample, groups: Sequence[tuple[NDArray[np.float32], list[Kind]]]) -> Judged:
    boxes = np.concatenate([boxes for boxes, _ in groups])
    kinds = [kind for _, some in groups for kind in some]
    order = sorted(range(len(kinds)), key=lambda place: _ORDER.index(kinds[place]))
    return Judged(sample, boxes[order], tuple(kinds[place] for place in order))


def draw_worst(dataset: Dataset, judged: Sequence[Judged], most: int) -> tuple[list[Picture], list[str]]:
    """(pictures of the first images, at most `most`; a sentence for each image that could not be read).

    Where an image is made smaller, a close-up of its worst part stands beside it. Images without errors are left out.
    """
    shown: list[Picture] = []
    unread: list[str] = []
    for one in judged:
        if not one.errors or len(shown) >= most:
            break
        try:
            image = picture_of(dataset, one.sample)
        except InputError as error:
            unread.append(str(error))
            if len(unread) >= most:
                break
            continue
        shown.append(_whole(one, image))
        if max(image.shape[:2]) > LONGEST_SIDE and len(shown) < most:
            shown.append(_close_up(one, image))
    return shown, unread


def _whole(one: Judged, image: RGB) -> Picture:
    canvas, scale = fitted(image)
    draw_frames(canvas, one.boxes_xyxy * np.float32(scale), one.kinds)
    name, counts = one.sample.path.name, _counted(one)
    size = f"{image.shape[1]} x {image.shape[0]} px" + (f", shown at {100 * scale:.0f} %" if scale < 1 else "")
    return _picture(canvas, f"{name} ({size}): {counts}", f"{name} with frames: {counts}")


def _close_up(one: Judged, image: RGB) -> Picture:
    """The part of the image with the most errors, a pixel for a pixel."""
    height, width = image.shape[:2]
    wide, high = min(_CLOSE_UP[0], width), min(_CLOSE_UP[1], height)
    left, top = _worst_corner(one, (width, height), (wide, high))
    canvas = np.array(image[top : top + high, left : left + wide])
    draw_frames(canvas, one.boxes_xyxy - np.array([left, top, left, top], np.float32), one.kinds)
    said = (
        f"{one.sample.path.name}: its worst part, from x {left} to {left + wide} and y {top} to {top + high}, full size"
    )
    return _picture(canvas, said, said)


def _worst_corner(one: Judged, size: tuple[int, int], part: tuple[int, int]) -> tuple[int, int]:
    """The left top corner of the part that holds the most errors' centres, tried around each of them."""
    wrong = [place for place, kind in enumerate(one.kinds) if kind not in (FOUND, IGNORED)]
    centres = (one.boxes_xyxy[wrong, :2] + one.boxes_xyxy[wrong, 2:]).astype(np.float64) / 2
    room = np.array(size) - np.array(part)
    corners = np.unique(np.clip(centres - np.array(part) / 2, 0, room).astype(np.int64), axis=0)
    held = [int(((centres >= corner) & (centres < corner + np.array(part))).all(axis=1).sum()) for corner in corners]
    left, top = corners[int(np.argmax(held))].tolist()
    return left, top


def _counted(one: Judged) -> str:
    """The kinds and how many there are of each, in words."""
    counts = [(kind.name, one.count(kind)) for kind in reversed(_ORDER)]
    return ", ".join(f"{number} {name}{'s' * (number != 1)}" if name in _PLURAL else f"{number} {name}"
                     for name, number in counts if number)  # fmt: skip


def _picture(canvas: RGB, caption: str, alt: str) -> Picture:
    height, width = canvas.shape[:2]
    return Picture(encoded(canvas), width, height, caption, alt)
