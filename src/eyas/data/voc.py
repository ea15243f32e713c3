"""Reads Pascal VOC XML, one file an image.

Corners are taken as they stand, as half-open pixels: the tools that write VOC today count from 0 and mean that. The
boxes of the original challenge count from 1 with the last pixel inside; they come out up to one pixel off.
"""

from pathlib import Path
from xml.etree.ElementTree import Element

from eyas.data.faults import Fault, Report, Unusable, shown
from eyas.data.parts import Layout, Part
from eyas.data.perimage import Annotated, Mark, read_files
from eyas.data.sample import Dataset
from eyas.data.textfiles import number, read_xml

_SIDES = ("xmin", "ymin", "xmax", "ymax")


def read(layout: Layout, part: Part, report: Report) -> Dataset:
    """The reader of READERS. Objects that are marked difficult become `ignore`, as VOC evaluates them."""
    return read_files(layout, part, ".xml", parse, report)


def fits(file: Path, report: Report) -> bool:
    """Whether an XML file is VOC's."""
    root = read_xml(file, report)
    return root is not None and root.tag == "annotation" and root.find("object/polygon") is None


def parse(file: Path, report: Report) -> Annotated | None:
    """What a VOC file says about its image."""
    root = read_xml(file, report)
    if root is None:
        return None
    if root.tag != "annotation":
        message = f"is not VOC: expected <annotation> outside, got <{root.tag[:80]}>"
        report(Fault("error", "not-voc", file, message))
        return None
    marks = []
    for place, element in enumerate(root.findall("object"), start=1):
        try:
            marks.append(_mark(element, f"object {place}"))
        except Unusable as problem:
            report(problem.fault(file, f"object {place}"))
    return Annotated(file, marks, _text(root, "filename") or None, _size(file, root, report))


def _mark(element: Element, record: str) -> Mark:
    name = _text(element, "name")
    if not name:
        raise Unusable("key-missing", "has no <name>", field="name", fix="Name its class.")
    box = element.find("bndbox")
    if box is None:
        there = ", ".join(f"<{child.tag[:40]}>" for child in element[:20])
        raise Unusable("key-missing", f"has no <bndbox>; it holds {there}", field="bndbox", fix="Give it a box.")
    values = {side: box.findtext(side) for side in _SIDES}
    try:
        x1, y1, x2, y2 = (number(text, side) for side, text in values.items())
    except ValueError as problem:
        raise Unusable("wrong-value", str(problem), field="bndbox", value=values, fix="Mend the box.") from None
    difficult = _text(element, "difficult").lower() in ("1", "true")
    return Mark(record, name, (x1, y1, x2, y2), difficult)


def _size(file: Path, root: Element, report: Report) -> tuple[int, int] | None:
    """The stated (width, height), None where there is none; a wrong one is told, the image's own then counts."""
    texts = [root.findtext(f"size/{side}") for side in ("width", "height")]
    if texts == [None, None]:
        return None
    try:
        width, height = (int(number(text)) for text in texts)
    except ValueError:
        width = height = 0
    if width >= 1 and height >= 1:
        return width, height
    message = f"the stated size {shown(texts)} is none; that of the image file is used"
    report(Fault("warning", "wrong-size", file, message, "size", "size", texts, "Write the image's size."))
    return None


def _text(element: Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()
