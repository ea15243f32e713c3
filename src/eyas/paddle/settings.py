"""inference.yml of an exported Paddle model: what is done before and after the network.

Two kinds exist.  A detector (PaddleDetection) has a list "Preprocess" and "label_list"; a network for embeddings
(PaddleClas) has "PreProcess" with "transform_ops".  The numbers are those that PaddleX computes from the file: a
channel becomes `pixel * (scale / std) + (-mean / std)` in float32, and an embedding's image is resized linearly,
whatever the file says.  What `Preprocess` cannot do exactly is an error.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eyas.errors import ConfigError, ModelError
from eyas.fields import Fields
from eyas.paddle.files import mapped
from eyas.vision.preprocess import Preprocess
from eyas.yaml12 import load

Triple = tuple[float, float, float]

INTERPOLATIONS = {1: "linear", 2: "cubic", 3: "area"}
"""OpenCV's numbers, which PaddleDetection writes."""

_DETECTION = ("Resize", "Pad", "NormalizeImage", "Permute")
_EMBEDDING = ("ResizeImage", "CropImage", "NormalizeImage", "ToCHWImage")
_MOST_BYTES = 1 << 20
_MOST_VALUES = 20_000
_LARGEST_SIDE = 8192  # the largest published model takes 1920
_THRESHOLD = 0.5  # PaddleX's, for a file that has none


@dataclass(frozen=True)
class Settings:
    """What inference.yml says beside the network."""

    model_name: str | None
    task: str
    """"detection" or "embedding"."""
    preprocess: Preprocess
    labels: tuple[str, ...]
    """Class names in the order of the class numbers; () for an embedding."""
    threshold: float | None
    """Boxes below this score are not shown; None for an embedding."""


def read_settings(path: Path) -> Settings:
    """The settings in an inference.yml file.

    Raises ModelError, with the file and the key, where it is damaged or asks for what eyas cannot do exactly.
    """
    where = str(path)
    try:
        values = load(bytes(mapped(path, _MOST_BYTES)).decode(), where).value
        _check_count(values, where)
        if isinstance(values, dict) and "Preprocess" in values:
            return _detection(values, where)
        if isinstance(values, dict) and "PreProcess" in values:
            return _embedding(values, where)
    except UnicodeDecodeError as error:
        raise ModelError(f"{where} is not UTF-8 text: {error.reason} at byte {error.start}.") from error
    except OverflowError as error:
        raise ModelError(f"{where} holds a number that is too large: {error}.") from error
    except ConfigError as error:
        raise ModelError(str(error)) from error
    raise ModelError(
        f"{where}: expected Preprocess (a detector) or PreProcess (an embedding), got {str(values):.80}. It must be "
        "the inference.yml of an exported model."
    )


def _detection(values: Mapping[Any, Any], where: str) -> Settings:
    pairs = []
    for step in _list(values["Preprocess"], f"{where}: Preprocess"):
        name = step.get("type") if isinstance(step, dict) else None
        pairs.append((name, {key: value for key, value in step.items() if key != "type"} if name else {}))
    steps = _steps(pairs, _DETECTION, f"{where}: Preprocess")
    alpha, beta = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)
    if "NormalizeImage" in steps:
        alpha, beta = _detection_scaling(steps["NormalizeImage"], f"{where}: NormalizeImage")
    size, resize, interpolation = _detection_resize(steps, where)
    threshold = values.get("draw_threshold", _THRESHOLD)
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        raise ModelError(f"{where}: draw_threshold must be a number from 0 to 1, got {threshold!r:.80}.")
    labels = _list(values.get("label_list"), f"{where}: label_list")
    if not labels or not all(isinstance(label, str | int) and not isinstance(label, bool) for label in labels):
        raise ModelError(f"{where}: label_list must hold the names of the classes, got {labels!r:.80}.")
    return Settings(
        model_name=_model_name(values, where),
        task="detection",
        preprocess=_preprocess(size, resize, interpolation, (alpha, beta), where),
        labels=tuple(map(str, labels)),
        threshold=float(threshold),
    )


