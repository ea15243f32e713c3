"""Pictures are read and prepared in threads while networks run on batches of them; results come in order."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Generic, TypeVar

from eyas.errors import InputError
from eyas.inputs import InputItem
from eyas.pipelines.threads import in_order
from eyas.saving import Result
from eyas.vision.preprocess import Image

log = logging.getLogger(__name__)

P = TypeVar("P")
R = TypeVar("R", bound=Result)

READERS = 2
"""Threads a device that read and prepare pictures; a picture takes them a fraction of what it takes the network."""

NAMED = 10
"""Unusable inputs that the final error names."""


@dataclass(frozen=True)
class Work(Generic[P, R]):
    """What one device does with pictures: `prepare` is called with each, in other threads, `run` with a batch of those.

    `run` gives one result for each prepared picture, in their order.
    """

    prepare: Callable[[Image], P]
    run: Callable[[Sequence[P]], Sequence[R]]


def stream(items: Iterable[InputItem], work: Sequence[Work[P, R]], batch_size: int) -> Iterator[R]:
    """The result of each item, in their order; batches of `batch_size` go to the entries of `work` in turns.

    An item that cannot be read is logged, and the others go on; after the last one an InputError names all that were
    left out.  A single item that cannot be read raises its own InputError.
    """
    failures: list[_Failure] = []
    good = 0
    readers = READERS * len(work)
    loads = (_Load(item, work[0].prepare) for item in items)
    with closing(in_order(loads, readers, batch_size * len(work) + readers)) as loaded:
        ready = _usable(loaded, failures)
        batches = iter(lambda: list(islice(ready, batch_size)), [])
        runs = (_Run(batch, one.run) for batch, one in zip(batches, cycle(work), strict=False))
        with closing(in_order(runs, len(work), len(work))) as ran:
            for results in ran:
                good += len(results)
                yield from results
    _raise_failures(failures, good)


@dataclass(frozen=True)
class _Ready(Generic[P]):
    """A picture that was read, and is ready for the network."""

    item: InputItem
    image: Image
    prepared: P


_Failure = tuple[str, InputError]
"""The name of a picture that could not be used, and why."""


@dataclass(frozen=True)
class _Load(Generic[P]):
    """Reads and prepares one picture."""

    item: InputItem
    prepare: Callable[[Image], P]

    def __call__(self) -> _Ready[P] | _Failure:
        try:
            image = self.item.load()
        except InputError as error:
            return self.item.name, error
        return _Ready(self.item, image, self.prepare(image))


@dataclass(frozen=True)
class _Run(Generic[P, R]):
    """Runs the network on one batch."""

    batch: Sequence[_Ready[P]]
    run: Callable[[Sequence[P]], Sequence[R]]

    def __call__(self) -> list[R]:
        found = self.run([ready.prepared for ready in self.batch])
        return [
            result.with_source(
                ready.item.input_path, ready.item.page_index, image=ready.image, output_name=ready.item.output_name
            )
            for result, ready in zip(found, self.batch, strict=True)
        ]


def _usable(loaded: Iterable[_Ready[P] | _Failure], failures: list[_Failure]) -> Iterator[_Ready[P]]:
    """The pictures that could be read; the others are logged and added to `failures`."""
    for entry in loaded:
        if isinstance(entry, _Ready):
            yield entry
        else:
            log.warning("left out %s: %s", *entry)
            failures.append(entry)


def _raise_failures(failures: Sequence[_Failure], good: int) -> None:
    if not failures:
        return
    if good == 0 and len(failures) == 1:
        raise failures[0][1]
    named = "\n".join(f"  {name}: {error}" for name, error in failures[:NAMED])
    more = f"\n  … and {len(failures) - NAMED} more" if len(failures) > NAMED else ""
    raise InputError(f"{len(failures)} of {len(failures) + good} inputs could not be used:\n{named}{more}")
