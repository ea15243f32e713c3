"""What was recognised in one image: boxes with the labels that a gallery gave them, and why."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from eyas.saving import DrawnResult, Labels, Text, need_image

UNKNOWN = "unknown"
"""What is written beside an object that was not recognised."""


@dataclass(frozen=True)
class Match:
    """One gallery picture that resembles an object; `score` is in the unit of the gallery's metric."""

    id: int
    label: str
    score: float
    source: str | None


@dataclass(frozen=True)
class Recognised:
    """What one object was recognised as.

    labels, scores: as in PaddleX, the best first; `(None,)` both where the object is unknown.
    matches: the gallery pictures that were found, the best first, also for an unknown object.
    reason: why it is unknown, with numbers; None for a known one.
    margin: how much nearer the first label is than the next other one, None where no other one was found.
    """

    labels: tuple[str | None, ...]
    scores: tuple[float | None, ...]
    matches: tuple[Match, ...]
    reason: str | None = None
    margin: float | None = None

    @property
    def label(self) -> str | None:
        """The best label, None where the object is unknown."""
        return self.labels[0]

    def to_dict(self) -> dict[str, Any]:
        """The evidence as plain values: `{known, reason, margin, matches: [{id, label, score, source}]}`."""
        return {
            "known": self.label is not None,
            "reason": self.reason,
            "margin": self.margin,
            "matches": [asdict(match) for match in self.matches],
        }


@dataclass(frozen=True, eq=False, repr=False)
class Recognitions(DrawnResult):
    """The objects of one image and what they were recognised as.

    boxes_xyxy: float32 [N, 4], pixels of the upright image, half-open (x2, y2 lie outside).
    det_scores: float32 [N], 0 for a box that is the whole image because nothing was detected. objects: N of them.
    As a mapping it has the keys `input_path`, `page_index` and `boxes`, a list of
    `{labels, rec_scores, det_score, coordinate}`. Raises ValueError when the parts do not fit each other.
    """

    KEYS = ("input_path", "page_index", "boxes")

    boxes_xyxy: NDArray[np.float32]
    det_scores: NDArray[np.float32]
    objects: tuple[Recognised, ...]
    explain: bool = False

    def __post_init__(self) -> None:
        boxes = np.asarray(self.boxes_xyxy, dtype=np.float32)
        object.__setattr__(self, "boxes_xyxy", boxes.reshape(0, 4) if boxes.size == 0 else boxes)
        object.__setattr__(self, "det_scores", np.asarray(self.det_scores, dtype=np.float32))
        object.__setattr__(self, "objects", tuple(self.objects))
        count = len(self.objects)
        if self.boxes_xyxy.shape != (count, 4) or self.det_scores.shape != (count,):
            raise ValueError(
                f"{count} objects need boxes [{count}, 4] and det_scores [{count}], "
                f"got {list(self.boxes_xyxy.shape)} and {list(self.det_scores.shape)}"
            )
        if not (np.isfinite(self.boxes_xyxy).all() and np.isfinite(self.det_scores).all()):
            raise ValueError("boxes and det_scores must be finite numbers, got NaN or infinity")

    @property
    def labels(self) -> list[Text | None]:
        """The best label of each box, None where it is unknown."""
        return [found.label for found in self.objects]

    @property
    def evidence(self) -> list[dict[Text, Any]]:
        """For each box `{known, reason, margin, matches: [{id, label, score, source}]}`, plain values."""
        return [found.to_dict() for found in self.objects]

    def __getitem__(self, key: Text) -> Any:
        return self._boxes() if key == "boxes" else super().__getitem__(key)

    def _boxes(self) -> list[dict[Text, Any]]:
        rows = zip(self.objects, self.det_scores.tolist(), self.boxes_xyxy.tolist(), strict=True)
        return [
            {"labels": list(one.labels), "rec_scores": list(one.scores), "det_score": score, "coordinate": box}
            for one, score, box in rows
        ]

    def to_dict(self) -> dict[Text, Any]:
        """The result as plain values, as PaddleX writes it to JSON; an `explained` one has evidence at each box."""
        data = super().to_dict()
        if self.explain:
            data["boxes"] = [{**box, "evidence": why} for box, why in zip(data["boxes"], self.evidence, strict=True)]
        return data

    def explained(self) -> Self:
        """The same result, which prints and saves its evidence too."""
        return replace(self, explain=True)

    def _summary(self) -> Text:
        known = sum(label is not None for label in self.labels)
        return f"{len(self.objects)} boxes, {known} recognised"

    def draw(self, labels: Labels = "auto") -> NDArray[np.uint8]:
        """The image with its boxes, labels and scores, uint8 RGB [H, W, 3]; an unknown object has no score.

        A label's colour is that of its first appearance. Raises InputError when the result holds no image.
        """
        from eyas.vision.draw import draw_detections

        image = need_image(self.image, self.input_path)
        texts = [label or UNKNOWN for label in self.labels]
        names = tuple(dict.fromkeys(texts))
        class_ids = np.array([names.index(text) for text in texts], dtype=np.int64)
        return draw_detections(image, self.boxes_xyxy, class_ids, _drawn_scores(self.objects), names, labels=labels)


def _drawn_scores(objects: Sequence[Recognised]) -> NDArray[np.float32]:
    """The score that is written at each object; NaN, so that none is, at an unknown one."""
    return np.array([np.nan if one.scores[0] is None else one.scores[0] for one in objects], dtype=np.float32)
