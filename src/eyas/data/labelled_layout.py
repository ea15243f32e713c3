"""Which recognition dataset a folder holds: lists, LabelMe flags, or a folder a label."""

import re
from dataclasses import replace
from itertools import islice
from pathlib import Path

from eyas.data.discover import ANNOTATION_FOLDERS, IMAGE_FOLDERS, Folder, scan
from eyas.data.faults import Unusable, silent
from eyas.data.images import is_image
from eyas.data.labelnames import label_names_file, split_line
from eyas.data.parts import Layout, Part, by_split
from eyas.data.perimage import describes_one
from eyas.data.textfiles import MAX_BYTES_OF_ONE_IMAGE, read_json, read_lines
from eyas.errors import DatasetError, did_you_mean

TITLES = {
    "lists": "lists of images and labels",
    "flags": "LabelMe JSON with a flag for the label",
    "folders": "a folder of images for each label",
}
PARTS = ("train", "gallery", "query", "val", "test")
_LIST = re.compile(r"(train|gallery|query|val|test|image)(_list)?\.txt$", re.IGNORECASE)
_LOOKED_FOR = "train.txt, gallery.txt and query.txt with lines `path label`, LabelMe files with flags, a folder a label"
_TRIES = 8


def find_labelled(root: str | Path, format: str | None = None) -> Layout:
    """The recognition dataset that `root` holds, itself or in a folder below; `format` is a key of TITLES.

    The splits of the layout are its parts: "train", "gallery", "query" …, or "all"; a folder's name where there are
    no such parts. Lists count before flags, and those before folders. Raises DatasetError where nothing is recognised,
    or more than one dataset.
    """
    root = Path(root)
    if format is not None and format not in TITLES:
        raise DatasetError(f"there is no format {format!r} of recognition datasets. {did_you_mean(format, TITLES)}")
    if not root.is_dir():
        raise DatasetError(f"the dataset folder {root} is not there")
    found = labelled_layouts(root, scan(root), format)
    if not found:
        looked_for = _LOOKED_FOR if format is None else TITLES[format]
        raise DatasetError(f"no recognition dataset is recognised in {root}. Looked for {looked_for}")
    if len(found) > 1:
        places = ", ".join(str(layout.root) for layout in found[:3]) + (", …" if len(found) > 3 else "")
        raise DatasetError(f"{root} holds {len(found)} datasets ({places}); name the folder of one of them")
    return found[0]


def labelled_layouts(root: Path, folders: dict[Path, Folder], format: str | None = None) -> list[Layout]:
    """The recognition datasets of the first format that any is found in."""
    finders = {"lists": _lists, "flags": _flags, "folders": _folders}
    for name, finder in finders.items():
        found = finder(root, folders) if format in (None, name) else []
        if found:
            return [replace(layout, description=_describe(layout)) for layout in found]
    return []


def _lists(_: Path, folders: dict[Path, Folder]) -> list[Layout]:
    found = []
    for folder in folders.values():
        files = [folder.path / name for name in folder.files if _LIST.match(name)]
        lists = [file for file in files if _is_list(file)]
        if lists:
            parts = by_split([(file.stem.removesuffix("_list"), Part(file, (folder.path,))) for file in lists])
            found.append(Layout("lists", "", folder.path, _in_order(parts), label_names_file(folder.path)))
    return found


def _is_list(file: Path) -> bool:
    """Whether one of the first lines is an image with a label; the first one alone may be damaged."""
    return any(_is_labelled(text) for _, text in islice(read_lines(file, silent), _TRIES))


def _is_labelled(text: str) -> bool:
    try:
        return is_image(split_line(text)[0].replace("\\", "/").rpartition("/")[2])
    except Unusable:
        return False


def _flags(root: Path, folders: dict[Path, Folder]) -> list[Layout]:
    found = []
    for folder in folders.values():
        files = [folder.path / name for name in folder.files if name.lower().endswith(".json") and describes_one(name)]
        if not any(_has_flags(file) for file in files[:_TRIES]):
            continue
        inside = folder.path != root and folder.path.name.lower() in (*ANNOTATION_FOLDERS, *IMAGE_FOLDERS)
        home = folder.path.parent if inside else folder.path
        images = (*([] if folder.has_images else folders[home].inner(IMAGE_FOLDERS)), folder.path)[:1]
        found.append(Layout("flags", "", home, {"all": Part(folder.path, images)}))
    return found


def _has_flags(file: Path) -> bool:
    content = read_json(file, silent, MAX_BYTES_OF_ONE_IMAGE)
    return isinstance(content, dict) and isinstance(content.get("flags"), dict) and True in content["flags"].values()


def _folders(root: Path, folders: dict[Path, Folder]) -> list[Layout]:
    """At most one: `root` with its images in folders; `train`, `gallery`, … in it are parts where nothing else is."""
    if folders[root].has_images or not any(folder.has_images for folder in folders.values()):
        return []
    parts = {name: root / name for name in folders[root].folders}
    named = {name.lower(): path for name, path in parts.items() if name.lower() in PARTS}
    if len(named) == len(parts):
        splits = {name: Part(path, (path,)) for name, path in named.items() if not folders[path].has_images}
        return [Layout("folders", "", root, _in_order(splits))] if splits else []
    return [Layout("folders", "", root, {"all": Part(root, (root,))})]


def _in_order(parts: dict[str, Part]) -> dict[str, Part]:
    return {name: parts[name] for name in (*PARTS, *sorted(parts)) if name in parts}


def _describe(layout: Layout) -> str:
    places = [part.annotations for part in layout.splits.values()]
    where = ", ".join(path.name if path != layout.root else "the same folder" for path in places[:4])
    names = f", names from {layout.class_file.name}" if layout.class_file else ""
    parts = "no parts" if list(layout.splits) == ["all"] else f"parts: {', '.join(layout.splits)}"
    return f"{TITLES[layout.format]} in {where}{names}; {parts}"
