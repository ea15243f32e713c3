"""Images of a dataset with their annotations drawn."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from eyas.data.labelled import LabelledImages
from eyas.data.sample import Dataset, Sample
from eyas.errors import InputError
from eyas.report.marks import RGB, Form, Kind, draw_frames, encoded, fitted, legend, picture_of
from eyas.report.page import Picture, Section, bullets, paragraph, pictures
from eyas.vision.draw import PALETTE
from eyas.vision.image import read_image

IGNORED = Kind("ignored region", (190, 190, 190), "double")
LABELLED_SIDE = 400  # pixels: images with one label each need no detail
_FORMS: tuple[Form, ...] = ("solid", "corners", "dashed")

Splits = Mapping[str, Dataset] | Mapping[str, LabelledImages]


def class_kind(name: str, place: int) -> Kind:
    """How the boxes of the class at that place are drawn."""
    return Kind(name, PALETTE[place % len(PALETTE)], _FORMS[place % len(_FORMS)])


def sample_section(splits: Splits, classes: Sequence[str], most: int) -> Section:
    """At most `most` images, spread over the splits, and from each annotated split the one with the most boxes."""
    shown: list[Picture] = []
    unread: list[str] = []
    seen: dict[Kind, int] = {}
    share = max(1, most // max(len(splits), 1))
    for split, images in splits.items():
        for place in _chosen(images, min(share, most - len(shown))):
            try:
                picture = _picture(split, images, place, classes, seen)
            except InputError as error:
                unread.append(str(error))
            else:
                shown.append(picture)
    ordered = sorted(seen, key=lambda kind: (kind == IGNORED, classes.index(kind.name) if kind != IGNORED else 0))
    marks = [legend([(kind, f"{kind.name} ({seen[kind]:,} in these pictures)") for kind in ordered])] if seen else []
    fullest = ", with the image that has the most boxes" if seen else ""
    said = paragraph(f"Chosen evenly from each split{fullest}.", "muted")
    return Section("Sample images", (said, *marks, bullets(unread), pictures(shown)))


def _chosen(images: Dataset | LabelledImages, most: int) -> list[int]:
    """Places of at most `most` images: evenly spread, and the one with the most boxes among them."""
    if most < 1 or not len(images):
        return []
    if isinstance(images, LabelledImages):
        return _spread(list(range(len(images))), most)
    counts = [int((~sample.ignore).sum()) for sample in images.samples]
    fullest = int(np.argmax(counts))
    others = [place for place, count in enumerate(counts) if count and place != fullest]
    return [fullest, *_spread(others, most - 1)]


def _spread(places: list[int], most: int) -> list[int]:
    step = len(places) / most if 0 < most < len(places) else 1
    return [places[int(number * step)] for number in range(min(most, len(places)))]


def _picture(
    split: str, images: Dataset | LabelledImages, place: int, classes: Sequence[str], seen: dict[Kind, int]
) -> Picture:
    if isinstance(images, LabelledImages):
        path, label = images.paths[place], images.labels.names[int(images.label_ids[place])]
        canvas, _ = fitted(read_image(path), LABELLED_SIDE)
        return _made(canvas, f"{split}: {path.name}, label {label}")
    sample = images.samples[place]
    image = picture_of(images, sample)
    canvas, scale = fitted(image)
    kinds = _kinds(sample, images.classes.names, classes)
    for kind, number in Counter(kinds).items():
        seen[kind] = seen.get(kind, 0) + number
    draw_frames(canvas, sample.boxes_xyxy * np.float32(scale), kinds)
    counted = ", ".join(f"{number} {kind.name}" for kind, number in Counter(kinds).most_common(8)) or "no boxes"
    size = f"{image.shape[1]} x {image.shape[0]} px" + (f", shown at {100 * scale:.0f} %" if scale < 1 else "")
    return _made(canvas, f"{split}: {sample.path.name} ({size}): {counted}")


def _kinds(sample: Sample, own: Sequence[str], classes: Sequence[str]) -> list[Kind]:
    known = [class_kind(name, classes.index(name)) for name in own]
    return [
        IGNORED if ignored else known[class_id]
        for class_id, ignored in zip(sample.class_ids.tolist(), sample.ignore.tolist(), strict=True)
    ]


def _made(canvas: RGB, caption: str) -> Picture:
    height, width = canvas.shape[:2]
    return Picture(encoded(canvas), width, height, caption, caption)
