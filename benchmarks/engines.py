"""One image through the same network in torch, ONNX Runtime and OpenVINO, side by side in one run.

OpenVINO as eyas runs it (float32) is the CPU default and must be the fastest of the exact ones: "x OpenVINO" is at
least 1 in every other exact row.  "OpenVINO's own precision" is what OpenVINO computes in when nobody asks: bfloat16 on
some processors, faster, and wrong by the last two columns (largest difference from torch of any score and of any
distance, in strides; the weights are random, trained ones differ less).  torch runs the exported form, every RepVGG
block one convolution, channels last.  FLOPs are two for each multiply-add of the convolutions and linear layers of that
form; the peak is the best 2048 x 2048 float32 matrix product of torch on the same cores.

    python benchmarks/engines.py [--rounds 30] [--threads N] [--json FILE]
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from common import SCENE_SEED, cores, fresh_network, in_turns, machine, options, report, summary, write_bundle
from numpy.typing import NDArray

from eyas.backends import open_backend
from eyas.backends.quiet import import_openvino
from eyas.bundle import Bundle
from eyas.data.synthetic import scene
from eyas.export.convert import fuse
from eyas.models.backend import TorchBackend
from eyas.models.ppyoloe import PPYOLOE

CASES = (
    ("PP-YOLOE_plus_SOD-XS-P2", (640, 640)),
    ("PP-YOLOE_plus_SOD-XS-P2", (512, 640)),
    ("PP-YOLOE_plus_SOD-XS", (640, 640)),
    ("PP-YOLOE_plus_SOD-S", (640, 640)),
)
OURS, TORCH = "OpenVINO float32", "torch"

Run = Callable[[], dict[str, NDArray[np.float32]]]


def matmul_peak(side: int = 2048, tries: int = 20) -> float:
    """GFLOP/s of the best float32 matrix product of torch."""
    a, b = torch.rand(side, side), torch.rand(side, side)
    best = float("inf")
    for _ in range(tries):
        start = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best / 1e9


def count_gflop(network: PPYOLOE, size_hw: tuple[int, int]) -> float:
    """GFLOP of one image: two for each multiply-add in the convolutions and linear layers."""
    total = 0

    def count(layer: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        weight = layer.weight
        assert isinstance(weight, torch.Tensor)
        channels = output.shape[1] if isinstance(layer, torch.nn.Conv2d) else output.shape[-1]
        total += 2 * weight.numel() * output.numel() // channels

    layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    with torch.inference_mode():
        network(torch.zeros(1, 3, *size_hw))
    for handle in handles:
        handle.remove()
    return total / 1e9


def openvino_default(bundle: Bundle, threads: int, image: NDArray[np.float32]) -> Run:
    """OpenVINO with the same settings as in eyas, except that nobody names a precision."""
    core = import_openvino().Core()
    model = core.read_model(bundle.network)
    model.reshape(list(image.shape))
    compiled = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads})
    names = bundle.manifest.outputs

    def run() -> dict[str, NDArray[np.float32]]:
        results = compiled.create_infer_request().infer({0: image}, share_inputs=True)
        return {name: results[name] for name in names}

    return run


def engines(network: PPYOLOE, bundle: Bundle, threads: int, image: NDArray[np.float32]) -> dict[str, Run]:
    """The ways to run one network on `image`, by name."""
    inputs = {"image": image}
    eager = TorchBackend(network.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
    onnx = open_backend(bundle, device="cpu", engine="onnxruntime", threads=threads)
    ours = open_backend(bundle, device="cpu", engine="openvino", threads=threads)
    return {
        TORCH: lambda: eager.run(inputs),
        "ONNX Runtime": lambda: onnx.run(inputs),
        OURS: lambda: ours.run(inputs),
        "OpenVINO's own precision": openvino_default(bundle, threads, image),
    }


def measure(name: str, size_hw: tuple[int, int], rounds: int, threads: int, peak: float) -> list[dict[str, object]]:
    """The rows of one network."""
    model = fresh_network(name, size_hw, classes=10)
    image = scene(SCENE_SEED, size_hw).image.transpose(2, 0, 1)[None].astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        runs = engines(fuse(model), write_bundle(model, name, size_hw, Path(folder)), threads, image)
        expected = runs[TORCH]()
        apart = {k: {n: float(np.abs(v - expected[n]).max()) for n, v in run().items()} for k, run in runs.items()}
        times = {engine: summary(values) for engine, values in in_turns(runs, rounds).items()}
    gflop = count_gflop(fuse(model), size_hw)
    rows: list[dict[str, object]] = []
    for engine, time_ms in times.items():
        rate = gflop / time_ms["median"] * 1000
        rows.append({
            "network": name.removeprefix("PP-YOLOE_plus_"), "input": f"{size_hw[1]}x{size_hw[0]}", "engine": engine,
            "median ms": time_ms["median"], "best ms": time_ms["best"],
            "x OpenVINO": time_ms["median"] / times[OURS]["median"], "GFLOP": gflop, "GFLOP/s": rate,
            "of peak": f"{rate / peak:.0%}", "score diff": apart[engine]["scores"],
            "distance diff": apart[engine]["distances"],
        })  # fmt: skip
    return rows


def main() -> None:
    """Measure every network and print the table."""
    parser = options(__doc__ or "", rounds=30)
    parser.add_argument("--threads", type=int, default=cores(), help="threads of every engine (all cores)")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    before = matmul_peak()
    rows = [row for name, size in CASES for row in measure(name, size, asked.rounds, asked.threads, before)]
    line = f"{machine('torch', 'onnxruntime', 'openvino')}; {asked.threads} threads; "
    line += f"matrix product peak {before:.0f} GFLOP/s before, {matmul_peak():.0f} after"
    report("One image through one network", rows, line, asked.json)


if __name__ == "__main__":
    main()
