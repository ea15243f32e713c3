"""`eyas gallery build` and `add`: pictures with labels come into a gallery."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from eyas.data.images import is_image
from eyas.errors import ConfigError, GalleryError
from eyas.gallery.fresh import fresh_gallery
from eyas.gallery.models import FeatureModel, open_detector
from eyas.gallery.reports import Report, report_of
from eyas.index import Gallery, Kind, Metric, ModelIdentity
from eyas.index.lists import Picture, read_gallery
from eyas.paths import existing, listed
from eyas.pipelines.detector import Detector
from eyas.pipelines.embedder import Embedder
from eyas.pipelines.gallery_builder import NAMED, add_pictures
from eyas.pipelines.index_files import is_gallery
from eyas.progress import progress_bar

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ingest:
    """How pictures come into a gallery: the flags that `build` and `add` share. `detector`: a name or a folder."""

    model: FeatureModel
    detector: str | None
    crop: Literal["boxes", "none", "auto"]
    skip_bad: bool
    thumbnails: bool
    batch_size: int

    def open_detector(self) -> Detector | None:
        """The detector, where one is named."""
        return None if self.detector is None else open_detector(self.detector, self.model.device)


def build_gallery(source: Path, index: Path, ingest: Ingest, kind: Kind, metric: Metric) -> Report:
    """A gallery of the pictures in `source` at `index`; one that is there holds exactly these afterwards."""
    pictures, skipped = _read(source, ingest.skip_bad)
    if is_gallery(index):
        with Gallery.open(index) as gallery:
            if (gallery.kind, gallery.metric) != (kind, metric):
                raise ConfigError(
                    f"{index} is a gallery of type {gallery.kind} with metric {gallery.metric}, and {kind} with "
                    f"{metric} was asked for. Give the same, or another folder."
                )
            return _ingest(gallery, pictures, skipped, ingest.model.open(gallery), ingest, replace=True)
    embedder = ingest.model.open(None)
    identity = ModelIdentity.of(embedder.manifest)
    with fresh_gallery(index, width=identity.width, kind=kind, metric=metric, model=identity) as gallery:
        report = _ingest(gallery, pictures, skipped, embedder, ingest, replace=True)
        ingest.model.remember(gallery)
        return report


def add_to_gallery(source: Path, index: Path, ingest: Ingest, label: str | None) -> Report:
    """The pictures of `source` added; with `label`, `source` is a picture or a folder of pictures of that label."""
    pictures, skipped = _read(source, ingest.skip_bad) if label is None else (_labelled(source, label), [])
    with Gallery.open(index) as gallery:
        return _ingest(gallery, pictures, skipped, ingest.model.open(gallery), ingest, replace=False)


def _read(source: Path, skip_bad: bool) -> tuple[list[Picture], list[str]]:
    """The pictures of a gallery list; with `skip_bad` also what is wrong with the others."""
    if source.is_file() and is_image(source.name):
        raise ConfigError(
            f"{source} is a picture, not a list of pictures. Say what it shows: eyas gallery add --label."
        )
    problems: list[str] = []
    pictures = read_gallery(source, problems=problems if skip_bad else None)
    if not pictures:
        raise GalleryError("\n  ".join([f"nothing in {source} can be used:", *problems[:NAMED]]))
    return pictures, problems


def _labelled(source: Path, label: str) -> list[Picture]:
    """A picture, or all that lie below a folder, with one label."""
    paths = [source] if existing(source).is_file() else [source / name for name in listed(source)]
    return [Picture(path, label, where=str(path)) for path in paths if path.suffix.lower() != ".pdf"]


def _ingest(
    gallery: Gallery,
    pictures: Sequence[Picture],
    skipped: Sequence[str],
    embedder: Embedder,
    ingest: Ingest,
    replace: bool,
) -> Report:
    """Pictures embedded and put in, and the search structure made where that is due."""
    gallery.check_model(ModelIdentity.of(embedder.manifest))
    with progress_bar("pictures") as told:
        added = add_pictures(
            gallery,
            pictures,
            embedder,
            replace=replace,
            detector=ingest.open_detector(),
            crop=ingest.crop,
            skip_bad=ingest.skip_bad,
            thumbnails=ingest.thumbnails,
            batch_size=ingest.batch_size,
            progress=told,
        )
    with progress_bar("vectors") as told:
        gallery.settle(told)
    left_out = [*skipped, *added.skipped]
    for problem in left_out:
        log.warning("left out: %s", problem)
    return {**report_of(gallery, added.change), "skipped": left_out}
