"""Runs the whole pipeline on pictures whose objects are known, and finds the part that is to blame for each error.

Exactly one part is blamed, the first of these that explains the error:

detector   no box has an IoU of 0.5 or more with the object.
threshold  an unknown object was accepted.
gallery    the label is not in it.
crop       the true box, embedded and looked up in the same way, gives the right answer; the detected one does not.
threshold  the right label is the nearest, for the detected or the true box, and was rejected.
gallery    the nearest picture of the right label is farther from the true part than 95 % of the gallery's pictures are
           from their own label (`leave_one_out`).
features   the right label is as near as it usually is, and another one is nearer.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from eyas.doctor.verdicts import Blame, Box, Culprit, PipelineError
from eyas.errors import GalleryError
from eyas.index.gallery import Gallery
from eyas.index.leave_one_out import leave_one_out
from eyas.index.pictures import Picture
from eyas.index.records import Floats, nearness
from eyas.pipelines.crops import cut, whole
from eyas.pipelines.detector import Detector
from eyas.pipelines.embedder import Embedder
from eyas.pipelines.lookup import Lookup
from eyas.pipelines.options import Options
from eyas.pipelines.recogniser import Recogniser
from eyas.recognitions import Recognised, Recognitions
from eyas.vision.boxes import Boxes, iou_matrix
from eyas.vision.image import read_image

RANKS = 5
LEAST_IOU = 0.5
USUAL = 0.95
UNKNOWN = ("unknown",)
"""Labels of objects that the gallery is not meant to know: right is to reject them."""
DEFAULTS = Options()


@dataclass(frozen=True, eq=False)
class _Case:
    """An object with what the pipeline made of it: the place of its box in `seen` (None: none lies on it)."""

    picture: Picture
    seen: Recognitions
    place: int | None
    crop: Recognised
    vector: Floats


class _Judge:
    """Knows the gallery: which labels it has, and how near its pictures usually are to their own label."""

    def __init__(self, gallery: Gallery, unknown: Collection[str]) -> None:
        self._gallery, self.unknown = gallery, frozenset(unknown)
        self._labels = frozenset(gallery.labels)
        own = leave_one_out(gallery, gallery.state()).own
        known = own[np.isfinite(own)]
        # Where no label has two pictures nothing is usual, and whatever is not found counts as far.
        self._usual = float(np.quantile(known, 1 - USUAL)) if len(known) else np.inf

    def error(self, case: _Case) -> PipelineError | None:
        """What went wrong with an object; None where it is right."""
        truth = case.picture.label
        got = None if case.place is None else case.seen.objects[case.place]
        wanted = None if truth in self.unknown else truth
        if got is not None and got.label == wanted:
            return None
        if got is None and wanted is None:
            return None
        own, score = self._nearest_own(truth, case.vector)
        culprit, reason = self._culprit(case, got, score)
        nearest = case.crop.matches[0].id if case.crop.matches else None
        box = None if case.place is None else _as_box(case.seen.boxes_xyxy[case.place])
        one = case.picture
        found = None if got is None else got.label
        return PipelineError(one.path, one.where, truth, one.box, found, box, culprit, reason, nearest, own)

    def _culprit(self, case: _Case, got: Recognised | None, own_score: float) -> tuple[Culprit, str]:
        truth, crop = case.picture.label, case.crop
        if got is None:
            return "detector", f"none of {_counted(case.seen)} overlaps it by half"
        if truth in self.unknown:
            return "threshold", f"an unknown object was accepted as {got.label!r} with {got.scores[0]:.4g}"
        if truth not in self._labels:
            return "gallery", "it has no picture of this label"
        if crop.label == truth:
            return "crop", f"with the true box it is {truth!r} with {crop.scores[0]:.4g}"
        for what, one in (("detected", got), ("true", crop)):
            if one.label is None and one.matches and one.matches[0].label == truth:
                return "threshold", f"the right label is the nearest for the {what} box, but {one.reason}"
        best = crop.matches[0] if crop.matches else None
        rival = "" if best is None else f"; {best.label!r} has {best.score:.4g}"
        if nearness(np.array([own_score], np.float32), self._gallery.metric)[0] < self._usual:
            usual = abs(self._usual) if self._gallery.metric != "IP" else self._usual
            return "gallery", f"its nearest picture of this label is far, {own_score:.4g} (usual: {usual:.4g}){rival}"
        return "features", f"its nearest picture of this label has {own_score:.4g}{rival}"

    def _nearest_own(self, label: str, vector: Floats) -> tuple[int | None, float]:
        """(id, score) of the nearest gallery picture of `label`; (None, NaN) where there is none."""
        if label not in self._labels:
            return None, float("nan")
        found = self._gallery.search_among(vector[None], 1, self._gallery.find(labels=[label]))
        return int(found.ids[0, 0]), float(found.scores[0, 0])


def blame(
    detector: Detector | None,
    embedder: Embedder,
    gallery: Gallery,
    pictures: Sequence[Picture],
    options: Options = DEFAULTS,
    *,
    unknown: Collection[str] = UNKNOWN,
    progress: Callable[[int, int], None] | None = None,
) -> Blame:
    """Test the pipeline of these parts on `pictures`, several of one file being its objects.

    An object without a box is the whole picture: the detected box that has its label stands for it, else the best one.
    `progress(done, all)` counts files. Raises GalleryError for a gallery of another model or an empty one, InputError
    for a picture that cannot be read.
    """
    if not len(gallery) or not pictures:
        raise GalleryError(
            f"{gallery.path} has {len(gallery)} pictures and the test set {len(pictures)}. Expected both to have some."
        )
    options = replace(options, rec_topk=max(RANKS, options.rec_topk))
    recogniser, lookup, judge = (
        Recogniser(detector, embedder, gallery),
        Lookup(gallery, options),
        _Judge(gallery, unknown),
    )
    files: dict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        files[str(picture.path)].append(picture)
    errors: list[PipelineError] = []
    ranks: list[int] = []
    extra = [0, 0]
    for done, objects in enumerate(files.values(), start=1):
        cases = _cases(recogniser, embedder, lookup, objects, options)
        errors += [error for case in cases if (error := judge.error(case)) is not None]
        ranks += [_rank(case) for case in cases if case.picture.label not in judge.unknown]
        for recognised in _extra(cases):
            extra[recognised.label is None] += 1
        if progress is not None:
            progress(done, len(files))
    reached = np.array(ranks)[:, None] < np.arange(1, RANKS + 1)
    recall = tuple(reached.mean(axis=0).tolist()) if ranks else (-1.0,) * RANKS
    errors.sort(key=lambda one: (one.found is None, one.found_box is None))  # what was accepted wrongly comes first
    return Blame(len(files), len(pictures), len(pictures) - len(errors), recall, tuple(errors), *extra)


def _cases(
    recogniser: Recogniser, embedder: Embedder, lookup: Lookup, objects: Sequence[Picture], options: Options
) -> list[_Case]:
    """The objects of one picture. Raises GalleryError for a box that lies outside."""
    image = read_image(objects[0].path)
    seen = recogniser(image, options)
    parts = []
    for one in objects:
        part = image if one.box is None else cut(image, np.array(one.box, np.float32))
        if part is None:
            size = f"{image.shape[1]} x {image.shape[0]}"
            raise GalleryError(
                f"{one.where or one.path}: the box {list(one.box or ())} has no area in the picture of {size} pixels. "
                "Expected x1, y1, x2, y2 in pixels."
            )
        parts.append(part)
    vectors = np.concatenate([embedder.embed_batch([part]) for part in parts])
    places = _matched(objects, seen, (image.shape[0], image.shape[1]))
    rows = zip(objects, places, lookup(vectors), vectors, strict=True)
    return [_Case(one, seen, place, crop, vector) for one, place, crop, vector in rows]


def _matched(objects: Sequence[Picture], seen: Recognitions, size_hw: tuple[int, int]) -> list[int | None]:
    """The box on each object: pairs of the largest IoU first, each box once."""
    boxes: Boxes = np.array([whole(size_hw)[0] if one.box is None else one.box for one in objects], np.float32)
    overlaps = iou_matrix(boxes, seen.boxes_xyxy)
    places: list[int | None] = [None] * len(objects)
    taken: set[int] = set()
    for pair in np.argsort(-overlaps, axis=None, kind="stable").tolist():
        row, place = divmod(pair, overlaps.shape[1])
        if overlaps[row, place] < LEAST_IOU:
            break
        if places[row] is None and place not in taken:
            places[row] = place
            taken.add(place)
    for row, one in enumerate(objects):
        free = [place for place in range(len(seen.objects)) if place not in taken]
        if one.box is None and places[row] is None and free:
            places[row] = next((place for place in free if seen.objects[place].label == one.label), free[0])
            taken.add(places[row] or 0)
    return places


def _extra(cases: Sequence[_Case]) -> list[Recognised]:
    """What was made of the boxes on no object; the whole picture that stands for nothing detected is none of them."""
    seen, used = cases[0].seen, {case.place for case in cases}
    scores = seen.det_scores.tolist()
    return [one for place, one in enumerate(seen.objects) if place not in used and scores[place] > 0]


def _rank(case: _Case) -> int:
    """The place of the right label among the hits of the box on the object, from 0; `RANKS` where it is not there."""
    if case.place is None:
        return RANKS
    labels = case.seen.objects[case.place].labels[:RANKS]
    return labels.index(case.picture.label) if case.picture.label in labels else RANKS


def _counted(seen: Recognitions) -> str:
    count = int((seen.det_scores > 0).sum())
    return f"{count} detected box{'es' * (count != 1)}"


def _as_box(row: Floats) -> Box:
    x1, y1, x2, y2 = row.tolist()
    return x1, y1, x2, y2
