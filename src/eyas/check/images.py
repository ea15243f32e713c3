"""The image files of a split: are they there, can they be read, are they as large as their annotation says."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from eyas.data.faults import Fault, FaultList, Report, Severity
from eyas.data.images import images_below, read_sizes
from eyas.data.labelled import LabelledImages
from eyas.data.parts import Part
from eyas.data.sample import Dataset, Sample
from eyas.errors import InputError

Advance = Callable[[int], None]
"""Called with the number of images that were just done."""

CHUNK = 2000  # images whose results are held at once

_ORIENTATION = 0x0112  # EXIF tag


@dataclass(frozen=True)
class ImageList:
    """The images that a split names. `files` and `records` say for each where it is named; `source` is for all.

    `sizes_wh` are the sizes that the annotations give, None in a recognition dataset. Images that exist only inside
    their annotation file are not in it.
    """

    split: str
    source: Path
    paths: tuple[Path, ...]
    files: tuple[Path, ...]
    records: tuple[str, ...]
    sizes_wh: tuple[tuple[int, int], ...] | None

    @classmethod
    def of_dataset(cls, split: str, dataset: Dataset) -> "ImageList":
        """The images of an annotated dataset."""
        samples = [sample for sample in dataset.samples if sample.path not in dataset.embedded]
        return cls(
            split,
            dataset.source,
            tuple(sample.path for sample in samples),
            tuple(dataset.file_of(sample) for sample in samples),
            tuple(record_of(dataset, sample) for sample in samples),
            tuple((sample.width, sample.height) for sample in samples),
        )

    @classmethod
    def of_labelled(cls, split: str, images: LabelledImages) -> "ImageList":
        """The images of one part of a recognition dataset."""
        records = images.records or ("",) * len(images)
        return cls(split, images.source, images.paths, (images.source,) * len(images), records, None)

    def chunks(self) -> Iterator[slice]:
        """Slices of at most `CHUNK` images, in order."""
        for start in range(0, len(self.paths), CHUNK):
            yield slice(start, min(start + CHUNK, len(self.paths)))

    def fault(self, severity: Severity, place: int, code: str, message: str, fix: str = "") -> Fault:
        """A fault of the image file at `place`."""
        value = str(self.paths[place])
        return Fault(severity, code, self.files[place], message, self.records[place], "file_name", value, fix)


def record_of(dataset: Dataset, sample: Sample) -> str:
    """How a fault names an image: by its id, or by its file name where the format has no ids."""
    return sample.path.name if dataset.files else f"image id {sample.image_id}"


def check_headers(images: ImageList, report: Report, advance: Advance = lambda _: None) -> list[int]:
    """The number of pixels of each image, 0 where it cannot be read, from its header alone.

    What is wrong goes to `report`.
    """
    pixels: list[int] = []
    for chunk in images.chunks():
        sizes = read_sizes(images.paths[chunk])
        for place, size in enumerate(sizes, start=chunk.start):
            fault = _unreadable(images, place, size) if isinstance(size, InputError) else _unlike(images, place, size)
            if fault is not None:
                report(fault)
            pixels.append(0 if isinstance(size, InputError) else size[0] * size[1])
        advance(len(sizes))
    return pixels


def _unreadable(images: ImageList, place: int, problem: InputError) -> Fault:
    path, reason = images.paths[place], str(problem).removesuffix(".")
    if not path.exists():
        fix = "Put the image there, or mend its name in the annotations."
        return images.fault("error", place, "image-missing", f"there is no image {path}", fix)
    code, fix = "image-unreadable", "Replace the image, or remove it with its annotations."
    if path.is_file() and path.stat().st_size == 0:
        code = "image-empty"
    return images.fault("error", place, code, reason, fix)


def _unlike(images: ImageList, place: int, size_wh: tuple[int, int]) -> Fault | None:
    """The fault of an image that is not as large as its annotation says; `size_wh` is that of the upright picture."""
    if images.sizes_wh is None or images.sizes_wh[place] == size_wh:
        return None
    path, said = images.paths[place], images.sizes_wh[place]
    message = f"{path} is {size_wh[0]} x {size_wh[1]} pixels, its annotation says {said[0]} x {said[1]}"
    code, fix = "size-mismatch", "Mend width and height, and look whether the boxes fit the image."
    if said == size_wh[::-1]:
        turned = orientation_of(path) >= 5
        code = "size-before-turning" if turned else "size-transposed"
        if turned:
            message += ": that is the stored picture, before its EXIF orientation turns it upright"
            fix = "Annotate the upright picture, or remove the orientation from the file."
    record, field = images.records[place], "width, height"
    return Fault("error", code, images.files[place], message, record, field, list(said), fix)


def orientation_of(path: Path) -> int:
    """EXIF orientation 1…8 of an image whose header is readable; 1 where it has none."""
    try:
        with Image.open(path) as image:
            return tidy_orientation(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # Pillow raises nearly every type on a damaged EXIF block, which vision.image takes as upright
        return 1


def tidy_orientation(value: object) -> int:
    """An EXIF orientation as it is written, or 1 where it is none of the eight."""
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def check_listed_once(images: ImageList, report: Report) -> None:
    """Tell every image that the split names more than once."""
    first: dict[Path, int] = {}
    for place, path in enumerate(images.paths):
        if path in first:
            message = f"{path} is named again; {images.records[first[path]]} names it too"
            fix = "Keep one of the two, with all of its boxes."
            report(images.fault("error", place, "image-twice", message, fix))
        first.setdefault(path, place)


def tell_unannotated(parts: Sequence[Part], lists: Sequence[ImageList], root: Path, faults: FaultList) -> None:
    """Tell the images in the folders that the splits use which no split names, nor any fault that was told before."""
    named = {path for images in lists for path in images.paths}
    named |= {Path(fault.value) for fault in faults.kept if isinstance(fault.value, str)}
    used = [
        next((folder for folder in part.images if images.paths[0].is_relative_to(folder)), part.images[0])
        for part, images in zip(parts, lists, strict=True)
        if images.paths
    ]
    there = {path for folder in dict.fromkeys(used) for path in images_below(folder)}
    left = sorted(there - named)
    if left:
        message = f"{len(left)} images are in no annotation file, the first is {left[0]}"
        faults(Fault("info", "image-without-annotation", root, message, value=len(left)))
