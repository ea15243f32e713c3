"""What an examination of a gallery tells."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

SHOWN = 10
"""Findings of one kind that are told in words; the JSON and the page have more."""


@dataclass(frozen=True)
class Duplicates:
    """Pictures that are nearly the same, the oldest first. `labels` are all that they have: two or more are a clash.

    distance: the largest between any of them and the nearest of the others.
    """

    ids: tuple[int, ...]
    labels: tuple[str, ...]
    distance: float


@dataclass(frozen=True)
class Mislabel:
    """A picture that probably has the wrong label.

    share: the weight of its neighbours that have the label `probable`, of 1. ratio: how many times farther the
    nearest picture of its own label is than the nearest of the probable one, at least. nearest: the id of that one.
    """

    id: int
    label: str
    probable: str
    share: float
    ratio: float
    nearest: int


@dataclass(frozen=True)
class Outlier:
    """A picture that is far from all others: its nearest one, and how many times the usual distance away it is."""

    id: int
    label: str
    nearest: int
    nearest_label: str
    times_usual: float


@dataclass(frozen=True)
class Confusable:
    """Two labels that are taken for each other when each picture is searched for among the others.

    confused: how many of the `pictures` of both find the other label first. separation: the distance of their centres
    over the sum of the mean distances to them; below 1 they overlap. examples: (picture, what it found), worst first.
    """

    labels: tuple[str, str]
    confused: int
    pictures: int
    separation: float
    examples: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ThinLabel:
    """A label with few views: near duplicates and pictures from one file count as one view."""

    label: str
    pictures: int
    views: int


@dataclass(frozen=True)
class Wish:
    """What to photograph: the higher `need` (0…2), the sooner; `reason` says why, with numbers."""

    label: str
    need: float
    reason: str


@dataclass(frozen=True)
class Findings:
    """All that was found; lists are sorted, the worst first.

    right: the share of pictures whose nearest other one has their label, of those whose label has another; -1 without
    any. usual_distance: the median from a picture to its nearest other one. duplicate_limit: pictures nearer than that
    are near duplicates; both as distances on the unit sphere, where unrelated pictures are about √2 apart.
    """

    generation: int
    pictures: int
    labels: int
    right: float
    usual_distance: float
    duplicate_limit: float
    duplicates: tuple[Duplicates, ...]
    mislabels: tuple[Mislabel, ...]
    outliers: tuple[Outlier, ...]
    confusable: tuple[Confusable, ...]
    thin: tuple[ThinLabel, ...]
    wishes: tuple[Wish, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    def counts(self) -> Mapping[str, int]:
        """How many findings there are of each kind."""
        clashes = sum(len(one.labels) > 1 for one in self.duplicates)
        return {
            "probably wrong labels": len(self.mislabels),
            "duplicates across labels": clashes,
            "duplicates in a label": len(self.duplicates) - clashes,
            "outliers": len(self.outliers),
            "confusable pairs": len(self.confusable),
            "labels with few views": len(self.thin),
        }

    def lines(self, most: int = SHOWN) -> list[str]:
        """The findings as sentences, at most `most` of each kind."""
        told = [f"{self.pictures} pictures of {self.labels} labels"]
        if self.right >= 0:
            told[0] += f"; the nearest other picture has the right label for {self.right:.1%}"
        told += _some([say_mislabel(one) for one in self.mislabels], most, "probably wrong labels")
        told += _some([say_duplicates(one) for one in self.duplicates], most, "groups of duplicates")
        told += _some([say_outlier(one) for one in self.outliers], most, "outliers")
        told += _some([say_confusable(one) for one in self.confusable], most, "confusable pairs")
        told += _some([say_thin(one) for one in self.thin], most, "labels with few views")
        told += _some([f"photograph next: {one.reason}" for one in self.wishes], most, "wishes")
        return told


def _some(sentences: list[str], most: int, what: str) -> list[str]:
    more = len(sentences) - most
    return sentences[:most] + ([f"… and {more} more {what}"] if more > 0 else [])


def say_mislabel(one: Mislabel) -> str:
    """The finding as a sentence."""
    return (
        f"picture {one.id} is labelled {one.label!r} and looks like {one.probable!r}: {one.share:.0%} of its "
        f"neighbours, and the nearest {one.label!r} is {one.ratio:.1f} times as far as picture {one.nearest}"
    )


def say_duplicates(one: Duplicates) -> str:
    """The finding as a sentence."""
    ids = ", ".join(map(str, one.ids[:8])) + (f" and {len(one.ids) - 8} more" if len(one.ids) > 8 else "")
    if len(one.labels) > 1:
        names = " and ".join(map(repr, one.labels))
        return f"pictures {ids} are nearly the same and have different labels: {names}"
    return f"pictures {ids} of {one.labels[0]!r} are nearly the same: one of them is enough"


def say_outlier(one: Outlier) -> str:
    """The finding as a sentence."""
    return (
        f"picture {one.id} of {one.label!r} is like no other: the nearest, picture {one.nearest} of "
        f"{one.nearest_label!r}, is {one.times_usual:.1f} times as far as usual"
    )


def say_confusable(one: Confusable) -> str:
    """The finding as a sentence."""
    first, second = one.labels
    return (
        f"{first!r} and {second!r}: {one.confused} of their {one.pictures} pictures find the other label first "
        f"(separation {one.separation:.2f})"
    )


def say_thin(one: ThinLabel) -> str:
    """The finding as a sentence."""
    if one.pictures == 1:
        return f"{one.label!r} has a single picture"
    if one.views == 1:
        return f"{one.label!r} has {one.pictures} pictures, all nearly the same"
    return f"{one.label!r} has {one.views} different views in {one.pictures} pictures"
