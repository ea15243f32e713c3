"""The layout of a dataset with one annotation file an image: its splits from folders, lists or data.yaml."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eyas.data.classnames import NAME_FILES
from eyas.data.discover import Folder, Place
from eyas.data.faults import Unusable, silent
from eyas.data.images import found_below, leads_out, posix_name, tails
from eyas.data.parts import Layout, Part, by_split, split_of
from eyas.data.textfiles import read_lines, read_yaml

_YAML = (".yaml", ".yml")
_LIST = re.compile(r"(train|val|valid|test|trainval)(_anno_list|_list)?\.txt$", re.IGNORECASE)


def layout_of(name: str, home: Path, places: list[Place], folders: dict[Path, Folder]) -> Layout:
    """The layout of the annotation folders `places` of one dataset, without its description."""
    splits = by_split([(place.split or "all", place.part) for place in places])
    if list(splits) == ["all"]:
        splits = _listed(name, home, splits["all"], folders) or splits
    class_file = _class_file(home, splits.values())
    if name == "yolo":
        config = _yolo_config(home, folders)
        if config is not None:
            class_file, content = config
            splits = _splits_of_yaml(home, content, splits)
    return Layout(name, "", home, splits, class_file)


def _listed(name: str, home: Path, part: Part, folders: dict[Path, Folder]) -> dict[str, Part]:
    """The splits that text files name: train_anno_list.txt, ImageSets/Main/train.txt, train.txt; {} without them."""
    names = folders[home].files if home in folders else ()
    lists: dict[str, list[Path]] = {kind: [] for kind in ("_anno_list", "main", "_list", "")}  # the surest first
    for file in names:
        found = _LIST.match(file)
        if found:
            lists[(found[2] or "").lower()].append(home / file)
    main = folders.get(home / "ImageSets" / "Main")
    if name == "voc" and main is not None:
        stems = {file.removesuffix(".txt") for file in main.files if file.endswith(".txt")}
        # cow_train.txt says which images of train.txt show a cow
        own = [stem for stem in sorted(stems) if not ("_" in stem and stem.rpartition("_")[2] in stems)]
        lists["main"] = [main.path / f"{stem}.txt" for stem in own]
    for files in lists.values():
        filled = [file for file in files if next(read_lines(file, silent), None) is not None]
        if filled:
            return by_split([(file.stem, Part(part.annotations, part.images, file)) for file in filled])
    return {}


def _class_file(home: Path, parts: Iterable[Part]) -> Path | None:
    places = [home, *(part.annotations for part in parts), home / "data"]
    return next((file for place in places for name in NAME_FILES if (file := place / name).is_file()), None)


def _yolo_config(home: Path, folders: dict[Path, Folder]) -> tuple[Path, dict[Any, Any]] | None:
    """(data.yaml or the like, its content): the first YAML file that has names."""
    names = [name for name in folders[home].files if name.lower().endswith(_YAML)]
    for name in sorted(names, key=lambda name: (name not in ("data.yaml", "dataset.yaml"), name)):
        content = read_yaml(home / name, silent)
        if isinstance(content, dict) and "names" in content:
            return home / name, content
    return None


def _splits_of_yaml(home: Path, content: dict[Any, Any], folders: dict[str, Part]) -> dict[str, Part]:
    """The splits that data.yaml names, each the part found by its folders where the YAML's path is not there.

    A path may be a folder, a text file of image paths or a list of folders, from `path` or from the YAML file on.
    Roboflow writes `../train/images` and means `train/images`.
    """
    base = [home]
    if isinstance(content.get("path"), str):
        base = [*(found for found in [_inside(base, content["path"])] if found), home]
    named: dict[str, Part] = {}
    for key in ("train", "val", "valid", "test"):
        entry = content.get(key)
        entries = entry if isinstance(entry, list) else [entry]
        paths = [path for text in entries if isinstance(text, str) and (path := _inside(base, text)) is not None]
        if paths:
            named[split_of(key) or key] = _part_of(paths, home)
    if not named:
        return folders
    others = {name: part for name, part in folders.items() if name != "all" and name not in named}
    return by_split([*named.items(), *others.items()])


def _inside(base: list[Path], text: str) -> Path | None:
    """What a path of data.yaml means inside the dataset; of one from elsewhere, at least two last parts must fit."""
    try:
        name = posix_name(text)
    except Unusable:
        return None
    whole = [tail for tail in tails(name) if tail.count("/") or tail == name] if leads_out(name) else [name]
    if name.startswith("../"):
        whole = whole[:1]
    return next((found for tail in whole if (found := found_below(base, tail)) and found.match(tail)), None)


def _part_of(paths: list[Path], home: Path) -> Part:
    first = paths[0]
    if first.is_file():
        return Part(home, (home,), first)
    parts = list(first.relative_to(home).parts)
    for place in reversed(range(len(parts))):
        if parts[place].lower() == "images":
            labels = home.joinpath(*parts[:place], "labels", *parts[place + 1 :])
            return Part(labels if labels.is_dir() else first, tuple(paths))
    return Part(first, tuple(paths))
