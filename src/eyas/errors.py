"""The exception tree of eyas.

EyasError
├── ConfigError    a configuration file, key, override or argument is wrong      (exit code 2)
├── DatasetError   annotations or images of a dataset are wrong
├── InputError     an image, folder, URL or array to predict on cannot be used
├── ModelError     weights, a bundle or a network do not fit
├── GalleryError   a gallery of reference pictures cannot be used
└── BackendError   a device or an inference runtime is missing or failed

A message has three parts: what was wrong and where, what was expected, what came or how to mend it.
"""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

TRAIN_PACKAGES = {"torch", "onnx", "onnxruntime", "safetensors", "hotcoco"}


class EyasError(Exception):
    """Any failure that eyas explains in words; `exit_code` is what the command line returns for it."""

    exit_code = 1


class ConfigError(EyasError):
    """A configuration, a key, an override or an argument is wrong."""

    exit_code = 2


class DatasetError(EyasError):
    """Annotations or images of a dataset are wrong."""


class InputError(EyasError):
    """Something to predict on cannot be used."""


class ModelError(EyasError):
    """Weights, a bundle or a network do not fit."""


class GalleryError(EyasError):
    """A gallery of reference pictures cannot be used."""


class BackendError(EyasError):
    """A device or an inference runtime is missing or failed."""


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """A sentence that names the nearest of `known`, or all of them when none is near."""
    names = sorted(str(item) for item in known)
    lowered = {item.lower(): item for item in names}
    near = difflib.get_close_matches(str(name).lower(), list(lowered), n=1, cutoff=0.55)
    if near:
        return f"Did you mean {lowered[near[0]]!r}?"
    if len(names) > 20:
        names = [*names[:20], "…"]
    return f"Known: {', '.join(names)}."


def missing_extra(package: str, extra: str) -> BackendError:
    """The error to raise when an optional package is not installed: it holds the pip line that brings it."""
    return BackendError(f"{package} is not installed, and this needs it. Install it with: pip install 'eyas[{extra}]'")


@contextmanager
def needs_train() -> Iterator[None]:
    """The import of a training package that fails inside becomes the error of `missing_extra`."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in TRAIN_PACKAGES:
            raise
        raise missing_extra(package, "train") from error
