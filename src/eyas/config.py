"""Configuration files and overrides -> frozen sections, and the messages about files and overrides.

file -> plain data (YAML 1.2) -> today's spelling (compat) -> `-o Section.key=value` -> checked sections (schema).
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from eyas import compat, yaml12
from eyas.errors import ConfigError, did_you_mean
from eyas.pipeline_schema import PIPELINE_SECTIONS, PipelineFile
from eyas.problems import explain, sections_of, short
from eyas.saving import write_text
from eyas.schema import ModuleConfig, Section

log = logging.getLogger(__name__)

CONFIGS = Path(__file__).parent / "configs"
SUFFIXES = (".yaml", ".yml")

_S = TypeVar("_S", bound=Section)
_PIPELINE_KEYS = ("SubModules", "Pipeline", "pipeline_name")


@dataclass
class Tree:
    """Plain data, and where each part of it was given."""

    source: str
    data: dict[Any, Any]
    lines: dict[yaml12.KeyPath, int] = field(default_factory=dict)
    overrides: dict[yaml12.KeyPath, str] = field(default_factory=dict)

    def where(self, path: yaml12.KeyPath) -> str:
        """The override, or the file and line, that gave the value at `path`."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.overrides:
                return f"-o {self.overrides[path[:end]]}"
            if path[:end] in self.lines:
                return f"{self.source}:{self.lines[path[:end]]}"
        below = [text for given, text in self.overrides.items() if given[: len(path)] == path]
        return f"-o {below[0]}" if below else self.source


def load_module_config(config: str | Path, overrides: Sequence[str] = ()) -> ModuleConfig:
    """The checked configuration of one run: a file, or the packaged one of that name, with `overrides` on top.

    Raises ConfigError with one line for each problem.
    """
    tree = _read(find_module_config(config))
    for key in _PIPELINE_KEYS:
        if key in tree.data:
            raise ConfigError(f"{tree.source} is a pipeline file (it has {key}): use it as --pipeline {tree.source}")
    tree.data = compat.rename_keys(tree.data, tree.source)
    for override in overrides:
        _override(tree, override)
    tree.data = compat.upgrade_module_tree(tree.data, tree.source)
    return _check(tree, ModuleConfig)


def load_pipeline_config(pipeline: str | Path) -> PipelineFile:
    """The checked pipeline file of that name or path. Raises ConfigError with one line for each problem."""
    return _pipeline(_read(find_pipeline_config(pipeline)))


def pipeline_config(data: Mapping[Any, Any]) -> PipelineFile:
    """The checked sections of a pipeline configuration given as a dict. Raises ConfigError."""
    return _pipeline(Tree("config", _literals(dict(data))))


def section_from(data: Mapping[Any, Any], section: type[_S], source: str) -> _S:
    """The mapping `data` as a checked section; `source` names it in messages. Raises ConfigError."""
    return _check(Tree(source, _literals(data)), section)


def parse_value(text: str) -> Any:
    """What a text on the command line means: a YAML 1.2 scalar, brackets, or None/True/False/T/F; nothing is run."""
    if text in ("T", "F"):
        return text == "T"
    return yaml12.literal(text)


