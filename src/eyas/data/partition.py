"""Divides images into parts of given sizes so that every class comes in every part as often as its size asks for.

The iterative stratification of Sechidis, Tsoumakas and Vlahavas (On the Stratification of Multi-label Data, ECML PKDD
2011): the rarest class first, each image to the part that still wants the most of it. New here: whole groups of images
are placed, the largest first, and no part takes more than its size while another one has room.
"""

from collections.abc import Collection, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from eyas.errors import ConfigError, DatasetError

Ints = NDArray[np.int64]


def check_percentages(percent: dict[str, float]) -> None:
    """Raises ConfigError unless all are above 0 and add up to 100."""
    said = ", ".join(f"{name} {value:g}" for name, value in percent.items())
    if not all(value > 0 for value in percent.values()):
        raise ConfigError(f"every part needs more than 0 percent, got {said}")
    if abs(sum(percent.values()) - 100) > 1e-6:
        raise ConfigError(f"the percentages must add up to 100, got {said}: {sum(percent.values()):g}")


def part_sizes(count: int, percent: Sequence[float]) -> list[int]:
    """How many of `count` images each part gets: exact in sum, nearest to the percentages, at least 1.

    Raises DatasetError where there are fewer images than parts.
    """
    if count < len(percent):
        raise DatasetError(f"{count} images cannot be divided into {len(percent)} parts")
    quotas = [count * share / 100 for share in percent]
    sizes = [int(quota) for quota in quotas]
    rest = sorted(range(len(sizes)), key=lambda place: sizes[place] - quotas[place])
    for place in rest[: count - sum(sizes)]:
        sizes[place] += 1
    while 0 in sizes:
        sizes[sizes.index(max(sizes))] -= 1
        sizes[sizes.index(0)] += 1
    return sizes


def partition(
    classes: Sequence[Collection[int]], groups: Sequence[Hashable], percent: Sequence[float], seed: int
) -> Ints:
    """The part of every image, int64 [N]: each image in exactly one, the images of a group in the same one.

    `classes` are the class ids that each image shows, `percent` the sizes asked for. Without groups of several images
    the sizes are exactly those of `part_sizes`; with them as near as the groups allow. The same images in the same
    order and the same seed give the same parts. Raises DatasetError where there are fewer groups than parts.
    """
    sizes = part_sizes(len(classes), percent)
    number = {name: place for place, name in enumerate(dict.fromkeys(groups))}
    if len(number) < len(sizes):
        raise DatasetError(
            f"the {len(classes)} images form {len(number)} groups, which cannot be divided into {len(sizes)} parts. "
            "Group them in another way, or not at all"
        )
    unit = np.array([number[name] for name in groups], np.int64)
    ids = sorted({class_id for shown in classes for class_id in shown})
    column = {class_id: place for place, class_id in enumerate(ids)}
    shows = np.zeros((len(number), len(ids)), np.int64)
    for place, shown in zip(unit.tolist(), classes, strict=True):
        for class_id in set(shown):
            shows[place, column[class_id]] += 1
    weights = np.bincount(unit, minlength=len(number))
    part = _place(shows, weights, sizes, np.random.Generator(np.random.PCG64(seed)))
    _fill(part, weights, len(sizes))
    placed: Ints = part[unit]
    return placed


def _place(shows: Ints, weights: Ints, sizes: Sequence[int], rng: np.random.Generator) -> Ints:
    """The part of every unit; `shows` int64 [units, classes] counts its images with each class."""
    wanted = np.outer(np.array(sizes) / sum(sizes), shows.sum(axis=0))
    room = np.array(sizes, np.int64)
    shuffled = rng.permutation(len(weights))
    order = shuffled[np.argsort(-weights[shuffled], kind="stable")]
    part = np.full(len(weights), -1, np.int64)
    left = shows.copy()
    while True:
        there = left.sum(axis=0)
        if there.any():
            rarest = int(np.argmin(np.where(there > 0, there, there.max() + 1)))
            units, wish = order[left[order, rarest] > 0], wanted[:, rarest]
        else:
            units, wish = order[part[order] < 0], room
        for unit in units.tolist():
            # the key's first place keeps sizes exact; rounding keeps equal wishes equal
            fits = room >= weights[unit]
            keys = zip(fits.tolist(), np.where(fits, wish, room).round(9).tolist(), room.tolist(), strict=True)
            chosen = max(enumerate(keys), key=lambda one: one[1])[0]
            part[unit] = chosen
            room[chosen] -= weights[unit]
            wanted[chosen] -= shows[unit]
            left[unit] = 0
        if not there.any():
            return part


def _fill(part: Ints, weights: Ints, parts: int) -> None:
    """Give a part without any unit the smallest unit of the part that has the most units."""
    for empty in range(parts):
        if not (part == empty).any():
            richest = np.bincount(part, minlength=parts).argmax()
            units = np.flatnonzero(part == richest)
            part[units[weights[units].argmin()]] = empty
