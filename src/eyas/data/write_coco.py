"""Writes COCO JSON in PaddleX's layout: `images/` and `annotations/instance_<split>.json`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.data.faults import Fault, FaultList
from eyas.data.sample import Dataset
from eyas.data.write_common import decimals, plain
from eyas.data.write_images import Images, place_images
from eyas.saving import write_text


def write_coco(dataset: Dataset, target: Path, split: str = "train", images: Images = "link") -> tuple[Fault, ...]:
    """Write a split of a dataset into the folder `target`; returns what was told (images that are not there).

    Nothing is lost: boxes read back as the same float32, with their areas, `ignore` as `iscrowd`, image ids, sizes, and
    class ids as the source wrote them. Raises DatasetError where an image cannot be placed.
    """
    told = FaultList()
    names = place_images(dataset, target / "images", images, told)
    pictures: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for sample, name in zip(dataset.samples, names, strict=True):
        size = {"width": sample.width, "height": sample.height}
        pictures.append({"id": sample.image_id, "file_name": name, **size})
        rows = zip(
            (dataset.classes.source_ids[class_id] for class_id in sample.class_ids.tolist()),
            _boxes_xywh(sample.boxes_xyxy),
            plain(sample.box_areas),
            sample.ignore.astype(int).tolist(),
            strict=True,
        )
        annotations += [
            {
                "id": len(annotations) + place,
                "image_id": sample.image_id,
                "category_id": category,
                "bbox": box,
                "area": area,
                "iscrowd": crowd,
            }
            for place, (category, box, area, crowd) in enumerate(rows, start=1)
        ]
    pairs = zip(dataset.classes.source_ids, dataset.classes.names, strict=True)
    categories = [{"id": source_id, "name": name} for source_id, name in pairs]
    file = target / "annotations" / f"instance_{split}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {"images": pictures, "annotations": annotations, "categories": categories}
    write_text(file, json.dumps(content, ensure_ascii=False))
    return tuple(told.kept)


def _boxes_xywh(boxes_xyxy: NDArray[np.float32]) -> list[list[float | int]]:
    """x, y, width, height, whose sums read back as the same float32 corners."""
    corners = decimals(boxes_xyxy)
    sizes = corners[:, 2:] - corners[:, :2]
    neat = np.round(sizes, 6)
    sizes = np.where((corners[:, :2] + neat).astype(np.float32) == boxes_xyxy[:, 2:], neat, sizes)
    return [plain(row) for row in np.concatenate([corners[:, :2], sizes], axis=1)]