def write_resolved(config: Section, path: Path) -> None:
    """Write the whole configuration, defaults included, as YAML that loads back to the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, yaml12.dump(config.model_dump(by_alias=True)))


def module_configs() -> dict[str, Path]:
    """The packaged module configurations: model name -> file."""
    return {path.stem: path for path in sorted(CONFIGS.glob("modules/*/*.yaml"))}


def pipeline_configs() -> dict[str, Path]:
    """The packaged pipeline files: pipeline name -> file."""
    return {path.stem: path for path in sorted(CONFIGS.glob("pipelines/*.yaml"))}


def find_module_config(name: str | Path) -> Path:
    """The file that `name` means: a file, a bare model name, or PaddleX's path of a model's configuration.

    Raises ConfigError with the nearest known name.
    """
    return _find(name, module_configs(), "configuration")


def find_pipeline_config(name: str | Path) -> Path:
    """The file that `name` means: a file (its suffix may be left out), or a pipeline name. Raises ConfigError."""
    return _find(name, pipeline_configs(), "pipeline")


def _find(name: str | Path, packaged: Mapping[str, Path], what: str) -> Path:
    path = Path(name)
    if str(path) in packaged and not path.is_file():
        return packaged[str(path)]
    for candidate in (path, *(Path(f"{path}{suffix}") for suffix in SUFFIXES)):
        if candidate.is_file():
            return candidate
    stem = path.stem if path.suffix in SUFFIXES else path.name
    # A packaged file stands in for a bare name and for PaddleX's own tree, never for a mistyped path of the user.
    if (len(path.parts) == 1 or "configs" in path.parts) and stem in packaged:
        return packaged[stem]
    if path.is_dir():
        raise ConfigError(f"{path} is a folder. Expected a {what} file, or one of: {', '.join(packaged)}.")
    hint = did_you_mean(stem, packaged)
    raise ConfigError(f"There is no {what} {str(name)!r}, neither a file nor a known name. {hint}")


def _read(path: Path) -> Tree:
    try:
        document = yaml12.load(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text: {error}. Expected a YAML file in UTF-8.") from error
    for warning in document.warnings:
        log.warning("%s", warning)
    if not isinstance(document.value, dict):
        came = "an empty file" if document.value is None else short(document.value)
        raise ConfigError(f"{path}: expected sections with keys, came {came}")
    return Tree(str(path), _literals(document.value), document.lines)


def _literals(value: Any) -> Any:
    """`value` with texts such as "None" and "[1, 2]" read as what they say, as PaddleX does."""
    if isinstance(value, Mapping):
        return {key: _literals(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_literals(item) for item in value]
    if not isinstance(value, str):
        return value
    bracketed = value[:1] + value[-1:] in ("[]", "{}")
    if value not in ("None", "True", "False") and not bracketed:
        return value
    try:
        return yaml12.literal(value)
    except ConfigError:  # a file may be called "[1].jpg]"
        return value


def _override(tree: Tree, text: str) -> None:
    dotted, equals, value = text.partition("=")
    path = tuple(compat.KEYS.get(key, key) for key in dotted.strip().split("."))
    if not equals or not all(path):
        raise ConfigError(f"-o {text}: expected Section.key=value, for example -o Train.epochs_iters=10")
    holder = tree.data
    for depth, key in enumerate(path[:-1], start=1):
        inner = holder.get(key)
        inner = {} if inner is None else inner
        if not isinstance(inner, dict):
            raise ConfigError(f"-o {text}: {'.'.join(path[:depth])} is {short(inner)}, not a section with keys")
        holder[key] = inner
        holder = inner
    holder[path[-1]] = parse_value(value)
    tree.overrides[path] = text


def _pipeline(tree: Tree) -> PipelineFile:
    for key in ("Train", "Evaluate", "Predict"):
        if key in tree.data:
            raise ConfigError(f"{tree.source} is a module configuration (it has {key}): use it as -c {tree.source}")
    tree.data = compat.upgrade_pipeline_tree(tree.data, tree.source)
    name = tree.data.get("pipeline_name")
    if name not in PIPELINE_SECTIONS:
        hint = did_you_mean(name, PIPELINE_SECTIONS)
        raise ConfigError(f"{tree.where(('pipeline_name',))}: pipeline_name: unknown pipeline {short(name)}. {hint}")
    return _check(tree, PIPELINE_SECTIONS[name])


def _check(tree: Tree, section: type[_S]) -> _S:
    """The sections of `tree`; a section that is left empty has its defaults. Raises ConfigError, a line a problem."""
    required = sections_of(section)
    data = {key: {} if value is None and key in required else value for key, value in tree.data.items()}
    try:
        return section.model_validate(data)
    except ValidationError as error:
        problems = [explain(item["type"], item["loc"], section, tree.data) for item in error.errors(include_url=False)]
        lines = [f"{tree.where(path)}: {text}" for path, text in problems]
        raise ConfigError("\n".join(dict.fromkeys(lines))) from error
