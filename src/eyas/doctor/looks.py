"""Whether two pictures that their features call similar are the same to the eye: compressed anew, cropped, brighter."""

import numpy as np

from eyas.check.duplicates import alike
from eyas.check.pictures import GRID_HW, Grids
from eyas.doctor.neighbours import Ints, Neighbourhood
from eyas.index.gallery import Gallery
from eyas.report.items import item_picture
from eyas.report.marks import RGB

MOST_PAIRS = 500
"""Pairs that are looked at, the nearest first: reading pictures is slow."""
_CONTRAST = 3.0  # grey levels; a flatter picture has no look of its own


def alike_pairs(gallery: Gallery, near: Neighbourhood, low: float, high: float) -> tuple[Ints, Ints]:
    """(rows, rows) of neighbours with a distance from `low` to below `high` whose pictures look the same.

    A picture whose file cannot be read and that has no thumbnail looks like nothing.
    """
    rows, ranks = np.nonzero((near.distances >= low) & (near.distances < high))
    order = np.argsort(near.distances[rows, ranks], kind="stable")
    rows, others = rows[order], near.places[rows, ranks][order]
    pairs = list(dict.fromkeys(tuple(sorted(pair)) for pair in zip(rows.tolist(), others.tolist(), strict=True)))
    grids: dict[int, Grids | None] = {}
    found = [pair for pair in pairs[:MOST_PAIRS] if _same(gallery, near, pair[0], pair[1], grids)]
    columns = np.array(found, np.int64).reshape(-1, 2)
    return columns[:, 0], columns[:, 1]


def _same(gallery: Gallery, near: Neighbourhood, one: int, other: int, grids: dict[int, Grids | None]) -> bool:
    for row in (one, other):
        if row not in grids:
            image = item_picture(gallery, gallery.get([int(near.state.ids[row])])[0])
            grids[row] = None if image is None else _grid(image)
    first, second = grids[one], grids[other]
    return first is not None and second is not None and bool(alike(first[None], second[None]))


def _grid(image: RGB) -> Grids | None:
    """The picture as a grid of grey levels, uint8 `GRID_HW`; None for one that is too small or without contrast."""
    height, width = image.shape[:2]
    if height < GRID_HW[0] or width < GRID_HW[1]:
        return None
    grey = image.astype(np.float32).mean(axis=2)
    starts = [np.arange(cells) * side // cells for side, cells in zip((height, width), GRID_HW, strict=True)]
    sums = np.add.reduceat(np.add.reduceat(grey, starts[0], axis=0), starts[1], axis=1)
    sizes = [np.diff(np.append(start, side)) for start, side in zip(starts, (height, width), strict=True)]
    grid = np.rint(sums / (sizes[0][:, None] * sizes[1])).astype(np.uint8)
    return grid if grid.std() >= _CONTRAST else None
