"""Writes Pascal VOC: `Annotations/`, `JPEGImages/`, `ImageSets/Main/<split>.txt` and `label.txt`."""

from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from eyas.data.faults import Fault, FaultList
from eyas.data.images import without_suffix
from eyas.data.sample import Dataset, Sample
from eyas.data.write_common import check_names, corners_of, taken_by_others, tell_lost, write_classes
from eyas.data.write_images import Images, place_images
from eyas.saving import write_text


def write_voc(dataset: Dataset, target: Path, split: str = "train", images: Images = "link") -> tuple[Fault, ...]:
    """Write a split of a dataset into the folder `target`; returns what VOC could not hold.

    Boxes read back as the same float32 and in their order, `ignore` is written as `difficult`. `label.txt` keeps the
    order of the classes; their ids become 1, 2, 3 …, with a warning where they were others. Raises DatasetError where
    an image cannot be placed, or where `target` holds a label.txt with other classes.
    """
    check_names(dataset, "VOC")
    told = FaultList()
    write_classes(dataset, target, "VOC", told)
    listing = target / "ImageSets" / "Main" / f"{split}.txt"
    names = place_images(dataset, target / "JPEGImages", images, told, taken_by_others(listing, "*.txt"))
    for folder in (target / "Annotations", listing.parent):
        folder.mkdir(parents=True, exist_ok=True)
    for sample, name in zip(dataset.samples, names, strict=True):
        write_text(target / "Annotations" / f"{without_suffix(name)}.xml", _xml(sample, name, dataset.classes.names))
    write_text(listing, "".join(f"{without_suffix(name)}\n" for name in names))
    tell_lost(dataset, target / "Annotations", "VOC", told)
    return tuple(told.kept)


def _xml(sample: Sample, name: str, class_names: tuple[str, ...]) -> str:
    root = Element("annotation")
    SubElement(root, "folder").text = "JPEGImages"
    SubElement(root, "filename").text = name
    size = SubElement(root, "size")
    for side, value in (("width", sample.width), ("height", sample.height), ("depth", 3)):
        SubElement(size, side).text = str(value)
    for class_id, ignore, corners in zip(
        sample.class_ids.tolist(), sample.ignore.tolist(), corners_of(sample.boxes_xyxy), strict=True
    ):
        element = SubElement(root, "object")
        SubElement(element, "name").text = class_names[class_id]
        SubElement(element, "truncated").text = "0"
        SubElement(element, "difficult").text = str(int(ignore))
        box = SubElement(element, "bndbox")
        for side, corner in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True):
            SubElement(box, side).text = str(corner)
    indent(root)
    return tostring(root, encoding="unicode") + "\n"
