"""A gallery in memory that compares with everything: the reading half of `Gallery`, for tests of what builds on it."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.index.leave_one_out import pairwise_nearness
from eyas.index.records import Floats, Ids, Item, Matches, Metric, State


class FlatGallery:
    """Vectors [N, D] with their labels; ids count from 0, sources are pictures of their own unless given."""

    def __init__(
        self,
        vectors: NDArray[Any],
        labels: Sequence[str],
        metric: Metric = "IP",
        sources: Sequence[str | None] | None = None,
        thumbnails: dict[int, bytes] | None = None,
    ) -> None:
        self._vectors = np.ascontiguousarray(vectors, np.float32)
        self._names = list(labels)
        self._sources = list(sources) if sources is not None else [f"{place}.jpg" for place in range(len(labels))]
        self._settings: dict[str, str] = {}
        self._thumbnails = thumbnails or {}
        self.metric: Metric = metric
        self.width = self._vectors.shape[1]
        self.path = Path("flat")
        self.generation = 1

    def __len__(self) -> int:
        return len(self._names)

    def state(self) -> State:
        names = tuple(dict.fromkeys(self._names))
        places = {name: place for place, name in enumerate(names)}
        label_ids = np.array([places[name] for name in self._names], np.int32)
        return State(self.generation, np.arange(len(self), dtype=np.int64), label_ids, names)

    def vectors(self, ids: Iterable[int] | None = None) -> Floats:
        return self._vectors.copy() if ids is None else self._vectors[np.asarray(ids, np.int64)]

    def get(self, ids: Iterable[int]) -> list[Item]:
        return [Item(int(i), self._names[i], self._sources[i], f"hash-{i}", {}, "2026-01-01T00:00:00Z") for i in ids]

    def thumbnail(self, number: int) -> bytes | None:
        return self._thumbnails.get(number)

    def search(self, queries: Floats, k: int = 5) -> Matches:
        return self.search_among(queries, k, np.arange(len(self)))

    def search_among(self, queries: Floats, k: int, ids: Iterable[int]) -> Matches:
        state, chosen = self.state(), np.asarray(ids, np.int64)
        near = pairwise_nearness(np.asarray(queries, np.float32), self._vectors[chosen], self.metric)
        order = np.argsort(-near, axis=1, kind="stable")[:, :k]
        scores = np.take_along_axis(near, order, axis=1)
        found: Ids = chosen[order]
        return Matches(found, scores if self.metric == "IP" else -scores, state.label_ids[found], state.labels)

    def setting(self, key: str) -> Any | None:
        return json.loads(self._settings[key]) if key in self._settings else None

    def set_setting(self, key: str, value: Any) -> None:
        self._settings[key] = json.dumps(value)
