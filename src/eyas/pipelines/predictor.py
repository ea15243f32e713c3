"""Prediction over any input, with a detector or a feature model, on one device or several."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, Protocol

from eyas.backends import Backend, open_backends
from eyas.backends.device import parse_device
from eyas.bundle import AnyManifest, Bundle, EmbeddingManifest, Manifest
from eyas.compat import rename_keywords
from eyas.errors import ConfigError
from eyas.inputs import iter_inputs
from eyas.pipelines.detector import Detector, Threshold
from eyas.pipelines.embedder import Embedder
from eyas.pipelines.stream import R, Work, stream


class Model(Protocol[R]):
    """A network with all that is before and after it: a `Detector` or an `Embedder`."""

    @property
    def manifest(self) -> AnyManifest:
        """What the network is."""
        ...

    def work(self, threshold: Threshold) -> Work[Any, R]:
        """What is done with pictures, at that threshold.  Raises ConfigError for a wrong one."""
        ...


OpenModels = Callable[[str | None], Sequence[Model[R]]]
"""From a device's text to one model for each device that it names."""


class Predictor(Generic[R]):
    """What `create_model` and `create_pipeline` return: `predict` yields one result for each picture.

    That is a `Detections` of a detector, a `Features` of a feature model.
    """

    def __init__(
        self,
        open_models: OpenModels[R],
        *,
        device: str | None = None,
        batch_size: int = 1,
        threshold: Threshold = None,
    ) -> None:
        """Open the models for `device`; `batch_size` and `threshold` are the defaults of `predict`."""
        self._open = open_models
        self._models = tuple(open_models(device))
        self._batch_size = checked_batch_size(batch_size)
        self._threshold = threshold
        self._models[0].work(threshold)  # a wrong one is told now

    @staticmethod
    def open(
        bundle: Bundle,
        *,
        device: str | None = None,
        engine: str | None = None,
        threads: int | None = None,
        batch_size: int = 1,
        threshold: Threshold = None,
    ) -> "Predictor[Any]":
        """The predictor of a bundle: one loaded network for each device that `device` names ("gpu:0,1": two).

        The bundle's task says what its results are.  Raises ConfigError for a `threshold` that does not suit the model.
        """

        def open_models(name: str | None) -> list[Model[Any]]:
            backends = open_backends(bundle, parse_device(name), engine=engine, threads=threads)
            return [_model(bundle.manifest, backend) for backend in backends]

        return Predictor(open_models, device=device, batch_size=batch_size, threshold=threshold)

    @property
    def names(self) -> tuple[str, ...]:
        """The class names; none for a feature model."""
        manifest = self._models[0].manifest
        return manifest.names if isinstance(manifest, Manifest) else ()

    def predict(
        self,
        input: object = None,
        batch_size: int | None = None,
        threshold: Threshold = None,
        device: str | None = None,
        **old: object,
    ) -> Iterator[R]:
        """The result of each picture that `input` holds (see `eyas.inputs`), in its order, one by one.

        `batch_size` pictures go through the network together; `threshold`, for a detector alone, is one number or one a
        class, by id or name; `device` opens the network there for this call.  Wrong arguments raise ConfigError at
        once.  `old` are PaddleX's former names of arguments (`x` for `input`).

        A picture that cannot be used is logged, and the others go on; after the last one an InputError names all that
        were left out.  A single picture that cannot be used raises its own InputError.
        """
        input = rename_keywords("predict", old, {"input": input})["input"]
        if input is None:
            raise ConfigError(
                "predict() needs an input: a picture, a folder, a PDF file, a URL, an array, or a list of them."
            )
        size = self._batch_size if batch_size is None else checked_batch_size(batch_size)
        limits = self._threshold if threshold is None else threshold
        self._models[0].work(limits)  # before a device is opened for nothing
        models = self._models if device is None else self._open(device)
        return stream(iter_inputs(input), [model.work(limits) for model in models], size)

    __call__ = predict


def checked_batch_size(value: int) -> int:
    """`value`; raises ConfigError where it is no whole number of 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"batch_size must be a whole number, 1 or more, got {value!r}.")
    return value


def _model(manifest: AnyManifest, backend: Backend) -> Model[Any]:
    kind = Embedder if isinstance(manifest, EmbeddingManifest) else Detector
    return kind(manifest, backend)
