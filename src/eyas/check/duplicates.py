"""Which images are the same: by their bytes, or by their look.

The look is a difference hash: whether a cell of the 16 x 17 grey grid is darker than its right neighbour, 256 bits. The
number of bits in which two hashes differ is half the difference between 256 and the product of their signs, so a matrix
product compares thousands at once. Unrelated images differ in about 128 bits, the least seen in a million pairs of real
ones is 65; the same picture compressed anew, smaller, darker or noisier differs in 12 at most, moved by 3 pixels in 23.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eyas.check.images import ImageList
from eyas.check.pictures import GRID_HW, Grids, Looks
from eyas.data.faults import Report

Ints = NDArray[np.int64]

SAME_BITS, SAME_CORRELATION = 20, 0.97
FAR_BITS, FAR_CORRELATION = 32, 0.995
"""A copy is near in both ways, or farther by its hash and all but the same by its correlation: dull pictures that were
compressed hard differ by up to 31 bits at a correlation of 0.997; unrelated ones by 65 and more, at up to 0.75."""
_BITS = 256
_BLOCK = 2048  # images compared at once: 16 MB of products


def content_keys(paths: Sequence[Path], pixels: Sequence[int]) -> list[int]:
    """A number for each file: equal where the bytes are equal, -1 where no other file can be the same.

    Only files of the same length are read, and none that has 0 `pixels`.
    """
    lengths: dict[int, list[int]] = defaultdict(list)
    for place, path in enumerate(paths):
        if pixels[place]:
            lengths[path.stat().st_size].append(place)
    keys, numbers = [-1] * len(paths), dict[bytes, int]()
    for places in lengths.values():
        for place in places if len(places) > 1 else ():
            with paths[place].open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").digest()
            keys[place] = numbers.setdefault(digest, len(numbers))
    return keys


def nearest(ours: Grids, others: Grids, before: bool = False) -> tuple[Ints, Ints]:
    """(place among `others`, bits that differ) of the one most alike to each of `ours`; 256 bits where there is none.

    With `before`, `others` are `ours` and each is compared with those that come before it.
    """
    places, bits = np.zeros(len(ours), np.int64), np.full(len(ours), _BITS)
    for start in range(0, len(ours), _BLOCK):
        mine = _signs(ours[start : start + _BLOCK])
        rows = slice(start, start + len(mine))
        for other in range(0, min(rows.stop, len(others)) if before else len(others), _BLOCK):
            product = mine @ _signs(others[other : other + _BLOCK]).T
            if before:
                columns = np.arange(other, other + product.shape[1])
                product[columns >= np.arange(rows.start, rows.stop)[:, None]] = -_BITS
            top = product.argmax(axis=1)
            differ = ((_BITS - product[np.arange(len(mine)), top]) / 2).astype(np.int64)
            better = differ < bits[rows]
            places[rows] = np.where(better, other + top, places[rows])
            bits[rows] = np.where(better, differ, bits[rows])
    return places, bits


def alike(ours: Grids, others: Grids, before: bool = False) -> list[tuple[int, int, int]]:
    """(row of `ours`, place of its copy among `others`, bits that differ) of those that have one; as `nearest`."""
    places, bits = nearest(ours, others, before)
    rows = np.flatnonzero(bits <= FAR_BITS)
    needed = np.where(bits[rows] <= SAME_BITS, SAME_CORRELATION, FAR_CORRELATION)
    rows = rows[correlation(ours[rows], others[places[rows]]) >= needed]
    return list(zip(rows.tolist(), places[rows].tolist(), bits[rows].tolist(), strict=True))


def _signs(grids: Grids) -> NDArray[np.float32]:
    darker = grids[:, :, :-1] < grids[:, :, 1:]
    return np.where(darker, np.float32(1), np.float32(-1)).reshape(len(grids), _BITS)


def correlation(ours: Grids, others: Grids) -> NDArray[np.float64]:
    """How alike N pairs of grids are, float64 [N]: 1 for the same picture, whatever its brightness and contrast."""
    first, second = (grids.reshape(len(grids), np.prod(GRID_HW)).astype(np.float64) for grids in (ours, others))
    first -= first.mean(axis=1, keepdims=True)
    second -= second.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    products: NDArray[np.float64] = (first * second).sum(axis=1) / np.maximum(lengths, 1e-9)
    return products


def check_duplicates(images: ImageList, keys: Sequence[int], looks: Looks, report: Report) -> None:
    """Tell the images of a split that are copies of an earlier one, and those that look nearly the same."""
    first: dict[int, Path] = {}
    copies: set[int] = set()
    for place, key in enumerate(keys):
        path = images.paths[place]
        if key >= 0 and key in first and first[key] != path:
            copies.add(place)
            message = f"{path} holds the same bytes as {first[key]}"
            fix = "Keep one of the two: a copy counts twice in training and measuring."
            report(images.fault("warning", place, "duplicate-image", message, fix))
        if key >= 0:
            first.setdefault(key, path)
    rest = np.array([place for place in np.flatnonzero(looks.known).tolist() if place not in copies], np.int64)
    grids = looks.grids[rest]
    for row, place, bits in alike(grids, grids, before=True):
        path, other = images.paths[rest[row]], images.paths[rest[place]]
        if path != other:
            message = f"{path} looks nearly like {other} ({bits} of {_BITS} bits differ)"
            report(images.fault("info", int(rest[row]), "near-duplicate", message))
