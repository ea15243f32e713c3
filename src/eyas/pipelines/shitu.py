"""The pipeline PP-ShiTuV2: what is in pictures is looked up in a gallery, and galleries are built and changed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from eyas.bundle import EmbeddingManifest, Manifest, need_task
from eyas.compat import rename_keywords
from eyas.errors import ConfigError
from eyas.index.gallery import Gallery
from eyas.inputs import iter_inputs
from eyas.pipeline_schema import RecognitionPipeline
from eyas.pipelines.detector import Detector, Threshold
from eyas.pipelines.embedder import Embedder
from eyas.pipelines.galleries import AnyIndex, Galleries
from eyas.pipelines.gallery_builder import GalleryCrop
from eyas.pipelines.index_maker import IndexMaker
from eyas.pipelines.opening import Opening
from eyas.pipelines.options import FullImage, Options, Vote
from eyas.pipelines.predictor import checked_batch_size
from eyas.pipelines.recogniser import Recogniser
from eyas.pipelines.stream import stream
from eyas.recognitions import Recognitions

Models = tuple[Detector | None, Embedder]
"""The networks on one device."""
OpenModels = Callable[[str | None], Sequence[Models]]
"""From a device's text to the networks on each device that it names."""


class ShiTuPipeline(IndexMaker):
    """Recognition by a gallery: `predict` yields a `Recognitions` for each picture.

    Safe to share between threads: options belong to a call, and galleries once opened stay open.
    """

    def __init__(
        self,
        open_models: OpenModels,
        *,
        device: str | None = None,
        index: AnyIndex | None = None,
        options: Options | None = None,
        batch_size: int = 1,
        rec_batch_size: int = 16,
        gallery_crop: GalleryCrop = "boxes",
    ) -> None:
        """Open the networks for `device`; the first of them make and change indexes.

        `index`, `options` and `batch_size` are the defaults of `predict`.
        """
        self._open_models = open_models
        self._models = tuple(open_models(device))
        detector, embedder = self._models[0]
        super().__init__(embedder, detector, Galleries(), gallery_crop)
        self._index = index
        self._options = options or Options()
        self._batch_size = batch_size
        self._rec_batch_size = rec_batch_size

    @staticmethod
    def open(
        detector: Opening | None, embedder: Opening, settings: RecognitionPipeline, index: AnyIndex | None
    ) -> "ShiTuPipeline":
        """The pipeline of these two networks, with the options of a pipeline file."""

        def open_models(device: str | None) -> list[Models]:
            features = need_task(embedder.bundle.manifest, EmbeddingManifest)
            embedders = [Embedder(features, backend) for backend in embedder.backends(device)]
            if detector is None:
                return [(None, one) for one in embedders]
            bodies = need_task(detector.bundle.manifest, Manifest)
            detectors = [Detector(bodies, backend) for backend in detector.backends(device)]
            return list(zip(detectors, embedders, strict=True))

        options = Options(**{name: getattr(settings, name) for name in Options.__match_args__ if name != "where"})
        body = settings.modules.detection
        return ShiTuPipeline(
            open_models,
            device=settings.device,
            index=index,
            options=options,
            batch_size=1 if body is None else body.batch_size,
            rec_batch_size=settings.modules.recognition.batch_size,
            gallery_crop=settings.gallery_crop,
        )

    @property
    def networks(self) -> Models:
        """The detector (None: whole pictures are looked up) and the feature model on the first device."""
        return self._models[0]

    @property
    def options(self) -> Options:
        """What `predict` does where its arguments say nothing else."""
        return self._options

    def gallery(self, index: AnyIndex | None = None) -> Gallery:
        """The open gallery that `index` means; without one, that of the pipeline.

        Raises ConfigError where neither is there, GalleryError where it cannot be used.
        """
        chosen = self._index if index is None else index
        if chosen is None:
            raise ConfigError(
                "There is no index to look things up in. Build one, build_index(gallery_imgs=..., gallery_label=...), "
                "and give it, or the folder that it was saved in, as index: to predict, to create_pipeline, or in the "
                "pipeline file."
            )
        return self._galleries.get(chosen)

    def predict(  # noqa: PLR0913 - PaddleX's signature, and the options of recognition
        self,
        input: object = None,
        index: AnyIndex | None = None,
        det_threshold: Threshold = None,
        rec_threshold: float | Literal["calibrated"] | None = None,
        rec_topk: int | None = None,
        hamming_radius: float | None = None,
        *,
        max_boxes: int | None = None,
        rec_nms: float | None = None,
        full_image: FullImage | None = None,
        vote: Vote | None = None,
        margin: float | None = None,
        where: Mapping[str, Any] | None = None,
        batch_size: int | None = None,
        device: str | None = None,
        **old: object,
    ) -> Iterator[Recognitions]:
        """What is in each picture that `input` holds (see `eyas.inputs`), in its order, one by one.

        `index`: the folder of a gallery or of an index of PaddleX, an `IndexData` or a `Gallery`; see `Options` for
        the others.  None is what the pipeline was made with.  `old` are PaddleX's former names (`x`, `index_dir`).
        Wrong arguments raise ConfigError, and an index that cannot be used GalleryError, at once; pictures that
        cannot be used are treated as `Predictor.predict` does.
        """
        given = rename_keywords("predict", old, {"input": input, "index": index})
        if given["input"] is None:
            raise ConfigError(
                "predict() needs an input: a picture, a folder, a PDF file, a URL, an array, or a list of them."
            )
        size = self._batch_size if batch_size is None else checked_batch_size(batch_size)
        changes: dict[str, Any] = {
            "det_threshold": det_threshold,
            "rec_threshold": rec_threshold,
            "rec_topk": rec_topk,
            "hamming_radius": hamming_radius,
            "max_boxes": max_boxes,
            "rec_nms": rec_nms,
            "full_image": full_image,
            "vote": vote,
            "margin": margin,
            "where": where,
        }
        options = replace(self._options, **{name: value for name, value in changes.items() if value is not None})
        gallery = self.gallery(given["index"])
        models = self._models if device is None else self._open_models(device)
        recognisers = [Recogniser(*pair, gallery, rec_batch_size=self._rec_batch_size) for pair in models]
        return stream(iter_inputs(given["input"]), [one.work(options) for one in recognisers], size)

    __call__ = predict
