"""The bar of a check: it is told how many more images are done."""

from collections.abc import Iterator
from contextlib import contextmanager

from eyas import progress
from eyas.check.images import Advance


@contextmanager
def progress_bar(total: int, title: str) -> Iterator[Advance]:
    """A function that moves the bar by a number of images."""
    done = 0
    with progress.progress_bar(title) as told:
        told(0, total)

        def advance(count: int) -> None:
            nonlocal done
            done += count
            told(done, total)

        yield advance
