"""Pictures into a gallery: read, cut, embed in batches, and write once, all or nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as replaced
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from eyas.errors import ConfigError, GalleryError, InputError, did_you_mean
from eyas.index.pictures import Box, Picture, checked_label
from eyas.index.records import Change, ModelIdentity, NewItem, content_hash
from eyas.pipelines.crops import cut
from eyas.pipelines.detector import Detector
from eyas.pipelines.embedder import Embedder
from eyas.pipelines.threads import in_order
from eyas.vision.boxes import Floats
from eyas.vision.image import MAX_FILE_BYTES, decode_image
from eyas.vision.preprocess import Image
from eyas.vision.thumbnail import thumbnail

if TYPE_CHECKING:
    from eyas.index.gallery import Gallery

GalleryCrop = Literal["boxes", "none", "auto"]
"""Which part of a picture goes in: its given box, else all of it; always all of it; or its given box, else the object
that the detector is surest of, else all of it."""

Progress = Callable[[int, int], None]

READERS = 2
"""Threads that read, decode and cut pictures while the network runs."""

NAMED = 20
"""Pictures that an error names."""

_FOUND = b"\0the object that the detector is surest of"


@dataclass(frozen=True, eq=False)
class LabelledArray:
    """A picture in memory, uint8 RGB [H, W, 3], to put into a gallery; the other fields are those of a `Picture`."""

    image: Image
    label: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    box: Box | None = None
    where: str = "an array"


@dataclass(frozen=True)
class Added:
    """What `add_pictures` did: the change of the gallery, and why which pictures were left out."""

    change: Change
    skipped: tuple[str, ...]


def add_pictures(  # noqa: PLR0913 - the choices of one call
    gallery: "Gallery",
    pictures: Sequence[Picture | LabelledArray],
    embedder: Embedder,
    *,
    replace: bool = False,
    detector: Detector | None = None,
    crop: GalleryCrop = "boxes",
    skip_bad: bool = False,
    thumbnails: bool = False,
    batch_size: int = 16,
    progress: Progress | None = None,
) -> Added:
    """Put pictures into a gallery in one change; with `replace` it holds only them afterwards.

    A picture that is there already is not embedded again. `progress` is told how many pictures are done, and of how
    many. Raises GalleryError, and nothing is written, for pictures that cannot be used (with `skip_bad` they are left
    out, unless that leaves none), for one picture with two labels, and where another model made the gallery;
    ConfigError for a wrong `crop`.
    """
    if crop not in get_args(GalleryCrop):
        raise ConfigError(f"crop {crop!r} is unknown. {did_you_mean(crop, get_args(GalleryCrop))}")
    if crop == "auto" and detector is None:
        raise ConfigError('crop="auto" looks for the object in each picture, and needs a detector. Give one.')
    gallery.check_model(ModelIdentity.of(embedder.manifest))
    read = _Reader(gallery, embedder, crop, detector, thumbnails)
    gathered = _Gathered(embedder, batch_size, skip_bad)
    tasks = (partial(read, picture) for picture in pictures)
    for done, entry in enumerate(in_order(tasks, READERS, 2 * batch_size), start=1):
        gathered.take(entry)
        if progress is not None and (done % batch_size == 0 or done == len(pictures)):
            progress(done, len(pictures))
    vectors, items = gathered.finish(gallery)
    write = gallery.build if replace else gallery.append
    return Added(write(vectors, items), tuple(gathered.skipped))


@dataclass(frozen=True, eq=False)
class _Ready:
    """A picture that can go in: with the id that it has in the gallery, else with the input of the network."""

    item: NewItem
    where: str
    known: int | None = None
    tensor: Floats | None = None


@dataclass(frozen=True)
class _Bad:
    """Where a picture was named, and why it cannot go in."""

    reason: str


class _Reader:
    """Reads, cuts and prepares one picture; several threads call it at once."""

    def __init__(
        self,
        gallery: "Gallery",
        embedder: Embedder,
        crop: GalleryCrop,
        detector: Detector | None,
        thumbnails: bool,
    ) -> None:
        self._gallery = gallery if len(gallery) else None  # an empty one is not asked for each picture
        self._embedder = embedder
        self._crop = crop
        self._detector = detector if crop == "auto" else None
        self._thumbnails = thumbnails

    def __call__(self, picture: Picture | LabelledArray) -> _Ready | _Bad:
        source = str(picture.path) if isinstance(picture, Picture) else None
        where = picture.where or source or "an array"
        try:
            checked_label(picture.label)
        except ValueError as error:
            return _Bad(f"{where}: {error}")
        try:
            return self._read(picture, source, where)
        except InputError as error:
            return _Bad(f"{where}: {error}")

    def _read(self, picture: Picture | LabelledArray, source: str | None, where: str) -> _Ready:
        data = _bytes(picture.path) if isinstance(picture, Picture) else _array_bytes(picture.image)
        box = None if self._crop == "none" else picture.box
        detect = self._detector if box is None else None
        digest = content_hash(data if detect is None else data + _FOUND, box)
        item = NewItem(picture.label, digest, source, picture.metadata)
        known = None if self._gallery is None else self._gallery.find(hashes=[digest])
        if known is not None and len(known):
            return _Ready(item, where, known=int(known[0]))
        image = decode_image(data, str(source)) if isinstance(picture, Picture) else picture.image
        part = _part(image, box, detect)
        if self._thumbnails:
            item = replaced(item, thumbnail=thumbnail(part))
        return _Ready(item, where, tensor=self._embedder.prepare(part))


class _Gathered:
    """The pictures that were read, in their order, each with its feature as soon as a batch is full."""

    def __init__(self, embedder: Embedder, batch_size: int, skip_bad: bool) -> None:
        self._embedder = embedder
        self._batch_size = batch_size
        self._skip_bad = skip_bad
        self._ready: dict[str, _Ready] = {}
        self._waiting: list[Floats] = []
        self._features: list[Floats] = []
        self._count = 0
        self._problems: list[str] = []
        self.skipped: list[str] = []

    def take(self, entry: _Ready | _Bad) -> None:
        """Keep a picture; one that cannot go in is a problem, or is left out."""
        self._count += 1
        if isinstance(entry, _Bad):
            (self.skipped if self._skip_bad else self._problems).append(entry.reason)
            return
        item, first = entry.item, self._ready.get(entry.item.content_hash)
        if first is not None:  # a picture that is named twice goes in once
            if first.item.label != item.label:
                self._problems.append(
                    f"{entry.where}: {item.label!r} is the same picture as {first.item.label!r} at {first.where}"
                )
            return
        self._ready[item.content_hash] = replaced(entry, tensor=None)
        if entry.tensor is not None and not self._problems:  # after a problem only further ones are looked for
            self._waiting.append(entry.tensor)
            if len(self._waiting) == self._batch_size:
                self._embed()

    def finish(self, gallery: "Gallery") -> tuple[Floats, list[NewItem]]:
        """All features, float32 [N, D], and what they belong to.  Raises GalleryError where there was a problem."""
        if self._problems or (self.skipped and not self._ready):
            raise _refusal(self._problems or self.skipped, self._count)
        self._embed()
        entries = list(self._ready.values())
        vectors = np.empty((len(entries), self._embedder.manifest.width), np.float32)
        known = [place for place, entry in enumerate(entries) if entry.known is not None]
        fresh = [place for place, entry in enumerate(entries) if entry.known is None]
        if known:
            vectors[known] = gallery.vectors([entry.known for entry in entries if entry.known is not None])
        if fresh:
            vectors[fresh] = np.concatenate(self._features)
        return vectors, [entry.item for entry in entries]

    def _embed(self) -> None:
        if self._waiting:
            self._features.append(self._embedder.embed_prepared(self._waiting))
            self._waiting = []


def _part(image: Image, box: Box | None, detector: Detector | None) -> Image:
    """What goes in of a picture.  Raises InputError where the given box has no area in it."""
    if box is not None:
        part = cut(image, np.array(box, dtype=np.float32))
        if part is None:
            size = f"{image.shape[1]} x {image.shape[0]}"
            raise InputError(f"the box {list(box)} has no area inside the picture of {size} pixels")
        return part
    if detector is None:
        return image
    found = detector(image).boxes_xyxy[:1]
    part = cut(image, found[0]) if len(found) else None
    return image if part is None else part


def _bytes(path: Path) -> bytes:
    """The bytes of a picture's file.  Raises InputError where it is missing, a folder, or too large."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"cannot read {path}: it has more than {MAX_FILE_BYTES:,} bytes, the limit")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def _array_bytes(image: Image) -> bytes:
    """What identifies an array: its shape and pixels.  Raises InputError where it is no picture."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise InputError(f"expected uint8 RGB [H, W, 3], got {image.dtype} {list(image.shape)}")
    return repr(image.shape).encode() + image.tobytes()


def _refusal(problems: Sequence[str], count: int) -> GalleryError:
    lines = "".join(f"\n  {problem}" for problem in problems[:NAMED])
    more = f"\n  … and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
    return GalleryError(
        f"{len(problems)} of {count} pictures cannot go into the gallery, and nothing was written:{lines}{more}\n"
        "Mend or remove them; `skip_bad` leaves out those that cannot be read."
    )