def _detection_resize(steps: Mapping[str, Any], where: str) -> tuple[tuple[int, int], str, str]:
    """(height, width), the kind of resize and the interpolation."""
    at = f"{where}: Resize"
    fields = Fields({"keep_ratio": False, "interp": 2, **steps["Resize"]}, at, ("target_size", "keep_ratio", "interp"))
    size, keep_ratio, interp = fields.pair("target_size"), fields.any("keep_ratio"), fields.whole("interp")
    if interp not in INTERPOLATIONS:
        raise ModelError(f"{at}.interp {interp} is not supported. Known: {INTERPOLATIONS} (OpenCV's numbers).")
    if keep_ratio not in (False, True) or bool(keep_ratio) != ("Pad" in steps):
        raise ModelError(
            f"{at}.keep_ratio is {keep_ratio!r:.40} and there is {'a' if 'Pad' in steps else 'no'} Pad. Expected false "
            "without, or true with a Pad to target_size: every image must become one size."
        )
    if keep_ratio:
        pad = Fields(steps["Pad"], f"{where}: Pad", ("size", "fill_value"))
        # PaddleX fits the longer side to the longer target, a letterbox fits both: the same thing for a square alone.
        if size[0] != size[1] or pad.pair("size") != size or pad.triple("fill_value") != (0, 0, 0):
            raise ModelError(
                f"{where}: Resize with keep_ratio to {list(size)}, then Pad to {list(pad.pair('size'))} with "
                f"{list(pad.triple('fill_value'))}. Expected a square, the same size twice and a fill_value of 0, 0, 0."
            )
    return size, "letterbox" if keep_ratio else "stretch", INTERPOLATIONS[interp]


def _detection_scaling(step: Mapping[str, Any], at: str) -> tuple[Triple, Triple]:
    keys = ("mean", "std", "is_scale", "norm_type")
    fields = Fields({"is_scale": True, "norm_type": "mean_std", **step}, at, keys)
    mean, std, is_scale, kind = (
        fields.triple("mean"), fields.triple("std"), fields.any("is_scale"), fields.text("norm_type"),
    )  # fmt: skip
    if not isinstance(is_scale, bool):
        raise ModelError(f"{at}.is_scale must be true or false, got {is_scale!r:.40}.")
    # With "none" PaddleDetection ignores mean and std, PaddleX applies them.
    if kind != "mean_std" and (kind, mean, std) != ("none", (0, 0, 0), (1, 1, 1)):
        raise ModelError(f"{at}.norm_type {kind!r:.40} with mean {list(mean)} and std {list(std)} is not supported.")
    return _scaling(1.0 / 255.0 if is_scale else 1.0, mean, std, at)


def _embedding(values: Mapping[Any, Any], where: str) -> Settings:
    transforms = values["PreProcess"].get("transform_ops") if isinstance(values["PreProcess"], dict) else None
    at = f"{where}: PreProcess.transform_ops"
    pairs = []
    for step in _list(transforms, at):
        one = isinstance(step, dict) and len(step) == 1
        pairs.append(next(iter(step.items())) if one else (None, None))
    steps = _steps(pairs, _EMBEDDING, at)
    post = values.get("PostProcess")
    if not isinstance(post, dict) or list(post) != ["NormalizeFeatures"]:
        raise ModelError(f"{where}: PostProcess must be NormalizeFeatures (an embedding), got {post!r:.80}.")
    keys = ("mean", "std", "scale", "order", "channel_num")
    fields = Fields({"order": "hwc", "channel_num": 3, **steps.get("NormalizeImage", {})}, f"{at}.NormalizeImage", keys)
    if fields.text("order") not in ("hwc", "") or fields.whole("channel_num") != 3:
        raise ModelError(f"{at}.NormalizeImage: expected order hwc and channel_num 3, got {str(dict(steps)):.200}.")
    scaling = _scaling(fields.number("scale"), fields.triple("mean"), fields.triple("std"), f"{at}.NormalizeImage")
    preprocess = _preprocess(_embedding_size(steps, at), "stretch", "linear", scaling, where)
    return Settings(_model_name(values, where), "embedding", preprocess, (), None)


