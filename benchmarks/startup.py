"""How long a fresh process takes, and how much memory: `import eyas`, `eyas --help`, `eyas predict PICTURE`.

Bars: `import eyas` 0.2 s, `eyas --help` 0.3 s, `eyas predict` on one picture with the built-in bundle 2 s and 400 MB of
resident memory at its peak.  Seconds run from the start of the process to its end, Python's own start included.  With
--install also what `pip install .` takes and adds to a new virtual environment: bars 90 s, 500 MB, no torch; packages
come from wherever pip finds them, its cache included.

    python benchmarks/startup.py [--rounds 7] [--bundle FOLDER] [--install] [--json FILE]
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
from common import SCENE_SEED, machine, options, report, summary

from eyas.data.synthetic import scene

ROOT = Path(__file__).resolve().parent.parent
EYAS = str(Path(sysconfig.get_path("scripts")) / "eyas")
MEGABYTE = 1e6
# What getrusage counts in: bytes on macOS, kibibytes elsewhere.
RSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Case:
    """A command, and the most seconds and megabytes that it may take."""

    name: str
    command: Sequence[str]
    bar_s: float | None = None
    bar_mb: float | None = None


def run(command: Sequence[str]) -> tuple[float, float]:
    """Seconds and peak resident megabytes of one process.  Raises RuntimeError where it fails.

    The peak is at least that of this process, in whose memory the other one starts on Linux.
    """
    with tempfile.TemporaryFile() as messages:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=messages)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)  # else Popen would wait for it once more
        if process.returncode:
            messages.seek(0)
            raise RuntimeError(f"{' '.join(command)} failed: {messages.read().decode(errors='replace')}")
    return seconds, usage.ru_maxrss * RSS_UNIT / MEGABYTE


def cases(picture: Path, bundle: Path | None) -> list[Case]:
    """What is started, in this order in every round."""
    model = [] if bundle is None else ["--model_dir", str(bundle)]
    python = [sys.executable, "-c"]
    return [
        Case("python -c pass", [*python, "pass"]),
        Case("import eyas", [*python, "import eyas"], bar_s=0.2),
        Case("from eyas import create_pipeline", [*python, "from eyas import create_pipeline"]),
        Case("eyas --help", [EYAS, "--help"], bar_s=0.3),
        Case("eyas predict PICTURE", [EYAS, "predict", str(picture), *model], bar_s=2.0, bar_mb=400.0),
    ]


def measure(rounds: int, bundle: Path | None) -> list[dict[str, object]]:
    """A row for each case."""
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "scene.png"
        picture.write_bytes(cv2.imencode(".png", scene(SCENE_SEED).image[..., ::-1])[1].tobytes())
        started = cases(picture, bundle)
        for case in started:  # reads the files into the system's cache, writes Python's
            run(case.command)
        seen = [[run(case.command) for case in started] for _ in range(rounds)]
    rows: list[dict[str, object]] = []
    for case, values in zip(started, zip(*seen, strict=True), strict=True):
        seconds = summary([value[0] for value in values])
        rows.append({
            "command": case.name, "median s": seconds["median"], "best s": seconds["best"], "bar s": case.bar_s,
            "MB": max(value[1] for value in values) if case.bar_mb else None, "bar MB": case.bar_mb, "MB of": "memory",
        })  # fmt: skip
    return rows


def install() -> dict[str, object]:
    """A row for `pip install .` into a new virtual environment.  Raises RuntimeError where that brings torch."""
    with tempfile.TemporaryDirectory() as folder:
        venv = Path(folder) / "venv"
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        python = venv / ("Scripts" if os.name == "nt" else "bin") / "python"
        command = [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-c",
            "constraints.txt",
            ".",
        ]
        empty = size_of(venv)
        start = time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True)
        seconds = time.perf_counter() - start
        size = size_of(venv) - empty
        if subprocess.run([python, "-c", "import torch"], stderr=subprocess.DEVNULL).returncode == 0:
            raise RuntimeError("pip install . brought torch")
    return {
        "command": "pip install . (without torch)", "median s": seconds, "best s": seconds, "bar s": 90.0,
        "MB": size / MEGABYTE, "bar MB": 500.0, "MB of": "disk",
    }  # fmt: skip


def size_of(folder: Path) -> int:
    """Bytes of the files below `folder`, links not followed."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


def main() -> None:
    """Measure and print."""
    parser = options(__doc__ or "", rounds=7)
    parser.add_argument("--bundle", type=Path, metavar="FOLDER", help="another bundle than the built-in one")
    parser.add_argument("--install", action="store_true", help="also time a fresh pip install")
    asked = parser.parse_args()
    rows = measure(asked.rounds, asked.bundle)
    if asked.install:
        rows.append(install())
    report("A fresh process", rows, machine("eyas", "numpy", "openvino"), asked.json)


if __name__ == "__main__":
    main()
