"""Every old PaddleX spelling, in one place: keys, YAML trees, keyword arguments, command-line flags, paths.

Nothing here knows defaults or checks values; it renames. What means something to Paddle alone is dropped, with one
warning that names it.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from eyas.errors import ConfigError, did_you_mean

log = logging.getLogger(__name__)

KEYS = {"hpip_config": "hpi_config", "enable_hpi": "use_hpip", "index_dir": "index"}
"""Old key of a configuration file, at any depth -> today's."""

PADDLE_ONLY_KEYS = frozenset(
    {
        "Global.uniform_output_enabled",
        "Train.basic_config_path",
        "Train.dist_ips",
        "Train.dy2st",
        "Train.uniform_output_enabled",
        "Evaluate.uniform_output_enabled",
        "Export.uniform_output_enabled",
        "Export.basic_config_path",
        "Predict.kernel_option",
        "Predict.uniform_output_enabled",
        "serial_number",
        "update_license",
    }
)
"""Keys of a module or pipeline file that only mean something to Paddle: accepted and ignored with one warning."""

KEYWORDS = {
    "pipeline_name": "pipeline",
    "enable_hpi": "use_hpip",
    "hpip_config": "hpi_config",
    "x": "input",
    "index_dir": "index",
}
"""Old keyword argument of create_pipeline, create_model and predict -> today's."""

IGNORED_KEYWORDS = frozenset({"pp_option", "serial_number", "update_license"})
"""Keyword arguments that only mean something to Paddle."""

FLAGS = {"--config_save_path": "--save_path", "--enable_hpi": "--use_hpip", "--hpip_config": "--hpi_config"}
"""Old command-line flag -> today's."""

IGNORED_FLAGS = {
    "--serial_number": 1,
    "--update_license": 0,
    "--platform": 1,
    "--no_deps": 0,
    "--use_local_repos": 0,
}
"""Flags that only mean something to Paddle -> how many values follow them."""

PLUGINS = {"PaddleDetection": "train", "PaddleX": "train", "paddle2onnx": "train", "hpi-cpu": "onnxruntime"}
"""What `--install` was given for PaddleX -> the extra of eyas that brings it."""

PIPELINE_MODULES = {
    "small_object_detection": ("SmallObjectDetection", "small_object_detection"),
    "PP-ShiTuV2": ("Recognition", "image_feature"),
}
"""Pipeline -> the sub-module, and its module_name, that a single model given for the pipeline belongs to."""

OLD_PIPELINE_KEYS = {
    "small_object_detection": {"": ("SmallObjectDetection", "small_object_detection")},
    "PP-ShiTuV2": {"det_": ("Detection", "mainbody_detection"), "rec_": ("Recognition", "image_feature")},
}
"""Pipeline -> what stands before `model` and `batch_size` in its old file -> the sub-module these belong to."""


def rename_keys(tree: Mapping[Any, Any], source: str) -> dict[Any, Any]:
    """A copy of `tree` with today's key names at every depth. Raises ConfigError when both names disagree."""
    result: dict[Any, Any] = {}
    for key, value in tree.items():
        new = KEYS.get(key, key)
        renamed = rename_keys(value, source) if isinstance(value, Mapping) else value
        if new in result and result[new] != renamed:
            old = next(name for name in KEYS if KEYS[name] == new)
            raise ConfigError(f"{source}: {old} is the old name of {new}, and both are given; keep one of them")
        result[new] = renamed
    return result


def upgrade_module_tree(tree: Mapping[Any, Any], source: str) -> dict[Any, Any]:
    """A module configuration in today's spelling; `tree` itself is not changed."""
    return _without_paddle_keys(rename_keys(tree, source), source)


def upgrade_pipeline_tree(tree: Mapping[Any, Any], source: str) -> dict[Any, Any]:
    """A pipeline file in today's spelling; a tree with `Pipeline:` (and `Global:`) becomes one with `SubModules:`.

    A model may be a name or a directory, as it was there. Without `Global.pipeline_name` the keys say which pipeline it
    is. Raises ConfigError for an old tree of an unknown pipeline or with a key that is not known.
    """
    new = _without_paddle_keys(rename_keys(tree, source), source)
    if "Pipeline" not in new:
        return new
    unknown = set(new) - {"Global", "Pipeline"}
    if unknown:
        raise ConfigError(f"{source}: {min(map(str, unknown))} cannot stand beside Pipeline (an old pipeline file)")
    old_global = _section(new, "Global", {"pipeline_name", "input"}, source)
    name = old_global.get("pipeline_name") or _pipeline_of(new["Pipeline"])
    if name not in OLD_PIPELINE_KEYS:
        raise ConfigError(f"{source}: Global.pipeline_name: unknown {name!r}. {did_you_mean(name, OLD_PIPELINE_KEYS)}")
    parts = OLD_PIPELINE_KEYS[name]
    kept = {"device", "use_hpip", "hpi_config"} | ({"index"} if name == "PP-ShiTuV2" else set())
    old = _section(new, "Pipeline", kept | {f"{part}{key}" for part in parts for key in _OLD_MODULE_KEYS}, source)
    upgraded: dict[Any, Any] = {"pipeline_name": name, "SubModules": {}}
    for part, (key, module_name) in parts.items():
        upgraded["SubModules"][key] = _old_module(old, part) | {"module_name": module_name}
    upgraded |= {key: old[key] for key in sorted(kept) if key in old}
    return upgraded | {key: old_global[key] for key in ("input",) if key in old_global}


