"""Writes LabelMe JSON in PaddleX's layout: `images/`, `annotations/`, `label.txt` and `<split>_anno_list.txt`."""

import json
from pathlib import Path
from typing import Any

from eyas.data.faults import Fault, FaultList
from eyas.data.images import without_suffix
from eyas.data.sample import Dataset, Sample
from eyas.data.write_common import check_names, corners_of, taken_by_others, tell_lost, write_classes
from eyas.data.write_images import Images, place_images
from eyas.saving import write_text

_VERSION = "5.5.0"  # of LabelMe, whose files these are like


def write_labelme(dataset: Dataset, target: Path, split: str = "train", images: Images = "link") -> tuple[Fault, ...]:
    """Write a split of a dataset into the folder `target`, boxes as rectangles; returns what LabelMe could not hold.

    Boxes read back as the same float32 and in their order. An ignored box gets the shape flag `ignore`, which
    `read_dataset` knows and other programs do not; a warning counts them. `label.txt` keeps the order of the classes,
    their ids become 1, 2, 3 …, with a warning where they were others. Raises DatasetError where an image cannot be
    placed, or where `target` holds a label.txt with other classes.
    """
    check_names(dataset, "LabelMe")
    told = FaultList()
    write_classes(dataset, target, "LabelMe", told)
    listing = target / f"{split}_anno_list.txt"
    names = place_images(dataset, target / "images", images, told, taken_by_others(listing, "*_anno_list.txt"))
    folder = target / "annotations"
    folder.mkdir(parents=True, exist_ok=True)
    for sample, name in zip(dataset.samples, names, strict=True):
        content = _content(sample, name, dataset.classes.names)
        write_text(folder / f"{without_suffix(name)}.json", json.dumps(content, ensure_ascii=False, indent=2) + "\n")
    write_text(listing, "".join(f"annotations/{without_suffix(name)}.json\n" for name in names))
    ignored = sum(int(sample.ignore.sum()) for sample in dataset.samples)
    if ignored:
        message = f"{ignored} ignored boxes are marked by the shape flag 'ignore'; other programs take them for objects"
        told(Fault("warning", "ignore-as-flag", folder, message, value=ignored))
    tell_lost(dataset, folder, "LabelMe", told)
    return tuple(told.kept)


def _content(sample: Sample, name: str, class_names: tuple[str, ...]) -> dict[str, Any]:
    rows = zip(sample.class_ids.tolist(), sample.ignore.tolist(), corners_of(sample.boxes_xyxy), strict=True)
    shapes = [
        {
            "label": class_names[class_id],
            "points": [[x1, y1], [x2, y2]],
            "group_id": None,
            "description": "",
            "shape_type": "rectangle",
            "flags": {"ignore": True} if ignore else {},
        }
        for class_id, ignore, (x1, y1, x2, y2) in rows
    ]
    return {
        "version": _VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": f"../images/{name}",
        "imageData": None,
        "imageHeight": sample.height,
        "imageWidth": sample.width,
    }
