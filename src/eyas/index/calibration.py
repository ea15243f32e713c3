"""Thresholds for a gallery that will be shown unknown objects, from the rate at which they may be accepted.

Every picture of the gallery is asked once while its whole label is left out (`leave_one_out`): what it finds then is
what an object of a new label would find. Such a stranger is accepted where the nearest picture, of label B, is within
B's threshold, so its nearness counts for B.

    threshold of B = centre of B + tail

The centre is the mean nearness of the strangers that land on B (each label of strangers counts once), drawn towards the
mean of all as if `PRIOR` more labels had landed there with that mean. Labels with fewer than `LEAST_OWN` pictures, or
on which fewer strangers land, have the mean of all: the global threshold. The tail is a quantile, common to all labels,
of what strangers lie above the centre of where they land, each one's centre taken without its own label, as a new
label would meet it. Every label has the same weight in it, however often it was photographed.

The quantile is that of split conformal prediction (Vovk et al., Algorithmic Learning in a Random World, 2005; grouped
data: Dunn, Wasserman, Ramdas, JASA 2023): one more stranger, above all others, is added to the n that were seen. n is
Kish's effective number, (sum of weights)² / sum of squared weights. So the share that is accepted is at most the rate
named, on average over new labels that are like those of the gallery; below 1/(n + 1) nothing can be promised.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from eyas.errors import ConfigError, GalleryError
from eyas.index.leave_one_out import Ints, LeftOut, Numbers, leave_one_out
from eyas.index.records import Metric, State

if TYPE_CHECKING:
    from eyas.index.gallery import Gallery

SETTING = "calibration"
LEAST_LABELS = 5
LEAST_OWN = 5
PRIOR = 4.0
RATES = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
"""What false accepts cost in false rejects is told at these rates."""


@dataclass(frozen=True)
class Price:
    """What a rate of false accepts would cost: the global threshold, and the share of genuine pictures it refuses."""

    false_accept_rate: float
    threshold: float
    false_reject: float


@dataclass(frozen=True)
class Calibration:
    """Thresholds in the unit of the metric; a hit is accepted at or on the near side of that of its label.

    false_accept: the share of the gallery's own strangers that is accepted, every label weighing the same;
    `false_accept_high` bounds the rate for new labels from above (95 %, Wilson's interval over labels). false_reject:
    the share of pictures that would be refused by their own label's threshold, -1 where no label has two pictures.
    confused: the share of pictures to which another label is nearer than their own. asked: how many pictures were
    asked, of `items`. stale: the gallery has changed since.
    """

    metric: Metric
    false_accept_rate: float
    generation: int
    global_threshold: float
    per_label: Mapping[str, float]
    false_accept: float
    false_accept_high: float
    false_reject: float
    confused: float
    labels: int
    items: int
    asked: int
    prices: tuple[Price, ...]
    stale: bool = field(default=False, compare=False)

    def threshold(self, label: str) -> float:
        """The threshold of `label`, in the unit of the metric; the global one where the label has none of its own."""
        return self.per_label.get(label, self.global_threshold)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """What was found, as sentences."""
        whole = f"all {self.items}" if self.asked == self.items else f"a sample of {self.asked} of {self.items}"
        told = [
            f"global threshold {self.global_threshold:.4f} ({self.metric}), own thresholds for {len(self.per_label)} "
            f"of {self.labels} labels, from {whole} pictures",
            f"of unknown objects {self.false_accept:.2%} would be accepted (asked for: {self.false_accept_rate:.2%}; "
            f"with {self.labels} labels to judge by, it may be up to {self.false_accept_high:.2%})",
        ]
        if self.false_reject >= 0:
            told.append(f"of known objects {self.false_reject:.2%} would be refused")
            told.append(f"another label is nearer than the own one to {self.confused:.2%} of the pictures")
        if self.stale:
            told.append("the gallery has changed since: calibrate again")
        return told

    @staticmethod
    def load(gallery: "Gallery") -> "Calibration | None":
        """The calibration that is kept in `gallery`, `stale` where the gallery has changed since; None: never made.

        Raises GalleryError for one that cannot be read.
        """
        kept = gallery.setting(SETTING)
        if kept is None:
            return None
        try:
            values = dict(kept)
            values["prices"] = tuple(Price(**price) for price in values["prices"])
            values["stale"] = int(values["generation"]) != gallery.generation
            return Calibration(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise GalleryError(
                f"the calibration kept in {gallery.path} cannot be read ({error}). "
                "Expected what this version writes; calibrate the gallery again."
            ) from error


def calibrate(gallery: "Gallery", *, false_accept_rate: float = 0.01, seed: int = 0) -> Calibration:
    """Thresholds at which at most `false_accept_rate` of unknown objects are accepted; they are kept in the gallery.

    `seed` draws the sample of a large gallery. Raises ConfigError for a rate outside 0…1, GalleryError where the
    gallery has too few labels or pictures to say.
    """
    if not 0 < false_accept_rate < 1:
        raise ConfigError(f"false_accept_rate: expected a share between 0 and 1, such as 0.01, got {false_accept_rate}")
    state = gallery.state()
    used = len(np.unique(state.label_ids))
    if used < LEAST_LABELS:
        raise GalleryError(
            f"{gallery.path} has {used} labels: too few to say what an unknown object would look like. "
            f"Expected at least {LEAST_LABELS}; add labels, or give a threshold as a number."
        )
    found, labels = leave_one_out(gallery, state, seed), state.label_ids.astype(np.int64)
    strangers, genuine = _Strangers(found, labels, len(state.labels)), _Genuine(found, labels)
    if not len(strangers.near):
        raise GalleryError(
            f"{gallery.path}: all pictures come from one file, which is not compared with itself. "
            "Expected pictures of several files."
        )
    shifts = {rate: strangers.tail(rate) for rate in (false_accept_rate, *RATES) if rate >= strangers.least_rate}
    if false_accept_rate not in shifts:
        raise GalleryError(
            f"{gallery.path}: a false accept rate of {false_accept_rate:g} needs the weight of "
            f"{math.ceil(1 / false_accept_rate) - 1} pictures, and there are {strangers.number:.0f} (each label "
            f"counts the same). Add pictures, or name a rate of {_rounded_up(strangers.least_rate):g} or more."
        )
    calibration = _summed(gallery, state, strangers, genuine, shifts, false_accept_rate)
    gallery.set_setting(SETTING, {key: value for key, value in calibration.to_dict().items() if key != "stale"})
    return calibration


def _summed(
    gallery: "Gallery",
    state: State,
    strangers: "_Strangers",
    genuine: "_Genuine",
    shifts: Mapping[float, float],
    rate: float,
) -> Calibration:
    sign = 1.0 if gallery.metric == "IP" else -1.0
    limits, used = strangers.centres + shifts[rate], len(np.unique(state.label_ids))
    accepted = strangers.accepted(limits)
    return Calibration(
        metric=gallery.metric,
        false_accept_rate=rate,
        generation=state.generation,
        global_threshold=sign * (strangers.mean + shifts[rate]),
        per_label={
            state.labels[place]: sign * float(limits[place]) for place in np.flatnonzero(strangers.has_own).tolist()
        },
        false_accept=accepted,
        false_accept_high=_wilson_high(accepted, used),
        false_reject=genuine.refused(limits),
        confused=genuine.confused(),
        labels=used,
        items=len(state.ids),
        asked=genuine.asked,
        prices=tuple(
            Price(one, sign * (strangers.mean + shift), genuine.refused(strangers.centres + shift))
            for one, shift in sorted(shifts.items())
            if one in RATES
        ),
    )


class _Strangers:
    """The strangers of a gallery, where they land, and the centres of its labels. M strangers, L labels.

    near, at, of: [M] their nearness, the label on which they land and their own one. weights: [M], summing to 1, every
    label's being the same; `number` is what they are worth. centres: [L]; `has_own` [L] where it is not the mean.
    """

    def __init__(self, found: LeftOut, label_ids: Ints, labels: int) -> None:
        met = np.isfinite(found.other)
        self.near, self.at, self.of = found.other[met], found.found[met], label_ids[found.rows[met]]
        self.weights = _equal_for_labels(self.of)
        self.number = float(1 / (self.weights**2).sum()) if len(self.near) else 0.0
        self.least_rate = 1 / (self.number + 1)
        self.mean = float((self.weights * self.near).sum())
        landed, held = (np.bincount(column, minlength=labels) for column in (self.at, label_ids))
        self.has_own = (held >= LEAST_OWN) & (landed >= LEAST_OWN)
        pairs, self._pair = np.unique(self.at * labels + self.of, return_inverse=True)
        self._above_mean = np.bincount(self._pair, weights=self.near) / np.bincount(self._pair) - self.mean
        self._sum = np.bincount(pairs // labels, weights=self._above_mean, minlength=labels)
        self._count = np.bincount(pairs // labels, minlength=labels)
        self.centres: Numbers = np.where(self.has_own, self.mean + self._sum / (self._count + PRIOR), self.mean)

    def tail(self, rate: float) -> float:
        """How far above its label's centre a threshold lies, so that at most `rate` of new strangers reach it."""
        without = (self._sum[self.at] - self._above_mean[self._pair]) / (self._count[self.at] - 1 + PRIOR)
        above = self.near - np.where(self.has_own[self.at], self.mean + without, self.mean)
        order = np.argsort(-above, kind="stable")
        room = (rate * (self.number + 1) - 1) / self.number
        # The highest strangers, as many as there is room for, are accepted; the threshold lies just above the next.
        taken = int(np.searchsorted(np.cumsum(self.weights[order]), room + 1e-12, side="right"))
        first_refused = float(above[order[min(taken, len(order) - 1)]])
        return first_refused + 1e-6 * max(1.0, abs(first_refused))

    def accepted(self, limits: Numbers) -> float:
        """The share of strangers at or above the limit of the label on which they land."""
        return float(self.weights[self.near >= limits[self.at]].sum())


class _Genuine:
    """The pictures that have another of their label: how near that is, and how near another label."""

    def __init__(self, found: LeftOut, label_ids: Ints) -> None:
        has = np.isfinite(found.own)
        self.asked = len(found.rows)
        self.own, self.other, self.of = found.own[has], found.other[has], label_ids[found.rows[has]]
        self.weights = _equal_for_labels(self.of)

    def refused(self, limits: Numbers) -> float:
        """The share that does not reach the limit of its own label; -1 where there are no such pictures."""
        return float(self.weights[self.own < limits[self.of]].sum()) if len(self.own) else -1.0

    def confused(self) -> float:
        """The share to which another label is nearer; -1 where there are no such pictures."""
        return float(self.weights[self.other > self.own].sum()) if len(self.own) else -1.0


def _equal_for_labels(of: Ints) -> Numbers:
    """Weights [M] that sum to 1, and to the same for every label that occurs."""
    _, places, sizes = np.unique(of, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / (sizes[places] * len(sizes)), np.float64)


def _wilson_high(share: float, tried: int) -> float:
    """The upper end of Wilson's 90 % interval (95 % on one side) of a share seen in `tried` independent cases."""
    z = 1.644854
    spare = z * z / tried
    half = z * math.sqrt(share * (1 - share) / tried + spare / (4 * tried))
    return min(1.0, (share + spare / 2 + half) / (1 + spare))


def _rounded_up(rate: float) -> float:
    """`rate` to two digits, never smaller."""
    scale = 10.0 ** (1 - math.floor(math.log10(rate)))
    return math.ceil(rate * scale) / scale