def rename_keywords(function: str, given: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, Any]:
    """`current` keyword arguments completed with those `given` under an old name.

    Raises TypeError for a keyword that is neither, ConfigError when both names are given with different values.
    """
    result = dict(current)
    for old, value in given.items():
        if old in IGNORED_KEYWORDS:
            log.warning("%s(%s=...) means something to Paddle alone: ignored", function, old)
            continue
        new = KEYWORDS.get(old)
        if new is None or new not in current:
            hint = did_you_mean(old, current)
            raise TypeError(f"{function}() got an unexpected keyword argument {old!r}. {hint}")
        if result[new] is not None and result[new] != value:
            raise ConfigError(
                f"{function}({new}={result[new]!r}, {old}={value!r}): {old} is the old name of {new}; give one of them"
            )
        result[new] = value
    return result


def rename_flags(arguments: Sequence[str]) -> list[str]:
    """Command-line arguments in today's spelling: `--save-path` is `--save_path`, Paddle's own flags are dropped."""
    result: list[str] = []
    ignored: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            return [*result, argument, *rest]
        if not argument.startswith("--"):
            result.append(argument)
            continue
        flag, equals, value = argument.partition("=")
        flag = flag.replace("-", "_").replace("__", "--", 1)
        if flag in IGNORED_FLAGS:
            ignored.append(flag)
            if not equals:
                del rest[: IGNORED_FLAGS[flag]]
            continue
        result.append(FLAGS.get(flag, flag) + equals + value)
    if ignored:
        log.warning("%s: means something to Paddle alone, ignored", ", ".join(ignored))
    return result


def is_paddle_url(path: object) -> bool:
    """Whether `path` is the address of weights that PaddleX downloads."""
    return isinstance(path, str) and path.startswith(("http://", "https://")) and path.endswith(".pdparams")


def is_paddle_file(path: PurePath) -> bool:
    """Whether the name of a file says that Paddle wrote it."""
    return path.suffix in PADDLE_SUFFIXES or path.name in PADDLE_NAMES


PADDLE_SUFFIXES = (".pdparams", ".pdopt", ".pdema", ".pdstates", ".pdiparams", ".pdmodel")
PADDLE_NAMES = ("inference.yml", "inference.json")


_OLD_MODULE_KEYS = ("model", "batch_size")


def _pipeline_of(section: object) -> str:
    """The pipeline that an old file without a name describes."""
    recognition = isinstance(section, Mapping) and ("rec_model" in section or "det_model" in section)
    return "PP-ShiTuV2" if recognition else "small_object_detection"


def _old_module(old: Mapping[Any, Any], part: str) -> dict[str, Any]:
    """The model and the batch size of one sub-module, from the keys of an old file that begin with `part`."""
    model = old.get(f"{part}model")
    module = {"model_dir" if _is_directory_name(model) else "model_name": model}
    if f"{part}batch_size" in old:
        module["batch_size"] = old[f"{part}batch_size"]
    return module


def _is_directory_name(model: object) -> bool:
    return isinstance(model, str) and ("/" in model or "\\" in model or model in (".", ".."))


def _without_paddle_keys(tree: dict[Any, Any], source: str) -> dict[Any, Any]:
    ignored: list[str] = []
    for dotted in sorted(PADDLE_ONLY_KEYS):
        *sections, key = dotted.split(".")
        holder: Any = tree
        for section in sections:
            holder = holder.get(section) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and key in holder:
            del holder[key]
            ignored.append(dotted)
    if ignored:
        log.warning("%s: %s: means something to Paddle alone, ignored", source, ", ".join(ignored))
    return tree


def _section(tree: Mapping[Any, Any], name: str, known: set[str], source: str) -> dict[Any, Any]:
    """Section `name` of an old pipeline file, with known keys only."""
    section = tree.get(name) or {}
    if not isinstance(section, dict):
        raise ConfigError(f"{source}: {name}: expected a section, came {section!r}")
    for key in section:
        if key not in known:
            raise ConfigError(f"{source}: {name}.{key} is not a known key. {did_you_mean(key, known)}")
    return section
