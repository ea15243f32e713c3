"""How objects are found, compared with a gallery, accepted and reported: what a call of `Recogniser` may choose."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, get_args

from eyas.errors import ConfigError, did_you_mean
from eyas.index.records import Metric
from eyas.pipelines.detector import Threshold

Vote = Literal["none", "vote", "mean", "max"]
FullImage = Literal["auto", "always", "never"]


@dataclass(frozen=True)
class Options:
    """The choices of one call of a `Recogniser`; the defaults are PaddleX's.  Raises ConfigError for a wrong one.

    det_threshold: boxes with a score strictly above it are looked at; a number, or one a class.
    rec_threshold: what the best score must reach, see `limit`; "calibrated" takes each label's own from the gallery.
    rec_topk: how many labels and matches of each object are reported.
    hamming_radius: in a gallery of the metric hamming, the most bits that may differ; None derives it, see `limit`.
    max_boxes: only so many boxes, those with the highest detection scores.
    rec_nms: of two boxes with one best label and an IoU above this the worse match goes.
    full_image: the whole image is looked at where nothing is detected ("auto"), in any case, or never.
    vote: how the hits become labels. "none" reports them as they are; with the others each label comes once:
        "vote" orders labels by their weight among the nearest and shows their best score,
        "mean" orders by and shows the mean of a label's hits among the nearest, "max" the best.
    margin: an object is unknown where its best label leads the next one by less than this, in the metric's unit.
    where: conditions on the metadata of gallery pictures; only those that meet them are looked through.
    """

    det_threshold: Threshold = 0.5
    rec_threshold: float | Literal["calibrated"] = 0.5
    rec_topk: int = 5
    hamming_radius: float | None = None
    max_boxes: int | None = None
    rec_nms: float | None = None
    full_image: FullImage = "auto"
    vote: Vote = "none"
    margin: float = 0.0
    where: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.rec_threshold != "calibrated":
            _check_number("rec_threshold", self.rec_threshold, ' or "calibrated"')
        _check_count("rec_topk", self.rec_topk)
        if self.max_boxes is not None:
            _check_count("max_boxes", self.max_boxes)
        if self.hamming_radius is not None:
            _check_number("hamming_radius", self.hamming_radius, low=0)
        if self.rec_nms is not None:
            _check_number("rec_nms", self.rec_nms, low=0, high=1)
        _check_number("margin", self.margin, low=0)
        _check_choice("full_image", self.full_image, get_args(FullImage))
        _check_choice("vote", self.vote, get_args(Vote))
        if self.where is not None and not isinstance(self.where, Mapping):
            raise ConfigError(f"where must be a mapping from metadata keys to conditions, got {self.where!r}.")

    def limit(self, metric: Metric, width: int) -> float | None:
        """The score at which an object is still accepted, in the metric's unit; None where the gallery's own count.

        IP: the score must be `rec_threshold` or more. L2: the score is the squared distance and must be
        `rec_threshold` or less; as features have the length 1, 1.0 there is what 0.5 is in IP. hamming: the score is
        the number of differing signs among `width` and must be `hamming_radius` or less. Without one it is
        width * acos(rec_threshold) / pi, because two directions an angle apart differ in angle / pi of their signs
        (on random axes: Charikar, STOC 2002).  Raises ConfigError where acos has no value.
        """
        if self.rec_threshold == "calibrated":
            return None
        if metric != "hamming":
            return float(self.rec_threshold)
        if self.hamming_radius is not None:
            return float(self.hamming_radius)
        if not -1 <= self.rec_threshold <= 1:
            raise ConfigError(
                f"rec_threshold must lie in -1…1 where it stands for a hamming_radius, got {self.rec_threshold!r}. "
                "Give hamming_radius, the most bits that may differ."
            )
        return width * math.acos(self.rec_threshold) / math.pi


def _check_number(
    name: str, value: object, also: str = "", *, low: float = -sys.float_info.max, high: float = sys.float_info.max
) -> None:
    bounds = "" if low < -1 else f", {low:g} or more" if high > 1 else f" from {low:g} to {high:g}"
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= float(value) <= high:
        raise ConfigError(f"{name} must be a number{bounds}{also}, got {value!r}.")


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} must be a whole number, 1 or more, got {value!r}.")


def _check_choice(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{name} {value!r} is unknown. {did_you_mean(value, known)}")
