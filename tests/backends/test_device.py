"""The grammar of device names, and which devices are there."""

import pytest

from eyas.backends import device as module
from eyas.backends.device import Device, gpu_count, parse_device
from eyas.errors import BackendError, ConfigError


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "gpu_count", lambda: 2)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "gpu_count", lambda: 0)


@pytest.mark.parametrize(
    ("text", "kind", "ids"),
    [
        ("cpu", "cpu", ()),
        ("CPU", "cpu", ()),
        (" cpu ", "cpu", ()),
        ("gpu", "gpu", ()),
        ("GPU:1", "gpu", (1,)),
        ("cuda:0", "gpu", (0,)),
        ("gpu:1,0", "gpu", (1, 0)),
    ],
)
@pytest.mark.usefixtures("two_gpus")
def test_grammar(text: str, kind: str, ids: tuple[int, ...]) -> None:
    assert parse_device(text) == Device(kind, ids)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cpu:0", "cpu takes no id"),
        ("cpu:", "'' is no list of ids"),
        ("gpu:", "'' is no list of ids"),
        ("gpu:0,", "'0,' is no list of ids"),
        ("gpu:-1", "'-1' is no list of ids"),
        ("gpu:0, 1", "'0, 1' is no list of ids"),
        ("gpu:x", "'x' is no list of ids"),
        ("gpu:1,1", "names an id twice"),
        ("", "is unknown"),
        ("cpuu", r"Device 'cpuu' is unknown\. Expected type\[:id.* Did you mean 'cpu'\?"),
    ],
)
@pytest.mark.usefixtures("two_gpus")
def test_what_is_no_device_is_a_wrong_argument(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_device(text)


@pytest.mark.parametrize("text", ["npu", "NPU:0", "xpu:0,1", "mlu", "dcu", "gcu", "iluvatar_gpu", "metax_gpu:0"])
def test_devices_eyas_never_ran_on_are_refused_with_those_it_knows(text: str) -> None:
    with pytest.raises(BackendError, match=r"not supported by this build of eyas\. Use cpu, gpu or mps\."):
        parse_device(text)


@pytest.mark.usefixtures("no_gpu")
def test_a_gpu_that_is_not_there_is_never_replaced() -> None:
    with pytest.raises(BackendError, match=r"this machine has no GPU 0\. It has none"):
        parse_device("gpu")


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_id_that_is_not_there_is_named() -> None:
    with pytest.raises(BackendError, match=r"Device gpu:0,2: this machine has no GPU 2\. It has 2, numbered from 0"):
        parse_device("gpu:0,2")


def test_mps_needs_an_apple_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.sys, "platform", "linux")
    with pytest.raises(BackendError, match="no Mac with an Apple processor"):
        parse_device("mps")
    monkeypatch.setattr(module.sys, "platform", "darwin")
    monkeypatch.setattr(module.platform, "machine", lambda: "arm64")
    assert parse_device("mps") == Device("mps")


@pytest.mark.parametrize("text", [None, "auto", "Auto"])
def test_auto_takes_a_gpu_only_when_the_driver_and_the_runtime_have_one(
    monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    cuda, plain = ("CUDAExecutionProvider", "CPUExecutionProvider"), ("CPUExecutionProvider",)
    found = {}
    for count, providers in ((0, cuda), (1, plain), (1, cuda)):
        monkeypatch.setattr(module, "gpu_count", lambda count=count: count)
        monkeypatch.setattr(module, "onnx_providers", lambda providers=providers: providers)
        found[count, providers] = str(parse_device(text))
    assert found == {(0, cuda): "cpu", (1, plain): "cpu", (1, cuda): "gpu:0"}


def test_split_gives_one_device_an_id() -> None:
    assert Device("gpu", (2, 0)).split() == (Device("gpu", (2,)), Device("gpu", (0,)))
    assert Device("cpu").split() == (Device("cpu"),)


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(module.ctypes, "CDLL", absent)
    assert gpu_count() == 0
