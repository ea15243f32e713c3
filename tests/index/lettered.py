"""Items whose labels are letters, for the tests of changes."""

from typing import Any

import numpy as np

from eyas.index.records import GalleryInfo, NewItem

WIDTH = 4
INFO = GalleryInfo("a-uuid", "Flat", "IP", WIDTH)


def rows(count: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal((count, WIDTH), dtype=np.float32)


def pictures(labels: str, start: int = 0) -> list[NewItem]:
    """One item for each letter: its label."""
    return [NewItem(label, f"hash {start + place}", f"{start + place}.jpg") for place, label in enumerate(labels)]
