"""Models and pipelines, ready to predict: `create_model` and `create_pipeline`."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from eyas import compat
from eyas.bundle import Bundle, Manifest, need_task
from eyas.config import load_pipeline_config, pipeline_config, section_from
from eyas.convert import resolve_model
from eyas.errors import ConfigError, ModelError
from eyas.pipelines.predictor import Predictor
from eyas.results import Detections
from eyas.schema import PIPELINE_SECTIONS, DetectionModule, EngineConfig, HpiConfig, Runtime, SmallObjectPipeline
from eyas.store import STORE

log = logging.getLogger(__name__)


def create_pipeline(
    pipeline: str | Path | None = None,
    config: Mapping[str, Any] | None = None,
    device: str | None = None,
    use_hpip: bool | None = None,
    hpi_config: Mapping[str, Any] | HpiConfig | None = None,
    engine: str | None = None,
    engine_config: Mapping[str, Any] | EngineConfig | None = None,
    **old: Any,
) -> Predictor[Detections]:
    """The pipeline of that name, file or `config` (a pipeline file as a dict; it wins over `pipeline`).

    `device` None is what the file says, else a usable GPU, else the CPU. The other arguments win over the top level of
    the file, and its sub-modules over both. `old` takes PaddleX's names of them.
    Raises ConfigError, ModelError or BackendError.
    """
    given = compat.rename_keywords(
        "create_pipeline",
        old,
        {"pipeline": pipeline, "device": device, "use_hpip": use_hpip, "hpi_config": hpi_config, "engine": engine},
    )
    settings = _pipeline_settings(given.pop("pipeline"), config)
    changes = {key: value for key, value in (given | {"engine_config": engine_config}).items() if value is not None}
    tree = settings.model_dump(by_alias=True) | changes
    return PIPELINES[settings.pipeline_name](section_from(tree, type(settings), "create_pipeline"))


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


def _pipeline_settings(pipeline: str | Path | None, config: Mapping[str, Any] | None) -> SmallObjectPipeline:
    if config is None:
        if pipeline is None:
            raise ConfigError(f"create_pipeline: no pipeline given. Known: {', '.join(PIPELINE_SECTIONS)}.")
        return load_pipeline_config(pipeline)
    settings = pipeline_config(config)
    if pipeline is not None and str(pipeline) != settings.pipeline_name:
        log.warning("create_pipeline: config describes %s and wins over %s", settings.pipeline_name, pipeline)
    return settings


def _small_object_detection(settings: SmallObjectPipeline) -> Predictor[Detections]:
    module = settings.modules.detection
    runtime = {key: getattr(module, key) for key in Runtime.model_fields}
    top = {key: getattr(settings, key) for key, value in runtime.items() if value is None}
    return _open_model(module.model_copy(update=top), settings.device, Manifest)


def _open_model(module: DetectionModule, device: str | None, kind: type[Manifest] | None = None) -> Predictor[Any]:
    """The predictor of the model that `module` names; one of that kind, where `kind` is given."""
    bundle = Bundle.open(resolve_model(module.model_name, module.model_dir))
    manifest, threshold = bundle.manifest, module.threshold
    if kind is not None:
        need_task(manifest, kind)
    _check_bundle(bundle, module)
    # One number is the default of every class, also of those that a later mapping leaves out.
    if isinstance(threshold, float) and isinstance(manifest, Manifest):
        bundle, threshold = replace(bundle, manifest=replace(manifest, threshold=threshold)), None
    hpi = module.hpi_config if module.use_hpip else None
    threads = module.engine_config.cpu_threads if module.engine_config else None
    if threads is None and hpi is not None and hpi.backend_config is not None:
        threads = hpi.backend_config.cpu_num_threads
    return Predictor.open(
        bundle,
        device=device,
        engine=module.engine or (hpi.backend if hpi else None),
        threads=threads,
        batch_size=module.batch_size,
        threshold=threshold,
    )


def _check_bundle(bundle: Bundle, module: DetectionModule) -> None:
    """Raise ModelError where the bundle is not the model, or not of the input size, that was asked for."""
    name, manifest = module.model_name, bundle.manifest
    built_in = name in STORE and STORE[name].built_in
    if module.model_dir is not None and name is not None and not built_in and name != manifest.model:
        raise ModelError(f"{module.model_dir} holds the model {manifest.model}, and {name} was asked for.")
    if module.img_size is not None:
        size = module.img_size
        width, height = (size, size) if isinstance(size, int) else size
        if (height, width) != manifest.preprocess.size_hw:
            own = manifest.preprocess.size_hw
            raise ModelError(
                f"img_size: {width}x{height} was asked for, and the model in {bundle.path} takes {own[1]}x{own[0]}. "
                "Train with Train.input_size to change it."
            )


PIPELINES: dict[str, Callable[[SmallObjectPipeline], Predictor[Detections]]] = {
    "small_object_detection": _small_object_detection
}
"""Pipeline name -> what builds it from its checked file."""
