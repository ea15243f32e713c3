"""Which dataset a folder holds."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from eyas.data.discover import IMAGE_FOLDERS, Folder, annotated_folders, scan
from eyas.data.images import is_image
from eyas.data.labelled_layout import labelled_layouts
from eyas.data.parts import Layout, Part
from eyas.data.setfiles import coco_layouts, table_layouts
from eyas.data.splits import layout_of
from eyas.errors import DatasetError, did_you_mean

TITLES = {  # format -> what a description calls it
    "coco": "COCO JSON",
    "voc": "Pascal VOC XML",
    "labelme": "LabelMe JSON",
    "yolo": "YOLO labels",
    "visdrone": "VisDrone text files",
    "dota": "DOTA text files",
    "csv": "CSV of boxes",
    "cvat": "CVAT XML",
    "images": "images without annotations",
}
_LOOKED_FOR = (
    "annotations/instance_train.json (COCO), Annotations/*.xml (VOC), annotations/*.json (LabelMe), labels/*.txt or "
    "data.yaml (YOLO), annotations/*.txt (VisDrone), labelTxt/*.txt (DOTA), annotations.xml (CVAT), a CSV "
    "file of boxes"
)
_FOR_PEOPLE = ("readme", "licen", "unlabeled")
_WORDS = (".json", ".xml", ".txt", ".csv", ".yaml", ".yml", ".names", ".tfrecord", ".mat", ".h5", ".pkl")


def find_layout(root: str | Path, format: str | None = None) -> Layout:
    """The dataset that the folder `root` holds, itself or in a folder below; it is recognised by its files.

    `format`, a key of READERS, is needed where annotations of several formats are there; COCO alone wins over others
    beside it, which are taken to be what it was made from. A dataset in `root` itself wins over those below; the
    description names what is not read. Raises DatasetError where nothing is recognised, or more than one dataset; it
    says what was looked for and what is there.
    """
    root = Path(root)
    if format is not None and format not in TITLES:
        raise DatasetError(f"there is no dataset format {format!r}. {did_you_mean(format, TITLES)}")
    if not root.is_dir():
        raise DatasetError(f"the dataset folder {root} is not there")
    folders = scan(root)
    found = [*coco_layouts(root, folders), *table_layouts(root, folders)]
    groups = annotated_folders(root, folders)
    found += [layout_of(name, home, places, folders) for (name, home), places in groups.items()]
    every = [layout for layout in found if format in (None, layout.format)]
    found = every if format else _without_sources(every)
    found = [layout for layout in found if layout.root == root] or found
    if format == "images" or (not found and not format and _only_images(folders.values())):
        found = [_plain(root, folders)]
    if not found:
        looked_for = _LOOKED_FOR if format is None else TITLES[format]
        other = labelled_layouts(root, folders) if format is None else []
        hint = f". It looks like a recognition dataset: {other[0].description}" if other else ""
        there = _there(folders)
        raise DatasetError(f"no dataset is recognised in {root}. Looked for {looked_for}. There: {there}{hint}")
    if len(found) > 1:
        raise DatasetError(f"{root} holds {len(found)} datasets: {_listed(found, root)}")
    others = _few(_named(layout, root) for layout in every if layout not in found)
    return replace(found[0], description=describe(found[0]) + (f". Not read: {others}" if others else ""))


def describe(layout: Layout) -> str:
    """One sentence: the format, where its files are, which splits there are and what they come from."""
    places = _few(_below(layout.root, part.annotations) for part in layout.splits.values())
    images = _few(_below(layout.root, part.images[0]) for part in layout.splits.values())
    lists = _few(_below(layout.root, part.members) for part in layout.splits.values() if part.members)
    names = f", class names from {_below(layout.root, layout.class_file)}" if layout.class_file else ""
    splits = f"; splits: {', '.join(layout.splits)}" if list(layout.splits) != ["all"] else "; no splits"
    return f"{TITLES[layout.format]} in {places}, images in {images}{names}{splits}{f' (by {lists})' if lists else ''}"


def _without_sources(found: list[Layout]) -> list[Layout]:
    """The layouts without those that lie inside a COCO dataset."""
    homes = [layout.root for layout in found if layout.format == "coco"]
    return [
        layout
        for layout in found
        if layout.format == "coco" or not any(layout.root.is_relative_to(home) for home in homes)
    ]


def _only_images(folders: Iterable[Folder]) -> bool:
    """Whether there are images and nothing that could be annotations of an unknown kind."""
    names = [name.lower() for folder in folders for name in folder.files]
    return any(map(is_image, names)) and not any(
        name.endswith(_WORDS) and not name.startswith(_FOR_PEOPLE) for name in names
    )


def _plain(root: Path, folders: dict[Path, Folder]) -> Layout:
    images = next(iter([] if folders[root].has_images else folders[root].inner(IMAGE_FOLDERS)), root)
    return Layout("images", "", root, {"all": Part(images, (images,))})


def _listed(found: list[Layout], root: Path) -> str:
    """The datasets, and what to do about their number."""
    names = [_named(layout, root) for layout in found]
    if len({layout.root for layout in found}) == 1:
        formats = " or ".join(repr(layout.format) for layout in found)
        return f"{', '.join(names)}. Say which one is meant: format {formats}"
    return f"{_few(names)}. Name the folder of one of them"


def _named(layout: Layout, root: Path) -> str:
    return f"{TITLES[layout.format]} in {_below(root, layout.root)}"


def _there(folders: dict[Path, Folder]) -> str:
    """The kinds of files and their number, the likeliest annotations by name."""
    files = [folder.path / name for folder in folders.values() for name in folder.files]
    if not files:
        return "no file"
    top = next(iter(folders))
    kinds = Counter(file.suffix.lower() or "no suffix" for file in files).most_common(8)
    words = [_below(top, file) for file in files if file.suffix.lower() in _WORDS]
    return ", ".join(f"{number} x {kind}" for kind, number in kinds) + (f"; such as {_few(words)}" if words else "")


def _few(names: Iterable[str]) -> str:
    distinct = list(dict.fromkeys(names))
    return ", ".join(distinct[:4]) + (", …" if len(distinct) > 4 else "")


def _below(root: Path, path: Path) -> str:
    relative = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
    return "the same folder" if relative == "." else relative
