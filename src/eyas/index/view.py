"""What a gallery holds at one moment, ready to be searched.  Nothing in it ever changes, so searches need no lock."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eyas.index.engine import Segment, merge
from eyas.index.records import Floats, GalleryInfo, Ids, Matches, State
from eyas.index.structures import Selection

Mask = NDArray[np.bool_]
Fetch = Callable[[Ids], Floats]
"""Reads the vectors of some ids."""


@dataclass(frozen=True)
class Part:
    """A search structure, and which of its vectors still belong to the gallery (None: all of them)."""

    segment: Segment
    alive: Mask | None = None

    @cached_property
    def selection(self) -> Selection | None:
        """`alive` in the form that searches want, made once."""
        return None if self.alive is None else self.segment.selection(self.alive)

    @property
    def dead(self) -> int:
        """How many vectors of the structure are there no more."""
        return 0 if self.alive is None else len(self.alive) - int(np.count_nonzero(self.alive))

    def alive_ids(self) -> Ids:
        """The ids that can be found here, rising."""
        return self.segment.ids if self.alive is None else self.segment.ids[self.alive]

    def without(self, gone: Ids) -> "Part":
        """The same part when the items `gone` (rising) have left the gallery."""
        return self._limited(~contains(gone, self.segment.ids))

    def among(self, allowed: Ids) -> "Part":
        """The same part, where only the items `allowed` (rising) may be found."""
        return self._limited(contains(allowed, self.segment.ids))

    def _limited(self, mask: Mask) -> "Part":
        alive = mask if self.alive is None else mask & self.alive
        return self if self.alive is None and alive.all() else replace(self, alive=alive)


@dataclass(frozen=True)
class View:
    """The items of a gallery at one generation.  Each of `state.ids` is alive in exactly one of `parts`.

    The last part is the tail: the newest vectors, compared one by one until they get a structure of their own.
    `tail` holds them, float32 [T, D].
    """

    info: GalleryInfo
    state: State
    parts: tuple[Part, ...]
    tail: Floats

    @staticmethod
    def assemble(info: GalleryInfo, state: State, segments: Sequence[Segment], fetch: Fetch) -> "View":
        """The view of `state` over `segments`; `fetch` reads the vectors of the ids that none of those holds."""
        parts, missing = [], state.ids
        for segment in segments:
            alive = contains(missing, segment.ids)
            if alive.any():
                parts.append(Part(segment, None if alive.all() else alive))
                missing = missing[~contains(parts[-1].alive_ids(), missing)]
        return View(info, state, tuple(parts), np.zeros((0, info.width), np.float32))._with_tail(
            missing, fetch(missing)
        )

    def changed(self, state: State, added: Ids, vectors: Floats, removed: Ids) -> "View":
        """The view of `state`, which is the present one with the items `added`, of `vectors`, and without `removed`."""
        *sealed, last = self.parts
        kept = ~contains(removed, last.segment.ids)
        parts = tuple(part.without(removed) for part in sealed) if len(removed) else tuple(sealed)
        view = View(self.info, state, parts, self.tail)
        if not len(added) and kept.all():
            return replace(view, parts=(*parts, last))
        ids = np.concatenate((last.segment.ids[kept], added))
        order = np.argsort(ids, kind="stable")  # an undo brings old ids back
        return view._with_tail(ids[order], np.concatenate((self.tail[kept], vectors))[order])

    def _with_tail(self, ids: Ids, vectors: Floats) -> "View":
        segment = Segment.build(vectors, ids, "Flat", self.info.metric)
        held = segment.vectors()
        return replace(self, parts=(*self.parts, Part(segment)), tail=vectors if held is None else held)

    @property
    def sealed(self) -> tuple[Part, ...]:
        """The parts before the tail."""
        return self.parts[:-1]

    def search(self, queries: Floats, k: int, allowed: Ids | None = None) -> Matches:
        """The `k` nearest items of each query, float32 [Q, D]; only `allowed` ids (rising) where those are given."""
        parts = self.parts if allowed is None else tuple(part.among(allowed) for part in self.parts)
        found = [part.segment.search(queries, k, part.selection) for part in parts if len(part.segment.ids)]
        if not found:
            shape = (len(queries), k)
            return Matches(np.full(shape, -1), np.full(shape, np.nan, np.float32), np.full(shape, -1, np.int32), ())
        scores, ids = found[0] if len(found) == 1 else merge(found, k, self.info.metric)
        return Matches(ids, scores, self._label_ids(ids), self.state.labels)

    def _label_ids(self, ids: Ids) -> NDArray[np.int32]:
        held = self.state.ids
        places = np.searchsorted(held, ids)
        labels: NDArray[np.int32] = self.state.label_ids[np.minimum(places, len(held) - 1)]
        if ids.min(initial=0) < 0:
            labels = np.where(ids < 0, np.int32(-1), labels)
        return labels


def contains(sorted_ids: Ids, wanted: Ids) -> Mask:
    """Which of `wanted` are among `sorted_ids` (rising): bool [len(wanted)]."""
    if not len(sorted_ids):
        return np.zeros(len(wanted), bool)
    places = np.minimum(np.searchsorted(sorted_ids, wanted), len(sorted_ids) - 1)
    found: Mask = sorted_ids[places] == wanted
    return found
