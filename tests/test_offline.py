"""Nothing in eyas opens a connection that it was not asked for: not eyas, not a library, not a native thread of one.

Each piece of work runs in a process of its own under two guards.  An audit hook of Python notes every look-up of a
host and every use of a network socket, and refuses it.  A filter in the Linux kernel kills a process, or a child of it,
that makes an internet socket in any other way, as the native telemetry of a runtime would.  Sockets between processes
of this machine (AF_UNIX) stay allowed: a loader of training batches uses them.
"""

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fakes import manifest, write_onnx

from eyas.bundle import Bundle
from eyas.data.synthetic import SCENE_CLASSES, write_dataset

GUARD = """
import ctypes, os, socket, struct, sys, traceback

def note(event, args):
    if not event.startswith("socket.") or event in ("socket.gethostname", "socket.sethostname"):
        return
    family = args[1] if event == "socket.__new__" else getattr(args[0], "family", None)
    if family == socket.AF_UNIX:
        return
    with open(os.environ["ATTEMPTS"], "a") as file:
        file.write(f"{event} {args[1:] if family else args}\\n" + "".join(traceback.format_stack()))
    raise PermissionError(f"{event}: this process may not use the network")

def kill_on_internet_sockets():
    # Classic BPF over struct seccomp_data: number of the call at 0, low half of its first argument at 16.
    number = {"x86_64": 41, "aarch64": 198}.get(os.uname().machine)
    load, equal, leave = 0x20, 0x15, 0x06
    kill, allow = 0x80000000, 0x7FFF0000
    code = [(load, 0, 0, 0), (equal, 0, 3, number), (load, 0, 0, 16),
            (equal, 2, 0, socket.AF_INET), (equal, 1, 0, socket.AF_INET6), (leave, 0, 0, allow), (leave, 0, 0, kill)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in code))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(program)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, header, 0, 0):  # no new privileges; seccomp filter
        raise OSError(ctypes.get_errno(), "the kernel refuses a seccomp filter")

if os.environ["KERNEL_GUARD"]:
    kill_on_internet_sockets()
sys.addaudithook(note)
"""

KERNEL_GUARD = sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64")


MODEL = "PP-YOLOE_plus_SOD-XS-P2"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundle")
    network = folder / "tiny.onnx"
    write_onnx(network, (64, 96), names=SCENE_CLASSES)
    return Bundle.create(folder / "bundle", manifest((64, 96), names=SCENE_CLASSES), {"model.onnx": network})


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("scenes"), train=4, val=2, seed=5, size_hw=(64, 96))


def guarded(folder: Path, code: str, **environment: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """Run `code` under the guards: the finished process, and the attempts that were noted."""
    attempts = folder / "attempts.txt"
    added = {"ATTEMPTS": str(attempts), "KERNEL_GUARD": "1" if KERNEL_GUARD else "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", GUARD + code]
    kept = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, env={**kept, **added, **environment}
    )
    return done, attempts.read_text() if attempts.exists() else ""


def check_silent(folder: Path, code: str) -> str:
    """Run `code`, which must succeed without an attempt; its stdout."""
    done, attempts = guarded(folder, code)
    assert attempts == ""
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def cli(*arguments: str) -> str:
    return f"import sys; sys.argv = {['eyas', *arguments]!r}\nfrom eyas.cli import main\nmain()\n"


def test_importing_and_listing(tmp_path: Path) -> None:
    assert check_silent(tmp_path, "import eyas\nfrom eyas import create_model, create_pipeline, Detections") == ""
    assert "SOD-XS-thermal" in check_silent(tmp_path, cli("models"))


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_predicting_in_python(tmp_path: Path, bundle: Bundle, scenes: Path, engine: str) -> None:
    code = f"""
import numpy
from eyas import create_model
model = create_model(model_dir={str(bundle.path)!r}, engine={engine!r}, threshold=0.01)
for given in (numpy.zeros((40, 50, 3), numpy.uint8), {str(scenes / "images" / "val_00000.png")!r}):
    for result in model.predict(given):
        result.save_all("out")
        print(type(result).__name__)
"""
    assert check_silent(tmp_path, code).split() == ["Detections"] * 2
    assert (tmp_path / "out" / "val_00000_res.json").is_file()


def test_predicting_on_the_command_line(tmp_path: Path, bundle: Bundle, scenes: Path) -> None:
    pictures = str(scenes / "images")
    out = check_silent(tmp_path, cli("predict", pictures, "--model_dir", str(bundle.path), "--format", "jsonl"))
    assert len(out.splitlines()) == 6


def test_evaluating(tmp_path: Path, bundle: Bundle, scenes: Path) -> None:
    options = ["-o", f"Global.dataset_dir={scenes}", "-o", f"Evaluate.weight_path={bundle.path}"]
    options += ["-o", "Global.output=out", "-o", "Global.device=cpu"]
    assert "Average Precision" in check_silent(tmp_path, cli("evaluate", "-c", MODEL, *options))
    assert (tmp_path / "out" / "evaluate_result.json").is_file()


def test_training_and_exporting(tmp_path: Path, scenes: Path) -> None:
    """One epoch in a loader process of its own, the validation, the bundle, and the bundle once more by `export`."""
    small = {
        "epochs_iters": 1, "input_size": [64, 96], "batch_size": 4, "workers": 1, "warmup_steps": 1, "amp": "OFF",
        "augment.crop_size": [64, 64],
    }  # fmt: skip
    options = [f"Global.dataset_dir={scenes}", "Global.output=out", "Global.device=cpu"]
    options += [f"Train.{key}={value}" for key, value in small.items()]
    check_silent(tmp_path, cli("train", "-c", MODEL, *(part for option in options for part in ("-o", option))))
    assert (tmp_path / "out" / "best_model" / "inference" / "bundle.json").is_file()
    options = ["-o", "Export.weight_path=out/best_model", "-o", "Global.output=again", "-o", "Global.device=cpu"]
    check_silent(tmp_path, cli("export", "-c", MODEL, *options))
    assert (tmp_path / "again" / "bundle.json").is_file()


def test_offline_mode_refuses_a_url(tmp_path: Path, bundle: Bundle) -> None:
    command = cli("predict", "http://pictures.example/a.png", "--model_dir", str(bundle.path))
    done, attempts = guarded(tmp_path, command, EYAS_OFFLINE="1")
    assert attempts == ""
    assert done.returncode == 1, done.stderr[-3000:]
    assert "http://pictures.example/a.png: EYAS_OFFLINE is set, so nothing is fetched" in done.stderr


def test_a_url_is_asked_for_and_noticed(tmp_path: Path, bundle: Bundle) -> None:
    """The guard sees the one connection that eyas makes: to the host of a URL that the user passed."""
    command = cli("predict", "http://pictures.example/a.png", "--model_dir", str(bundle.path))
    done, attempts = guarded(
        tmp_path, command, EYAS_OFFLINE="", http_proxy="", HTTP_PROXY="", ALL_PROXY="", all_proxy=""
    )
    assert done.returncode == 1, done.stderr[-3000:]
    assert "socket.getaddrinfo ('pictures.example', 80" in attempts


@pytest.mark.skipif(not KERNEL_GUARD, reason="the filter is written for Linux on x86_64 and aarch64")
@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6"])
def test_the_kernel_stops_what_python_does_not_see(tmp_path: Path, family: str) -> None:
    done, attempts = guarded(tmp_path, f"ctypes.CDLL(None).socket(int(socket.{family}), int(socket.SOCK_STREAM), 0)")
    assert (done.returncode, attempts) == (-signal.SIGSYS, "")
