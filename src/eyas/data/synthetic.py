"""Seeded scenes as a thermal camera on a drone sees them, with exact boxes: for tests, for the demo, for training.

A scene is laid out in metres on the ground, seen through a real camera model (60 to 130 m up, 30 to 90 degrees down, as
HIT-UAV was flown), painted from far to near, and passed through a sensor: blur, sharpening halo, gain, vignette, noise.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from eyas.data.synthetic_ground import add_road_marks, add_soft_marks, make_layout, noise, paint_ground
from eyas.data.synthetic_paint import Camera, Canvas, Grey
from eyas.data.synthetic_plan import PAINTERS, Item, Plan, make_plan

SCENE_CLASSES = ("Person", "Car", "Bicycle", "OtherVehicle")

Random = np.random.Generator

_LEAST_VISIBLE = 0.3  # of an object's pixels; what is hidden more has no box
_LEAST_SIDE = 4  # pixels


@dataclass(frozen=True, eq=False)
class Scene:
    """A drawn picture: `image` uint8 RGB [H, W, 3], tight `boxes_xyxy` float32 [N, 4] in its pixels (half-open) of what
    is visible, `class_ids` int64 [N], indices into SCENE_CLASSES."""

    image: NDArray[np.uint8]
    boxes_xyxy: NDArray[np.float32]
    class_ids: NDArray[np.int64]


def scene(seed: int, size_hw: tuple[int, int] = (512, 640)) -> Scene:
    """The scene that belongs to `seed`; the same one every time.

    Random numbers are PCG64's, so the layout is the same everywhere; a pixel may differ by a grey level between
    machines whose floating point rounds differently.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    camera = _make_camera(size_hw, rng)
    plan = make_plan(camera, make_layout(camera, rng.random() < 0.45, rng), rng)
    level = paint_ground(camera, plan.layout, rng)
    add_road_marks(level, camera, plan.road_marks, rng.uniform(8, 40) * rng.choice([-1.0, 1.0]))
    add_soft_marks(level, camera, plan.soft_marks, rng)
    canvas = Canvas(camera, np.clip(level, 12, 235).astype(np.uint8))
    boxes, class_ids = _paint_items(canvas, plan, level, rng)
    return Scene(_sense(canvas.grey, rng), boxes, class_ids)


def write_dataset(root: str | Path, train: int, val: int, seed: int = 0, size_hw: tuple[int, int] = (512, 640)) -> Path:
    """Write `train` and `val` scenes under `root` in the COCODetDataset layout (PNG images) and return `root`."""
    root = Path(root)
    (root / "images").mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    for split, count, offset in (("train", train, 0), ("val", val, 500_000)):
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number in range(count):
            drawn = scene(seed * 1_000_000 + offset + number, size_hw)
            name = f"{split}_{number:05d}.png"
            (root / "images" / name).write_bytes(cv2.imencode(".png", drawn.image[..., ::-1])[1].tobytes())
            images.append({"id": number + 1, "file_name": name, "width": size_hw[1], "height": size_hw[0]})
            for box, class_id in zip(drawn.boxes_xyxy.tolist(), drawn.class_ids.tolist(), strict=True):
                bbox = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
                record = {"id": len(annotations) + 1, "image_id": number + 1, "category_id": class_id + 1}
                annotations.append({**record, "bbox": bbox, "area": bbox[2] * bbox[3], "iscrowd": 0})
        categories = [{"id": place, "name": name} for place, name in enumerate(SCENE_CLASSES, start=1)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"instance_{split}.json").write_text(json.dumps(content))
    return root


def _make_camera(size_hw: tuple[int, int], rng: Random) -> Camera:
    """A camera of the heights and angles of HIT-UAV, not so far away that a person is under five pixels tall."""
    pitch = np.deg2rad(rng.choice([30, 40, 50, 60, 70, 80, 90]) - rng.uniform(0, 2))
    highest = min(130.0, 185 * np.sin(pitch))
    return Camera(float(rng.uniform(58, highest)), float(pitch), size_hw)


def _paint_items(canvas: Canvas, plan: Plan, level: Grey, rng: Random) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Paint from far to near; the boxes [N, 4] and class ids [N] of the objects that stay visible."""
    height, width = level.shape
    order = np.argsort([-canvas.camera.depth(np.array([item.pose.x, item.pose.y, 0.0])) for item in plan.items])
    painted: list[tuple[Item, int]] = []
    for place in order.tolist():
        item = plan.items[place]
        x, y = canvas.camera.project(np.array([item.pose.x, item.pose.y, 0.0])).astype(int).tolist()
        ground = float(level[min(max(y, 0), height - 1), min(max(x, 0), width - 1)])
        is_object = item.kind in SCENE_CLASSES and len(painted) < 255
        owner = len(painted) + 1 if is_object else 0
        PAINTERS[item.kind](canvas, item.pose, owner, float(np.clip(ground, 25, 205)), rng)
        if is_object:
            painted.append((item, canvas.count(owner)))
    _roughen(canvas, rng)
    return _visible_boxes(canvas.owner, painted)


def _roughen(canvas: Canvas, rng: Random) -> None:
    """Make the surfaces of objects uneven, in place; plain solids would be too smooth."""
    uneven = noise(canvas.grey.shape, 2.6, rng) * np.float32(rng.uniform(5, 11))
    uneven[canvas.owner == 0] = 0
    np.copyto(canvas.grey, np.clip(uneven + canvas.grey, 0, 245), casting="unsafe")


def _visible_boxes(
    owner: NDArray[np.uint8], painted: list[tuple[Item, int]]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    boxes: list[list[int]] = []
    class_ids: list[int] = []
    for number, (item, pixels) in enumerate(painted, start=1):
        x, y, width, height = cv2.boundingRect((owner == number).view(np.uint8))
        shown = np.count_nonzero(owner[y : y + height, x : x + width] == number)
        if min(width, height) >= _LEAST_SIDE and shown >= _LEAST_VISIBLE * pixels:
            boxes.append([x, y, x + width, y + height])
            class_ids.append(SCENE_CLASSES.index(item.kind))
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(class_ids, np.int64)


def _sense(grey: NDArray[np.uint8], rng: Random) -> NDArray[np.uint8]:
    """The picture [H, W, 3] that an uncooled sensor with its denoising and sharpening makes of the levels."""
    height, width = grey.shape
    seen = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), rng.uniform(0.65, 1.1))
    seen += np.float32(rng.uniform(0.3, 1.2)) * (seen - cv2.GaussianBlur(seen, (0, 0), 1.9))
    middle = np.float32(seen.mean())
    seen = (seen - middle) * np.float32(rng.uniform(0.75, 1.1)) + np.float32(rng.normal(124, 13))
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None] ** 2
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None] ** 2
    seen -= (rows + columns) * np.float32(rng.uniform(-3, 8))
    sigma = rng.uniform(0.8, 2.6)
    fine = rng.standard_normal(grey.shape, dtype=np.float32)
    seen += cv2.GaussianBlur(fine, (3, 3), 0.5) * np.float32(sigma * 1.3)
    seen += noise(grey.shape, 3.0, rng) * np.float32(0.6 + sigma * 0.4)
    seen += rng.standard_normal((1, width), dtype=np.float32) * np.float32(rng.uniform(0.1, 0.7))
    if rng.random() < 0.06:  # black is hot
        seen = 250 - seen
    levels = np.clip(np.rint(seen), 0, 244).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=2)
