"""What `Detector` costs beyond its network: a decoded image in, detections out, against the bare network.

Bar: at most 8 ms more than the bare network on a decoded 640x640 image, at the default threshold 0.5.  The threshold
0.01 of evaluations lets tens of thousands of candidates into the suppression; its cost is shown beside it.  "overhead"
is the median over the rounds of `Detector` less the network in the same round; "prepare" and "decode" are its two
parts, timed alone.  (The rest is memory that the allocator gives back to the system and takes again.)

    python benchmarks/detector.py [--rounds 50] [--bundle FOLDER] [--json FILE]
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from common import SCENE_SEED, in_turns, machine, open_bundle, options, report

from eyas.backends import open_backend
from eyas.bundle import Bundle
from eyas.data.synthetic import scene
from eyas.pipelines.detector import Detector
from eyas.vision.decode import decode

THRESHOLDS = (0.5, 0.01)
SIZES = ((640, 640), (512, 640))
BAR_MS = 8.0


def measure(bundle: Bundle, size_hw: tuple[int, int], rounds: int) -> list[dict[str, object]]:
    """A row for each threshold, on a drawn scene of `size_hw`."""
    manifest, image = bundle.manifest, scene(SCENE_SEED, size_hw).image
    backend = open_backend(bundle, device="cpu")
    detector = Detector(manifest, backend)
    inputs = {manifest.input_name: detector.prepare(image).tensor[None]}
    outputs = backend.run(inputs)
    cases: dict[str, Callable[[], object]] = {
        "network": lambda: backend.run(inputs),
        "prepare": lambda: detector.prepare(image),
    }
    for t in THRESHOLDS:
        cases[f"detector {t}"] = partial(detector, image, threshold=t)
        cases[f"decode {t}"] = partial(decode, outputs, manifest.head, manifest.preprocess.size_hw, t)
    times = in_turns(cases, rounds)
    rows: list[dict[str, object]] = []
    for t in THRESHOLDS:
        extra = np.subtract(times[f"detector {t}"], times["network"])
        rows.append({
            "image": f"{size_hw[1]}x{size_hw[0]}", "threshold": t,
            "candidates": int((outputs["scores"] > t).sum()), "detections": len(detector(image, threshold=t).scores),
            "network ms": statistics.median(times["network"]), "Detector ms": statistics.median(times[f"detector {t}"]),
            "overhead ms": float(np.median(extra)), "bar ms": BAR_MS if t == THRESHOLDS[0] else None,
            "prepare ms": statistics.median(times["prepare"]), "decode ms": statistics.median(times[f"decode {t}"]),
        })  # fmt: skip
    return rows


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = options(__doc__ or "", rounds=50)
    parser.add_argument("--bundle", type=Path, metavar="FOLDER", help="another bundle than the built-in one")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    asked = arguments()
    bundle = open_bundle(asked.bundle)
    rows = [row for size in SIZES for row in measure(bundle, size, asked.rounds)]
    height, width = bundle.manifest.preprocess.size_hw
    title = f"Detector with {bundle.manifest.model} at {width}x{height}, OpenVINO"
    report(title, rows, machine("numpy", "opencv-python-headless", "openvino"), asked.json)


if __name__ == "__main__":
    main()
