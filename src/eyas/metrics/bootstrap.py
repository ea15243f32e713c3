"""How far figures would move with other images: bootstrap intervals, and whether two runs differ by more than chance.

Images are the unit: they are drawn with replacement, with all their objects and detections. Images that resemble each
other, as the frames of a video do, are not independent, and then the intervals come out too narrow.
"""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.errors import DatasetError
from eyas.metrics.coco import EVERYTHING, IOU_50, IOU_75, Floats, Range, mean_known
from eyas.metrics.ledger import Counts, Curves, Ledger, keep_ledger, pool
from eyas.metrics.overlaps import Overlaps
from eyas.metrics.sizes import COCO_RANGES, SIZE_BINS

CONFIDENCE = 0.95
_CELLS = 1 << 20  # numbers computed in one go: what the processor's caches hold


@dataclass(frozen=True)
class Figure:
    """An AP: over objects with an area in `span`, `most` detections of a class in an image, over COCO's ten IoUs or at
    the one with the place `iou`."""

    span: Range = EVERYTHING
    most: int = 100
    iou: int | None = None


HEADLINES: dict[str, Figure] = {"AP": Figure(), "AP50": Figure(iou=IOU_50), "AP75": Figure(iou=IOU_75)}
FIGURES: dict[str, Figure] = {
    **HEADLINES,
    "AP_small": Figure(COCO_RANGES["small"]),
    "AP_medium": Figure(COCO_RANGES["medium"]),
    "AP_large": Figure(COCO_RANGES["large"]),
    "AP_2_8px": Figure(SIZE_BINS["very_tiny"], 500),
    "AP_8_16px": Figure(SIZE_BINS["tiny"], 500),
    "AP_16_32px": Figure(SIZE_BINS["small"], 500),
    "AP_32_64px": Figure(SIZE_BINS["medium"], 500),
    "AP_under16": Figure(SIZE_BINS["under16"], 500),
}
"""What has intervals: names and numbers as in `DetectionMetrics`, whose `by_size` the bins in pixels are."""


@dataclass(frozen=True)
class Interval:
    """`value` on the images as they are; between `low` and `high` lie 95 % of the resamples (percentile bootstrap).

    `resamples` are those in which the figure could be measured; -1 stands for a figure that never could.
    """

    value: float
    low: float
    high: float
    resamples: int

    def to_dict(self) -> dict[str, Any]:
        """In full precision, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Difference:
    """`difference` = second - first, with the interval of a paired bootstrap; 0 where nothing could be measured.

    `p_value` (two-sided) is how often a difference at least as large comes out when each image's detections are given
    to either run by the toss of a coin.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p_value: float

    def to_dict(self) -> dict[str, Any]:
        """In full precision, ready for JSON."""
        return asdict(self)


def bootstrap(
    overlaps: Overlaps, figures: Mapping[str, Figure] = FIGURES, *, resamples: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """The interval of each of `figures`, from `resamples` draws of the images with replacement.

    Matching is done once; a draw only weighs the images, as if they stood in the dataset as often as they were drawn
    (of equal scores, the copies of one detection come together). The same seed gives the same intervals.
    """
    weights = _draws(len(overlaps.image_ids), resamples, seed)
    return {name: _interval(value, values) for name, value, values in _figures(overlaps, figures, weights)}


def compare(
    first: Overlaps,
    second: Overlaps,
    figures: Mapping[str, Figure] = HEADLINES,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Difference]:
    """The difference of two runs on the same images in each of `figures`, with its interval and p value.

    Both runs see the same draws of images (paired bootstrap); the p value is that of a permutation test with as many
    tosses. Raises DatasetError where the runs were not made on the same annotations.
    """
    _check_same(first, second)
    weights = _draws(len(first.image_ids), resamples, seed)
    coins = np.random.default_rng([seed, 1]).integers(0, 2, weights.shape, dtype=np.int32)
    differences = {}
    both = zip(_figures(first, figures, weights), _figures(second, figures, weights), strict=True)
    for (name, old, olds), (_, new, news) in both:
        differences[name] = _difference(old, new, olds, news)
    p_values = _p_values(first, second, figures, coins, {name: item[2] for name, item in differences.items()})
    return {name: Difference(*item, p_values[name]) for name, item in differences.items()}


def _draws(images: int, resamples: int, seed: int) -> Counts:
    """How often each image is drawn: int32 [resamples, images]."""
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    if not images:
        return np.zeros((resamples, 0), np.int32)
    draws = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=resamples)
    return draws.astype(np.int32)


