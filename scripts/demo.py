"""The demo: draw a scene, find its objects with the command a user would type, and say how many were found.

    python scripts/demo.py OUT

Leaves scene.png, scene_res.png and scene_res.json in OUT. It needs what `pip install eyas` brings and nothing more.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from eyas import Detections
from eyas.data.synthetic import SCENE_CLASSES, Scene, scene
from eyas.vision.boxes import iou_matrix

SEED = 3_000_000_080
"""Training draws its scenes with seeds below 2**31, so this one is never a training image. It was chosen from 120 such
scenes because it shows three classes, most objects under 16 px, and most of them found: a picture to look at, not a
measurement. What the detector reaches on real images stands in its model card."""

MATCH_IOU = 0.5


def main(out: Path) -> None:
    """Make the picture, predict, and print one line. Raises CalledProcessError where the prediction fails."""
    out.mkdir(parents=True, exist_ok=True)
    drawn, picture = scene(SEED), out / "scene.png"
    picture.write_bytes(cv2.imencode(".png", drawn.image[..., ::-1])[1].tobytes())
    started = time.perf_counter()
    command = [sys.executable, "-m", "eyas", "predict", str(picture), "--save_path", str(out), "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    milliseconds = (time.perf_counter() - started) * 1000
    found = Detections.from_dict(json.loads((out / "scene_res.json").read_text(encoding="utf-8")))
    right = count_matches(drawn, found)
    print(
        f"eyas predict {picture} --save_path {out}: found {right} of {len(drawn.class_ids)} drawn objects (IoU "
        f"{MATCH_IOU}) with {len(found.scores)} boxes in {milliseconds:.0f} ms, start of Python included. "
        f"See {out / 'scene_res.png'}"
    )


def count_matches(drawn: Scene, found: Detections) -> int:
    """How many drawn objects have a detection of their class at an IoU of at least 0.5; a detection counts once."""
    iou = iou_matrix(found.boxes_xyxy, drawn.boxes_xyxy)
    drawn_labels = np.array(SCENE_CLASSES)[drawn.class_ids]
    iou[np.array(found.labels, dtype=object)[:, None] != drawn_labels[None]] = 0
    matches = 0
    for row in iou:  # best score first, as COCO matches
        if row.max(initial=0) >= MATCH_IOU:
            iou[:, row.argmax()] = 0
            matches += 1
    return matches


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python scripts/demo.py OUT")
    main(Path(sys.argv[1]))
