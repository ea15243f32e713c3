"""Galleries of drawn vectors with planted faults."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
WIDTH = 48


def unit(vectors: NDArray[Any]) -> Floats:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def views(centres: NDArray[Any], each: int, rng: np.random.Generator, spread: float) -> Floats:
    """`each` noisy rows around every one of `centres` [L, D], on the unit sphere."""
    many = np.repeat(centres, each, axis=0)
    return unit(many + spread * rng.standard_normal(many.shape) / np.sqrt(many.shape[1]))


def drawn(labels: int, each: int, seed: int, spread: float = 0.8) -> tuple[Floats, list[str]]:
    rng = np.random.default_rng(seed)
    vectors = views(unit(rng.standard_normal((labels, WIDTH))), each, rng, spread)
    return vectors, [f"label {place:02d}" for place in range(labels) for _ in range(each)]
