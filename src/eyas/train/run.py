"""`eyas train`: from a configuration to trained weights, a bundle, and the files that say how it went."""

import json
import platform
import sys
from pathlib import Path
from typing import Any

import torch

from eyas.config import write_resolved
from eyas.errors import ConfigError
from eyas.export.run import export_bundle
from eyas.models import MODELS, build, is_feature_network
from eyas.models.backend import load_pretrained
from eyas.models.files import find_weights
from eyas.models.vit import ViTConfig
from eyas.saving import write_text
from eyas.schema import ModuleConfig, Train
from eyas.train.checkpoint import CHECKPOINT
from eyas.train.datasets import load_boxes, load_labels
from eyas.train.detection import DetectionTask
from eyas.train.loop import State
from eyas.train.progress import LOG, METRICS
from eyas.train.ranks import open_ranks
from eyas.train.recognition import RecognitionTask
from eyas.train.task import Task
from eyas.train.trainer import BEST, Trainer

RESULTS = ("train_result.json", "train_results.json")
"""PaddleX documents the first name and writes the second; both are written, with the same content."""


def run(config: ModuleConfig) -> Path:
    """Train as `config` says; the directory of the exported best model.

    Raises ConfigError, DatasetError or ModelError before any training where something does not fit.
    """
    output, name = Path(config.global_.output), config.global_.model
    task = open_task(config)
    with open_ranks(config.global_.device) as ranks:
        torch.manual_seed(config.train.seed)
        model = build(name, len(task.names))
        if config.train.pretrain_weight_path:
            load_pretrained(model, find_weights(config.train.pretrain_weight_path))
        manifest = task.manifest(name, model, _made(config))
        trainer = Trainer(config, task, model, manifest, ranks)
        bundle = (output / BEST).parent / "inference"
        if ranks.first:
            output.mkdir(parents=True, exist_ok=True)
            # Repeating a run starts it anew, so the file does not say where this one went on.
            again = config.model_copy(update={"train": config.train.model_copy(update={"resume_path": None})})
            write_resolved(again, output / "config.yaml")
        state = trainer.train()
        if ranks.first:
            export_bundle(output / BEST, bundle, config.export, task.check_images())
            _write_result(config, state, task.names)
    return bundle


def open_task(config: ModuleConfig) -> Task:
    """What `config` trains, with its data. Raises ConfigError or DatasetError."""
    check_keys(config)
    if is_feature_network(config.global_.model):
        return RecognitionTask(config.train, load_labels(config))
    return DetectionTask(config.train, *load_boxes(config))


def check_keys(config: ModuleConfig) -> None:
    """Raises ConfigError for a key that means nothing to the network, or an input size that it cannot have."""
    name, train, fresh = config.global_.model, config.train, Train()
    features = is_feature_network(name)
    foreign = ("augment", "keep_ratio", "multi_scale") if features else ("features", "pictures")
    for key in foreign:
        if getattr(train, key) != getattr(fresh, key):
            kind, other = ("feature network", "detectors") if features else ("detector", "feature networks")
            raise ConfigError(f"Train.{key}: means something to {other} alone, and {name} is a {kind}. Leave it out.")
    if train.features.triplet and train.pictures.cutmix:
        raise ConfigError(
            "Train.pictures.cutmix: a mixed picture has two labels, which Train.features.triplet cannot use."
        )
    shape = MODELS[name]
    if isinstance(shape, ViTConfig):
        side = shape.image_size
        for key, came in (("input_size", train.input_size), ("pictures.sides", train.pictures.sides)):
            if came is not None and set(came) != {side}:
                raise ConfigError(f"Train.{key}: {name} takes pictures of {side} x {side} alone, came {list(came)}.")


def _made(config: ModuleConfig) -> dict[str, Any]:
    """How a model was made, for its manifest: no paths, so that a bundle says nothing about the machine's owner."""
    return {
        "by": "eyas train",
        "seed": config.train.seed,
        "epochs": config.train.epochs_iters,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def _write_result(config: ModuleConfig, state: State, names: tuple[str, ...]) -> None:
    """Write train_result.json and its plural: PaddleX's keys, and paths relative to the output directory."""
    inference = (BEST.parent / "inference").as_posix()
    result = {
        "done_flag": True,
        "model_name": config.global_.model,
        "label_dict": dict(enumerate(names)),
        "train_log": LOG,
        "metrics_log": METRICS,
        "visualdl_log": "tensorboard" if config.train.tensorboard else "",
        "config": "config.yaml",
        "models": {
            "last_1": {"score": None, "weights": CHECKPOINT},
            "best": {
                "score": state.best_score,
                "epoch": state.best_epoch,
                "weights": BEST.as_posix(),
                "inference": inference,
                "inference_config": f"{inference}/bundle.json",
            },
        },
        "metrics": state.best_figures,
        "minutes": state.seconds / 60,
        "command": sys.argv[1:],
    }
    for name in RESULTS:
        write_text(Path(config.global_.output) / name, json.dumps(result, indent=4, ensure_ascii=False) + "\n")
