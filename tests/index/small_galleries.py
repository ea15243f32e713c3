"""Small galleries for the tests of the store."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from eyas.index.records import GalleryInfo, ModelIdentity, NewItem

WIDTH = 8
INFO = GalleryInfo("a-uuid", "HNSW32", "L2", WIDTH, ModelIdentity("PP-ShiTuV2_rec", "ab" * 32, WIDTH))


def rows(count: int) -> np.ndarray[Any, Any]:
    """Vectors [count, WIDTH]."""
    return np.random.default_rng(count).standard_normal((count, WIDTH), dtype=np.float32)


def pictures(count: int, start: int = 0) -> list[NewItem]:
    """Items of three labels, numbered from `start`."""
    return [NewItem(f"label {place % 3}", f"hash {place}") for place in range(start, start + count)]


def run_all(works: list[Callable[[], None]]) -> None:
    """Each of `works` in a thread of its own, all at once."""
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
