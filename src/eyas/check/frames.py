"""Frames of videos, told by their file names: `street_00012.jpg` comes before `street_00013.jpg`."""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

GAP = 30  # frames, a second of video

_NAME = re.compile(r"(.*?)([0-9]{1,15})([^0-9]*)$", re.DOTALL)


class Frame(NamedTuple):
    """The name of a video (all of a file's name but its last number), and the number."""

    video: tuple[str, str]
    number: int


def frame_of(path: Path) -> Frame | None:
    """What the file name says, None where there is no number in it."""
    found = _NAME.match(path.stem)
    return Frame((found[1], found[3]), int(found[2])) if found else None


def videos_of(paths: Sequence[Path]) -> dict[tuple[str, str], list[tuple[int, int]]]:
    """Video -> (number, place among `paths`) of its frames, by number."""
    videos: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for place, path in enumerate(paths):
        frame = frame_of(path)
        if frame is not None:
            videos[frame.video].append((frame.number, place))
    return {video: sorted(frames) for video, frames in videos.items()}


def neighbour(path: Path, videos: dict[tuple[str, str], list[tuple[int, int]]]) -> int | None:
    """The place of the frame nearest in number to that of `path`, None where none is within `GAP`."""
    frame = frame_of(path)
    frames = videos.get(frame.video, []) if frame else []
    if frame is None or not frames:
        return None
    at = bisect_left(frames, (frame.number, -1))
    number, place = min(frames[max(at - 1, 0) : at + 1], key=lambda one: abs(one[0] - frame.number))
    return place if abs(number - frame.number) <= GAP else None
