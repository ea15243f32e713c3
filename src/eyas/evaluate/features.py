"""Measures a feature model on pictures with labels, through the same `Embedder` that predicts."""

import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.data.labelled import LabelledImages
from eyas.data.lists import read_labelled
from eyas.data.sample import check_files
from eyas.errors import DatasetError
from eyas.metrics.retrieval import OpenSet, RetrievalMetrics, open_set, retrieval_metrics
from eyas.pipelines.embedder import Embedder
from eyas.report.recognition import Mistake
from eyas.vision.boxes import Floats
from eyas.vision.image import read_image

log = logging.getLogger(__name__)

SHOWN = 24
_READERS = min(os.cpu_count() or 1, 8)
PARTS = (("gallery", "query"), ("train", "query"), ("train", "val"), ("train", "test"))
"""(what is searched in, what is searched for): the first pair that a dataset has."""


@dataclass(frozen=True)
class FeatureEvaluation:
    """How well pictures of the same label are found, and what thresholds on the similarity would do."""

    metrics: RetrievalMetrics
    open_set: OpenSet
    mistakes: tuple[Mistake, ...]
    """The wrong answers with the highest similarity, at most `SHOWN`."""

    def to_dict(self) -> dict[str, Any]:
        """All figures in full precision, ready for JSON."""
        return {**self.metrics.to_dict(), "open_set": self.open_set.to_dict()}

    def lines(self) -> list[str]:
        """The main figures as sentences."""
        found = self.metrics
        return [
            f"recall@1 {found.recall1:.4f}, recall@5 {found.recall5:.4f}, mAP {found.mAP:.4f}: "
            f"{found.queries} queries of {len(found.per_label)} labels in a gallery of {found.gallery} pictures",
            *([f"{found.unknown} queries have a label that the gallery lacks"] if found.unknown else []),
        ]


def evaluate_embedder(embedder: Embedder, root: str | Path, batch_size: int = 1) -> FeatureEvaluation:
    """The figures of `embedder` on the recognition dataset in `root`: its queries, searched for in its gallery.

    A picture that is in both is not compared with itself. Raises DatasetError where there are no such parts or files
    are missing, InputError where a picture cannot be read.
    """
    gallery, queries = query_parts(root)
    asked, held, same = _compared(embedder, gallery, queries, batch_size)
    arguments = (asked, queries.names, held, gallery.names, same)
    mistakes = _mistakes(asked, queries, held, gallery, same)
    return FeatureEvaluation(retrieval_metrics(*arguments), open_set(*arguments), mistakes)


def retrieval_of(
    embedder: Embedder, gallery: LabelledImages, queries: LabelledImages, batch_size: int = 1
) -> RetrievalMetrics:
    """`RetrievalMetrics` alone, of parts that are read already. Raises InputError where a picture cannot be read."""
    asked, held, same = _compared(embedder, gallery, queries, batch_size)
    return retrieval_metrics(asked, queries.names, held, gallery.names, same)


def query_parts(root: str | Path) -> tuple[LabelledImages, LabelledImages]:
    """(gallery, queries) of the dataset in `root`: see `PARTS`. Raises DatasetError, also where files are missing."""
    gallery, queries = chosen_parts(read_labelled(root), root)
    for part in (gallery, queries):
        check_files(part.paths, part.source)
    return gallery, queries


def chosen_parts(parts: Mapping[str, LabelledImages], root: str | Path) -> tuple[LabelledImages, LabelledImages]:
    """(gallery, queries): the first pair of `PARTS` that is there. Raises DatasetError where there is none."""
    for gallery, query in PARTS:
        if gallery in parts and query in parts:
            log.info("%s: searching for the pictures of %s among those of %s", root, query, gallery)
            return parts[gallery], parts[query]
    wanted = ", ".join(f"{gallery} and {query}" for gallery, query in PARTS)
    raise DatasetError(f"{root} has the parts {', '.join(parts) or 'none'}. Expected one of these pairs: {wanted}")


def _compared(
    embedder: Embedder, gallery: LabelledImages, queries: LabelledImages, batch_size: int
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Features of the queries and of the gallery, and the row in the gallery that is the query itself, else -1."""
    held, asked = (_features(embedder, part, batch_size) for part in (gallery, queries))
    places = {path: row for row, path in enumerate(gallery.paths)}
    return asked, held, np.array([places.get(path, -1) for path in queries.paths], np.int64)


def _mistakes(
    asked: Floats, queries: LabelledImages, held: Floats, gallery: LabelledImages, same: NDArray[np.int64]
) -> tuple[Mistake, ...]:
    found, labels, held_labels = [], queries.names, gallery.names
    for row, feature in enumerate(asked):
        similarity = held @ feature
        if same[row] >= 0:
            similarity[same[row]] = -np.inf
        best = int(similarity.argmax())
        if gallery.label_ids[best] != queries.label_ids[row]:
            other = float(similarity[best])
            found.append(Mistake(queries.paths[row], labels[row], gallery.paths[best], held_labels[best], other))
    return tuple(sorted(found, key=lambda one: -one.similarity)[:SHOWN])


def _features(embedder: Embedder, part: LabelledImages, batch_size: int) -> Floats:
    """float32 [N, D] in the order of the images."""
    found: list[Floats] = [np.zeros((0, embedder.manifest.width), np.float32)]
    paths: Sequence[Path] = part.paths
    with ThreadPoolExecutor(_READERS) as readers:
        for start in range(0, len(paths), batch_size):
            batch = readers.map(lambda path: embedder.prepare(read_image(path)), paths[start : start + batch_size])
            found.append(embedder.embed_prepared(list(batch)))
            if start and start % (100 * batch_size) == 0:
                log.info("%d of %d pictures of %s", start, len(paths), part.source.name)
    return np.concatenate(found)
