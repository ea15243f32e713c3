"""What a test of the whole pipeline tells: how much was right, and which part of it is to blame for each error."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from eyas.doctor.findings import SHOWN

Box = tuple[float, float, float, float]
Culprit = Literal["detector", "crop", "threshold", "gallery", "features"]

ADVICE: Mapping[Culprit, str] = {
    "detector": "no box lies on {n}: train the detector on such pictures, or lower det_threshold",
    "crop": "{n} would be right with the true box: train the detector for tighter boxes, or add pictures to the "
    "gallery that are cut as it cuts them",
    "threshold": "{n}: move the threshold, or calibrate it for the rate of false accepts that you can bear",
    "gallery": "the gallery lacks the label, or views like these, of {n}: photograph them and add them (where your eye "
    "finds such views in it, train the feature model)",
    "features": "for {n} another label is nearer although the right one has near views: train the feature model on "
    "these labels, or add pictures that tell them apart",
}


@dataclass(frozen=True)
class PipelineError:
    """An object that was not recognised as what it is, and why.

    picture, where: its file, and where the test set names it. label, box: what it is, and where (xyxy pixels; None: the
    whole picture). found, found_box: what the pipeline said (None: unknown, or no box at all). reason: what was seen,
    with numbers. nearest, own: ids of the nearest gallery picture of all, and of the right label, to the true part.
    """

    picture: Path
    where: str
    label: str
    box: Box | None
    found: str | None
    found_box: Box | None
    culprit: Culprit
    reason: str
    nearest: int | None = None
    own: int | None = None

    def line(self) -> str:
        """The error as a sentence."""
        taken = "not found" if self.found_box is None else "unknown" if self.found is None else f"{self.found!r}"
        return f"{self.where or self.picture}: {self.label!r} → {taken}. {self.culprit}: {self.reason}"


@dataclass(frozen=True)
class Blame:
    """The outcome of a test.

    recall: for k from 1 to 5 the share of the objects with a known label that have a box on them which was accepted
    and has their label among its first k hits; -1 without such objects. right: objects that are as they should be, with
    unknown ones that were rejected. extra_known, extra_unknown: boxes that lie on no object, recognised as something or
    not; on pictures whose objects are not all in the test set these may well be right.
    """

    pictures: int
    objects: int
    right: int
    recall: tuple[float, ...]
    errors: tuple[PipelineError, ...]
    extra_known: int
    extra_unknown: int

    def culprits(self) -> dict[Culprit, int]:
        """How many errors each part is to blame for, the most first."""
        return dict(Counter(one.culprit for one in self.errors).most_common())

    def advice(self) -> list[str]:
        """What to do, the most useful first."""
        return [
            ADVICE[culprit].format(n=f"{count} object{'s' * (count != 1)}")
            for culprit, count in self.culprits().items()
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; `recall_1` to `recall_5` as PaddleClas calls them."""
        data = asdict(self)
        recall = {f"recall_{k}": share for k, share in enumerate(data.pop("recall"), start=1)}
        errors = [{**one, "picture": str(one["picture"])} for one in data.pop("errors")]
        return {**data, **recall, "culprits": self.culprits(), "advice": self.advice(), "errors": errors}

    def lines(self, most: int = SHOWN) -> list[str]:
        """The outcome as sentences, with the first `most` errors."""
        told = [f"{self.right} of {self.objects} objects in {self.pictures} pictures are right"]
        if self.recall[0] >= 0:
            shares = ", ".join(f"recall_{k} {share:.4f}" for k, share in enumerate(self.recall, start=1))
            told.append(shares)
        if self.extra_known or self.extra_unknown:
            told.append(
                f"{self.extra_known + self.extra_unknown} boxes lie on no object of the test set; {self.extra_known} "
                "of them were recognised as something"
            )
        told += self.advice()
        told += [one.line() for one in self.errors[:most]]
        if len(self.errors) > most:
            told.append(f"… and {len(self.errors) - most} more errors")
        return told
