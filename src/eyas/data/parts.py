"""Where the parts of a dataset lie: what `find_layout` returns and the readers are given."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eyas.errors import DatasetError

_SPLIT = re.compile(
    r"(?:^|[-_. ])(trainval|train|training|val|valid|validation|minival|test-?dev|test-?challenge|test|testing)"
    r"(?:_data|_list|_anno_list|20\d\d)?$",
    re.IGNORECASE,
)
_USUAL = {"training": "train", "valid": "val", "validation": "val", "testing": "test", "testdev": "test-dev"}


@dataclass(frozen=True)
class Part:
    """One split. `annotations` is its file, or the folder of its files; `images` are the folders to look for images in,
    the likeliest first; `members` is a text file that names what belongs to it, None where everything does.
    """

    annotations: Path
    images: tuple[Path, ...]
    members: Path | None = None


@dataclass(frozen=True)
class Layout:
    """A dataset that was recognised.

    `format` is a key of READERS, `description` a sentence about what was found, `root` the dataset's own folder,
    `splits` its parts by name: "train", "val", "test" or what the dataset calls them, "all" where it has no splits.
    `class_file` lists the class names, where there is such a file.
    """

    format: str
    description: str
    root: Path
    splits: Mapping[str, Part]
    class_file: Path | None = None

    def part(self, split: str | None) -> tuple[str, Part]:
        """(name, part) of a split; None is the only one. Raises DatasetError, which names those there are."""
        if split is None and len(self.splits) == 1:
            return next(iter(self.splits.items()))
        for name in (split, split_of(split or "")):
            if name is not None and name in self.splits:
                return name, self.splits[name]
        there = ", ".join(self.splits) or "none"
        if split is None:
            raise DatasetError(f"{self.root} has the splits {there}; name one of them")
        expected = f" (expected annotations/instance_{split}.json)" if self.format == "coco" else ""
        raise DatasetError(f"{self.root} has no split {split!r}{expected}. Found: {self.description}")


def split_of(name: str) -> str | None:
    """The usual name of the split that a folder or file name (without suffix) tells, else None.

    `train2017` -> "train", `VisDrone2019-DET-val` -> "val", `valid` -> "val", `test-dev` -> "test-dev".
    """
    found = _SPLIT.search(name)
    if found is None:
        return None
    word = found[1].lower()
    return _USUAL.get(word, word)


def by_split(parts: Sequence[tuple[str, Part]]) -> dict[str, Part]:
    """The parts under their usual names, train first; under their own where two would share one (`train2014`)."""
    usual = [split_of(name) or name for name, _ in parts]
    named = {
        (short if usual.count(short) == 1 else name): part for short, (name, part) in zip(usual, parts, strict=True)
    }
    order = ("train", "trainval", "val", "test")
    return dict(sorted(named.items(), key=lambda item: (order.index(item[0]) if item[0] in order else 9, item[0])))
