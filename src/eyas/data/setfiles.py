"""Finds the datasets whose annotations are one file a split: COCO JSON, CSV and CVAT's XML."""

import re
from collections.abc import Callable
from pathlib import Path

from eyas.data import cvat, table
from eyas.data.discover import ANNOTATION_FOLDERS, IMAGE_FOLDERS, Folder
from eyas.data.faults import Report, silent
from eyas.data.parts import Layout, Part, by_split, split_of

ROBOFLOW = "_annotations.coco.json"
_NAMES = (  # of COCO files, the surest first: what they begin with is followed by the split
    re.compile(r"instance_(?P<split>.+)\.json$"),
    re.compile(r"instances_(?P<split>.+)\.json$"),
    re.compile(r"(?P<split>train|val|valid|test|trainval)\.json$"),
    re.compile(r"person_keypoints_(?P<split>.+)\.json$"),
    re.compile(r"(?P<split>.+)\.json$"),
)
_FEW = 20  # JSON files of other names that are opened in a folder; more of them are one an image
_PEEK = 1_000_000  # bytes


def coco_layouts(root: Path, folders: dict[Path, Folder]) -> list[Layout]:
    """The COCO datasets below `root`, without their descriptions."""
    homes: dict[Path, dict[int, list[tuple[str, Path]]]] = {}
    for folder in folders.values():
        home = _home(root, folder)
        if ROBOFLOW in folder.files:
            in_split = folder.path != root and split_of(folder.path.name) is not None
            top, name = (folder.path.parent, folder.path.name) if in_split else (folder.path, "all")
            homes.setdefault(top, {}).setdefault(0, []).append((name, folder.path / ROBOFLOW))
        for rank, split, file in _coco_files(folder):
            homes.setdefault(home, {}).setdefault(rank, []).append((split, file))
    layouts = []
    for home, ranks in homes.items():
        found = ranks[min(ranks)]
        if len(found) == 1 and min(ranks) == len(_NAMES) - 1 and split_of(found[0][0]) is None:
            found = [("all", found[0][1])]
        parts = [(split, Part(file, _image_folders(home, split, file, folders))) for split, file in found]
        layouts.append(Layout("coco", "", home, by_split(parts)))
    return layouts


def table_layouts(root: Path, folders: dict[Path, Folder]) -> list[Layout]:
    """The datasets below `root` whose boxes are in CSV files or CVAT's, without their descriptions."""
    kinds: dict[str, tuple[str, Callable[[Path, Report], bool]]] = {
        "csv": (".csv", table.fits),
        "cvat": (".xml", cvat.fits),
    }
    return [
        Layout(name, "", home, by_split(_alone(parts)))
        for name, (suffix, fits) in kinds.items()
        for home, parts in _set_files(root, folders, suffix, fits).items()
    ]


def _set_files(
    root: Path, folders: dict[Path, Folder], suffix: str, fits: Callable[[Path, Report], bool]
) -> dict[Path, list[tuple[str, Part]]]:
    """The files `*suffix` that fit, by the dataset's folder, each with the name of its split."""
    homes: dict[Path, list[tuple[str, Part]]] = {}
    for folder in folders.values():
        files = [folder.path / name for name in folder.files if name.lower().endswith(suffix)]
        in_split = folder.path != root and split_of(folder.path.name) is not None
        home = folder.path.parent if in_split else _home(root, folder)
        for file in files[:_FEW] if len(files) <= _FEW or suffix == ".csv" else ():
            if fits(file, silent):
                images = (*([] if folder.has_images else folders[home].inner(IMAGE_FOLDERS)), folder.path)[:1]
                split = folder.path.name if in_split else file.stem
                homes.setdefault(home, []).append((split, Part(file, images)))
    return homes


def _alone(parts: list[tuple[str, Part]]) -> list[tuple[str, Part]]:
    return [("all", parts[0][1])] if len(parts) == 1 and split_of(parts[0][0]) is None else parts


def _home(root: Path, folder: Folder) -> Path:
    """The dataset's folder: the one above `annotations`."""
    inside = folder.path != root and folder.path.name.lower() in ANNOTATION_FOLDERS
    return folder.path.parent if inside else folder.path


def _coco_files(folder: Folder) -> list[tuple[int, str, Path]]:
    """(how sure the name is, 0 the surest; the split that it tells; the file) of every COCO file in a folder."""
    names = [name for name in folder.files if name.lower().endswith(".json") and name != ROBOFLOW]
    found = []
    for name in names:
        rank, split = next((rank, match["split"]) for rank, form in enumerate(_NAMES) if (match := form.match(name)))
        if rank == len(_NAMES) - 1 and len(names) > _FEW:
            continue
        if rank < 2 or _looks_like_coco(folder.path / name):
            found.append((rank, split, folder.path / name))
    return found


def _looks_like_coco(file: Path) -> bool:
    """Whether a JSON file has COCO's keys, told from its first and last megabyte."""
    try:
        with file.open("rb") as stream:
            text = stream.read(_PEEK)
            stream.seek(max(_PEEK, file.stat().st_size - _PEEK))
            text += stream.read(_PEEK)
    except OSError:
        return False
    return b'"images"' in text and (b'"categories"' in text or b'"annotation' in text)


def _image_folders(home: Path, split: str, file: Path, folders: dict[Path, Folder]) -> tuple[Path, ...]:
    """Where the images of a COCO file may be: `images/train2017`, `train2017`, `images`, the folder itself."""
    if file.name == ROBOFLOW:
        return (file.parent,)
    names = dict.fromkeys((split, split_of(split) or split))
    around = folders[home].inner((*IMAGE_FOLDERS, "data"))
    choices = [above / name for above in (*around, home) for name in names] + [*around, home]
    there = [path for path in choices if path in folders]
    return tuple(there) if there != [home] else (home / "images", home)