def _check_same(first: Overlaps, second: Overlaps) -> None:
    if first.image_ids != second.image_ids or first.names != second.names:
        raise DatasetError("the two runs were made on different images or classes; compare runs on the same ones")
    columns = ("image", "class_id", "area", "region")
    if not all(np.array_equal(getattr(first.wanted, name), getattr(second.wanted, name)) for name in columns):
        raise DatasetError("the two runs were measured against different annotations; measure both against the same")


def _figures(overlaps: Overlaps, figures: Mapping[str, Figure], weights: Counts) -> Iterator[tuple[str, float, Floats]]:
    """(name, value, values [B] under `weights`) of each figure; those of one matching come together."""
    for names, ledger in _ledgers([overlaps], figures):
        value = _means(ledger[0], ledger[0].everything_once, [figures[name].iou for name in names])
        values = _means(ledger[0], weights, [figures[name].iou for name in names])
        for place, name in enumerate(names):
            yield name, float(value[0, place]), values[:, place]


def _ledgers(runs: list[Overlaps], figures: Mapping[str, Figure]) -> Iterator[tuple[list[str], list[Ledger]]]:
    """The ledger of each run, and the names of the figures that are read from it."""
    asked: dict[tuple[Range, int], list[str]] = {}
    for name, figure in figures.items():
        asked.setdefault((figure.span, figure.most), []).append(name)
    for (span, most), names in asked.items():
        yield names, [keep_ledger(run, span, most) for run in runs]


def _means(ledger: Ledger, weights: Counts, ious: list[int | None]) -> Floats:
    """AP [B, F] under `weights` [B, I], at each of F places in the IoUs (None: over all of them)."""
    curves = Curves(ledger)
    step = max(1, min(256, _CELLS // max(1, curves.width)))

    def part(start: int) -> list[list[float]]:
        rows = curves.precision(weights[start : start + step])
        return [[mean_known(row if iou is None else row[[iou]]) for iou in ious] for row in rows]

    with ThreadPoolExecutor(os.cpu_count()) as workers:  # numpy lets go of the interpreter in its loops
        rows = [row for rows in workers.map(part, range(0, len(weights), step)) for row in rows]
    return np.array(rows).reshape(len(weights), len(ious))


def _interval(value: float, values: Floats) -> Interval:
    known = values[values > -1]
    low, high = _bounds(known) if known.size else (-1.0, -1.0)
    return Interval(value, low, high, known.size)


def _difference(old: float, new: float, olds: Floats, news: Floats) -> tuple[float, float, float, float, float]:
    """(first, second, difference, low, high)."""
    known = (news - olds)[(olds > -1) & (news > -1)]
    low, high = _bounds(known) if known.size else (0.0, 0.0)
    return old, new, new - old, low, high


def _bounds(values: Floats) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _p_values(
    first: Overlaps,
    second: Overlaps,
    figures: Mapping[str, Figure],
    coins: NDArray[np.int32],
    differences: Mapping[str, float],
) -> dict[str, float]:
    """Two-sided p values of the permutation test; the runs as they are count as one of the tosses."""
    p_values = {}
    for names, (old, new) in _ledgers([first, second], figures):
        both, ious = pool(old, new), [figures[name].iou for name in names]
        swapped = _means(both, np.concatenate([1 - coins, coins], axis=1), ious)
        others = _means(both, np.concatenate([coins, 1 - coins], axis=1), ious)
        for place, name in enumerate(names):
            # the same detections in another order can differ in the last bits
            larger = np.abs(swapped[:, place] - others[:, place]) >= abs(differences[name]) - 1e-12
            p_values[name] = float((1 + larger.sum()) / (1 + len(coins)))
    return p_values
