"""Published weights (`.pdparams`): which network they belong to, and what that network needs to predict."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from eyas.bundle import AnyManifest, EmbeddingManifest, Manifest
from eyas.errors import ModelError
from eyas.models import MODELS, Network, build
from eyas.models.lcnetv2 import LCNetConfig
from eyas.models.picodet import PIXEL_MEAN, PIXEL_STD, PicoDetConfig
from eyas.models.ppyoloe import PPYOLOEConfig
from eyas.models.vit import ViTConfig
from eyas.models.weights import from_published, load_state, shape_differences
from eyas.paddle.pickles import read_pdparams
from eyas.store import STORE
from eyas.vision.decode import HeadSpec
from eyas.vision.preprocess import Preprocess

PICODET_HEAD = HeadSpec(
    strides=PicoDetConfig.strides, score_threshold=0.025, nms_top_k=1000, keep_top_k=100, nms_iou=0.6
)
"""The suppression that is part of the published network (PaddleDetection, picodet)."""


def open_published(
    path: Path, name: str | None = None, classes: Sequence[str] | None = None
) -> tuple[Network, AnyManifest]:
    """The network in a `.pdparams` file and what it needs to predict.

    `name` None: the published network that has exactly these tensors. `classes` name what a detector finds; None: the
    published names. Raises ModelError where the tensors are of no known network or their classes have no names.
    """
    state = from_published(read_pdparams(path))
    name = identify(state, str(path)) if name is None else name
    count = num_classes(name, state)
    if count is None:
        raise ModelError(f"{path} does not hold the weights of {name}: its class layer is not there.")
    model = build(name, count)
    load_state(model, state, str(path))
    return model, manifest_of(name, count, classes)


def identify(state: Mapping[str, Tensor], source: str) -> str:
    """The published network whose tensors have the names and shapes of `state`. Raises ModelError where none has."""
    nearest: tuple[int, str, str] | None = None
    for name in (entry.name for entry in STORE.values() if entry.weights is not None):
        count = num_classes(name, state)
        with torch.device("meta"):
            own = build(name, count or 1).state_dict()
        differences = shape_differences(own, state)
        if not differences:
            return name
        wrong = sum(len(names) for names in differences.values())
        if nearest is None or wrong < nearest[0]:
            what, names = next(iter(differences.items()))
            nearest = wrong, name, f"{len(names)} {what}, first: {names[0]}"
    assert nearest is not None
    raise ModelError(
        f"The weights of {source} are those of no published network. Nearest is {nearest[1]}, of which {nearest[2]}."
    )


def num_classes(name: str, state: Mapping[str, Tensor]) -> int | None:
    """How many classes the class layer in `state` has, or None where the network `name` would have another layer."""
    match MODELS[name]:
        case PPYOLOEConfig():
            layer, others = "yolo_head.pred_cls.0.weight", 0
        case PicoDetConfig(reg_range=(low, high)):
            layer, others = "head.head_cls0.weight", 4 * (high - low)
        case LCNetConfig():
            layer, others = "head.fc.weight", 0
        case ViTConfig():
            layer, others = "head.weight", 0
    count = len(state[layer]) - others if layer in state and state[layer].ndim else 0
    return count if count > 0 else None


def manifest_of(name: str, count: int, classes: Sequence[str] | None) -> AnyManifest:
    """What the published network `name`, with `count` classes, needs to predict. Raises ModelError: see above."""
    entry, made = STORE.get(name), {"by": "published weights"}
    if entry is None or entry.weights is None:
        raise ModelError(f"There are no published weights of {name}; those of `eyas train` end in .safetensors.")
    if entry.task == "embedding":
        return EmbeddingManifest(model=name, preprocess=normalised(entry.size_hw), width=entry.features, made=made)
    names = tuple(classes) if classes is not None else entry.classes
    if len(names) != count:
        whose = "The dataset's or given" if classes is not None else "The published"
        raise ModelError(
            f"The weights of {name} have {count} classes. {whose} names are {len(names)}: {', '.join(names[:5])}. "
            "Name the classes, one each: --classes a,b,c, or a file with one in each line."
        )
    config = MODELS[name]
    head = PICODET_HEAD if isinstance(config, PicoDetConfig) else HeadSpec()
    preprocess = Preprocess(entry.size_hw, resize="stretch", interpolation="cubic")
    return Manifest(
        model=name, head=head, preprocess=preprocess, names=names, source_ids=tuple(range(count)), made=made
    )


def normalised(size_hw: tuple[int, int]) -> Preprocess:
    """The images of the feature networks: stretched linearly (as PaddleX does), ImageNet's mean and deviation off."""
    alpha = tuple(1 / 255 / std for std in PIXEL_STD)
    beta = tuple(-mean / std for mean, std in zip(PIXEL_MEAN, PIXEL_STD, strict=True))
    return Preprocess(size_hw, interpolation="linear", alpha=alpha, beta=beta)  # type: ignore[arg-type]