def _embedding_size(steps: Mapping[str, Any], at: str) -> tuple[int, int]:
    """(height, width).  PaddleX ignores backend and interpolation; a crop must leave the image as it is."""
    size = _width_height(steps["ResizeImage"], f"{at}.ResizeImage", ("backend", "interpolation", "return_numpy"))
    if "CropImage" in steps and _width_height(steps["CropImage"], f"{at}.CropImage", ("channel_first",)) != size:
        raise ModelError(f"{at}: CropImage after ResizeImage to {size} is not supported unless it has the same size.")
    return size[1], size[0]


def _width_height(step: Mapping[str, Any], at: str, ignored: tuple[str, ...]) -> tuple[int, int]:
    fields = Fields({key: value for key, value in step.items() if key not in ignored}, at, ("size",))
    side = fields.any("size")
    return (side, side) if type(side) is int else fields.pair("size")


def _preprocess(
    size_hw: tuple[int, int], resize: str, interpolation: str, scaling: tuple[Triple, Triple], where: str
) -> Preprocess:
    if not 1 <= min(size_hw) <= max(size_hw) <= _LARGEST_SIDE:
        raise ModelError(f"{where}: images become {size_hw!r:.80}. Expected sides from 1 to {_LARGEST_SIDE}.")
    return Preprocess(size_hw, resize, interpolation, *scaling)


def _scaling(scale: float, mean: Triple, std: Triple, at: str) -> tuple[Triple, Triple]:
    if not all(math.isfinite(value) for value in (scale, *mean, *std)) or min(std) <= 0:
        raise ModelError(f"{at}: expected finite numbers and std > 0, got {scale}, {list(mean)}, {list(std)}.")
    alpha = (scale / std[0], scale / std[1], scale / std[2])
    return alpha, (0.0 - mean[0] / std[0], 0.0 - mean[1] / std[1], 0.0 - mean[2] / std[2])


def _steps(pairs: Sequence[tuple[Any, Any]], known: tuple[str, ...], at: str) -> dict[str, dict[str, Any]]:
    """The steps by name: each once, in the order of `known`, with the first and last of them."""
    names = [name for name, _ in pairs]
    if names != [name for name in known if name in names] or not {known[0], known[-1]} <= set(names):
        raise ModelError(
            f"{at}: expected {', '.join(known)}, in this order (those in the middle may be absent), got {names!r:.200}."
        )
    for name, values in pairs:
        if values is not None and (not isinstance(values, dict) or (values and name == known[-1])):
            raise ModelError(
                f"{at}.{name}: expected {'no' if name == known[-1] else 'named'} values, got {values!r:.80}."
            )
    return {name: values or {} for name, values in pairs}


def _check_count(values: object, where: str) -> None:
    """Refuse a document whose anchors stand for more values than a model needs: its repr would have no end."""
    left, open_values = _MOST_VALUES, [values]
    while open_values and left:
        left -= 1
        value = open_values.pop()
        open_values += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if open_values:
        raise ModelError(f"{where}: it holds more than {_MOST_VALUES} values. Expected the settings of one model.")


def _list(values: object, at: str) -> list[Any]:
    if not isinstance(values, list):
        raise ModelError(f"{at}: expected a list, got {values!r:.80}.")
    return values


def _model_name(values: Mapping[Any, Any], where: str) -> str | None:
    section = values.get("Global")
    name = section.get("model_name") if isinstance(section, dict) else None
    if name is not None and not isinstance(name, str):
        raise ModelError(f"{where}: Global.model_name must be a text, got {name!r:.80}.")
    return name
