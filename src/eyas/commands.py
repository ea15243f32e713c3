"""What the commands do: run a configuration, predict through a pipeline, list models, write a pipeline file."""

import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from eyas.compat import PIPELINE_MODULES, PLUGINS
from eyas.errors import ConfigError, did_you_mean, needs_train
from eyas.terminal import Format, failures_to, say, show

if TYPE_CHECKING:
    from eyas.pipeline_schema import PipelineFile, RecognitionPipeline
    from eyas.recognitions import Recognitions
    from eyas.saving import Labels, Result
    from eyas.schema import ModuleConfig

log = logging.getLogger(__name__)

RUNS = {
    "check_dataset": "eyas.check.run",
    "train": "eyas.train.run",
    "evaluate": "eyas.evaluate.run",
    "export": "eyas.export.run",
    "predict": "eyas.predict",
}
"""Global.mode -> the module whose `run(config)` does it."""

DEFAULT_PIPELINE = "small_object_detection"


@dataclass(frozen=True)
class Lookup:
    """What was asked for of looking things up in a gallery; None: the pipeline file says it.

    `detector` is a name, a folder, or "none": then the whole picture is looked up.
    """

    index: str | None = None
    detector: str | None = None
    rec_threshold: str | None = None
    rec_topk: int | None = None
    where: tuple[str, ...] = ()
    evidence: bool = False


@dataclass(frozen=True)
class Asked:
    """What the predict verb and the flag style were asked for; None: the file says it."""

    inputs: tuple[str, ...]
    pipeline: str | None
    model: str | None
    model_dir: str | None
    threshold: str | None
    device: str | None
    batch_size: int | None
    engine: str | None
    use_hpip: bool
    hpi_config: str | None
    save_path: str | None
    labels: "Labels"
    form: Format
    lookup: Lookup

    def overrides(self) -> list[str]:
        """The same as overrides of a module configuration."""
        if self.pipeline is not None:
            raise ConfigError("--pipeline and -c: give one of them")
        given = {
            "Predict.input": list(self.inputs) or None,
            "Global.model": self.model,
            "Predict.model_dir": self.model_dir,
            "Predict.threshold": self.threshold,
            "Global.device": self.device,
            "Predict.batch_size": self.batch_size,
            "Predict.engine": self.engine,
            "Predict.use_hpip": self.use_hpip or None,
            "Predict.hpi_config": self.hpi_config,
            "Global.output": self.save_path,
        }
        return [f"{key}={value}" for key, value in given.items() if value is not None]


def list_models() -> None:
    """One line for each model that can be named: what is here of it, what it does, how well, under which licence."""
    from eyas.config import module_configs
    from eyas.convert import converted_bundle
    from eyas.store import KINDS, STORE, local_path

    for entry in STORE.values():
        name, (height, width), figure = entry.name, entry.size_hw, entry.figures[0]
        places = {"bundle": converted_bundle(name)} | {kind: local_path(name, kind) for kind in KINDS}
        cached = [kind for kind, place in places.items() if place is not None and place.exists()]
        here = "built in" if entry.built_in else f"cached: {', '.join(cached)}" if cached else "to download"
        out = f"classes: {len(entry.classes)}" if entry.classes else f"vector: {entry.features}"
        what = f"{entry.task} {width}x{height}, {out}"
        how_well = f"{figure.metric} {figure.percent:g} ({figure.data})"
        say(f"{name:32}{here:28}{what:34}{how_well:30}{entry.megabytes:>6.0f} MB  {entry.licence}  {entry.summary}")
    for name in sorted(set(module_configs()) - set(STORE)):
        say(f"{name:32}to train")


def run_mode(config: str | None, overrides: Sequence[str] | None, verb: str | None, form: Format = Format.text) -> None:
    """Run what a module configuration asks for; a verb wins over its Global.mode."""
    from eyas.config import load_module_config, module_configs

    if config is None:
        raise ConfigError(f"-c: no configuration given. Expected a file, or one of: {', '.join(module_configs())}.")
    settings = load_module_config(config, overrides or ())
    mode = verb or settings.global_.mode
    if mode not in RUNS:
        hint = f"came {mode!r}" if mode else "none was given"
        raise ConfigError(f"Global.mode: expected one of {', '.join(RUNS)}; {hint}")
    with failures_to(Path(settings.global_.output), mode):
        show_outcome(mode, run_module(mode, settings), settings, form)


def run_module(mode: str, settings: "ModuleConfig") -> Any:
    """What `mode` returns. Raises BackendError with the pip line where a training package is missing."""
    with needs_train():
        return import_module(RUNS[mode]).run(settings)


def show_outcome(mode: str, outcome: Any, settings: "ModuleConfig", form: Format) -> None:
    """What a run returned, on stdout: results, COCO's lines, or the folder of the bundle. One rank of many speaks."""
    if mode == "predict":
        show(outcome, form)
        log.info("results are in %s", settings.global_.output)
    elif os.environ.get("RANK", "0") == "0":
        for line in outcome.lines() if mode == "evaluate" else [str(outcome)]:
            say(line)


