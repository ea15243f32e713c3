"""The model card of a detector trained on HIT-UAV: README.md and recall.png beside its bundle, from the run's files.

    python scripts/model_card.py RUN_DIR BUNDLE_DIR [--first RUN_DIR] [--machine TEXT] [--latency TEXT]

RUN_DIR is the output of `eyas train` and `eyas evaluate`: config.yaml, train_result.json, metrics.jsonl and
evaluate_result.json are read, and the dataset that config.yaml names is counted. --first is the run whose weights this
one started from, where there is one. TEXT stands in the card as it is.
"""

import argparse
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from eyas.bundle import Bundle
from eyas.config import load_module_config
from eyas.data import load_dataset
from eyas.data.sample import Dataset
from eyas.schema import ModuleConfig

README, PICTURE = "README.md", "recall.png"

COCO = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
COCO_RECALL = ("AR1", "AR10", "AR100", "AR_small", "AR_medium", "AR_large")
AT_500 = ("AP_500", "AP50_500", "AP75_500", "AR_500")
SIZES = {
    "very_tiny": "very tiny, 2 to 8 px",
    "tiny": "tiny, 8 to 16 px",
    "small": "small, 16 to 32 px",
    "medium": "medium, 32 to 64 px",
    "under16": "all up to 16 px",
}


@dataclass(frozen=True)
class Run:
    """Everything the card is made from; `first` is the train_result.json of the run before, if there was one."""

    config: ModuleConfig
    bundle: Bundle
    result: dict[str, Any]
    metrics: dict[str, Any]
    steps: list[dict[str, Any]]
    train: Dataset
    first: dict[str, Any] | None

    @property
    def results(self) -> list[dict[str, Any]]:
        """The train_result.json of each run, in order."""
        return [self.result] if self.first is None else [self.first, self.result]


