"""What goes into a gallery, what comes out of it, and what is said about it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eyas.bundle import EmbeddingManifest
from eyas.errors import GalleryError

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
Metric = Literal["IP", "L2", "hamming"]
"""How two features are compared: their product (larger is nearer), the square of their distance, or how many of the
signs of their numbers differ (both: smaller is nearer)."""
Kind = Literal["HNSW32", "IVF", "Flat"]
"""Which structure finds the nearest features; PaddleX's names."""
METRICS: tuple[Metric, ...] = ("IP", "L2", "hamming")
KINDS: tuple[Kind, ...] = ("HNSW32", "IVF", "Flat")


@dataclass(frozen=True)
class ModelIdentity:
    """Which feature model made the vectors of a gallery.

    `fingerprint` is a SHA-256 over the network file and the preprocessing; `width` the length of a vector.
    """

    name: str
    fingerprint: str
    width: int

    def __str__(self) -> str:
        return f"the model {self.name} ({self.fingerprint[:12]})"

    @staticmethod
    def of(manifest: EmbeddingManifest) -> "ModelIdentity":
        """The identity of the model in a bundle."""
        made_of = {"files": manifest.files, "preprocess": manifest.preprocess.to_dict()}
        text = json.dumps(made_of, sort_keys=True, ensure_ascii=False)
        return ModelIdentity(manifest.model, sha256(text.encode()).hexdigest(), manifest.width)


@dataclass(frozen=True)
class GalleryInfo:
    """What a gallery is: fixed when it is made. `model` is None where the vectors came without a model."""

    uuid: str
    kind: Kind
    metric: Metric
    width: int
    model: ModelIdentity | None = None


@dataclass(frozen=True)
class NewItem:
    """One picture (or one object in it) to put into a gallery; its vector is given beside it.

    `content_hash` says which picture it is (see `content_hash`): the same one is never there twice. `source` is the
    path it came from, `metadata` anything JSON can hold, `thumbnail` the bytes of a small JPEG.
    """

    label: str
    content_hash: str
    source: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    thumbnail: bytes | None = None


@dataclass(frozen=True)
class Item:
    """One picture of a gallery. `id` is never used again after its removal; `added` is an ISO time in UTC."""

    id: int
    label: str
    source: str | None
    content_hash: str
    metadata: dict[str, Any]
    added: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return dict(vars(self))


ChangeKind = Literal["build", "append", "update", "remove", "undo"]


@dataclass(frozen=True)
class Change:
    """One acknowledged change of a gallery: on disk, whole, before it is returned.

    `generation` counts the changes of a gallery; a call that found nothing to do repeats the present one, with `kind`
    as asked. `added`, `updated` (another label or other metadata) and `removed` are the ids that it touched;
    `unchanged` those that an append found there already.
    """

    generation: int
    kind: ChangeKind
    added: tuple[int, ...] = ()
    updated: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()
    unchanged: tuple[int, ...] = ()


@dataclass(frozen=True)
class State:
    """Which items a gallery holds: `ids` rising int64 [N], `label_ids` int32 [N] places in `labels`."""

    generation: int
    ids: Ids
    label_ids: NDArray[np.int32]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class SegmentRecord:
    """A file that holds a search structure over the vectors of `ids`, as the store knows it.

    `sha256` is that of the file; the vectors of an id never change, so a segment is true for ever and only
    the ids that were removed since must be left out.
    """

    name: str
    sha256: str
    ids: Ids


@dataclass(frozen=True)
class Matches:
    """The nearest items of Q queries, best first.

    ids: int64 [Q, k], -1 where there were fewer. scores: float32 [Q, k] in the unit of the metric, NaN at -1.
    label_ids: int32 [Q, k] places in `labels`, -1 at -1.
    """

    ids: Ids
    scores: Floats
    label_ids: NDArray[np.int32]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def named(self, query: int) -> list[tuple[int, str, float]]:
        """(id, label, score) of the items found for one query, best first."""
        rows = zip(self.ids[query].tolist(), self.label_ids[query].tolist(), self.scores[query].tolist(), strict=True)
        return [(number, self.labels[label], score) for number, label, score in rows if number >= 0]


def nearness(scores: Floats, metric: Metric) -> Floats:
    """`scores` so that larger is nearer, whatever the metric: distances become negative."""
    return scores if metric == "IP" else -scores


def content_hash(data: bytes, box: tuple[float, float, float, float] | None = None) -> str:
    """The identity of a picture from its file's bytes, or of the object in `box` (xyxy pixels) of that picture."""
    digest = sha256(data)
    if box is not None:
        digest.update(json.dumps([round(float(side), 2) for side in box]).encode())
    return digest.hexdigest()


def checked_vectors(vectors: NDArray[Any], width: int, what: str = "vectors") -> Floats:
    """`vectors` as float32 [N, width] in one block.  Raises GalleryError for another shape, NaN or infinity."""
    array = np.ascontiguousarray(vectors, dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != width:
        raise GalleryError(f"{what}: expected [N, {width}], {width} numbers for each picture, got {list(array.shape)}.")
    # The sum is NaN or infinite where a number is (or the numbers are absurd): one pass, no array of booleans.
    if not np.isfinite(array.sum(dtype=np.float64)):
        row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise GalleryError(f"{what}: row {row} holds NaN or infinity. Expected finite numbers.")
    return array


def as_texts(values: Iterable[str] | None) -> Sequence[str] | None:
    """`values` as a list; one text is a list of one, None stays."""
    return None if values is None else [values] if isinstance(values, str) else list(values)
