"""OpenVINO on a CPU."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.backends.checks import check_network, checked_input
from eyas.backends.device import Device
from eyas.backends.quiet import import_openvino
from eyas.bundle import Bundle
from eyas.errors import BackendError, ModelError

IR_NAME = "model.xml"


class OpenVINOBackend:
    """A network in OpenVINO, compiled for one image and run once for each image of a batch.

    Measured with PP-YOLOE_plus_SOD-S at 640 x 640 on two cores (OpenVINO 2026.4): 138 ms an image like this, 144 to 146
    ms in a batch of four or compiled for any batch size, so batches gain nothing on a CPU.  One compiled network starts
    sooner and takes less memory than one for each batch size, and a result does not depend on the batch it came in.
    """

    def __init__(self, bundle: Bundle, device: Device, threads: int | None = None) -> None:
        """Load the network of `bundle`; `threads` None leaves their number to OpenVINO.

        Raises BackendError for a device other than the CPU, and ModelError when the network does not fit.
        """
        if device.kind != "cpu":
            raise BackendError(
                f"OpenVINO runs on the CPU here, not on {device}. Use engine onnxruntime for that device."
            )
        self._manifest = bundle.manifest
        openvino = import_openvino()
        path = bundle.path / IR_NAME if IR_NAME in bundle.manifest.files else bundle.network
        core = openvino.Core()
        try:
            model = core.read_model(path)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot read {path}: {error}") from error
        shapes = {port.any_name: _shape(port) for port in model.inputs}
        names = [name for port in model.outputs for name in port.names]
        check_network(self._manifest, shapes, names, str(path))
        model.reshape([1, 3, *self._manifest.preprocess.size_hw])
        # OpenVINO computes in bfloat16 where the processor can, which moves boxes by pixels; see tests.
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            self._compiled = core.compile_model(model, "CPU", options)
        except RuntimeError as error:
            raise BackendError(f"OpenVINO cannot compile {path}: {error}") from error

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """The outputs by name.  Raises BackendError where the input does not fit or OpenVINO fails."""
        images = checked_input(self._manifest, inputs)
        found = [self._run_one(image[None]) for image in images]
        if len(found) == 1:
            return found[0]
        return {name: np.concatenate([one[name] for one in found]) for name in self._manifest.outputs}

    def _run_one(self, image: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        # A request of its own for each call: a shared one gives wrong results when threads meet in it.
        try:
            results = self._compiled.create_infer_request().infer({0: image}, share_inputs=True, share_outputs=False)
        except RuntimeError as error:
            raise BackendError(f"OpenVINO failed while running the network: {error}") from error
        return {name: results[name] for name in self._manifest.outputs}


def _shape(port: Any) -> list[int | str]:
    return [side.get_length() if side.is_static else "?" for side in port.partial_shape]
