"""Features in, what they are out: the nearest pictures of a gallery, ranked, and accepted or not."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from eyas.errors import GalleryError
from eyas.index.records import Floats, Metric, nearness
from eyas.pipelines.options import Options
from eyas.recognitions import Match, Recognised

if TYPE_CHECKING:
    from eyas.index.gallery import Gallery

log = logging.getLogger(__name__)

Hit = tuple[int, str, float]
"""Id, label and score of a gallery picture."""
Entry = tuple[str, float]
"""A label and its score."""

SEARCHED = 20
"""Nearest pictures that vote, and among which the next label is looked for."""

TEMPERATURE = 0.07
"""A picture whose cosine is lower by this much has 1/e of the weight in a vote (Wu et al., CVPR 2018: 0.07)."""


class Lookup:
    """Looks features up in a gallery.  Safe to share between threads: nothing is kept between calls."""

    def __init__(self, gallery: "Gallery", options: Options) -> None:
        """Raises ConfigError where the options do not suit the gallery, GalleryError where it is not calibrated."""
        self._gallery = gallery
        self._options = options
        self._metric: Metric = gallery.info.metric
        self._threshold = _thresholds(gallery, options)

    def __call__(self, vectors: Floats) -> list[Recognised]:
        """What each row of `vectors`, float32 [N, D], is."""
        if not len(vectors):
            return []
        found = self._search(vectors)
        shown = [hits[: self._options.rec_topk] for hits in found]
        sources = self._sources({number for hits in shown for number, _, _ in hits})
        return [
            self._judged(hits, tuple(Match(*hit, sources.get(hit[0])) for hit in few))
            for hits, few in zip(found, shown, strict=True)
        ]

    def _search(self, vectors: Floats) -> list[list[Hit]]:
        """The hits of each row, best first: enough of them to rank labels, and to know the lead over the next one."""
        depth = max(self._options.rec_topk, SEARCHED)
        found = self._nearest(vectors, depth)
        open_rows = list(range(len(vectors)))
        while self._options.margin > 0 and depth < len(self._gallery):
            open_rows = [row for row in open_rows if len(found[row]) == depth and self._undecided(found[row])]
            if not open_rows:
                break
            depth *= 8
            for row, hits in zip(open_rows, self._nearest(vectors[open_rows], depth), strict=True):
                found[row] = hits
        return found

    def _nearest(self, vectors: Floats, depth: int) -> list[list[Hit]]:
        matches = self._gallery.search(vectors, depth, where=self._options.where)
        return [matches.named(row) for row in range(len(matches))]

    def _undecided(self, hits: Sequence[Hit]) -> bool:
        """Whether a next label, not among `hits`, could still be nearer than the margin allows."""
        return len({label for _, label, _ in hits}) == 1 and self._lead(hits[0][2], hits[-1][2]) < self._options.margin

    def _sources(self, ids: set[int]) -> dict[int, str | None]:
        """The sources of those gallery pictures; none for one that another thread has removed since the search."""
        try:
            return {item.id: item.source for item in self._gallery.get(sorted(ids))}
        except GalleryError:
            present = sorted(ids.intersection(self._gallery.find().tolist()))
            return {item.id: item.source for item in self._gallery.get(present)}

    def _judged(self, hits: Sequence[Hit], matches: tuple[Match, ...]) -> Recognised:
        if not hits:
            why = "the gallery is empty" if not len(self._gallery) else "no picture of the gallery meets the condition"
            return Recognised((None,), (None,), (), why)
        ranked = RANKINGS[self._options.vote](hits, self._metric, self._gallery.info.width)
        label, score = ranked[0]
        rival = next((entry for entry in ranked if entry[0] != label), None)
        margin = None if rival is None else self._lead(score, rival[1])
        reason = self._objection(label, score, margin, rival)
        if reason is not None:
            return Recognised((None,), (None,), matches, reason, margin)
        labels, scores = zip(*ranked[: self._options.rec_topk], strict=True)
        return Recognised(labels, scores, matches, None, margin)

    def _objection(self, label: str, score: float, margin: float | None, rival: Entry | None) -> str | None:
        """Why an object is unknown though `label` is its best; None where it is that."""
        limit = self._threshold(label)
        if self._lead(score, limit) < 0:
            side = "below" if self._metric == "IP" else "beyond"
            digits = 4 if f"{score:.4g}" != f"{limit:.4g}" else 9
            return f"best match {label!r} {score:.{digits}g} is {side} its threshold {limit:.{digits}g}"
        # A vote may be won by a label that is not the nearest: its lead is below 0, and no margin was asked for.
        if rival is not None and margin is not None and margin < self._options.margin > 0:
            return (
                f"best match {label!r} {score:.4g} and the next label {rival[0]!r} {rival[1]:.4g} are too near: "
                f"a lead of {self._options.margin:.4g} was asked for"
            )
        return None

    def _lead(self, score: float, other: float) -> float:
        """How much nearer `score` is than `other`, in the metric's unit."""
        return score - other if self._metric == "IP" else other - score


