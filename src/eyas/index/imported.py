"""What comes out of a gallery in another format, ready to be put into one of ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.errors import GalleryError
from eyas.index.arrivals import check_label
from eyas.index.records import Floats, Ids, Kind, Metric, ModelIdentity, NewItem, checked_vectors


@dataclass(frozen=True, eq=False)
class Imported:
    """Vectors and labels from elsewhere, in the order of their old ids.

    vectors: float32 [N, D]; for "hamming" of a Faiss file only their signs are known, and they are 1 and -1. items [N]
    are ready for `Gallery.append`. ids: int64 [N], rising, what the items were called there; a new gallery numbers its
    items from 0 in this order, so that ids without gaps stay as they were. `kind`, `metric` and `model` are None where
    the source does not say.
    """

    vectors: Floats
    items: tuple[NewItem, ...]
    ids: Ids
    kind: Kind | None = None
    metric: Metric | None = None
    model: ModelIdentity | None = None

    def __len__(self) -> int:
        return len(self.items)

    @property
    def labels(self) -> tuple[str, ...]:
        """The label of each item."""
        return tuple(item.label for item in self.items)


def import_hash(vector: Floats, number: int) -> str:
    """The content hash of a vector whose picture is not known: equal vectors of two ids have different ones."""
    return sha256(b"import" + vector.astype("<f4").tobytes() + str(number).encode()).hexdigest()


def in_order(
    ids: NDArray[Any], vectors: NDArray[Any], items: Sequence[NewItem], where: str
) -> tuple[Ids, Floats, tuple[NewItem, ...]]:
    """The three sorted by id and checked.  Raises GalleryError for other lengths, ids twice, NaN or wrong labels."""
    if not len(ids) == len(vectors) == len(items):
        raise GalleryError(f"{where} holds {len(vectors)} vectors and {len(items)} labels. Expected one for each.")
    order = np.argsort(ids, kind="stable")
    rising = ids[order].astype(np.int64)
    twice = rising[1:][rising[1:] == rising[:-1]]
    if len(twice):
        raise GalleryError(f"{where}: the id {twice[0]} is there twice. Expected each id once.")
    if not np.array_equal(order, np.arange(len(order))):
        vectors = vectors[order]
        items = [items[place] for place in order.tolist()]
    for number, item in zip(rising.tolist(), items, strict=True):
        check_label(item.label, f"{where}, id {number}")
    return rising, checked_vectors(vectors, vectors.shape[1], where), tuple(items)
