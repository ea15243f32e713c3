"""Reads "CVAT for images" XML, one file for a whole set; shapes that are no boxes become the boxes around them."""

from collections import Counter
from pathlib import Path
from xml.etree.ElementTree import Element

from eyas.data.classnames import found_classes
from eyas.data.faults import Fault, Report, Unusable, shown
from eyas.data.images import ImageFolder, posix_name
from eyas.data.parts import Layout, Part
from eyas.data.perimage import Annotated, Mark, gather
from eyas.data.sample import ClassMap, Dataset
from eyas.data.textfiles import number, read_xml

_SHAPES = ("box", "polygon", "ellipse", "mask", "points", "polyline", "cuboid")


def read(layout: Layout, part: Part, report: Report) -> Dataset:
    """The reader of READERS. Classes are those of the file's list of labels, in its order, with the ids 1, 2, 3 …."""
    file = part.annotations
    root = read_xml(file, report)
    if root is None:
        return Dataset((), ClassMap((), ()), file)
    if root.find("track") is not None:
        fix = "Export it as 'CVAT for images'."
        report(Fault("error", "tracks-not-read", file, "holds tracks of a video; only images are read", fix=fix))
    folder = ImageFolder(part.images)
    boxed: Counter[str] = Counter()
    said = [
        one
        for place, image in enumerate(root.findall("image"))
        if (one := _annotated(file, image, f"image {image.get('id', place)}", folder, boxed, report)) is not None
    ]
    if boxed:
        kinds = ", ".join(f"{count} of kind {kind}" for kind, count in sorted(boxed.items()))
        message = f"{boxed.total()} shapes were turned into the boxes around them: {kinds}"
        report(Fault("info", "shapes-boxed", file, message, value=boxed.total()))
    listed = [(name.text or "").strip() for name in root.iterfind("meta//labels/label/name")]
    names = list(dict.fromkeys(name for name in listed if name))
    classes = ClassMap(tuple(names), tuple(range(1, len(names) + 1)))
    return gather(said, classes if names else found_classes(_labels(said)), file, report)


def fits(file: Path, report: Report) -> bool:
    """Whether an XML file is CVAT's."""
    root = read_xml(file, report)
    return root is not None and root.tag == "annotations" and root.find("image") is not None


def _labels(said: list[Annotated]) -> list[str]:
    return [mark.label for one in said for mark in one.marks if isinstance(mark.label, str)]


def _annotated(
    file: Path, image: Element, record: str, folder: ImageFolder, boxed: Counter[str], report: Report
) -> Annotated | None:
    """What the file says about one image; None after a report."""
    try:
        name = posix_name(image.get("name", ""))
        size = (int(number(image.get("width"), "width")), int(number(image.get("height"), "height")))
        if min(size) < 1:
            raise ValueError(f"width and height must be at least 1, got {size[0]} and {size[1]}")
    except (Unusable, ValueError) as problem:
        report(_unusable(problem).fault(file, record))
        return None
    marks = []
    for place, shape in enumerate(child for child in image if child.tag in _SHAPES):
        here = f"{record}, shape {place + 1}"
        try:
            marks.append(_mark(shape, here))
        except (Unusable, ValueError) as problem:
            report(_unusable(problem).fault(file, here))
            continue
        boxed.update([shape.tag] if shape.tag != "box" else [])
    found = folder.named(f"{image.get('subset', '')}/{name}")
    return Annotated(file, marks, name, size, image=found or folder.folders[0] / name.removeprefix("/"))


def _mark(shape: Element, record: str) -> Mark:
    label = shape.get("label", "").strip()
    if not label:
        raise Unusable("wrong-value", "the label is empty", field="label", fix="Name its class.")
    if shape.tag == "box":
        x1, y1, x2, y2 = (number(shape.get(side), side) for side in ("xtl", "ytl", "xbr", "ybr"))
    elif shape.tag == "ellipse":
        x, y, rx, ry = (number(shape.get(side), side) for side in ("cx", "cy", "rx", "ry"))
        x1, y1, x2, y2 = x - rx, y - ry, x + rx, y + ry
    elif shape.tag == "mask":
        x1, y1, width, height = (number(shape.get(side), side) for side in ("left", "top", "width", "height"))
        x2, y2 = x1 + width, y1 + height
    elif shape.tag == "polygon":
        points = [[number(value, "points") for value in pair.split(",")] for pair in shape.get("points", "").split(";")]
        if any(len(point) != 2 for point in points):
            raise ValueError(f"points must be x,y pairs, got {shown(shape.get('points'))}")
        xs, ys = zip(*points, strict=True)
        x1, y1, x2, y2 = min(xs), min(ys), max(xs), max(ys)
    else:
        fix = "Draw a box or a polygon."
        raise Unusable("shape-not-a-region", f"a shape of kind {shape.tag} encloses nothing", value=shape.tag, fix=fix)
    return Mark(record, label, (x1, y1, x2, y2))


def _unusable(problem: Exception) -> Unusable:
    return problem if isinstance(problem, Unusable) else Unusable("wrong-value", str(problem), fix="Mend the record.")
