"""Every runtime on a tiny real network: values, threads, ownership, precision, messages, silence on the net."""

import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.fakes import manifest, tiny_bundle

from eyas.backends import BACKENDS, Backend, open_backend, open_backends
from eyas.backends import device as device_module
from eyas.backends.device import Device
from eyas.backends.quiet import import_openvino
from eyas.bundle import Bundle
from eyas.errors import BackendError, ConfigError, ModelError
from eyas.vision.preprocess import Preprocess

ENGINES = tuple(BACKENDS)
SIZE = (64, 96)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("tiny"), SIZE)


@pytest.fixture(scope="module", params=ENGINES)
def backend(request: pytest.FixtureRequest, bundle: Bundle) -> Backend:
    return open_backend(bundle, device="cpu", engine=request.param, threads=1)


def images(seed: int, count: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, *SIZE)).astype(np.float32)


def expected_outputs(bundle: Bundle, batch: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    """The tiny network in float64, from the weights in its file."""
    import onnx
    from onnx import numpy_helper

    weights = {w.name: numpy_helper.to_array(w) for w in onnx.load(bundle.network).graph.initializer}
    levels = []
    for stride in bundle.manifest.head.strides:
        rows, columns = SIZE[0] // stride, SIZE[1] // stride
        patches = (batch / 255.0).astype(np.float64).reshape(len(batch), 3, rows, stride, columns, stride)
        found = np.einsum("bcryxs,ocys->borx", patches, weights[f"kernel{stride}"].astype(np.float64))
        levels.append(found.reshape(*found.shape[:2], -1))
    maps = np.concatenate(levels, axis=2)
    classes = len(bundle.manifest.names)
    return {
        "scores": 1 / (1 + np.exp(-maps[:, :classes])),
        "distances": np.log1p(np.exp(maps[:, classes:])).transpose(0, 2, 1),
    }


@pytest.mark.parametrize("count", [1, 3])
def test_values_are_those_of_float32(backend: Backend, bundle: Bundle, count: int) -> None:
    """1e-5 tells float32 (about 1e-6 here) from bfloat16 and float16 (above 1e-3)."""
    batch = images(7, count)
    outputs = backend.run({"image": batch})
    assert list(outputs) == ["scores", "distances"]
    for name, expected in expected_outputs(bundle, batch).items():
        assert outputs[name].dtype == np.float32
        np.testing.assert_allclose(outputs[name], expected, rtol=1e-5, atol=1e-5)


def test_a_result_does_not_depend_on_its_batch(backend: Backend) -> None:
    batch = images(3, 4)
    together = backend.run({"image": batch})
    for number in range(4):
        alone = backend.run({"image": batch[number : number + 1]})
        for name, array in alone.items():
            np.testing.assert_allclose(array[0], together[name][number], rtol=1e-6, atol=1e-6)


def test_threads_may_share_a_backend(backend: Backend) -> None:
    batches = [images(seed, 1 + seed % 2) for seed in range(20)]
    serial = [backend.run({"image": batch}) for batch in batches]

    def work(_: int) -> list[dict[str, NDArray[np.float32]]]:
        return [backend.run({"image": batch}) for batch in batches]

    with ThreadPoolExecutor(8) as pool:
        for results in pool.map(work, range(8)):
            for got, expected in zip(results, serial, strict=True):
                for name in expected:
                    np.testing.assert_array_equal(got[name], expected[name])


def test_returned_arrays_belong_to_the_caller(backend: Backend) -> None:
    batch = images(1)
    first = backend.run({"image": batch})
    copies = {name: array.copy() for name, array in first.items()}
    backend.run({"image": images(2)})
    batch[:] = 0
    for name, array in first.items():
        np.testing.assert_array_equal(array, copies[name])
        array[:] = 5
    again = backend.run({"image": images(1)})
    np.testing.assert_array_equal(again["scores"], copies["scores"])


def test_a_strided_input_is_read_as_it_looks(backend: Backend) -> None:
    batch = images(5)
    flipped = np.ascontiguousarray(batch[..., ::-1])[..., ::-1]
    assert not flipped.flags.c_contiguous
    np.testing.assert_array_equal(backend.run({"image": flipped})["scores"], backend.run({"image": batch})["scores"])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"x": images(0)}, r"The network's input is 'image', got \['x'\]"),
        ({"image": images(0)[:, :, :32]}, r"float32 \[B, 3, 64, 96\], got float32 \[1, 3, 32, 96\]"),
        ({"image": images(0)[0]}, r"float32 \[B, 3, 64, 96\], got float32 \[3, 64, 96\]"),
        ({"image": images(0).astype(np.float64)}, r"float32 \[B, 3, 64, 96\], got float64 \[1, 3, 64, 96\]"),
        ({"image": images(0, 0)}, r"got float32 \[0, 3, 64, 96\]"),
    ],
)
def test_wrong_inputs_are_told_with_what_was_expected(
    backend: Backend, inputs: Mapping[str, NDArray[np.float32]], message: str
) -> None:
    with pytest.raises(BackendError, match=message):
        backend.run(inputs)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_name": "x"}, r"the manifest's input is 'x', the network's inputs are \['image'\]"),
        ({"preprocess": Preprocess((64, 64))}, r"'image' is \[B, 3, 64, 64\], the network's is \[\?, 3, 64, 96\]"),
        ({"outputs": ("scores", "boxes")}, r"output 'boxes' is missing, the network gives \['scores', 'distances'\]"),
    ],
)
def test_a_network_that_does_not_fit_its_manifest(
    bundle: Bundle, engine: str, changes: dict[str, object], message: str
) -> None:
    wrong = Bundle(bundle.path, manifest(**{"size_hw": SIZE, **changes}))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=message):
        open_backend(wrong, device="cpu", engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_broken_network_is_named(tmp_path: Path, engine: str) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a network")
    bundle = Bundle.create(tmp_path / "bundle", manifest(), {"model.onnx": broken})
    with pytest.raises(ModelError, match=r"cannot (read|load) .*bundle/model\.onnx"):
        open_backend(bundle, device="cpu", engine=engine)


def test_openvino_is_the_engine_of_the_cpu_and_computes_in_float32(bundle: Bundle) -> None:
    backend = open_backend(bundle, device="cpu", threads=1)
    compiled = backend._compiled  # type: ignore[attr-defined]
    assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1


def test_openvino_prefers_its_own_format_where_the_bundle_has_it(tmp_path: Path) -> None:
    openvino = import_openvino()

    plain = tiny_bundle(tmp_path, SIZE)
    openvino.save_model(openvino.Core().read_model(plain.network), tmp_path / "model.xml", compress_to_fp16=False)
    files = {name: tmp_path / name for name in ("model.xml", "model.bin")}
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"")
    bundle = Bundle.create(tmp_path / "two", manifest(SIZE), {"model.onnx": broken, **files})
    got = open_backend(bundle, device="cpu").run({"image": images(4)})
    expected = open_backend(plain, device="cpu").run({"image": images(4)})
    np.testing.assert_allclose(got["scores"], expected["scores"], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("variables", "threads", "expected"),
    [
        ({"EYAS_CPU_THREADS": "2", "OMP_NUM_THREADS": "1"}, None, 2),
        ({"OMP_NUM_THREADS": "1"}, None, 1),
        ({"OMP_NUM_THREADS": "1,4"}, None, 1),
        ({"EYAS_CPU_THREADS": "2"}, 1, 1),
    ],
)
def test_threads(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], threads: int | None, expected: int
) -> None:
    for name in ("EYAS_CPU_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    backend = open_backend(bundle, device="cpu", threads=threads)
    assert backend._compiled.get_property("INFERENCE_NUM_THREADS") == expected  # type: ignore[attr-defined]


def test_wrong_arguments(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"Engine 'openvno' is unknown\. Did you mean 'openvino'\?"):
        open_backend(bundle, device="cpu", engine="openvno")
    with pytest.raises(ConfigError, match=r"threads must be 1 or more, got 0"):
        open_backend(bundle, device="cpu", threads=0)
    monkeypatch.setenv("EYAS_CPU_THREADS", "many")
    with pytest.raises(ConfigError, match=r"EYAS_CPU_THREADS must be a number, 1 or more, got 'many'"):
        open_backend(bundle, device="cpu")


def test_a_runtime_that_cannot_use_the_device_says_so(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "gpu_count", lambda: 2)
    with pytest.raises(BackendError, match=r"cannot use gpu:0: it offers .*CPUExecutionProvider.*onnxruntime-gpu"):
        open_backend(bundle, device="gpu:0")
    with pytest.raises(BackendError, match=r"OpenVINO runs on the CPU here, not on gpu:1"):
        open_backend(bundle, device="gpu:1", engine="openvino")
    with pytest.raises(BackendError, match=r"Device gpu:0,1 names 2 devices, and only one can be used here"):
        open_backend(bundle, device="gpu:0,1")


def test_one_backend_for_each_device(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    class Recorder:
        def __init__(self, bundle: Bundle, device: Device, threads: int | None) -> None:
            opened.append((str(device), threads))

    monkeypatch.setattr("eyas.backends.onnx.OnnxBackend", Recorder)
    assert len(open_backends(bundle, Device("gpu", (3, 1)), threads=2)) == 2
    assert opened == [("gpu:3", 2), ("gpu:1", 2)]


SILENT = """
import os, socket, sys
def note(*args, **kwargs):
    os.write(1, f"tried {args}".encode())  # seen from processes that are forked, too
    raise OSError("no network in this test")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.gethostbyname = note
import numpy as np
from pathlib import Path
from eyas.backends import open_backend
from eyas.bundle import Bundle
backend = open_backend(Bundle.open(Path(sys.argv[1])), device="cpu", engine=sys.argv[2])
backend.run({"image": np.zeros((2, 3, 64, 96), np.float32)})
print("torch" in sys.modules)
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_is_sent_anywhere_and_torch_is_not_needed(bundle: Bundle, tmp_path: Path, engine: str) -> None:
    """In a home of its own, where both runtimes leave an id of the machine before they send anything."""
    silencers = ("CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in silencers}
    environment["HOME"] = str(tmp_path)
    command = [sys.executable, "-c", SILENT, str(bundle.path), engine]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
    assert list(tmp_path.iterdir()) == []
