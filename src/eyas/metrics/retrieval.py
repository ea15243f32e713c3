"""How well a gallery of known pictures answers queries: recall, mAP, and whether unknown queries are turned away."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.errors import DatasetError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Features = NDArray[np.float32]

RANKS = 5
"""recall1 to recall5 are told."""
_CELLS = 1 << 22  # similarities computed in one go, which bounds the memory


@dataclass(frozen=True)
class LabelRetrieval:
    """The figures of the queries with one label."""

    recall1: float
    recall5: float
    mAP: float
    queries: int


@dataclass(frozen=True)
class RetrievalMetrics:
    """Figures between 0 and 1 over the queries whose label the gallery has; -1 where there is none.

    recall1, recall5: the share of queries with a picture of their label among the 1 or 5 most similar of the gallery;
    `recall` has all from 1 to 5. mAP: the mean over the queries of their average precision, which is the mean, over the
    pictures of the query's label, of the share of pictures with that label up to its rank in the whole gallery.
    `unknown` queries have a label that the gallery lacks; they are in no figure. These are PaddleClas's definitions.
    """

    recall1: float
    recall5: float
    mAP: float
    recall: tuple[float, ...]
    per_label: Mapping[str, LabelRetrieval]
    queries: int
    unknown: int
    gallery: int

    def to_dict(self) -> dict[str, Any]:
        """All figures in full precision, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class OpenSet:
    """What each threshold on the similarity would do; a query is accepted when its best similarity reaches it.

    Columns of one length, `thresholds` falling. `false_accept`: the share of unknown queries that are accepted (FAR).
    `false_reject`: the share of known queries that are not (FRR). `identified`: the share of known queries that are
    accepted and whose most similar picture has their label. `equal_error` is where FAR and FRR meet, as nearly as the
    thresholds allow: their mean there, at `equal_error_threshold`. -1 where a share has no queries.
    """

    thresholds: tuple[float, ...]
    false_accept: tuple[float, ...]
    false_reject: tuple[float, ...]
    identified: tuple[float, ...]
    equal_error: float
    equal_error_threshold: float
    known: int
    unknown: int

    def to_dict(self) -> dict[str, Any]:
        """All figures in full precision, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class _Answers:
    """Of Q queries: best similarity [Q], rank of the first picture of the label [Q] from 0, average precision [Q]."""

    best: Floats
    first: Ints
    precision: Floats


def retrieval_metrics(
    queries: Features,
    query_labels: Sequence[Hashable],
    gallery: Features,
    gallery_labels: Sequence[Hashable],
    same: Ints | None = None,
) -> RetrievalMetrics:
    """The figures of `queries` [Q, D] against `gallery` [G, D].

    Similarity is the inner product: features of length 1 make it the cosine. Of equally similar pictures the first of
    the gallery ranks first. Where queries stand in the gallery themselves, `same` [Q] names the row of each, -1 for
    none; that row is left out for that query. Raises DatasetError where features and labels do not fit each other.
    """
    asked, held, names = _checked(queries, query_labels, gallery, gallery_labels)
    known, answers = _ask(queries, asked, gallery, held, same)
    recall = [_mean((answers.first < rank)[known]) for rank in range(1, RANKS + 1)]
    per_label = {}
    for label in np.unique(asked[known]):
        rows = known & (asked == label)
        first, precision = answers.first[rows], answers.precision[rows]
        figures = (_mean(first < 1), _mean(first < 5), _mean(precision), len(first))
        per_label[names[label]] = LabelRetrieval(*figures)
    return RetrievalMetrics(
        recall1=recall[0],
        recall5=recall[4],
        mAP=_mean(answers.precision[known]),
        recall=tuple(recall),
        per_label=per_label,
        queries=int(known.sum()),
        unknown=int((~known).sum()),
        gallery=len(gallery),
    )


def open_set(
    queries: Features,
    query_labels: Sequence[Hashable],
    gallery: Features,
    gallery_labels: Sequence[Hashable],
    same: Ints | None = None,
    *,
    points: int = 500,
) -> OpenSet:
    """The open-set curves of `queries` against `gallery`, at up to `points` of the similarities that occur.

    Known queries are those whose label the gallery has. Arguments and errors as in `retrieval_metrics`.
    """
    asked, held, _ = _checked(queries, query_labels, gallery, gallery_labels)
    known, answers = _ask(queries, asked, gallery, held, same)
    levels = np.unique(answers.best[np.isfinite(answers.best)])[::-1]  # -inf: all of the gallery was left out
    levels = levels[np.unique(np.linspace(0, len(levels) - 1, min(points, len(levels))).astype(int))]
    accept = _share_reaching(answers.best[~known], levels)
    reject, identified = np.full((2, len(levels)), -1.0)
    if known.any():
        reject = 1 - _share_reaching(answers.best[known], levels)
        right = np.where(answers.first == 0, answers.best, -np.inf)  # others are never identified
        identified = _share_reaching(right[known], levels)
    meets = bool(known.any() and not known.all() and len(levels))
    place = int(np.argmin(np.abs(accept - reject))) if meets else 0
    return OpenSet(
        thresholds=tuple(levels.tolist()),
        false_accept=tuple(accept.tolist()),
        false_reject=tuple(reject.tolist()),
        identified=tuple(identified.tolist()),
        equal_error=float(accept[place] + reject[place]) / 2 if meets else -1.0,
        equal_error_threshold=float(levels[place]) if meets else -1.0,
        known=int(known.sum()),
        unknown=int((~known).sum()),
    )


def _checked(
    queries: Features, query_labels: Sequence[Hashable], gallery: Features, gallery_labels: Sequence[Hashable]
) -> tuple[Ints, Ints, list[str]]:
    """Labels of queries and gallery as numbers, and the label of each number as text."""
    for what, features, labels in (("queries", queries, query_labels), ("gallery", gallery, gallery_labels)):
        if features.ndim != 2 or len(features) != len(labels):
            raise DatasetError(
                f"{what}: features must have the shape [N, D] and a label for each row, got {list(features.shape)} "
                f"and {len(labels)} labels"
            )
        if not np.isfinite(features).all():
            row = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
            raise DatasetError(f"{what}: the features of row {row} are not all finite numbers")
    if not len(gallery) or queries.shape[1] != gallery.shape[1]:
        raise DatasetError(
            f"the gallery must hold features [G, {queries.shape[1]}] as the queries do, got {list(gallery.shape)}"
        )
    numbers: dict[Hashable, int] = {}
    for label in (*gallery_labels, *query_labels):
        numbers.setdefault(label, len(numbers))
    asked, held = ([numbers[label] for label in labels] for labels in (query_labels, gallery_labels))
    return np.array(asked, np.int64), np.array(held, np.int64), [str(label) for label in numbers]


def _ask(queries: Features, asked: Ints, gallery: Features, held: Ints, same: Ints | None) -> tuple[Bools, _Answers]:
    """(which queries have a picture of their label in the gallery, what the gallery answers)."""
    parts = list(_answers(queries, asked, gallery, held, same))
    columns = zip(*parts, strict=True) if parts else ((), (), (), ())
    relevant, best, first, precision = (np.concatenate([np.zeros(0), *column]) for column in columns)
    return relevant > 0, _Answers(best, first.astype(np.int64), precision)


def _answers(
    queries: Features, asked: Ints, gallery: Features, held: Ints, same: Ints | None
) -> Iterator[tuple[Ints, Floats, Ints, Floats]]:
    """(pictures of the label, best similarity, rank of the first, average precision) of some queries at once."""
    step = max(1, _CELLS // len(gallery))
    for start in range(0, len(queries), step):
        rows = slice(start, start + step)
        similarity = queries[rows] @ gallery.T
        fits = asked[rows, None] == held
        if same is not None:
            own = np.flatnonzero(same[rows] >= 0)
            similarity[own, same[rows][own]] = -np.inf
            fits[own, same[rows][own]] = False
        order = np.argsort(-similarity, axis=1, kind="stable")
        hits = np.take_along_axis(fits, order, axis=1)
        relevant = hits.sum(axis=1)
        precision = np.cumsum(hits, axis=1) / np.arange(1, len(gallery) + 1)
        average = (precision * hits).sum(axis=1) / np.maximum(relevant, 1)
        yield relevant, similarity.max(axis=1).astype(np.float64), hits.argmax(axis=1), average


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else -1.0


def _share_reaching(best: Floats, levels: Floats) -> Floats:
    """The share of `best` at or above each of the falling `levels`; -1 where there is nothing to share."""
    if not len(best):
        return np.full(len(levels), -1.0)
    return np.asarray(1 - np.searchsorted(np.sort(best), levels, side="left") / len(best))
