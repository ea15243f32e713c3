"""Images per second and memory over a folder of pictures: 640x512 JPEG files through the pipeline.

Reading and preparing overlap with the network, so the pipeline should reach the bare network's rate, which is taken
before and after each pass on images that are already prepared.  Resident memory must stay flat: "start" is taken after
the first 100 images, "end" after the last.  (Files are hard links to 64 drawn scenes; each is read and decoded anew.)

    python benchmarks/folder.py [--images 2000] [--bundle FOLDER] [--json FILE]     (10000 images: the long check)
"""

import os
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from common import SCENE_SEED, in_turns, machine, open_bundle, options, report

from eyas.backends import Backend, open_backend
from eyas.bundle import Bundle
from eyas.data.synthetic import scene
from eyas.pipelines.detector import Detector
from eyas.pipelines.predictor import Predictor

SCENES = 64
BATCHES = (1, 4)
SETTLED = 100
"""Images after which memory is taken for the first time; buffers and threads are there by then."""


def write_folder(root: Path, count: int) -> None:
    """`count` JPEG files in `root`, of which the first 64 are scenes and the others links to them."""
    for number in range(count):
        file = root / f"{number:05d}.jpg"
        if number < SCENES:
            image = scene(SCENE_SEED + number).image[..., ::-1]
            file.write_bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes())
        else:
            os.link(root / f"{number % SCENES:05d}.jpg", file)


def resident_mb() -> float:
    """Resident memory of this process in megabytes (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def bare_rate(bundle: Bundle, backend: Backend, batch_size: int, rounds: int) -> float:
    """Images per second of the network alone."""
    tensor = Detector(bundle.manifest, backend).prepare(scene(SCENE_SEED).image).tensor
    inputs = {bundle.manifest.input_name: np.stack([tensor] * batch_size)}
    times = in_turns({"network": lambda: backend.run(inputs)}, rounds)["network"]
    return batch_size * 1000 / statistics.median(times)


def measure(root: Path, bundle: Bundle, batch_size: int, rounds: int) -> dict[str, object]:
    """The row of one batch size."""
    backend = open_backend(bundle, device="cpu")
    before = bare_rate(bundle, backend, batch_size, rounds)
    predictor = Predictor.open(bundle, device="cpu", batch_size=batch_size)
    found, memory = 0, []
    start = time.perf_counter()
    for number, result in enumerate(predictor.predict(str(root)), start=1):
        found += len(result.scores)
        if number % SETTLED == 0:
            memory.append(resident_mb())
    seconds = time.perf_counter() - start
    bare = (before + bare_rate(bundle, backend, batch_size, rounds)) / 2
    return {
        "batch": batch_size, "images": number, "detections": found, "images/s": number / seconds,
        "bare network images/s": bare, "share": f"{number / seconds / bare:.0%}",
        "memory MB, start": memory[0], "end": memory[-1], "highest": max(memory),
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = options(__doc__ or "", rounds=40)
    parser.add_argument("--images", type=int, default=2000, help="files in the folder, 100 at least (2000)")
    parser.add_argument("--bundle", type=Path, metavar="FOLDER", help="another bundle than the built-in one")
    asked = parser.parse_args()
    if asked.images < SETTLED:
        parser.error(f"--images must be {SETTLED} or more")
    bundle = open_bundle(asked.bundle)
    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder), asked.images)
        rows = [measure(Path(folder), bundle, size, asked.rounds) for size in BATCHES]
    title = f"A folder of 640x512 JPEG files, {bundle.manifest.model}, OpenVINO"
    report(title, rows, machine("numpy", "pillow", "opencv-python-headless", "openvino"), asked.json)


if __name__ == "__main__":
    main()
