"""Ranges of object size that the common protocols report: areas in square pixels, both ends included, as in COCO."""

from collections.abc import Sequence

from eyas.metrics.coco import EVERYTHING, Range

# pycocotools' Params.
COCO_RANGES: dict[str, Range] = {
    "all": EVERYTHING,
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
# very_tiny to medium: the sizes of AI-TOD (Wang et al., ICPR 2021), 2, 8, 16, 32 and 64 px as square root of the area.
SIZE_BINS: dict[str, Range] = {
    "very_tiny": (2.0**2, 8.0**2),
    "tiny": (8.0**2, 16.0**2),
    "small": (16.0**2, 32.0**2),
    "medium": (32.0**2, 64.0**2),
    "under16": (0.0, 16.0**2),
}
# AI-TOD's own tool leaves the outer two open. Its objects are all between 2 and 64 px, but a wrong detection of another
# size counts there and is ignored above.
AITOD_BINS: dict[str, Range] = {
    "very_tiny": (0.0, 8.0**2),
    "tiny": (8.0**2, 16.0**2),
    "small": (16.0**2, 32.0**2),
    "medium": (32.0**2, 1e10),
}
# SODA (Cheng et al., TPAMI 2023): extremely, relatively and generally small, and normal. Its AP is over `SODA_SMALL`.
SODA_BINS: dict[str, Range] = {
    "extremely_small": (0.0, 144.0),
    "relatively_small": (144.0, 400.0),
    "generally_small": (400.0, 1024.0),
    "normal": (1024.0, 2000.0),
}
SODA_SMALL: Range = (0.0, 1024.0)
# Edges in pixels (square root of the area) of the recall curve; its bins are half-open.
CURVE_EDGES = (0.0, 4.0, 6.0, 8.0, 10.0, 12.0, 16.0, 20.0, 24.0, 32.0, 48.0, 64.0, 96.0, 1e5)


def size_bins(edges_px: Sequence[float]) -> dict[str, Range]:
    """Bins between neighbouring `edges_px`, square roots of the area in pixels: (0, 8, 16) gives "0-8" and "8-16".

    Raises ValueError where there are fewer than two edges or they do not rise.
    """
    pairs = list(zip(edges_px, edges_px[1:], strict=False))
    if not pairs or any(low < 0 or low >= high for low, high in pairs):
        raise ValueError(f"size edges must be two or more rising numbers from 0 up, in pixels, got {list(edges_px)}")
    return {f"{low:g}-{high:g}": (float(low) ** 2, float(high) ** 2) for low, high in pairs}
