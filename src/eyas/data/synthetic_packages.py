"""Drawn packages: photographs of cartons for a small gallery, and a shelf with exact boxes, for tests and the demo.

python -m eyas.data.synthetic_packages FOLDER
"""

import csv
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from eyas.vision.boxes import Floats

Image = NDArray[np.uint8]
Random = np.random.Generator

SIZE_HW = (120, 80)
"""Pixels of the front of a package, before it is photographed."""
_VIEW = 160
_SHELF = (400, 640)


@dataclass(frozen=True)
class Design:
    """How one kind of package looks: a main and a second colour, a mark, and a name."""

    name: str
    main: tuple[int, int, int]
    second: tuple[int, int, int]
    mark: str


DESIGNS = (
    Design("oat milk", (226, 222, 206), (60, 90, 160), "disc"),
    Design("whole milk", (245, 245, 245), (200, 30, 40), "band"),
    Design("apple juice", (120, 185, 60), (250, 240, 190), "disc"),
    Design("orange juice", (245, 150, 30), (255, 245, 220), "stripes"),
    Design("blueberry yoghurt", (70, 60, 140), (230, 220, 240), "band"),
    Design("tomato soup", (190, 40, 35), (250, 215, 90), "stripes"),
)


def front(design: Design) -> Image:
    """The front of a package, uint8 RGB [120, 80, 3]."""
    height, width = SIZE_HW
    image = np.full((height, width, 3), design.main, np.uint8)
    if design.mark == "disc":
        cv2.circle(image, (width // 2, 75), 24, design.second, -1, cv2.LINE_AA)
    elif design.mark == "band":
        cv2.rectangle(image, (0, 60), (width, 92), design.second, -1)
    else:
        for left in range(-height, width, 22):
            cv2.line(image, (left, height), (left + height, 0), design.second, 6, cv2.LINE_AA)
    ink = (25, 25, 25) if sum(design.main) > 330 else (250, 250, 250)
    cv2.rectangle(image, (0, 8), (width, 42), design.main, -1)
    for line, word in enumerate(design.name.split()):
        cv2.putText(image, word, (5, 22 + 16 * line), cv2.FONT_HERSHEY_DUPLEX, 0.42, ink, 1, cv2.LINE_AA)
    cv2.rectangle(image, (0, 0), (width - 1, height - 1), tuple(int(c * 0.6) for c in design.main), 1)
    return image


def photograph(design: Design, seed: int) -> Image:
    """A view of a package, uint8 RGB [160, 160, 3]: turned, tilted, lit and a little out of focus."""
    rng = np.random.Generator(np.random.PCG64(seed))
    canvas = _ground((_VIEW, _VIEW), rng)
    _put(canvas, design, (_VIEW / 2, _VIEW / 2), rng.uniform(1.0, 1.25), rng)
    return _developed(canvas, rng)


def shelf(seed: int, count: int = 8) -> tuple[Image, Floats, list[str]]:
    """A shelf with packages: uint8 RGB [400, 640, 3], their boxes xyxy float32 [N, 4] in its pixels, their names."""
    rng = np.random.Generator(np.random.PCG64(seed))
    canvas = _ground(_SHELF, rng)
    for board in (0.48, 0.96):
        top = int(board * _SHELF[0])
        cv2.rectangle(canvas, (0, top), (_SHELF[1], top + 9), (110, 85, 60), -1)
    boxes, names = [], []
    columns = math.ceil(count / 2)
    kinds = rng.permutation(np.resize(np.arange(len(DESIGNS)), count)).tolist()
    for number, design in enumerate(DESIGNS[kind] for kind in kinds):
        centre = ((number % columns + 0.5) * _SHELF[1] / columns, (0.25 if number < columns else 0.73) * _SHELF[0])
        boxes.append(_put(canvas, design, centre, rng.uniform(0.95, 1.15), rng))
        names.append(design.name)
    return _developed(canvas, rng), np.array(boxes, np.float32), names


def write_demo(folder: str | Path, views: int = 8, seed: int = 0) -> Path:
    """Write a demo into `folder` and return it.

    `gallery/<name>/*.png` and `gallery.txt` with `views` of each package, `queries/<name>/*.png` with two others, and
    `shelf.png` with `shelf.csv` (path, label, x1, y1, x2, y2).
    """
    root = Path(folder)
    lines = []
    for kind, design in enumerate(DESIGNS):
        for view in range(views + 2):
            part = "gallery" if view < views else "queries"
            path = Path(part) / design.name / f"{view}.png"
            _write(root / path, photograph(design, 1000 * (seed + 1) + 100 * kind + view))
            if part == "gallery":
                lines.append(f"{path.as_posix()}\t{design.name}\n")
    (root / "gallery.txt").write_text("".join(lines), encoding="utf-8")
    image, boxes, names = shelf(seed)
    _write(root / "shelf.png", image)
    with (root / "shelf.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["path", "label", "x1", "y1", "x2", "y2"])
        table.writerows(["shelf.png", name, *box.tolist()] for name, box in zip(names, boxes, strict=True))
    return root


def _ground(size_hw: tuple[int, int], rng: Random) -> Image:
    """A blurred, cluttered wall."""
    cells = (size_hw[0] // 20, size_hw[1] // 20)
    coarse = (rng.integers(70, 180, (*cells, 1)) + rng.integers(-20, 20, (*cells, 3))).astype(np.uint8)
    wall = cv2.resize(coarse, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.GaussianBlur(wall, (0, 0), 6), np.uint8)


def _put(canvas: Image, design: Design, centre: tuple[float, float], scale: float, rng: Random) -> list[float]:
    """Paint a package in perspective; the box around it, xyxy, inside the canvas."""
    height, width = SIZE_HW
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    angle = math.radians(rng.uniform(-10, 10))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    placed = (corners - (width / 2, height / 2)) * scale @ turn.T + centre + rng.uniform(-6, 6, (4, 2))
    matrix = cv2.getPerspectiveTransform(corners, placed.astype(np.float32))
    size_wh = (canvas.shape[1], canvas.shape[0])
    painted = cv2.warpPerspective(front(design), matrix, size_wh, flags=cv2.INTER_AREA)
    mask = cv2.warpPerspective(np.full(SIZE_HW, 255, np.uint8), matrix, size_wh)[..., None] / 255
    canvas[:] = (painted * mask + canvas * (1 - mask)).astype(np.uint8)
    low, high = placed.min(0), placed.max(0)
    return [max(0.0, low[0]), max(0.0, low[1]), min(size_wh[0], high[0]), min(size_wh[1], high[1])]


def _developed(image: Image, rng: Random) -> Image:
    """Light from one side, a little blur, noise."""
    light = np.linspace(rng.uniform(0.75, 1.1), rng.uniform(0.75, 1.1), image.shape[1])[None, :, None]
    lit = cv2.GaussianBlur(image * light, (0, 0), rng.uniform(0.4, 1.0)) + rng.normal(0, 4, image.shape)
    return np.asarray(np.clip(lit, 0, 255), np.uint8)


def _write(path: Path, image: Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())


if __name__ == "__main__":
    sys.stdout.write(f"{write_demo(sys.argv[1])}\n")
