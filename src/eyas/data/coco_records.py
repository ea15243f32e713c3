"""COCO files put together as they are: every key of every record is kept, ids are made distinct, classes match by name.

Readers make boxes of COCO files; a split must not lose the outlines, licences and remarks beside them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eyas.data.coco import NEEDED
from eyas.data.faults import Fault, Report, Unusable, shown, strictly
from eyas.data.images import likeliest, posix_name
from eyas.data.merge import free_id
from eyas.data.parts import Part
from eyas.data.textfiles import read_json
from eyas.errors import DatasetError

Record = dict[str, Any]


@dataclass
class Records:
    """The lists of several COCO files in one, and `rest`, what else stands at their tops."""

    images: list[Record] = field(default_factory=list)
    annotations: list[Record] = field(default_factory=list)
    categories: list[Record] = field(default_factory=list)
    rest: dict[str, Any] = field(default_factory=dict)

    def take(self, image_ids: set[int]) -> dict[str, Any]:
        """The content of a COCO file of those images, with all categories."""
        images = [record for record in self.images if record["id"] in image_ids]
        annotations = [record for record in self.annotations if record["image_id"] in image_ids]
        return {**self.rest, "images": images, "annotations": annotations, "categories": self.categories}


def merge_files(home: Path, parts: Sequence[Part], report: Report) -> Records:
    """The records of all parts, in order; what cannot be placed (no id, no such image or class) is told and left out.

    File names are written from the one folder that all parts find their images in. Raises DatasetError for a file
    that is not COCO, and where there is no such folder.
    """
    merger = _Merger(report)
    contents = [strictly(lambda told, part=part: _content(part.annotations, told)) for part in parts]  # type: ignore[misc]
    folders = [likeliest(part.images, _names(content)) for part, content in zip(parts, contents, strict=True)]
    base = _base(home, parts, folders)
    for part, content, folder in zip(parts, contents, folders, strict=True):
        inside = "" if folder == base else f"{folder.relative_to(base).as_posix()}/"
        merger.add(part.annotations, content, inside)
    return merger.records


def _content(file: Path, report: Report) -> dict[str, Any]:
    content = read_json(file, report)
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in NEEDED):
        raise DatasetError(f"{file} is not COCO: expected an object with the lists {', '.join(NEEDED)}")
    return content


def _names(content: dict[str, Any]) -> list[object]:
    return [record.get("file_name") for record in content["images"] if isinstance(record, dict)]


def _base(home: Path, parts: Sequence[Part], folders: Sequence[Path]) -> Path:
    """The folder from which file names are written."""
    shared = [path for path in (folders[0], home / "images", home) if all(path in part.images for part in parts)]
    base = next((path for path in shared if all(folder.is_relative_to(path) for folder in folders)), None)
    if base is None:
        where = ", ".join(map(str, dict.fromkeys(folders)))
        raise DatasetError(
            f"the images of {home} lie apart ({where}), so its files cannot be split in place. Give a target folder"
        )
    return base


class _Merger:
    """Adds the records of one file after the other."""

    def __init__(self, report: Report) -> None:
        self.records = Records()
        self._report = report
        self._category_of: dict[str, int] = {}
        self._file_of: dict[str, Path] = {}
        self._next = {"images": 1, "annotations": 1}
        self._taken: dict[str, set[int]] = {"images": set(), "annotations": set()}

    def add(self, file: Path, content: dict[str, Any], inside: str) -> None:
        """Add a file whose image names are preceded by the folder `inside`."""
        category_of = self._categories(file, content["categories"])
        image_of = self._images(file, content["images"], inside)
        self._annotations(file, content["annotations"], image_of, category_of)
        for key, value in content.items():
            if key not in NEEDED and self.records.rest.setdefault(key, value) != value:
                message = f"its {key!r} is another than that of the file before, which is kept"
                self._report(Fault("warning", "key-differs", file, message, field=key))

    def _categories(self, file: Path, categories: list[Any]) -> dict[int, int]:
        """Id in the file -> id in the merged records."""
        known: dict[int, int] = {}
        for place, record in enumerate(categories):
            try:
                own, name = _id(record), _text(record, "name")
                if own in known:
                    raise Unusable("duplicate-id", f"the id {own} is given twice", field="id", value=own)
            except Unusable as problem:
                self._report(problem.fault(file, f"categories[{place}]"))
                continue
            if name not in self._category_of:
                self._category_of[name] = free_id(own, self._category_of.values())
                self.records.categories.append({**record, "id": self._category_of[name]})
            known[own] = self._category_of[name]
        return known

    def _images(self, file: Path, images: list[Any], inside: str) -> dict[int, int | None]:
        """Id in the file -> id in the merged records, None for an image that was there before."""
        known: dict[int, int | None] = {}
        for place, record in enumerate(images):
            try:
                own, text = _id(record), _text(record, "file_name")
                name = posix_name(text)
                if own in known:
                    raise Unusable("duplicate-id", f"the id {own} is given twice", field="id", value=own)
            except Unusable as problem:
                self._report(problem.fault(file, f"images[{place}]"))
                continue
            if inside + name in self._file_of:
                known[own] = None
                message = f"the image {name} is in {self._file_of[inside + name]} too, whose boxes are used"
                self._report(Fault("warning", "image-twice", file, message, f"images[{place}]", "file_name", text))
                continue
            self._file_of[inside + name] = file
            known[own] = self._new_id("images", own)
            changes = {"id": known[own]} | ({"file_name": inside + name} if inside else {})
            self.records.images.append({**record, **changes})
        return known

    def _annotations(
        self, file: Path, annotations: list[Any], image_of: dict[int, int | None], category_of: dict[int, int]
    ) -> None:
        for place, record in enumerate(annotations):
            try:
                image, category = (
                    _known(record, *one) for one in (("image_id", image_of), ("category_id", category_of))
                )
            except Unusable as problem:
                self._report(problem.fault(file, f"annotations[{place}]"))
                continue
            if image is None:
                message = "belongs to the second mention of an image"
                self._report(Fault("warning", "box-twice", file, message, f"annotations[{place}]"))
                continue
            own = record.get("id")
            new = self._new_id("annotations", own if type(own) is int else None)
            self.records.annotations.append({**record, "id": new, "image_id": image, "category_id": category})

    def _new_id(self, kind: str, wanted: int | None) -> int:
        """`wanted` where it is free, else the next number that is larger than all before."""
        taken = self._taken[kind]
        number = self._next[kind] if wanted is None or wanted in taken else wanted
        taken.add(number)
        self._next[kind] = max(self._next[kind], number + 1)
        return number


def _known(record: Any, key: str, known: dict[int, Any]) -> Any:
    value = record.get(key) if isinstance(record, dict) else None
    if type(value) is not int or value not in known:
        raise Unusable("unknown-reference", f"{key} is {shown(value)}, which is not there", field=key, value=value)
    return known[value]


def _id(record: Any) -> int:
    value = record.get("id") if isinstance(record, dict) else None
    if type(value) is not int:
        raise Unusable("key-missing", f"has no whole number 'id', got {shown(value)}", field="id", value=value)
    return value


def _text(record: Record, key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str) or not value.strip():
        raise Unusable("key-missing", f"has no text {key!r}, got {shown(value)}", field=key, value=value)
    return value
