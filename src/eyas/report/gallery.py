"""A page about a gallery: sentences, tables, and the pictures that they speak of beside each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eyas.errors import InputError
from eyas.index.gallery import Gallery
from eyas.report.items import item_picture
from eyas.report.marks import RGB, Kind, draw_frames, encoded, fitted
from eyas.report.page import Cell, Picture, Section, page, paragraph, pictures, table, write_page
from eyas.report.svg import Html
from eyas.saving import PathLike
from eyas.vision.image import read_image

SIDE = 200
"""Longest side in pixels of each of the pictures of an exhibit."""
BESIDE = 4
"""Pictures of one exhibit that are shown."""
_GAP = 8
_GROUND = 128


@dataclass(frozen=True)
class Scene:
    """A picture from outside of the gallery: its file, and frames (xyxy pixels) to draw in it."""

    path: Path
    frames: tuple[tuple[tuple[float, float, float, float], Kind], ...] = ()


@dataclass(frozen=True)
class Exhibit:
    """Something to look at: items of the gallery by their ids, and what to see in them; `scene` stands before them."""

    caption: str
    ids: tuple[int, ...]
    scene: Scene | None = None


@dataclass(frozen=True)
class Part:
    """A section of the page: a note on how to read it, exhibits, and a table where `head` names its columns."""

    title: str
    note: str
    exhibits: tuple[Exhibit, ...] = ()
    head: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()


def write_gallery_report(
    path: PathLike, gallery: Gallery, title: str, lead: Sequence[Html], parts: Sequence[Part]
) -> Path:
    """Write the page as one HTML file that loads nothing; its path. `lead` stands above the sections.

    Where neither a thumbnail nor the file of an item is there, an empty frame stands for it. An item that has gone from
    the gallery since is left out.
    """
    present = frozenset(gallery.state().ids.tolist())
    sections = [_section(gallery, present, part) for part in parts]
    return write_page(path, page(title, lead, sections, "Made by eyas"))


def _section(gallery: Gallery, present: frozenset[int], part: Part) -> Section:
    shown: list[Html] = [paragraph(part.note, "muted")] if part.note else []
    drawn = [picture for exhibit in part.exhibits if (picture := _drawn(gallery, present, exhibit)) is not None]
    if drawn:
        shown.append(pictures(drawn))
    if part.rows:
        shown.append(table(part.head, part.rows))
    if not drawn and not part.rows:
        shown.append(paragraph("Nothing was found."))
    return Section(part.title, tuple(shown))


def _drawn(gallery: Gallery, present: frozenset[int], exhibit: Exhibit) -> Picture | None:
    ids = [number for number in exhibit.ids if number in present][:BESIDE]
    if not ids and exhibit.scene is None:
        return None
    items = gallery.get(ids)
    images = [item_picture(gallery, item) for item in items]
    names = [f"{item.label} ({item.id})" for item in items]
    if exhibit.scene is not None:
        images, names = [_scene(exhibit.scene), *images], [exhibit.scene.path.name, *names]
    canvas = side_by_side(images)
    left_out = len(exhibit.ids) - BESIDE
    caption = exhibit.caption + (f" ({left_out} more are not shown)" if left_out > 0 else "")
    return Picture(encoded(canvas), canvas.shape[1], canvas.shape[0], caption, f"Beside each other: {', '.join(names)}")


def _scene(scene: Scene) -> RGB | None:
    """The picture with its frames, cut so that they fill most of it; None where it cannot be read."""
    try:
        image = read_image(scene.path)
    except InputError:
        return None
    if not scene.frames:
        return image
    boxes = np.array([box for box, _ in scene.frames], np.float32)
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    margin = 0.2 * (high - low) + 8
    limits = image.shape[1::-1]
    left, top = np.clip(low - margin, 0, limits).astype(int).tolist()
    right, bottom = np.clip(np.ceil(high + margin), 0, limits).astype(int).tolist()
    if right <= left or bottom <= top:
        return image
    canvas, scale = fitted(image[top:bottom, left:right], SIDE)
    draw_frames(
        canvas,
        (boxes - np.array([left, top, left, top], np.float32)) * np.float32(scale),
        [kind for _, kind in scene.frames],
    )
    return canvas


def side_by_side(images: Sequence[RGB | None], side: int = SIDE) -> RGB:
    """The pictures in one row, each at most `side` pixels long; an empty frame for None."""
    small = [_empty(side) if image is None else fitted(image, side)[0] for image in images]
    height, width = max(len(image) for image in small), sum(image.shape[1] + _GAP for image in small) - _GAP
    canvas, left = np.full((height, width, 3), _GROUND, np.uint8), 0
    for image in small:
        canvas[: len(image), left : left + image.shape[1]] = image
        left += image.shape[1] + _GAP
    return canvas


def _empty(side: int) -> RGB:
    """A frame with a cross: there is no picture."""
    frame = np.full((side * 3 // 4, side, 3), 230, np.uint8)
    rows = np.arange(len(frame))
    columns = rows * (side - 1) // (len(frame) - 1)
    frame[rows, columns] = frame[rows, side - 1 - columns] = frame[[0, -1]] = _GROUND
    frame[:, [0, -1]] = _GROUND
    return frame
