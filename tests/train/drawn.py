"""A tiny recognition dataset: each label is a colour with a stripe, on noise."""

from pathlib import Path

import cv2
import numpy as np

from eyas.data.labelled import LabelledImages
from eyas.data.sample import ClassMap

COLOURS = {"sky": (40, 90, 220), "leaf": (40, 170, 60), "brick": (200, 60, 40), "sand": (220, 200, 120)}


def draw_lists(root: Path, train: int = 8, gallery: int = 2, query: int = 2, seed: int = 0) -> Path:
    """Write `root` with `train.txt`, `gallery.txt` and `query.txt`, so many pictures a label in each."""
    rng = np.random.default_rng(seed)
    for part, count in (("train", train), ("gallery", gallery), ("query", query)):
        lines = []
        for label, (name, colour) in enumerate(COLOURS.items()):
            for number in range(count):
                picture = rng.integers(0, 60, (36, 44, 3)) + np.array(colour) * 0.75
                picture[:, 8 * label + 4 : 8 * label + 8] *= 0.4
                path = root / "images" / f"{part}_{name}_{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), np.clip(picture, 0, 255).astype(np.uint8)[..., ::-1])
                lines.append(f"images/{path.name} {label}")
        (root / f"{part}.txt").write_text("\n".join(lines) + "\n")
    (root / "label.txt").write_text("\n".join(f"{i} {name}" for i, name in enumerate(COLOURS)) + "\n")
    return root


def labelled(counts: list[int]) -> LabelledImages:
    """`counts[i]` pictures of label `i`, whose files are not there."""
    ids = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    paths = tuple(Path(f"{place}.png") for place in range(len(ids)))
    labels = ClassMap(tuple(f"label {i}" for i in range(len(counts))), tuple(range(len(counts))))
    return LabelledImages(paths, ids, labels, Path("drawn"))
