"""`eyas train`: from a configuration to trained weights, a bundle, and the files that say how it went."""

import json
import logging
import platform
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from eyas.bundle import Manifest
from eyas.check.checks import quick_errors, require_usable
from eyas.config import write_resolved
from eyas.data import load_dataset, read_dataset
from eyas.data.faults import FaultList
from eyas.data.images import read_sizes
from eyas.data.sample import Dataset
from eyas.errors import ConfigError, DatasetError
from eyas.export.run import export_bundle
from eyas.models import build_detector
from eyas.models.backend import load_pretrained
from eyas.models.files import find_weights
from eyas.saving import write_text
from eyas.schema import ModuleConfig
from eyas.train.checkpoint import CHECKPOINT
from eyas.train.detection import make_manifest
from eyas.train.loop import State
from eyas.train.progress import LOG, METRICS
from eyas.train.ranks import open_ranks
from eyas.train.trainer import BEST, Trainer

log = logging.getLogger(__name__)

RESULTS = ("train_result.json", "train_results.json")
"""PaddleX documents the first name and writes the second; both are written, with the same content."""


def run(config: ModuleConfig) -> Path:
    """Train as `config` says; the directory of the exported best model.

    Raises ConfigError, DatasetError or ModelError before any training where something does not fit.
    """
    output = Path(config.global_.output)
    train_data, val_data = _load_data(config)
    with open_ranks(config.global_.device) as ranks:
        torch.manual_seed(config.train.seed)
        model = build_detector(config.global_.model, len(train_data.classes))
        if config.train.pretrain_weight_path:
            load_pretrained(model, find_weights(config.train.pretrain_weight_path))
        manifest = make_manifest(config.global_.model, model, train_data, config.train, _made(config))
        trainer = Trainer(config, model, manifest, train_data, val_data, ranks)
        bundle = (output / BEST).parent / "inference"
        if ranks.first:
            output.mkdir(parents=True, exist_ok=True)
            # Repeating a run starts it anew, so the file does not say where this one went on.
            again = config.model_copy(update={"train": config.train.model_copy(update={"resume_path": None})})
            write_resolved(again, output / "config.yaml")
        state = trainer.train()
        if ranks.first:
            export_bundle(output / BEST, bundle, config.export, val_data)
            _write_result(config, state, manifest)
    return bundle


def _load_data(config: ModuleConfig) -> tuple[Dataset, Dataset]:
    """The training and validation parts, checked against each other and the configuration."""
    root = config.global_.dataset_dir
    if root is None:
        raise ConfigError("Global.dataset_dir: not given. Say where the dataset is: -o Global.dataset_dir=PATH")
    read = _read_usable if config.check_dataset.allow_faulty else load_dataset
    train_data, val_data = read(root, "train"), read(root, "val")
    found, asked = len(train_data.classes), config.train.num_classes
    if asked is not None and asked != found:
        raise ConfigError(
            f"Train.num_classes: {asked}, but {train_data.source} has {found} classes "
            f"({', '.join(train_data.classes.names)}). Leave the key out, or mend the dataset."
        )
    if val_data.classes.names != train_data.classes.names:
        raise ConfigError(
            f"The classes of {val_data.source} ({', '.join(val_data.classes.names)}) are not those of "
            f"{train_data.source} ({', '.join(train_data.classes.names)}). Expected the same names in the same order."
        )
    if not config.check_dataset.allow_faulty:
        require_usable({"train": train_data, "val": val_data})
    return train_data, val_data


def _read_usable(root: str | Path, split: str) -> Dataset:
    """What can be used of a split; what is left out for an error is told. Raises DatasetError where nothing remains."""
    told = FaultList()
    dataset = read_dataset(root, split, told)
    for fault in quick_errors({split: dataset}):
        told(fault)
    for severity, sentence in told.summary():
        if severity == "error":
            log.warning("ignored in %s: %s", split, sentence)
    sizes = read_sizes([sample.path for sample in dataset.samples])
    pairs = zip(dataset.samples, sizes, strict=True)
    usable = tuple(sample for sample, size in pairs if size == (sample.width, sample.height))
    if not usable:
        raise DatasetError(f"{dataset.source}: none of the {len(dataset)} images of {split} can be used")
    return replace(dataset, samples=usable)


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


def _write_result(config: ModuleConfig, state: State, manifest: Manifest) -> None:
    """Write train_result.json and its plural: PaddleX's keys, and paths relative to the output directory."""
    inference = (BEST.parent / "inference").as_posix()
    result = {
        "done_flag": True,
        "model_name": config.global_.model,
        "label_dict": dict(enumerate(manifest.names)),
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
        "metrics": {"AP": state.best_score},
        "minutes": state.seconds / 60,
        "command": sys.argv[1:],
    }
    for name in RESULTS:
        write_text(Path(config.global_.output) / name, json.dumps(result, indent=4, ensure_ascii=False) + "\n")
