"""Indexes are built and changed: the calls of PaddleX, in their old and new forms, on galleries."""

import logging
from collections.abc import Sequence

from eyas.errors import ConfigError
from eyas.index.gallery import Gallery
from eyas.index.lists import read_gallery
from eyas.index.pictures import Picture
from eyas.index.records import Kind, Metric, ModelIdentity
from eyas.pipelines.detector import Detector
from eyas.pipelines.embedder import Embedder
from eyas.pipelines.galleries import AnyIndex, Galleries, folder_of
from eyas.pipelines.gallery_builder import GalleryCrop, LabelledArray, add_pictures
from eyas.pipelines.index_calls import (
    AnyPath,
    GalleryImages,
    GalleryLabels,
    gallery_pictures,
    ids_named,
    ids_of,
    is_old,
)
from eyas.pipelines.index_data import IndexData
from eyas.pipelines.index_files import is_for_paddlex, is_gallery

log = logging.getLogger(__name__)

Pictures = list[Picture | LabelledArray]


class IndexMaker:
    """Builds and changes indexes with one feature model."""

    def __init__(
        self, embedder: Embedder, detector: Detector | None, galleries: Galleries, crop: GalleryCrop = "boxes"
    ) -> None:
        """`crop` says which part of a gallery picture counts, see `GalleryCrop`; "auto" needs the detector."""
        self._embedder = embedder
        self._detector = detector
        self._galleries = galleries
        self._crop: GalleryCrop = crop

    @property
    def model(self) -> ModelIdentity:
        """The feature model, as galleries know it."""
        return ModelIdentity.of(self._embedder.manifest)

    def build_index(  # noqa: PLR0913 - PaddleX's two signatures
        self,
        gallery_imgs: GalleryImages | None = None,
        gallery_label: GalleryLabels | None = None,
        metric_type: Metric = "IP",
        index_type: Kind = "HNSW32",
        *,
        data_root: AnyPath | None = None,
        index_dir: AnyPath | None = None,
        skip_bad: bool = False,
        thumbnails: bool = False,
    ) -> IndexData:
        """An index of labelled pictures.

        `gallery_imgs` is a folder and `gallery_label` a list file with paths seen from there, or both are lists: paths
        or arrays (BGR), and their labels.  The index is in no folder until its `save`.  Or, as in earlier versions of
        PaddleX, `data_root` is a folder with gallery.txt, and the index is written into `index_dir`; what is there
        already of the same kind then takes over these pictures in one change, and keeps the ids of those it had.
        With `skip_bad` pictures that cannot be used are left out, with a warning.
        Raises GalleryError for those otherwise, ConfigError for wrong arguments.
        """
        new = {"gallery_imgs": gallery_imgs, "gallery_label": gallery_label}
        old = is_old("build_index", new, {"data_root": data_root, "index_dir": index_dir})
        if not old:
            pictures = self._pictures(gallery_imgs, gallery_label, skip_bad)
            return self._built(pictures, metric_type, index_type, skip_bad, thumbnails)
        folder, pictures = folder_of(index_dir), self._pictures(data_root, None, skip_bad)
        if is_gallery(folder):
            there = self._galleries.get(folder)
            if (there.metric, there.kind, there.info.model) == (metric_type, index_type, self.model):
                self._put(there, pictures, skip_bad, thumbnails, replace=True)
                return self._changed(IndexData(there), folder)
        return self._changed(self._built(pictures, metric_type, index_type, skip_bad, thumbnails), folder)

    def append_index(  # noqa: PLR0913 - PaddleX's two signatures
        self,
        gallery_imgs: GalleryImages | None = None,
        gallery_label: GalleryLabels | None = None,
        index: AnyIndex | None = None,
        *,
        data_root: AnyPath | None = None,
        index_dir: AnyPath | None = None,
        index_type: Kind | None = None,
        metric_type: Metric | None = None,
        skip_bad: bool = False,
        thumbnails: bool = False,
    ) -> IndexData:
        """`index` with more labelled pictures; those that it has already stay, with the label that is given now.

        An `IndexData` or a `Gallery` is changed itself.  Of a folder a copy is changed and returned, and the folder
        stays as it is until `save`; with `data_root` and `index_dir`, as in earlier versions of PaddleX, the folder
        is changed.  `index_type` and `metric_type` may be given as well, and must be those of the index.
        Raises as `build_index` does; nothing is changed then.
        """
        new = {"gallery_imgs": gallery_imgs, "gallery_label": gallery_label, "index": index}
        old = is_old("append_index", new, {"data_root": data_root, "index_dir": index_dir})
        data = self._to_change(index_dir if old else index, old)
        _same_kind("append_index", data, index_type, metric_type)
        pictures = self._pictures(data_root if old else gallery_imgs, gallery_label, skip_bad)
        self._put(data.gallery, pictures, skip_bad, thumbnails)
        return self._changed(data, index_dir if old else None)

    def remove_index(
        self,
        remove_ids: AnyPath | Sequence[int] | None = None,
        index: AnyIndex | None = None,
        *,
        data_root: AnyPath | None = None,
        index_dir: AnyPath | None = None,
        index_type: Kind | None = None,
        metric_type: Metric | None = None,
    ) -> IndexData:
        """`index` without the pictures of those ids: a list of ids, or a text file with one in each line.

        With `data_root` and `index_dir`, as in earlier versions of PaddleX, those that gallery.txt in `data_root`
        names go, where they have the label that it gives.  Otherwise as `append_index`.
        Raises GalleryError for an unknown id, or where the list names nothing that is there; nothing is changed then.
        """
        new = {"remove_ids": remove_ids, "index": index}
        old = is_old("remove_index", new, {"data_root": data_root, "index_dir": index_dir})
        data = self._to_change(index_dir if old else index, old)
        _same_kind("remove_index", data, index_type, metric_type)
        if data_root is not None:
            data.gallery.remove(ids_named(data.gallery, read_gallery(data_root)))
        elif remove_ids is not None:
            data.gallery.remove(ids_of(remove_ids))
        return self._changed(data, index_dir if old else None)

    def _pictures(self, images: GalleryImages | None, labels: GalleryLabels | None, skip_bad: bool) -> Pictures:
        problems: list[str] = []
        pictures = gallery_pictures(images, labels, problems if skip_bad else None)
        _tell(problems)
        return pictures

    def _built(self, pictures: Pictures, metric: Metric, kind: Kind, skip_bad: bool, thumbnails: bool) -> IndexData:
        """An index in no folder."""
        gallery = Gallery.create(None, width=self.model.width, kind=kind, metric=metric, model=self.model)
        self._put(gallery, pictures, skip_bad, thumbnails)
        return IndexData(gallery)

    def _put(
        self, gallery: Gallery, pictures: Pictures, skip_bad: bool, thumbnails: bool, *, replace: bool = False
    ) -> None:
        added = add_pictures(
            gallery,
            pictures,
            self._embedder,
            replace=replace,
            detector=self._detector,
            crop=self._crop,
            skip_bad=skip_bad,
            thumbnails=thumbnails,
        )
        _tell(added.skipped)

    def _to_change(self, index: AnyIndex | None, old: bool) -> IndexData:
        """What a call changes: in the old form the index in a folder, else what was given, or a copy of a folder."""
        if isinstance(index, (IndexData, Gallery)):
            return IndexData(self._galleries.get(index)) if isinstance(index, Gallery) else index
        folder = folder_of(index)
        return IndexData(self._galleries.get(folder)) if old and is_gallery(folder) else IndexData.load(folder)

    def _changed(self, data: IndexData, index_dir: AnyPath | None) -> IndexData:
        """`data`, in the old form after it has been put into the folder that was named.

        PaddleX's files there are made anew, so that they say the same; where there are none, none are made.
        """
        if index_dir is None:
            return data
        folder = folder_of(index_dir)
        if is_for_paddlex(folder) or not is_gallery(folder) or self._galleries.get(folder) is not data.gallery:
            data.save(folder, paddlex=is_for_paddlex(folder))
        return IndexData(self._galleries.get(folder))


def _same_kind(function: str, data: IndexData, kind: str | None, metric: str | None) -> None:
    """Raise ConfigError where a type or a metric is given that is not that of the index."""
    for what, given, own in (("index_type", kind, data.index_type), ("metric_type", metric, data.metric_type)):
        if given is not None and given != own:
            raise ConfigError(
                f"{function}: {what}: {given!r} was given, and the index is {own}. Leave it out: an index keeps its "
                "type and metric. Build it anew to change them."
            )


def _tell(problems: Sequence[str]) -> None:
    for problem in problems:
        log.warning("left out: %s", problem)
