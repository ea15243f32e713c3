"""Imports of the runtimes without the reports that they send home.

Both report by default and from their import on, so each is imported here and nowhere else.
"""

import os
import sys
from typing import Any

from eyas.errors import missing_extra


def import_openvino() -> Any:
    """The module `openvino`.  Raises BackendError where it is not installed."""
    # Its telemetry is a package of its own, which sends on import; OpenVINO goes without it where it is absent.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        if error.name != "openvino":
            raise
        raise missing_extra("openvino", "openvino") from error
    return openvino


def import_onnxruntime() -> Any:
    """The module `onnxruntime`.  Raises BackendError where it is not installed."""
    # Since 1.29 it keeps an id of the device and sends events on Linux and macOS too, unless this is set by its import.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        if error.name != "onnxruntime":
            raise
        raise missing_extra("onnxruntime", "onnxruntime") from error
    onnxruntime.disable_telemetry_events()  # Windows
    return onnxruntime
