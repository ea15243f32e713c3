"""Models and pipelines, ready to predict: `create_model` and `create_pipeline`."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eyas import compat
from eyas.bundle import Bundle, EmbeddingManifest, Manifest
from eyas.config import load_pipeline_config, pipeline_config, section_from
from eyas.errors import ConfigError, ModelError
from eyas.pipeline_schema import (
    PIPELINE_SECTIONS,
    DetectionModule,
    PipelineFile,
    RecognitionPipeline,
    SmallObjectPipeline,
)
from eyas.pipelines.opening import Opening, with_runtime
from eyas.pipelines.predictor import Predictor
from eyas.results import Detections
from eyas.schema import EngineConfig, HpiConfig

if TYPE_CHECKING:
    from eyas.pipelines.galleries import AnyIndex
    from eyas.pipelines.shitu import ShiTuPipeline

log = logging.getLogger(__name__)


def create_pipeline(  # noqa: PLR0913 - PaddleX's signature
    pipeline: str | Path | None = None,
    config: Mapping[str, Any] | None = None,
    device: str | None = None,
    use_hpip: bool | None = None,
    hpi_config: Mapping[str, Any] | HpiConfig | None = None,
    engine: str | None = None,
    engine_config: Mapping[str, Any] | EngineConfig | None = None,
    index: "AnyIndex | None" = None,
    **old: Any,
) -> "Predictor[Detections] | ShiTuPipeline":
    """The pipeline of that name, file or `config` (a pipeline file as a dict; it wins over `pipeline`).

    `device` None is what the file says, else a usable GPU, else the CPU. `index` is what PP-ShiTuV2 looks things up in
    where `predict` names nothing else: the folder of a gallery or of an index of PaddleX, an `IndexData` or a
    `Gallery`. The other arguments win over the top level of the file, and its sub-modules over both. `old` takes
    PaddleX's names of them. Raises ConfigError, ModelError, GalleryError or BackendError.
    """
    given = compat.rename_keywords(
        "create_pipeline",
        old,
        {
            "pipeline": pipeline,
            "device": device,
            "use_hpip": use_hpip,
            "hpi_config": hpi_config,
            "engine": engine,
            "index": index,
        },
    )
    settings = _pipeline_settings(given.pop("pipeline"), config)
    index = given.pop("index")
    changes = {key: value for key, value in (given | {"engine_config": engine_config}).items() if value is not None}
    tree = settings.model_dump(by_alias=True) | changes
    return PIPELINES[settings.pipeline_name](section_from(tree, type(settings), "create_pipeline"), index)


def create_model(  # noqa: PLR0913 - PaddleX's signature
    model_name: str | None = None,
    model_dir: str | Path | None = None,
    device: str | None = None,
    threshold: Any = None,
    batch_size: int | None = None,
    use_hpip: bool | None = None,
    hpi_config: Mapping[str, Any] | HpiConfig | None = None,
    engine: str | None = None,
    engine_config: Mapping[str, Any] | EngineConfig | None = None,
    img_size: int | tuple[int, int] | None = None,
    **old: Any,
) -> Predictor[Any]:
    """The model of that name, or the one in the directory `model_dir` (which may also be given as the first argument).

    Its results are `Detections` or `Features`: its bundle says which. `threshold` (for a detector alone: a
    number, or one for each class id or name) and `batch_size` are the defaults of `predict`. `img_size` is a side or
    (width, height) and must be the model's. `old` takes PaddleX's earlier names.
    Raises ConfigError, ModelError or BackendError.
    """
    given = compat.rename_keywords("create_model", old, {"use_hpip": use_hpip, "hpi_config": hpi_config})
    given |= {
        "model_name": model_name,
        "model_dir": None if model_dir is None else str(model_dir),
        "threshold": threshold,
        "batch_size": batch_size,
        "engine": engine,
        "engine_config": engine_config,
        "img_size": img_size,
    }
    module = {key: value for key, value in given.items() if value is not None}
    # A detector's section has every key of a feature model's; its threshold is refused once the bundle is open.
    return _open_model(section_from(module, DetectionModule, "create_model"), device)


def _pipeline_settings(pipeline: str | Path | None, config: Mapping[str, Any] | None) -> PipelineFile:
    if config is None:
        if pipeline is None:
            raise ConfigError(f"create_pipeline: no pipeline given. Known: {', '.join(PIPELINE_SECTIONS)}.")
        return load_pipeline_config(pipeline)
    settings = pipeline_config(config)
    if pipeline is not None and str(pipeline) != settings.pipeline_name:
        log.warning("create_pipeline: config describes %s and wins over %s", settings.pipeline_name, pipeline)
    return settings


def _small_object_detection(settings: SmallObjectPipeline, index: object) -> Predictor[Detections]:
    if index is not None:
        raise ConfigError(
            f"create_pipeline: index: small_object_detection looks nothing up, got {index!r:.80}. "
            "PP-ShiTuV2 is the pipeline that does."
        )
    return _open_model(with_runtime(settings.modules.detection, settings), settings.device, Manifest)


def _recognition(settings: RecognitionPipeline, index: "AnyIndex | None") -> "ShiTuPipeline":
    from eyas.pipelines.shitu import ShiTuPipeline

    body, features = settings.modules.detection, settings.modules.recognition
    detector = None
    if body is not None:
        detector = Opening.of(with_runtime(body, settings).or_default(), Manifest)
    embedder = Opening.of(with_runtime(features, settings).or_default(), EmbeddingManifest)
    return ShiTuPipeline.open(detector, embedder, settings, settings.index if index is None else index)


def _open_model(module: DetectionModule, device: str | None, kind: type[Manifest] | None = None) -> Predictor[Any]:
    """The predictor of the model that `module` names; one of that kind, where `kind` is given."""
    opening = Opening.of(module, kind)
    bundle, threshold = opening.bundle, module.threshold
    manifest = bundle.manifest
    _check_size(bundle, module.img_size)
    # One number is the default of every class, also of those that a later mapping leaves out.
    if isinstance(threshold, float) and isinstance(manifest, Manifest):
        bundle, threshold = replace(bundle, manifest=replace(manifest, threshold=threshold)), None
    return Predictor.open(
        bundle,
        device=device,
        engine=opening.engine,
        threads=opening.threads,
        batch_size=module.batch_size,
        threshold=threshold,
    )


def _check_size(bundle: Bundle, size: int | tuple[int, int] | None) -> None:
    """Raise ModelError where the bundle is not of the input size (a side, or width and height) that was asked for."""
    if size is None:
        return
    width, height = (size, size) if isinstance(size, int) else size
    own = bundle.manifest.preprocess.size_hw
    if (height, width) != own:
        raise ModelError(
            f"img_size: {width}x{height} was asked for, and the model in {bundle.path} takes {own[1]}x{own[0]}. "
            "Train with Train.input_size to change it."
        )


PIPELINES: dict[str, Callable[[Any, Any], "Predictor[Detections] | ShiTuPipeline"]] = {
    "small_object_detection": _small_object_detection,
    "PP-ShiTuV2": _recognition,
}
"""Pipeline name -> what builds it from its checked file and the index that was given."""
