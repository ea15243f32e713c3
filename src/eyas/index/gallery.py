"""A gallery of reference pictures, like a database: what it acknowledged is on disk, and searches never wait."""

import os
import shutil
import tempfile
import uuid
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np

from eyas.errors import ConfigError, GalleryError, did_you_mean
from eyas.index.arrivals import checked_ids
from eyas.index.history import HistoryEntry
from eyas.index.live import Live
from eyas.index.records import (
    KINDS,
    METRICS,
    Change,
    Floats,
    GalleryInfo,
    Ids,
    Item,
    Kind,
    Matches,
    Metric,
    ModelIdentity,
    NewItem,
    State,
    as_texts,
    checked_vectors,
)
from eyas.index.store import Store

Result = TypeVar("Result")
Where = Mapping[str, Any]
"""A condition on metadata: key -> value, list of values, or {"<": number}; see `eyas.index.filters`."""


class Gallery:
    """Pictures as vectors with labels, in a folder.  Safe to share between threads.

    A search looks at an unchanging view of what was there when it began.  A change is on disk, whole, before its call
    returns; other processes see it after their `refresh`.
    """

    def __init__(self, store: Store) -> None:
        """Use `Gallery.create` or `Gallery.open`."""
        self._store = store
        self._live = Live(store)

    @staticmethod
    def create(
        path: str | os.PathLike[str] | None,
        *,
        width: int,
        kind: Kind = "HNSW32",
        metric: Metric = "IP",
        model: ModelIdentity | None = None,
    ) -> "Gallery":
        """An empty gallery in the new folder `path` (None: in a private one that goes with the object).

        `width` is the length of a vector, `model` what makes the vectors.
        Raises ConfigError for an unknown kind or metric, GalleryError where the folder holds something already.
        """
        for what, value, known in (("index type", kind, KINDS), ("metric", metric, METRICS)):
            if value not in known:
                raise ConfigError(f"unknown {what} {value!r}. {did_you_mean(value, known)}")
        if width < 1 or (model is not None and model.width != width):
            raise ConfigError(f"width: expected {model.width if model else '1 or more'}, got {width}.")
        folder = Path(tempfile.mkdtemp(prefix="eyas-gallery-")) / "gallery" if path is None else Path(path)
        gallery = Gallery(Store.create(folder, GalleryInfo(uuid.uuid4().hex, kind, metric, width, model)))
        if path is None:
            weakref.finalize(gallery, shutil.rmtree, folder.parent, ignore_errors=True)
        return gallery

    @staticmethod
    def open(path: str | os.PathLike[str], *, model: ModelIdentity | None = None) -> "Gallery":
        """The gallery in the folder `path`; with `model`, only one whose vectors that model made.

        Raises GalleryError where there is none, where it is damaged, or where another model made it.
        """
        gallery = Gallery(Store.open(Path(path)))
        if model is not None:
            try:
                gallery.check_model(model)
            except GalleryError:
                gallery.close()
                raise
        return gallery

    def check_model(self, model: ModelIdentity) -> None:
        """Raise GalleryError where `model` is not the one that made the vectors of this gallery."""
        own = self.info.model
        if own is None and model.width == self.width:
            return
        if own is None or own.fingerprint != model.fingerprint:
            made_by = "an unknown model" if own is None else str(own)
            raise GalleryError(
                f"{self.path} was made by {made_by} with {self.width} numbers a picture, and {model} with "
                f"{model.width} was given. Vectors of different models cannot be compared: use the model of the "
                "gallery, or build the gallery anew."
            )

    @property
    def info(self) -> GalleryInfo:
        """What is fixed about the gallery."""
        return self._store.info

    @property
    def path(self) -> Path:
        """Its folder."""
        return self._store.folder

    @property
    def width(self) -> int:
        """The length of a vector."""
        return self.info.width

    @property
    def kind(self) -> Kind:
        """The index type."""
        return self.info.kind

    @property
    def metric(self) -> Metric:
        """How vectors are compared."""
        return self.info.metric

    @property
    def generation(self) -> int:
        """How many changes the present view has seen."""
        return self._live.view.state.generation

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the present items, sorted."""
        state = self._live.view.state
        return tuple(sorted(state.labels[place] for place in np.unique(state.label_ids).tolist()))

    def __len__(self) -> int:
        return len(self._live.view.state.ids)

    def build(self, vectors: Floats, items: Sequence[NewItem]) -> Change:
        """Make the gallery hold exactly these items, float32 [N, width]; those that it had already keep their ids.

        Raises GalleryError for vectors or items that do not fit, or a failing disk; the gallery is then as it was.
        """
        return self._append(vectors, items, replace=True)

    def append(self, vectors: Floats, items: Sequence[NewItem]) -> Change:
        """Add items; one that is there (by content hash) stays, and takes over another label or other metadata.

        Raises GalleryError as `build` does.
        """
        return self._append(vectors, items, replace=False)

    def update(self, ids: Iterable[int], *, label: str | None = None, metadata: Where | None = None) -> Change:
        """Give items another label, or other metadata (all of it).  Raises GalleryError for unknown ids."""
        with self._live.lock:
            return self._live.seen(self._store.update(checked_ids(ids), label=label, metadata=metadata))

    def remove(
        self,
        ids: Iterable[int] | None = None,
        *,
        labels: Iterable[str] | None = None,
        sources: Iterable[str] | None = None,
        where: Where | None = None,
    ) -> Change:
        """Take out the items with those ids, or all for which every other condition holds.

        Raises GalleryError where an id is unknown, ConfigError where nothing is given.
        """
        if ids is None and labels is None and sources is None and where is None:
            raise ConfigError("remove: nothing was named. Give ids, labels, sources or a condition.")
        named, sources = as_texts(labels), as_texts(sources)
        with self._live.lock:
            if ids is not None:
                return self._live.seen(self._store.remove(checked_ids(ids)))
            fitting = partial(self._store.find, labels=named, sources=sources, where=where)
            return self._live.seen(_of_present(fitting, self._store.remove))

    def undo(self) -> Change:
        """Take back the newest change that was not taken back yet.  Raises GalleryError where there is none."""
        with self._live.lock:
            return self._live.seen(self._store.undo())

    def search(self, queries: Floats, k: int = 5, *, where: Where | None = None) -> Matches:
        """The `k` nearest items of each row of `queries`, float32 [Q, width]; with `where`, only items that meet it.

        Raises GalleryError for queries of another width or with NaN, ConfigError for k below 1.
        """
        view = self._live.view
        if k < 1:
            raise ConfigError(f"k: expected 1 or more, got {k}.")
        queries = checked_vectors(queries, self._store.info.width, "queries")
        return view.search(queries, k, None if where is None else self._store.find(where=where))

    def search_among(self, queries: Floats, k: int, ids: Iterable[int]) -> Matches:
        """`search` among the items `ids` alone."""
        return self._live.view.search(checked_vectors(queries, self.width, "queries"), k, np.unique(checked_ids(ids)))

    def get(self, ids: Iterable[int]) -> list[Item]:
        """Those items, in that order.  Raises GalleryError for an id that is not there."""
        return self._store.items(checked_ids(ids))

    def find(
        self,
        *,
        labels: Iterable[str] | None = None,
        sources: Iterable[str] | None = None,
        hashes: Iterable[str] | None = None,
        where: Where | None = None,
    ) -> Ids:
        """The rising ids of the items for which everything given holds; all ids where nothing is given."""
        return self._store.find(
            labels=as_texts(labels), sources=as_texts(sources), hashes=as_texts(hashes), where=where
        )

    def counts(self) -> dict[str, int]:
        """How many items each label has, by label."""
        return self._store.counts()

    def state(self) -> State:
        """The ids and labels of the present view."""
        return self._live.view.state

    def vectors(self, ids: Iterable[int] | None = None) -> Floats:
        """The vectors, float32 [N, width], of those ids in their order; of all, by rising id, where none are given.

        Raises GalleryError for an id that is not there, or a vector that is damaged on disk.
        """
        return self._store.vectors(self._live.view.state.ids if ids is None else checked_ids(ids))

    def thumbnail(self, item: int) -> bytes | None:
        """The small JPEG that was stored with an item."""
        return self._store.thumbnail(item)

    def history(self, limit: int = 20) -> list[HistoryEntry]:
        """The last changes, the newest first."""
        return self._store.history(limit)

    def verify(self) -> list[str]:
        """What is wrong with the files of the gallery, in words; nothing where all is well."""
        return [*self._store.verify(), *self._live.verify()]

    def snapshot(self, target: str | os.PathLike[str]) -> None:
        """Copy the gallery, as it is now, into the new folder `target`; writes may go on meanwhile."""
        self._store.snapshot(Path(target))

    def setting(self, key: str) -> Any:
        """A value kept beside the items by `set_setting`; None where there is none."""
        return self._store.setting(key)

    def set_setting(self, key: str, value: Any) -> None:
        """Keep a small value (anything JSON can hold) in the gallery."""
        self._store.set_setting(key, value)

    def optimise(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Put all vectors into one new search structure, without what was removed; searches go on meanwhile."""
        self._live.settle(progress, everything=True)

    def settle(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Do now what upkeep would do in the background: give new vectors a structure, drop removed ones."""
        self._live.settle(progress)

    def refresh(self) -> None:
        """See what other processes have changed."""
        self._live.refresh()

    def close(self) -> None:
        """Stop the upkeep and close the files; what was acknowledged is on disk already."""
        self._live.stop()
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def list(
        self, *, label: str | None = None, where: Where | None = None, limit: int | None = None, offset: int = 0
    ) -> list[Item]:
        """The items, by id: all, or those of a label or that meet a condition; a page of them with `limit`."""
        page = slice(offset, None if limit is None else offset + limit)
        return _of_present(lambda: self.find(labels=None if label is None else [label], where=where)[page], self.get)

    def _append(self, vectors: Floats, items: Sequence[NewItem], replace: bool) -> Change:
        vectors = checked_vectors(vectors, self.width)
        if len(vectors) != len(items):
            raise GalleryError(
                f"{len(vectors)} vectors came with {len(items)} items. Expected one item for each vector."
            )
        with self._live.lock:
            return self._live.seen(self._store.append(vectors, items, replace=replace))


def _of_present(look: Callable[[], Ids], use: Callable[[Ids], Result]) -> Result:
    """`use` of the ids that `look` finds; once more where somebody else removed some of them in between."""
    while True:
        ids = look()
        try:
            return use(ids)
        except GalleryError:
            if np.isin(ids, look()).all():
                raise
