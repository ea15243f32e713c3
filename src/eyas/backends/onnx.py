"""ONNX Runtime on a CPU, an NVIDIA GPU or an Apple GPU."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.backends.checks import check_network, checked_input
from eyas.backends.device import Device, Kind, onnx_providers
from eyas.backends.quiet import import_onnxruntime
from eyas.bundle import Bundle
from eyas.errors import BackendError, ModelError

PROVIDERS: dict[Kind, str] = {
    "cpu": "CPUExecutionProvider",
    "gpu": "CUDAExecutionProvider",
    "mps": "CoreMLExecutionProvider",
}


class OnnxBackend:
    """A network in ONNX Runtime: one session, which threads may share."""

    def __init__(self, bundle: Bundle, device: Device, threads: int | None = None) -> None:
        """Load the network of `bundle` on `device`; `threads` None leaves their number to ONNX Runtime.

        Raises BackendError when the installed ONNX Runtime cannot use the device, and ModelError when the network does
        not fit.
        """
        onnxruntime = import_onnxruntime()
        _check_provider(device)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors; what matters below them is checked here
        if threads is not None:
            options.intra_op_num_threads = threads
        self._manifest = bundle.manifest
        path = os.fspath(bundle.network)
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=[_provider(device)])
        except Exception as error:  # its exceptions have no base class of their own
            raise ModelError(f"ONNX Runtime cannot load {path} on {device}: {error}") from error
        if self._session.get_providers()[0] != PROVIDERS[device.kind]:
            raise BackendError(
                f"ONNX Runtime could not start on {device} and would use the CPU instead. Its CUDA and cuDNN libraries "
                "are probably missing or of another version. Mend that, or use device cpu."
            )
        shapes = {item.name: item.shape for item in self._session.get_inputs()}
        check_network(self._manifest, shapes, [item.name for item in self._session.get_outputs()], path)

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """The outputs by name.  Raises BackendError where the input does not fit or ONNX Runtime fails."""
        images = checked_input(self._manifest, inputs)
        names = list(self._manifest.outputs)
        try:
            arrays = self._session.run(names, {self._manifest.input_name: images})
        except Exception as error:  # its exceptions have no base class of their own
            raise BackendError(f"ONNX Runtime failed while running the network: {error}") from error
        return dict(zip(names, arrays, strict=True))


def _check_provider(device: Device) -> None:
    if PROVIDERS[device.kind] not in onnx_providers():
        hint = " For an NVIDIA GPU install onnxruntime-gpu in place of onnxruntime." if device.kind == "gpu" else ""
        raise BackendError(
            f"The installed ONNX Runtime cannot use {device}: it offers {', '.join(onnx_providers())}.{hint}"
        )


def _provider(device: Device) -> Any:
    name = PROVIDERS[device.kind]
    if device.kind != "gpu":
        return name
    # TF32 keeps ten bits of the mantissa; without it a GPU gives what a CPU gives.
    return name, {"device_id": str(device.ids[0] if device.ids else 0), "use_tf32": "0"}
