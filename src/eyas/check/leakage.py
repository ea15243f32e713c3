"""Images of one split that are in another one too: what is measured on them says nothing about new images."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eyas.check.duplicates import alike
from eyas.check.frames import neighbour, videos_of
from eyas.check.images import ImageList
from eyas.check.pictures import Looks, scene_likeness
from eyas.data.faults import Report
from eyas.data.parts import split_of

FRAME_LIKENESS = 0.85  # of pictures whose names follow each other: frames of one scene

_PARTS = ("gallery", "query")
_MEANT = ({"train", "trainval"}, {"val", "trainval"}, {"train", "gallery"})  # splits that may share images


def check_leakage(
    lists: Sequence[ImageList], keys: Sequence[Sequence[int]], looks: Sequence[Looks], report: Report
) -> None:
    """Tell every image that is, looks like, or is a video frame beside an image of an earlier split.

    `keys` and `looks` belong to `lists`, split by split; the keys are equal where files are equal across all splits.
    """
    for later in range(1, len(lists)):
        for earlier in range(later):
            if compared(lists[earlier].split, lists[later].split):
                _Pair(lists, keys, looks, earlier, later).tell(report)


def compared(earlier: str, later: str) -> bool:
    """Whether two splits should have no image in common: both are usual splits, and not one a part of the other."""
    usual = all(split_of(name) is not None or name in _PARTS for name in (earlier, later))
    return usual and {earlier, later} not in _MEANT


class _Pair:
    """Two splits that are compared; the rows and columns of the search are images of the later and earlier one."""

    def __init__(
        self,
        lists: Sequence[ImageList],
        keys: Sequence[Sequence[int]],
        looks: Sequence[Looks],
        earlier: int,
        later: int,
    ) -> None:
        self.train, self.images = lists[earlier], lists[later]
        self.train_keys, self.keys = keys[earlier], keys[later]
        self.train_looks, self.looks = looks[earlier], looks[later]

    def tell(self, report: Report) -> None:
        """Tell each image of the later split once, with the strongest reason."""
        told = self._tell_same(report)
        told |= self._tell_alike(told, report)
        self._tell_frames(told, report)

    def _tell_same(self, report: Report) -> set[int]:
        paths = {path: path for path in self.train.paths}
        by_key = {key: path for key, path in zip(self.train_keys, self.train.paths, strict=True) if key >= 0}
        told = set()
        for place, (path, key) in enumerate(zip(self.images.paths, self.keys, strict=True)):
            other = paths.get(path) or by_key.get(key)
            if other is not None:
                told.add(place)
                what = "the same file" if other == path else f"the same bytes as {other}"
                self._report(place, "leak-same", f"{what} is in {self.train.split}", report)
        return told

    def _tell_alike(self, told: set[int], report: Report) -> set[int]:
        ours, others = self._rest(told), np.flatnonzero(self.train_looks.known)
        found = set()
        for row, place, bits in alike(self.looks.grids[ours], self.train_looks.grids[others]):
            found.add(int(ours[row]))
            other = self.train.paths[others[place]]
            message = f"looks nearly like {other} of {self.train.split} ({bits} of 256 bits differ)"
            self._report(int(ours[row]), "leak-alike", message, report)
        return found

    def _tell_frames(self, told: set[int], report: Report) -> None:
        videos = videos_of(self.train.paths)
        for place in self._rest(told).tolist():
            other = neighbour(self.images.paths[place], videos)
            if other is None or not self.train_looks.known[other]:
                continue
            if scene_likeness(self.images.paths[place], self.train.paths[other]) >= FRAME_LIKENESS:
                message = f"is a frame beside {self.train.paths[other]} of {self.train.split}, and looks like it"
                self._report(place, "leak-frames", message, report)

    def _rest(self, told: set[int]) -> NDArray[np.int64]:
        """The images of the later split with a look that were not told yet."""
        known = np.flatnonzero(self.looks.known)
        return known[[place not in told for place in known.tolist()]] if told else known

    def _report(self, place: int, code: str, what: str, report: Report) -> None:
        fix = f"Remove it from {self.train.split} or from {self.images.split}; split by scene or day, not by image."
        message = f"{self.images.paths[place]} of {self.images.split}: {what}"
        report(self.images.fault("warning", place, code, message, fix))
