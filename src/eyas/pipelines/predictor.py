"""Prediction over any input: pictures are read and prepared in threads while the network runs, in batches, in order."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TypeVar

from eyas.backends import open_backends
from eyas.backends.device import parse_device
from eyas.bundle import Bundle
from eyas.compat import rename_keywords
from eyas.errors import ConfigError, InputError
from eyas.inputs import InputItem, iter_inputs
from eyas.pipelines.detector import Detector, Prepared, Threshold, class_thresholds
from eyas.results import Detections
from eyas.vision.preprocess import Image

log = logging.getLogger(__name__)

T = TypeVar("T")

OpenDetectors = Callable[[str | None], Sequence[Detector]]
"""From a device's text to one detector for each device that it names."""

READERS = 2
"""Threads a device that read and prepare pictures; a picture takes them a fraction of what it takes the network."""

NAMED = 10
"""Unusable inputs that the final error names."""


@dataclass(frozen=True)
class _Ready:
    """A picture that was read, and is ready for the network."""

    item: InputItem
    image: Image
    prepared: Prepared


_Failure = tuple[str, InputError]
"""The name of a picture that could not be used, and why."""


class Predictor:
    """What `create_model` and `create_pipeline` return: `predict` yields one `Detections` for each picture."""

    def __init__(
        self,
        open_detectors: OpenDetectors,
        *,
        device: str | None = None,
        batch_size: int = 1,
        threshold: Threshold = None,
    ) -> None:
        """Open the detectors for `device`; `batch_size` and `threshold` are the defaults of `predict`."""
        self._open = open_detectors
        self._detectors = tuple(open_detectors(device))
        self._batch_size = _checked_batch_size(batch_size)
        self._threshold = threshold
        class_thresholds(threshold, self._detectors[0].manifest)

    @staticmethod
    def open(
        bundle: Bundle,
        *,
        device: str | None = None,
        engine: str | None = None,
        threads: int | None = None,
        batch_size: int = 1,
        threshold: Threshold = None,
    ) -> "Predictor":
        """The predictor of a bundle: one loaded network for each device that `device` names ("gpu:0,1": two)."""

        def open_detectors(name: str | None) -> list[Detector]:
            backends = open_backends(bundle, parse_device(name), engine=engine, threads=threads)
            return [Detector(bundle.manifest, backend) for backend in backends]

        return Predictor(open_detectors, device=device, batch_size=batch_size, threshold=threshold)

    @property
    def names(self) -> tuple[str, ...]:
        """The class names."""
        return self._detectors[0].manifest.names

    def predict(
        self,
        input: object = None,
        batch_size: int | None = None,
        threshold: Threshold = None,
        device: str | None = None,
        **old: object,
    ) -> Iterator[Detections]:
        """The detections in each picture that `input` holds (see `eyas.inputs`), in its order, one by one.

        `batch_size` pictures go through the network together; `threshold` is one number or one a class, by id or name;
        `device` opens the network there for this call.  Wrong arguments raise ConfigError at once.  `old` are PaddleX's
        former names of arguments (`x` for `input`).

        A picture that cannot be used is logged, and the others go on; after the last one an InputError names all that
        were left out.  A single picture that cannot be used raises its own InputError.
        """
        input = rename_keywords("predict", old, {"input": input})["input"]
        if input is None:
            raise ConfigError(
                "predict() needs an input: a picture, a folder, a PDF file, a URL, an array, or a list of them."
            )
        size = self._batch_size if batch_size is None else _checked_batch_size(batch_size)
        limits = self._threshold if threshold is None else threshold
        class_thresholds(limits, self._detectors[0].manifest)
        detectors = self._detectors if device is None else tuple(self._open(device))
        return _predict(iter_inputs(input), detectors, size, limits)

    __call__ = predict


def _checked_batch_size(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"batch_size must be a whole number, 1 or more, got {value!r}.")
    return value


def _predict(
    items: Iterator[InputItem], detectors: Sequence[Detector], batch_size: int, threshold: Threshold
) -> Iterator[Detections]:
    failures: list[_Failure] = []
    good = 0
    readers = READERS * len(detectors)
    with _threads(readers) as reading, _threads(len(detectors)) as running:
        loads = (_Load(item, detectors[0]) for item in items)
        ready = _usable(_in_order(reading, loads, batch_size * len(detectors) + readers), failures)
        batches = iter(lambda: list(islice(ready, batch_size)), [])
        runs = (_Run(batch, detector, threshold) for batch, detector in zip(batches, cycle(detectors), strict=False))
        for results in _in_order(running, runs, len(detectors)):
            good += len(results)
            yield from results
    _raise_failures(failures, good)


@dataclass(frozen=True)
class _Load:
    """Reads and prepares one picture."""

    item: InputItem
    detector: Detector

    def __call__(self) -> _Ready | _Failure:
        try:
            image = self.item.load()
        except InputError as error:
            return self.item.name, error
        return _Ready(self.item, image, self.detector.prepare(image))


@dataclass(frozen=True)
class _Run:
    """Runs the network on one batch."""

    batch: Sequence[_Ready]
    detector: Detector
    threshold: Threshold

    def __call__(self) -> list[Detections]:
        found = self.detector.detect_prepared([ready.prepared for ready in self.batch], threshold=self.threshold)
        return [
            result.with_source(
                ready.item.input_path, ready.item.page_index, image=ready.image, output_name=ready.item.output_name
            )
            for result, ready in zip(found, self.batch, strict=True)
        ]


def _usable(loaded: Iterable[_Ready | _Failure], failures: list[_Failure]) -> Iterator[_Ready]:
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


def _in_order(pool: ThreadPoolExecutor, tasks: Iterable[Callable[[], T]], ahead: int) -> Iterator[T]:
    """The results of `tasks`, in order; up to `ahead` later ones are under way, which bounds the memory they take."""
    pending: deque[Future[T]] = deque()
    for task in tasks:
        pending.append(pool.submit(task))
        if len(pending) > ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """A thread pool that drops waiting work when its `with` block ends early."""
    pool = ThreadPoolExecutor(count, thread_name_prefix="eyas")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
