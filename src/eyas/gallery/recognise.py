"""The pipeline PP-ShiTuV2 as the command line means it."""

from collections.abc import Mapping
from typing import Any

from eyas.errors import ConfigError
from eyas.gallery.models import made_with, name_or_folder
from eyas.pipeline_schema import RecognitionPipeline
from eyas.pipelines import create_pipeline
from eyas.pipelines.galleries import folder_of
from eyas.pipelines.shitu import ShiTuPipeline


def open_recognition(
    file: RecognitionPipeline,
    index: str | None,
    detector: str | None,
    model: Mapping[str, str | None],
    runtime: Mapping[str, Any],
) -> ShiTuPipeline:
    """The pipeline of `file`, where the command line does not say otherwise.

    `detector` is a name, a folder or "none": then the whole picture is looked up. `model` holds the model_name and
    model_dir of the feature model; where both are None, it is the one that the gallery was made with, if it knows.
    `runtime` are arguments of `create_pipeline`. Raises ConfigError where no gallery is named.
    """
    place = index or file.index
    if place is None:
        raise ConfigError("--index: not given. Say where the gallery is: --index DIR (eyas gallery build makes one)")
    tree = file.model_dump(by_alias=True)
    modules = tree["SubModules"]
    named = model if any(model.values()) else made_with(folder_of(place))
    if named is not None:
        modules["Recognition"] |= named
    if detector is not None:
        modules["Detection"] = _detection(detector, modules["Detection"])
    pipeline = create_pipeline(config=tree, index=place, **runtime)
    assert isinstance(pipeline, ShiTuPipeline)
    return pipeline


def _detection(detector: str, section: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if detector.lower() == "none":
        return None
    return {**(section or {}), **name_or_folder(detector)}
