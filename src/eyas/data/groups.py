"""Which images belong together: neighbours in time or place that must not be torn apart by a split.

Frames of one video look alike. Where some of them are learnt from and others measured with, the figures say nothing
about new pictures.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import PurePosixPath
from statistics import median_low

from eyas.data.images import without_suffix
from eyas.errors import ConfigError

GAP = 3  # a run of frames ends where a number jumps by more than so many usual steps of its sequence

_LAST_NUMBER = re.compile(r"(.*?)([0-9]+)([^0-9]*)$")


def group_names(names: Sequence[str], group: str | None) -> list[str]:
    """The name of the group that each image belongs to; `names` are relative paths with `/`.

    `group`: None, every image is its own; "folder", the images of a folder; "frames", runs of frames: names alike but
    for their last number, cut where it jumps by more than `GAP` times the usual step; else a regular expression with
    one group in brackets, which is looked for in the name: what it finds is the name of the group, and an image in
    which it is not found is its own. Raises ConfigError for an expression that is none.
    """
    if group is None:
        return list(names)
    if group == "folder":
        return [str(PurePosixPath(name).parent) for name in names]
    if group == "frames":
        return _runs(names)
    expression = _expression(group)
    return [_found(expression, name) or f"{name} alone" for name in names]


def _expression(text: str) -> re.Pattern[str]:
    expected = "expected folder, frames, or a regular expression with one group in brackets"
    try:
        expression = re.compile(text)
    except re.error as error:
        raise ConfigError(f"group {text!r} is no regular expression ({error}); {expected}") from None
    if expression.groups != 1:
        raise ConfigError(f"group {text!r} has {expression.groups} groups in brackets; {expected}")
    return expression


def _found(expression: re.Pattern[str], name: str) -> str | None:
    found = expression.search(name)
    return found and found[1]


def _runs(names: Sequence[str]) -> list[str]:
    """Names without a number are their own run."""
    result = list(names)
    sequences: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for place, name in enumerate(names):
        found = _LAST_NUMBER.fullmatch(without_suffix(name))
        if found:
            sequences.setdefault((found[1], found[3]), []).append((int(found[2]), place))
    for sequence in sequences.values():
        for run in _cut(sorted(sequence)):
            for _, place in run:
                result[place] = names[run[0][1]]
    return result


def _cut(sequence: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """A sorted sequence of (number, …) in runs."""
    steps = [after[0] - before[0] for before, after in pairwise(sequence)]
    usual = median_low([step for step in steps if step] or [1])
    start = 0
    for place, step in enumerate(steps, start=1):
        if step > GAP * usual:
            yield sequence[start:place]
            start = place
    yield sequence[start:]
