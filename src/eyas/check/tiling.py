"""Whether images should be cut into tiles before a network sees them, and why, in words."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LARGE_SIDE = 1500.0  # px
SMALL_RATIO = 0.04
SMALLEST = 8.0  # px: one cell of the finest grid of the networks
LOST_SHARE = 0.25


@dataclass(frozen=True)
class Tiling:
    """The advice. `reasons` holds one sentence for each rule, whether it asks for tiles or not.

    mean_side: mean of width and height over all images, px. median_ratio: median of the widths and heights of the boxes
    as share of their image. lost_share: share of the boxes whose side (square root of the area) is under 8 px once the
    image has the input size of the network; kept_share: the same share at the images' own scale, which tiles keep.
    tile_side: side of the tiles in px where they are advised, else None.
    """

    advised: bool
    mean_side: float
    median_ratio: float
    lost_share: float
    kept_share: float
    tile_side: int | None
    reasons: tuple[str, ...]


def advise_tiling(
    image_sizes: NDArray[np.int64],
    sides: NDArray[np.float32],
    relative: NDArray[np.float32],
    input_hw: tuple[int, int],
    keep_ratio: bool,
) -> Tiling:
    """What two rules say about N images (width, height in px, [N, 2]) with M boxes (width, height, [M, 2]; M >= 1).

    The first is PaddleDetection's: slice where the images are larger than 1500 px on average and the median box is
    under 0.04 of its image. The second: slice where a quarter of the boxes shrink under 8 px at the network's input
    and tiles would keep more of them.
    """
    mean_side, ratio = float(image_sizes.mean()), float(np.median(relative))
    scale = np.array(input_hw[::-1]) / (sides / relative)  # the network's pixels for one of the image
    if keep_ratio:
        scale = scale.min(axis=1, keepdims=True)
    own = np.sqrt(sides.prod(axis=1, dtype=np.float64))
    lost = float((np.sqrt((sides * scale).prod(axis=1)) < SMALLEST).mean())
    kept = float((own < SMALLEST).mean())
    large = mean_side > LARGE_SIDE and ratio < SMALL_RATIO
    shrunk = lost > LOST_SHARE and kept < lost
    return Tiling(
        advised=large or shrunk,
        mean_side=mean_side,
        median_ratio=ratio,
        lost_share=lost,
        kept_share=kept,
        tile_side=min(input_hw) if large or shrunk else None,
        reasons=(_large_reason(large, mean_side, ratio), _shrunk_reason(shrunk, lost, kept, input_hw)),
    )


def _large_reason(asks: bool, mean_side: float, ratio: float) -> str:
    what = f"the images are {mean_side:.0f} px on average and the median box is {100 * ratio:.1f} % of its image's side"
    rule = f"above {LARGE_SIDE:.0f} px and under {100 * SMALL_RATIO:.0f} % tiles are advised"
    return f"{'Cut into tiles' if asks else 'Tiles are not needed for their size'}: {what}; {rule}."


def _shrunk_reason(asks: bool, lost: float, kept: float, input_hw: tuple[int, int]) -> str:
    height, width = input_hw
    what = f"{100 * lost:.0f} % of the boxes are under {SMALLEST:.0f} px at the network's input of {width} x {height}"
    tiles = f"in tiles at the images' own scale {100 * kept:.0f} % would be"
    return f"{'Cut into tiles' if asks else 'Tiles are not needed for small boxes'}: {what}, {tiles}."