def _thresholds(gallery: "Gallery", options: Options) -> Callable[[str], float]:
    """The score that is still accepted, for each label."""
    limit = options.limit(gallery.info.metric, gallery.info.width)
    if limit is not None:
        return lambda label: limit
    from eyas.index.calibration import Calibration

    calibration = Calibration.load(gallery)
    if calibration is None:
        raise GalleryError(
            f'{gallery.path} has no thresholds of its own, and rec_threshold="calibrated" asks for them. '
            "Make them first: `eyas gallery calibrate`, or calibrate(gallery) of eyas.index.calibration."
        )
    if calibration.stale:
        log.warning("%s has changed since its thresholds were made: calibrate it again", gallery.path)
    return calibration.threshold


def _as_found(hits: Sequence[Hit], metric: Metric, width: int) -> list[Entry]:
    """Every hit, best first, as PaddleX reports them."""
    return [(label, score) for _, label, score in hits]


def _by_best(hits: Sequence[Hit], metric: Metric, width: int) -> list[Entry]:
    """Each label with its best score."""
    return list(_best(hits).items())


def _by_mean(hits: Sequence[Hit], metric: Metric, width: int) -> list[Entry]:
    """Each label with the mean of its scores."""
    scores = {label: [score for _, other, score in hits if other == label] for label in _best(hits)}
    means = {label: sum(own) / len(own) for label, own in scores.items()}
    return _sorted(means, means, largest_first=metric == "IP")


def _by_votes(hits: Sequence[Hit], metric: Metric, width: int) -> list[Entry]:
    """Each label with its best score, the one with the most weight among the hits first."""
    nearest = _cosine(hits[0][2], metric, width)
    weights: dict[str, float] = {}
    for _, label, score in hits:
        weight = math.exp((_cosine(score, metric, width) - nearest) / TEMPERATURE)
        weights[label] = weights.get(label, 0.0) + weight
    return _sorted(_best(hits), weights, largest_first=True)


def _best(hits: Sequence[Hit]) -> dict[str, float]:
    """Each label's best score; the labels by that score, too, since hits come best first."""
    best: dict[str, float] = {}
    for _, label, score in hits:
        best.setdefault(label, score)
    return best


def _sorted(scores: Mapping[str, float], keys: Mapping[str, float], *, largest_first: bool) -> list[Entry]:
    order = sorted(scores, key=lambda label: keys[label], reverse=largest_first)
    return [(label, scores[label]) for label in order]


RANKINGS: dict[str, Callable[[Sequence[Hit], Metric, int], list[Entry]]] = {
    "none": _as_found,
    "vote": _by_votes,
    "mean": _by_mean,
    "max": _by_best,
}
"""`Options.vote` -> what makes labels with scores, the best first, of hits."""


def _cosine(score: float, metric: Metric, width: int) -> float:
    """The cosine that a score of features of length 1 means: exact for IP and L2, an estimate for hamming."""
    if metric == "IP":
        return score
    return 1 - score / 2 if metric == "L2" else math.cos(math.pi * score / width)


def without_duplicates(overlaps: Floats, objects: Sequence[Recognised], metric: Metric, most: float) -> list[int]:
    """Places of the objects that stay, rising: of two with one label that overlap by more than `most` the worse goes.

    overlaps: float32 [N, N], the IoU of their boxes. Unknown objects stay.
    """
    scores = [one.scores[0] for one in objects]
    known = [place for place, score in enumerate(scores) if score is not None]
    near = nearness(np.array([scores[place] for place in known], dtype=np.float32), metric)
    kept: list[int] = []
    for place in (known[i] for i in np.argsort(-near, kind="stable")):
        same = [other for other in kept if objects[other].label == objects[place].label]
        if not any(overlaps[place, other] > most for other in same):
            kept.append(place)
    return sorted(kept + [place for place, score in enumerate(scores) if score is None])
