"""Where to run: `cpu`, `gpu`, `gpu:0`, `gpu:0,1`, `mps`."""

import ctypes
import importlib.util
import platform
import re
import sys
from dataclasses import dataclass
from typing import Literal

from eyas.backends.quiet import import_onnxruntime
from eyas.errors import BackendError, ConfigError, did_you_mean

Kind = Literal["cpu", "gpu", "mps"]

KINDS: dict[str, Kind] = {"cpu": "cpu", "gpu": "gpu", "cuda": "gpu", "mps": "mps"}
FOREIGN = ("npu", "xpu", "mlu", "dcu", "gcu", "iluvatar_gpu", "metax_gpu")
"""Devices that PaddleX names and that eyas has never been run on."""

GRAMMAR = "Expected type[:id[,id…]], for example cpu, gpu:0 or gpu:0,1."


@dataclass(frozen=True)
class Device:
    """A kind of device and the ids of the ones meant; no ids for the CPU, and for a GPU the first one."""

    kind: Kind
    ids: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.kind + (":" + ",".join(map(str, self.ids)) if self.ids else "")

    def split(self) -> tuple["Device", ...]:
        """One device for each id."""
        return tuple(Device(self.kind, (number,)) for number in self.ids) or (self,)


def parse_device(text: str | None) -> Device:
    """The device that `text` names; None or "auto" is a GPU where one can be used for prediction, else the CPU.

    Raises ConfigError for a text that names no device, and BackendError for a device that eyas cannot use or that this
    machine does not have.
    """
    if text is None or text.strip().lower() == "auto":
        return Device("gpu", (0,)) if gpu_usable() else Device("cpu")
    name, colon, tail = text.strip().lower().partition(":")
    if name in FOREIGN:
        raise BackendError(f"Device {text!r}: {name} is not supported by this build of eyas. Use cpu, gpu or mps.")
    if name not in KINDS:
        raise ConfigError(f"Device {text!r} is unknown. {GRAMMAR} {did_you_mean(name, KINDS)}")
    device = Device(KINDS[name], _parse_ids(text, tail) if colon else ())
    if device.kind == "cpu" and colon:
        raise ConfigError(f"Device {text!r}: cpu takes no id. {GRAMMAR}")
    _check_present(device)
    return device


def _parse_ids(text: str, tail: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d+(,\d+)*", tail, re.ASCII):
        raise ConfigError(f"Device {text!r}: {tail!r} is no list of ids. {GRAMMAR}")
    ids = tuple(int(number) for number in tail.split(","))
    if len(set(ids)) != len(ids):
        raise ConfigError(f"Device {text!r} names an id twice. {GRAMMAR}")
    return ids


def _check_present(device: Device) -> None:
    if device.kind == "gpu":
        count = gpu_count()
        absent = [number for number in device.ids or (0,) if number >= count]
        if absent:
            have = f"It has {count}, numbered from 0." if count else "It has none that the CUDA driver shows."
            raise BackendError(f"Device {device}: this machine has no GPU {absent[0]}. {have} Use another, or cpu.")
    if device.kind == "mps" and not (sys.platform == "darwin" and platform.machine() == "arm64"):
        raise BackendError("Device mps: this machine is no Mac with an Apple processor. Use cpu.")


def gpu_usable() -> bool:
    """Whether a prediction can run on a GPU: the driver shows one and ONNX Runtime was built for it."""
    return gpu_count() > 0 and "CUDAExecutionProvider" in onnx_providers()


def gpu_count() -> int:
    """How many NVIDIA GPUs the CUDA driver shows to this process.

    The driver library is asked directly: it costs nothing where there is no driver, and no framework is imported.
    """
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def onnx_providers() -> tuple[str, ...]:
    """What the installed ONNX Runtime can run on; empty where it is not installed."""
    if importlib.util.find_spec("onnxruntime") is None:
        return ()
    return tuple(import_onnxruntime().get_available_providers())
