"""Runtimes that execute an exported network."""

import importlib
import os
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from eyas.backends.device import Device, parse_device
from eyas.bundle import Bundle
from eyas.errors import BackendError, ConfigError, did_you_mean


class Backend(Protocol):
    """A loaded network."""

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """The network's outputs by name.  Threads may share it; the arrays belong to the caller."""
        ...


class Opener(Protocol):
    """What a backend class is called with."""

    def __call__(self, bundle: Bundle, device: Device, threads: int | None) -> Backend: ...


BACKENDS = {
    "openvino": "eyas.backends.openvino:OpenVINOBackend",
    "onnxruntime": "eyas.backends.onnx:OnnxBackend",
}


def open_backend(
    bundle: Bundle, *, device: str | None = None, engine: str | None = None, threads: int | None = None
) -> Backend:
    """The network of `bundle`, loaded on one device.

    `engine` None is OpenVINO on a CPU and ONNX Runtime elsewhere.  `threads` None is EYAS_CPU_THREADS, OMP_NUM_THREADS
    or the runtime's own choice.  Raises ConfigError for a wrong argument and BackendError for what is not there.
    """
    chosen = parse_device(device)
    if len(chosen.ids) > 1:
        raise BackendError(f"Device {chosen} names {len(chosen.ids)} devices, and only one can be used here.")
    return open_backends(bundle, chosen, engine=engine, threads=threads)[0]


def open_backends(
    bundle: Bundle, device: Device, *, engine: str | None = None, threads: int | None = None
) -> tuple[Backend, ...]:
    """`open_backend` for each id of `device`: one loaded network a device."""
    name = engine or ("openvino" if device.kind == "cpu" else "onnxruntime")
    if name not in BACKENDS:
        raise ConfigError(f"Engine {name!r} is unknown. {did_you_mean(name, BACKENDS)}")
    module, _, attribute = BACKENDS[name].partition(":")
    opener: Opener = getattr(importlib.import_module(module), attribute)
    count = _thread_count(threads)
    return tuple(opener(bundle, one, count) for one in device.split())


def _thread_count(threads: int | None) -> int | None:
    """Threads for a CPU: the argument, else EYAS_CPU_THREADS, else OMP_NUM_THREADS, else None."""
    if threads is not None:
        if threads < 1:
            raise ConfigError(f"threads must be 1 or more, got {threads}.")
        return threads
    for variable in ("EYAS_CPU_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(variable, "").split(",")[0].strip()  # OpenMP allows a list, one number a nesting level
        if value:
            if not value.isdecimal() or int(value) < 1:
                raise ConfigError(f"The environment variable {variable} must be a number, 1 or more, got {value!r}.")
            return int(value)
    return None