def read_run(run_dir: Path, bundle_dir: Path, first_dir: Path | None) -> Run:
    """The run in `run_dir`. Raises OSError for a missing file and KeyError for a run that failed."""
    config = load_module_config(run_dir / "config.yaml")
    lines = (run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    if config.global_.dataset_dir is None:
        raise SystemExit(f"{run_dir / 'config.yaml'} names no dataset")
    started = config.train.pretrain_weight_path
    if (started is None) != (first_dir is None):
        raise SystemExit(
            f"the run started from {started or 'random weights'}: --first must name that run, or be absent"
        )
    return Run(
        config=config,
        bundle=Bundle.open(bundle_dir),
        result=read_json(run_dir / "train_result.json"),
        metrics=read_json(run_dir / "evaluate_result.json")["metrics"],
        steps=[json.loads(line) for line in lines],
        train=load_dataset(config.global_.dataset_dir, "train"),
        first=None if first_dir is None else read_json(first_dir / "train_result.json"),
    )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file."""
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def command_line(arguments: Sequence[str]) -> str:
    """The command of a run; a folder of the machine it ran on becomes its last part."""
    shown = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        value = Path(value).name if Path(value).is_absolute() else value
        shown.append(f"{key}{equals}{value}" if equals else argument)
    return shlex.join(["eyas", *shown])


def percent(value: float) -> str:
    """A figure between 0 and 1 in percent; `-` where there was no object to measure it on."""
    return "-" if value < 0 else f"{100 * value:.1f}"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def training_table(run: Run, machine: str | None, latency: str | None) -> str:
    """How the network was made; a row whose value is not known is left out."""
    made, train = run.bundle.manifest.made, run.config.train
    speeds = [record["images_per_second"] for record in run.steps if "images_per_second" in record]
    height, width = run.bundle.manifest.preprocess.size_hw
    minutes = " + ".join(f"{result['minutes']:.0f}" for result in run.results)
    megabytes = run.bundle.network.stat().st_size / 1e6
    rows = [
        ("network", f"{run.bundle.manifest.model}, input {width} x {height} px"),
        ("file", f"model.onnx, {megabytes:.1f} MB"),
        ("started from", "random weights" if run.first is None else "the best epoch of the first command"),
        ("seed", train.seed),
        ("epochs", f"{train.epochs_iters}, the best one was {run.result['models']['best']['epoch']}"),
        ("minutes", f"{minutes} in training steps, validation not counted"),
        ("images a second", f"{median(speeds):.1f} (median over the run)" if speeds else None),
        ("drawn scenes", f"{percent(train.augment.synthetic)} % of the images" if train.augment.synthetic else None),
        ("software", f"Python {made.get('python')}, torch {made.get('torch')}, {made.get('machine')}"),
        ("machine", machine),
        ("latency", latency),
    ]
    return table(("", ""), [row for row in rows if row[1] is not None])


def figure_tables(metrics: dict[str, Any]) -> str:
    """COCO's twelve, at 500 detections, by size and by class."""
    parts = [table(names, [[percent(metrics[name]) for name in names]]) for names in (COCO, COCO_RECALL, AT_500)]
    for title, groups, names in (
        ("size (square root of the area)", metrics["by_size"], SIZES),
        ("class", metrics["per_class"], {name: name for name in metrics["per_class"]}),
    ):
        rows = [
            (names[key], group["objects"], percent(group["AP"]), percent(group["AP50"]))
            for key, group in groups.items()
        ]
        parts.append(table((title, "objects", "AP", "AP50"), rows))
    return "\n\n".join(parts)


def counts(data: Dataset) -> dict[str, int]:
    """How many boxes there are of each class; ignored regions are not counted."""
    ids = np.concatenate([np.zeros(0, np.int64), *(s.class_ids[~s.ignore] for s in data.samples)])
    return {name: int((ids == place).sum()) for place, name in enumerate(data.classes.names)}


def write_card(run: Run, machine: str | None, latency: str | None) -> Path:
    """Write README.md into the bundle's folder and return its path."""
    boxes, metrics = counts(run.train), run.metrics
    rare = min(boxes, key=lambda name: boxes[name])
    text = CARD.format(
        name=run.bundle.path.resolve().name,
        classes=", ".join(run.bundle.manifest.names),
        threshold=run.bundle.manifest.threshold,
        images=len(run.train),
        boxes=sum(boxes.values()),
        by_class=", ".join(f"{count} {name}" for name, count in boxes.items()),
        rare=rare,
        rare_count=boxes[rare],
        commands="\n".join(f"    {command_line(result['command'])}" for result in run.results),
        training=training_table(run, machine, latency),
        val_images=metrics["images"],
        val_objects=metrics["objects"],
        ignored=metrics["ignored_regions"],
        figures=figure_tables(metrics),
        picture=PICTURE,
    )
    target = run.bundle.path / README
    target.write_text(text, encoding="utf-8")
    return target


def draw_recall(metrics: dict[str, Any], target: Path) -> None:
    """A bar chart of recall at IoU 0.5 for each size that occurs, with the number of objects over each bar."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    bins = [row for row in metrics["recall_by_size"] if row["objects"]]
    labels = [f"{b['low_px']:g}-{b['high_px']:g}" if b["high_px"] < 1e4 else f"{b['low_px']:g}+" for b in bins]
    figure, axes = pyplot.subplots(figsize=(7, 3.5), layout="constrained")
    bars = axes.bar(labels, [row["found"] / row["objects"] for row in bins], color="#4878a8")
    axes.bar_label(bars, [str(row["objects"]) for row in bins], fontsize=8)
    axes.set(ylim=(0, 1.08), xlabel="object size: square root of the area, px", ylabel="recall at IoU 0.5")
    axes.set_title("Recall by size; above each bar the number of objects", fontsize=10)
    figure.savefig(target, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


CARD = """\
# {name}

Finds {classes} in thermal pictures taken by drones. Comes with eyas; `eyas predict PICTURE` uses it by default.

## Training

{training}

{commands}

## Data and licence

HIT-UAV, thermal infrared pictures from drones: Suo et al., "HIT-UAV: A high-altitude infrared thermal dataset for
Unmanned Aerial Vehicle-based object detection", Scientific Data 2023, licence CC BY 4.0. The split is our own, by date
of capture, because neighbouring video frames are nearly equal. Training part: {images} images, {boxes} boxes
({by_class}). The data keep their licence, CC BY 4.0; these weights are published under
Apache-2.0.

## Figures

On the {val_images} images and {val_objects} objects of the validation part, in percent. `eyas evaluate` made them with
the exported network. The {ignored} regions marked as "don't care" neither add objects nor make a detection wrong. The
best epoch was chosen on the same images, so expect a little less on pictures of your own.

{figures}

AP is the mean over IoU 0.50 to 0.95, AP50 is at IoU 0.50. The first two tables and the classes count at most 100
detections of a class in an image, as COCO does; the `_500` columns and the sizes allow 500.

![recall by object size]({picture})

## Use

Counting and locating people and vehicles in thermal pictures from 60 to 130 m above ground. The default threshold is
{threshold}; lower it where missing an object costs more than a false one.

## Limits

- Thermal pictures only: colour photographs give little of use.
- Some pedestrians and cars at the edge of the training pictures have no box, so the network learnt to pass over some.
- {rare} has {rare_count} boxes in the training part: do not rely on that class.
- Heights, sensors and climates other than those of HIT-UAV have not been measured.
- Not for decisions on which the safety of people depends, and not for identifying persons.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the model card of a bundle.")
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("bundle_dir", type=Path)
    parser.add_argument("--first", type=Path, help="the run whose weights this one started from")
    parser.add_argument("--machine", help="what the network was trained on, in words")
    parser.add_argument("--latency", help="measured time an image, with machine and date, in words")
    given = parser.parse_args()
    run = read_run(given.run_dir, given.bundle_dir, given.first)
    draw_recall(run.metrics, given.bundle_dir / PICTURE)
    print(write_card(run, given.machine, given.latency))


if __name__ == "__main__":
    main()
