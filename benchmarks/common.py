"""What the benchmarks share: options, timing in turns, a Markdown table, the machine's line, networks to measure."""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eyas.bundle import Bundle
    from eyas.models.ppyoloe import PPYOLOE

PAUSE = 0.02
"""Seconds before each timing, in which the waiting threads of the engine before go to sleep."""

SCENE_SEED = 7


def options(doc: str, rounds: int) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has; its help is the script's docstring."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help=f"measurements of each thing ({rounds})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    return parser


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def machine(*packages: str) -> str:
    """One line that names the machine, its load, the date, and the versions of `packages`."""
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    python = f"Python {platform.python_version()}"
    return f"{processor()}, {cores()} cores, {load}, {platform.system()}, {date.today()}, {python}, {versions}"


def in_turns(cases: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each case in each round.  The cases take turns, so that a busy moment hits all alike.

    Each timing follows a run of the same case that is not counted, which fetches its data into the caches.
    """
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            time.sleep(PAUSE)
            case()
            start = time.perf_counter()
            case()
            times[name].append((time.perf_counter() - start) * 1000)
    return times


def summary(times: Sequence[float]) -> dict[str, float]:
    """Median and best of some times."""
    return {"median": statistics.median(times), "best": min(times)}


def report(title: str, rows: Sequence[Mapping[str, Any]], machine_line: str, file: Path | None) -> None:
    """Print `rows` (all with the same keys) as a Markdown table under `title`, then the machine; write them as JSON."""
    print(f"\n**{title}**\n")
    if rows:
        print("| " + " | ".join(rows[0]) + " |")
        print("|" + "|".join(" --- " for _ in rows[0]) + "|")
    for row in rows:
        print("| " + " | ".join(_cell(value) for value in row.values()) + " |")
    print(f"\n{machine_line}", flush=True)
    if file is not None:
        file.write_text(json.dumps({"title": title, "machine": machine_line, "rows": rows}, indent=2) + "\n")


def _cell(value: object) -> str:
    if not isinstance(value, float):
        return "–" if value is None else str(value)
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) >= 0.01 else f"{value:.1e}"


def open_bundle(path: Path | None) -> "Bundle":
    """The bundle at `path`, or the built-in one."""
    from eyas.bundle import Bundle
    from eyas.convert import resolve_model

    return Bundle.open(resolve_model(None, path))


def fresh_network(name: str, size_hw: tuple[int, int], classes: int = 4) -> "PPYOLOE":
    """A network of the model table with random weights, in evaluation mode.

    Its BatchNorm statistics come from drawn scenes and its last layers are not zero, so that all values are of the size
    that a trained network has, and a difference between two engines shows in the outputs.
    """
    import numpy as np
    import torch

    from eyas.data.synthetic import scene
    from eyas.models import build

    torch.manual_seed(0)
    model = build(name, classes, dropout=0.0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain mean over the images seen
    for layer in (*model.yolo_head.pred_cls, *model.yolo_head.pred_reg):
        torch.nn.init.normal_(layer.weight, std=0.02)
    images = np.stack([scene(SCENE_SEED + number, size_hw).image for number in range(2)])
    with torch.no_grad():
        model.train()(torch.from_numpy(images).permute(0, 3, 1, 2).float())
    return model.eval()


def write_bundle(model: "PPYOLOE", name: str, size_hw: tuple[int, int], folder: Path) -> "Bundle":
    """`model` exported as a bundle in `folder`."""
    from eyas.bundle import Bundle, Manifest
    from eyas.export.convert import to_onnx
    from eyas.vision.decode import HeadSpec
    from eyas.vision.preprocess import Preprocess

    names = tuple(f"class {number}" for number in range(model.num_classes))
    onnx = folder / f"{name}-{size_hw[0]}x{size_hw[1]}.onnx"
    to_onnx(model, size_hw, onnx, opset=17)
    head, preprocess = HeadSpec(strides=model.config.strides), Preprocess(size_hw)
    manifest = Manifest(model=name, head=head, preprocess=preprocess, names=names, source_ids=tuple(range(len(names))))
    return Bundle.create(folder / onnx.stem, manifest, {"model.onnx": onnx})
