"""The model card of a feature model trained on Grocery Store: README.md beside its bundle, from the run's files.

    python scripts/feature_card.py RUN_DIR BUNDLE_DIR [--machine TEXT] [--latency TEXT]

RUN_DIR is the output of `eyas train`: config.yaml, train_result.json and metrics.jsonl are read. The figures are
measured here, with the bundle, on the dataset that config.yaml names. TEXT stands in the card as it is.
"""

import argparse
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from model_card import command_line, percent, read_json, table
from numpy.typing import NDArray

from eyas.backends import open_backends
from eyas.backends.device import parse_device
from eyas.bundle import Bundle, EmbeddingManifest, need_task
from eyas.config import load_module_config
from eyas.data.labelled import LabelledImages
from eyas.data.lists import read_labelled
from eyas.pipelines.embedder import Embedder
from eyas.vision.image import read_image

RESAMPLES = 10_000
PACKAGES = "/Packages/"


@dataclass(frozen=True)
class Part:
    """Pictures with their features float32 [N, D]."""

    images: LabelledImages
    features: NDArray[np.float32]

    def packages(self) -> "Part":
        """The cartons alone."""
        places = [place for place, path in enumerate(self.images.paths) if PACKAGES in path.as_posix()]
        return Part(self.images.take(places), self.features[places])


def embedded(embedder: Embedder, images: LabelledImages) -> Part:
    """`images` with their features."""
    batches = [images.paths[start : start + 16] for start in range(0, len(images), 16)]
    features = [embedder.embed_batch([read_image(path) for path in batch]) for batch in batches]
    return Part(images, np.concatenate(features))


def figures(gallery: Part, queries: Part) -> dict[str, Any]:
    """Top-1 with its 95 % interval (queries drawn anew), top-5, and which labels are taken for which."""
    similarity = queries.features @ gallery.features.T
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :5]
    found, truth = gallery.images.label_ids[order], queries.images.label_ids
    right = found[:, 0] == truth
    rng = np.random.default_rng(0)
    means = right[rng.integers(len(right), size=(RESAMPLES, len(right)))].mean(axis=1)
    names = queries.images.labels.names
    wrong = Counter((names[want], names[got]) for want, got in zip(truth[~right], found[~right, 0], strict=True))
    return {
        "gallery": len(gallery.images),
        "queries": len(truth),
        "labels": len(np.unique(truth)),
        "top1": float(right.mean()),
        "interval": np.quantile(means, (0.025, 0.975)).tolist(),
        "top5": float((found == truth[:, None]).any(axis=1).mean()),
        "confused": wrong.most_common(8),
    }


def training_table(run: Path, bundle: Bundle, machine: str | None, latency: str | None) -> str:
    """How the network was made; a row whose value is not known is left out."""
    config, result = load_module_config(run / "config.yaml").train, read_json(run / "train_result.json")
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    speeds = [record["images_per_second"] for record in steps if "images_per_second" in record]
    made, (height, width) = bundle.manifest.made, bundle.manifest.preprocess.size_hw
    features = need_task(bundle.manifest, EmbeddingManifest).width
    rows = [
        ("network", f"{bundle.manifest.model}, input {width} x {height} px, {features} numbers"),
        ("file", f"model.onnx, {bundle.network.stat().st_size / 1e6:.1f} MB"),
        ("started from", "random weights"),
        ("seed", config.seed),
        ("epochs", f"{config.epochs_iters}, the best one was {result['models']['best']['epoch']}"),
        ("minutes", f"{result['minutes']:.0f} in training steps, validation not counted"),
        ("images a second", f"{median(speeds):.0f} (median over the run)"),
        ("software", f"Python {made.get('python')}, torch {made.get('torch')}, {made.get('machine')}"),
        ("machine", machine),
        ("latency", latency),
    ]
    return table(("", ""), [row for row in rows if row[1] is not None])


def figure_table(measured: dict[str, dict[str, Any]]) -> str:
    """One row a test."""
    rows = []
    for name, found in measured.items():
        low, high = found["interval"]
        between = f"{percent(low)} to {percent(high)}"
        counts = (found["gallery"], found["queries"], found["labels"])
        rows.append((name, *counts, percent(found["top1"]), between, percent(found["top5"])))
    return table(("test", "gallery", "queries", "labels", "top-1", "95 % interval", "in the first 5"), rows)


CARD = """\
# {name}

Turns a picture of an object into {features} numbers; pictures of the same thing point in nearly the same
direction. Comes with eyas; `eyas gallery` uses it by default.

## Training

{training}

    {command}

## Data and licence

Grocery Store, photographs taken by hand in shops: Klasson, Zhang, Kjellström, "A Hierarchical Grocery Store
Image Dataset with Visual and Semantic Labels", WACV 2019, licence MIT. Training part: {images} pictures of
{labels} kinds of fruit, vegetables and cartons. No other pictures were used. These weights are published
under Apache-2.0.

## Figures

The nearest picture of the gallery by cosine, in percent. The gallery is the training part, the queries are
the validation part; `scripts/feature_card.py` measured them with the exported network. The interval comes
from drawing the queries anew {resamples:,} times. The best epoch was chosen on all validation pictures, so
expect a little less on others. Without any training (colour histogram and gradients) the two tests give 35
and 38.

{figures}

Most often taken for one another: {confused}.

## Use

Telling packages and produce apart by a gallery, for a demo, for tests, or where nothing may be downloaded.
New things need no training: photograph them and add them to the gallery.

## Limits

- It has seen {images} pictures of groceries and nothing else. For anything else take `PP-ShiTuV2_rec`, or
  train your own.
- Kinds that differ by a small print, as milk of different fat, are often confused.
- One object that fills most of the picture: put a detector before it where there are several.
- Not for recognising persons.
"""


def write_card(run: Path, bundle: Bundle, machine: str | None, latency: str | None) -> Path:
    """Write README.md into the bundle's folder and return its path."""
    config = load_module_config(run / "config.yaml")
    if config.global_.dataset_dir is None:
        raise SystemExit(f"{run / 'config.yaml'} names no dataset")
    parts = read_labelled(config.global_.dataset_dir)
    backend = open_backends(bundle, parse_device("cpu"), engine=None, threads=None)[0]
    embedder = Embedder(bundle.manifest, backend)
    train, val = (embedded(embedder, parts[name]) for name in ("train", "val"))
    measured = {"cartons": figures(train.packages(), val.packages()), "all kinds": figures(train, val)}
    confused = "; ".join(f"{want} for {got} ({count})" for (want, got), count in measured["all kinds"]["confused"])
    text = CARD.format(
        name=bundle.path.resolve().name,
        features=embedder.manifest.width,
        training=training_table(run, bundle, machine, latency),
        command=command_line(read_json(run / "train_result.json")["command"]),
        images=len(train.images),
        labels=len(np.unique(train.images.label_ids)),
        resamples=RESAMPLES,
        figures=figure_table(measured),
        confused=confused,
    )
    target = bundle.path / "README.md"
    target.write_text(text, encoding="utf-8")
    print(json.dumps(measured, indent=2))
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the model card of a feature model.")
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("bundle_dir", type=Path)
    parser.add_argument("--machine", help="what the network was trained on, in words")
    parser.add_argument("--latency", help="measured time a picture, with machine and date, in words")
    given = parser.parse_args()
    print(write_card(given.run_dir, Bundle.open(given.bundle_dir), given.machine, given.latency))


if __name__ == "__main__":
    main()
