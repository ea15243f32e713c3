"""Reads images without annotations: a plain folder of them, and the list `unlabeled.txt` beside a dataset."""

from pathlib import Path

from eyas.data.faults import Fault, Report, Unusable
from eyas.data.images import found_below, images_below, posix_name
from eyas.data.parts import Layout, Part
from eyas.data.perimage import Annotated, gather
from eyas.data.sample import ClassMap, Dataset
from eyas.data.textfiles import read_lines

UNLABELLED = "unlabeled.txt"


def read(_: Layout, part: Part, report: Report) -> Dataset:
    """The reader of READERS: every image below the part's folders, without boxes; the dataset has no classes."""
    said = [Annotated(path, [], image=path) for folder in part.images for path in images_below(folder)]
    return gather(said, ClassMap((), ()), part.annotations, report)


def read_unlabelled(root: Path, report: Report) -> tuple[Path, ...]:
    """The images that `unlabeled.txt`, in `root` or its `annotations`, names a line each; () without that file."""
    listing = next((file for folder in (root, root / "annotations") if (file := folder / UNLABELLED).is_file()), None)
    images: dict[Path, None] = {}
    for record, text in read_lines(listing, report) if listing else ():
        try:
            found = found_below((root, root / "images"), posix_name(text))
            if found is None or not found.is_file():
                fix = "Mend the list, or add the image."
                raise Unusable("list-entry-missing", f"there is no image {text[:80]!r}", value=text, fix=fix)
        except Unusable as problem:
            report(problem.fault(listing or root, record))
            continue
        if found in images:
            report(Fault("warning", "image-twice", listing or root, f"names {text[:80]!r} again", record, value=text))
        images[found] = None
    return tuple(images)
