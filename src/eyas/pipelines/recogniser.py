"""A picture in, what the objects in it are out: detect, cut out, embed, look up in a gallery."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np

from eyas.index.records import ModelIdentity
from eyas.pipelines.crops import candidates, cut
from eyas.pipelines.detector import Detector, Prepared
from eyas.pipelines.embedder import Embedder
from eyas.pipelines.lookup import Lookup, without_duplicates
from eyas.pipelines.options import Options
from eyas.pipelines.stream import Work
from eyas.recognitions import Recognised, Recognitions
from eyas.vision.boxes import Boxes, Floats, iou_matrix
from eyas.vision.preprocess import Image

if TYPE_CHECKING:
    from eyas.index.gallery import Gallery

__all__ = ["DEFAULTS", "Options", "Recogniser", "Seen"]

DEFAULTS = Options()
"""PaddleX's choices."""


@dataclass(frozen=True)
class Seen:
    """A picture, uint8 RGB [H, W, 3], and what the detector gets of it (None where there is no detector)."""

    image: Image
    prepared: Prepared | None


class Recogniser:
    """Finds objects and says what they are.  Safe to share between threads: nothing is kept between calls."""

    def __init__(
        self, detector: Detector | None, embedder: Embedder, gallery: "Gallery", *, rec_batch_size: int = 16
    ) -> None:
        """Without a detector the whole picture is the only object.  `rec_batch_size` crops are embedded together.

        Raises GalleryError where another model made the gallery.
        """
        gallery.check_model(ModelIdentity.of(embedder.manifest))
        self._detector = detector
        self._embedder = embedder
        self._gallery = gallery
        self._rec_batch_size = rec_batch_size

    def __call__(self, image_rgb: Image, options: Options = DEFAULTS) -> Recognitions:
        """What is in one image (uint8 RGB [H, W, 3]), boxes in its pixels, by falling detection score.

        Raises ConfigError for wrong options and GalleryError where the gallery has no thresholds that they ask for.
        """
        work = self.work(options)
        return work.run([work.prepare(image_rgb)])[0]

    def work(self, options: Options = DEFAULTS) -> Work[Seen, Recognitions]:
        """What `eyas.pipelines.stream` does with pictures.  Raises ConfigError and GalleryError as `__call__` does."""
        if self._detector is not None:
            self._detector.work(options.det_threshold)  # a wrong one is told now
        return Work(self._prepare, partial(self._run, options=options, lookup=Lookup(self._gallery, options)))

    def _prepare(self, image_rgb: Image) -> Seen:
        return Seen(image_rgb, None if self._detector is None else self._detector.prepare(image_rgb))

    def _run(self, batch: Sequence[Seen], options: Options, lookup: Lookup) -> list[Recognitions]:
        places = self._places(batch, options)
        crops = [
            part
            for seen, (boxes, _) in zip(batch, places, strict=True)
            for part in (cut(seen.image, box) for box in boxes)
            if part is not None
        ]
        objects = lookup(self._embedded(crops))
        ends = accumulate((len(boxes) for boxes, _ in places), initial=0)
        return [
            self._result(boxes, scores, objects[start:end], options)
            for (boxes, scores), (start, end) in zip(places, pairwise(ends), strict=True)
        ]

    def _places(self, batch: Sequence[Seen], options: Options) -> list[tuple[Boxes, Floats]]:
        """The boxes to look at in each picture, each with an area, and their scores."""
        sizes = [(seen.image.shape[0], seen.image.shape[1]) for seen in batch]
        if self._detector is None:
            nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
            return [candidates(*nothing, size, "always", None) for size in sizes]
        prepared = [seen.prepared for seen in batch if seen.prepared is not None]
        found = self._detector.detect_prepared(prepared, threshold=options.det_threshold)
        return [
            candidates(one.boxes_xyxy, one.scores, size, options.full_image, options.max_boxes)
            for one, size in zip(found, sizes, strict=True)
        ]

    def _embedded(self, crops: Sequence[Image]) -> Floats:
        """The features [N, D] of crops; only as many as go through the network together are in memory as its input."""
        runs = [crops[start : start + self._rec_batch_size] for start in range(0, len(crops), self._rec_batch_size)]
        return np.concatenate([self._embedder.embed_batch(run) for run in runs or [[]]])

    def _result(self, boxes: Boxes, scores: Floats, objects: Sequence[Recognised], options: Options) -> Recognitions:
        if options.rec_nms is not None:
            metric = self._gallery.info.metric
            kept = without_duplicates(iou_matrix(boxes, boxes), objects, metric, options.rec_nms)
            boxes, scores, objects = boxes[kept], scores[kept], [objects[place] for place in kept]
        return Recognitions(boxes, scores, tuple(objects))