def predict_inputs(asked: Asked) -> None:
    """Predict through a pipeline, or with a model of any task, and show, and where asked save, every result."""
    from eyas.config import load_pipeline_config

    file = load_pipeline_config(asked.pipeline or DEFAULT_PIPELINE)
    inputs = list(asked.inputs) or file.input
    if inputs is None:
        raise ConfigError("no input given. Name a picture, a folder, a PDF file or a URL.")
    results = _results(asked, file, [inputs] if isinstance(inputs, str) else list(inputs))
    show(results if asked.save_path is None else _saved(results, asked.save_path, asked.labels), asked.form)
    if asked.save_path is None:
        log.info("nothing is saved without --save_path")


def _results(asked: Asked, file: "PipelineFile", inputs: list[str]) -> "Iterator[Result]":
    """What the pipeline of `file` finds; a model that is named without a pipeline is opened by itself."""
    from eyas.config import parse_value
    from eyas.pipeline_schema import RecognitionPipeline
    from eyas.pipelines import create_model, create_pipeline

    threshold = None if asked.threshold is None else parse_value(asked.threshold)
    model = {"model_name": asked.model, "model_dir": asked.model_dir}
    runtime: dict[str, Any] = {
        "device": asked.device,
        "use_hpip": True if asked.use_hpip else None,
        "hpi_config": None if asked.hpi_config is None else parse_value(asked.hpi_config),
        "engine": asked.engine,
    }
    if isinstance(file, RecognitionPipeline):
        return _recognitions(inputs, file, asked.lookup, model, runtime, threshold)
    if asked.lookup != Lookup():
        raise ConfigError("--index and what belongs to it are for --pipeline PP-ShiTuV2.")
    if asked.pipeline is None and any(model.values()):
        predictor = create_model(asked.model, asked.model_dir, batch_size=asked.batch_size, **runtime)
        return predictor.predict(inputs, threshold=threshold)
    tree = file.model_dump(by_alias=True)
    module = tree["SubModules"][PIPELINE_MODULES[file.pipeline_name][0]]
    if any(model.values()):
        module |= model
    if asked.batch_size is not None:
        module["batch_size"] = asked.batch_size
    return create_pipeline(config=tree, **runtime).predict(inputs, threshold=threshold)


def _recognitions(
    inputs: list[str],
    file: "RecognitionPipeline",
    lookup: Lookup,
    model: Mapping[str, str | None],
    runtime: Mapping[str, Any],
    threshold: Any,
) -> "Iterator[Recognitions]":
    from eyas.config import parse_value
    from eyas.gallery.recognise import open_recognition
    from eyas.gallery.reports import conditions

    results = open_recognition(file, lookup.index, lookup.detector, model, runtime).predict(
        inputs,
        det_threshold=threshold,
        rec_threshold=None if lookup.rec_threshold is None else parse_value(lookup.rec_threshold),
        rec_topk=lookup.rec_topk,
        where=conditions(lookup.where),
    )
    return (result.explained() for result in results) if lookup.evidence else results


def _saved(results: "Iterable[Result]", save_path: str, labels: "Labels") -> "Iterator[Result]":
    from eyas.saving import DrawnResult

    for result in results:
        if isinstance(result, DrawnResult):
            result.save_all(save_path, labels=labels)
        else:
            result.save_all(save_path)
        yield result


def copy_pipeline(name: str, target: Path, yes: bool) -> Path:
    """Write a pipeline's file to `target` (a folder, or a file ending in .yaml); asks before it overwrites one."""
    from eyas.config import SUFFIXES, find_pipeline_config
    from eyas.saving import write_text

    source = find_pipeline_config(name)
    file = target if target.suffix in SUFFIXES else target / source.name
    if file.exists() and not yes:
        if not sys.stdin.isatty():
            raise ConfigError(f"{file} exists already. Give another --save_path, or -y to overwrite it.")
        typer.confirm(f"{file} exists already. Overwrite it?", abort=True, err=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, source.read_text(encoding="utf-8"))
    return file


def pip_line(plugin: str) -> str:
    """The line that installs what `plugin` (an extra of eyas, or PaddleX's name for it) brings."""
    from importlib.metadata import metadata

    extras = metadata("eyas").get_all("Provides-Extra") or []
    extra = PLUGINS.get(plugin, plugin)
    if extra not in extras:
        raise ConfigError(f"--install: there is no extra {plugin!r}. {did_you_mean(plugin, [*extras, *PLUGINS])}")
    return f"pip install 'eyas[{extra}]'"


def convert_model(source: str, target: Path, model: str | None, classes: str | None) -> None:
    """Convert a model of Paddle and say where the result is; `classes` is a list with commas, or a file of lines."""
    from eyas.convert import convert

    names = None
    if classes is not None:
        text = Path(classes).read_text(encoding="utf-8") if Path(classes).is_file() else classes.replace(",", "\n")
        names = [name.strip() for name in text.splitlines() if name.strip()]
    say(str(convert(source, target, model, names)))
