"""How long multiclass NMS takes on 8,400 anchors x 10 classes, all above the score threshold.

Run `python benchmarks/nms.py`; it prints the machine and the median over 30 rounds of each scene.  One core is enough.
"""

import statistics
import time

import numpy as np
from common import machine

from eyas.vision.boxes import Boxes
from eyas.vision.nms import NmsRule, multiclass_nms

ANCHORS, CLASSES, ROUNDS = 8400, 10, 30
RULE = NmsRule(score_threshold=0.01, iou_threshold=0.6, nms_top_k=10000, keep_top_k=500)


def realistic(rng: np.random.Generator) -> Boxes:
    """One box of 4 to 60 px beside every cell centre of the strides 32, 16 and 8 of a 640 x 640 network."""
    centres = []
    for stride in (32, 16, 8):
        cells = (np.arange(640 // stride) + 0.5) * stride
        centres.append(np.stack(np.meshgrid(cells, cells), axis=-1).reshape(-1, 2))
    middle = np.concatenate(centres) + rng.normal(0, 4, (ANCHORS, 2))
    half = np.exp(rng.uniform(np.log(2), np.log(30), (ANCHORS, 2)))
    return np.concatenate([middle - half, middle + half], axis=1).astype(np.float32)


def crowded(rng: np.random.Generator, things: int, spread: float) -> Boxes:
    """Every anchor is a shaken copy of one of a few things: nearly all boxes fall, so the whole list is walked."""
    corner = rng.uniform(0, 560, (things, 2))
    thing = np.concatenate([corner, corner + rng.uniform(20, 80, (things, 2))], axis=1)
    picked = thing[rng.integers(0, things, ANCHORS)]
    return (picked + rng.normal(0, spread, picked.shape)).astype(np.float32)


def main() -> None:
    """Print the median milliseconds of each scene."""
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.011, 0.9, (CLASSES, ANCHORS)).astype(np.float32)
    scenes = {
        "realistic": realistic(rng),
        "20 things": crowded(rng, things=20, spread=1.0),
        "45 things (all candidates walked)": crowded(rng, things=45, spread=0.5),
        "20 things, shaken more": crowded(rng, things=20, spread=3.0),
        "one thing": crowded(rng, things=1, spread=0.5),
    }
    print(machine("numpy"))
    for name, boxes in scenes.items():
        times = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            kept, _ = multiclass_nms(boxes, scores, RULE)
            times.append(time.perf_counter() - start)
        print(f"{name:36s} {statistics.median(times) * 1000:6.2f} ms  (best {min(times) * 1000:.2f}), {len(kept)} kept")


if __name__ == "__main__":
    main()
