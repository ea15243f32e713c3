"""How long an evaluation takes: 500 pictures with 40 objects and 300 detections each, ten classes.

Bars on two cores: COCO's figures under 2 s; everything, with the intervals of 1,000 bootstrap resamples, under 10 s.

    python benchmarks/evaluation.py [--images 500] [--detections 300] [--resamples 1000] [--json FILE]
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import in_turns, machine, options, report, summary

from eyas.data.sample import ClassMap, Dataset, Sample
from eyas.metrics.bootstrap import bootstrap, compare
from eyas.metrics.coco import Boxes
from eyas.metrics.confusion import confusion
from eyas.metrics.curves import precision_recall
from eyas.metrics.detection import evaluate_detections
from eyas.metrics.evaluation import evaluate_all
from eyas.metrics.overlaps import find_overlaps
from eyas.metrics.protocols import PROTOCOLS, evaluate_protocol
from eyas.metrics.tide import split_errors
from eyas.metrics.visdrone import evaluate_visdrone
from eyas.results import Detections

CLASSES, OBJECTS = 10, 40
NAMES = tuple(f"class {number}" for number in range(CLASSES))


def annotated(images: int, rng: np.random.Generator) -> Dataset:
    """Pictures with objects of 4 to 60 px, 2 % of them ignored regions."""
    samples = []
    for number in range(1, images + 1):
        corner, size = rng.uniform(0, 600, (OBJECTS, 2)), np.exp(rng.uniform(np.log(4), np.log(60), (OBJECTS, 2)))
        boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
        classes, ignore = rng.integers(0, CLASSES, OBJECTS), rng.random(OBJECTS) < 0.02
        samples.append(Sample(number, Path(f"{number}.png"), 640, 640, boxes, classes, ignore))
    return Dataset(tuple(samples), ClassMap(NAMES, tuple(range(CLASSES))), Path("drawn.json"))


def detected(data: Dataset, count: int, rng: np.random.Generator) -> dict[int, Boxes]:
    """Two fifths of the detections lie beside an object, some of them with another class; the rest anywhere."""
    detections: dict[int, Boxes] = {}
    for sample in data.samples:
        near = rng.integers(0, OBJECTS, count)
        boxes = sample.boxes_xyxy[near].astype(np.float64)
        size = boxes[:, 2:] - boxes[:, :2]
        boxes += rng.normal(0, 0.12, boxes.shape) * np.tile(size, 2)
        away = rng.random(count) < 0.6
        boxes[away] += rng.uniform(-300, 300, (int(away.sum()), 1))
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        classes = np.where(rng.random(count) < 0.1, rng.integers(0, CLASSES, count), sample.class_ids[near])
        scores = np.sort((rng.random(count) * np.where(away, 0.6, 1)).round(3).astype(np.float32))[::-1]
        detections[sample.image_id] = Detections(boxes, scores, classes, NAMES)
    return detections


def main() -> None:
    """Measure and print."""
    parser = options(__doc__ or "", rounds=3)
    parser.add_argument("--images", type=int, default=500, help="pictures (500)")
    parser.add_argument("--detections", type=int, default=300, help="detections in each (300)")
    parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap (1000)")
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    data = annotated(asked.images, rng)
    detections, others = detected(data, asked.detections, rng), detected(data, asked.detections, rng)
    overlaps, other_overlaps = find_overlaps(data, detections), find_overlaps(data, others)
    cases: dict[str, tuple[Callable[[], object], float | None]] = {
        "COCO's figures, at 100 and 500": (lambda: evaluate_detections(data, detections), 2.0),
        "AI-TOD and SODA": (lambda: [evaluate_protocol(data, detections, one) for one in PROTOCOLS.values()], None),
        "VisDrone": (lambda: evaluate_visdrone(data, detections), None),
        "overlaps": (lambda: find_overlaps(data, detections), None),
        "curves and thresholds": (lambda: precision_recall(overlaps), None),
        "confusion matrix": (lambda: confusion(overlaps, 0.5), None),
        "TIDE": (lambda: split_errors(overlaps), None),
        "intervals": (lambda: bootstrap(overlaps, resamples=asked.resamples), None),
        "everything": (lambda: evaluate_all(data, detections, resamples=asked.resamples), 10.0),
        "comparison of two runs": (lambda: compare(overlaps, other_overlaps, resamples=asked.resamples), None),
    }
    times = in_turns({name: case for name, (case, _) in cases.items()}, asked.rounds)
    rows = []
    for name, (_, bar) in cases.items():
        seconds = {key: value / 1000 for key, value in summary(times[name]).items()}
        rows.append({"what": name, "median s": seconds["median"], "best s": seconds["best"], "bar s": bar})
    title = f"{asked.images} pictures x {asked.detections} detections, {asked.resamples} resamples"
    report(title, rows, machine("numpy", "hotcoco"), asked.json)


if __name__ == "__main__":
    main()
