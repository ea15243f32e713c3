"""The parts of a dataset that a run needs, read and checked before anything is trained."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from eyas.check.checks import quick_errors, require_usable
from eyas.data import load_dataset, read_dataset
from eyas.data.faults import FaultList
from eyas.data.images import read_sizes
from eyas.data.labelled import LabelledImages
from eyas.data.lists import read_labelled
from eyas.data.sample import ClassMap, Dataset
from eyas.errors import ConfigError, DatasetError, InputError
from eyas.evaluate.features import chosen_parts
from eyas.schema import ModuleConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LabelledParts:
    """`train`, whose labels are those that occur in it, and the two parts that the features are measured with."""

    train: LabelledImages
    gallery: LabelledImages
    queries: LabelledImages


def load_boxes(config: ModuleConfig) -> tuple[Dataset, Dataset]:
    """The training and validation parts, checked against each other and the configuration.

    Raises ConfigError or DatasetError.
    """
    root = _root(config)
    read = _read_usable if config.check_dataset.allow_faulty else load_dataset
    train_data, val_data = read(root, "train"), read(root, "val")
    _check_count(config, train_data.source, train_data.classes)
    if val_data.classes.names != train_data.classes.names:
        raise ConfigError(
            f"The classes of {val_data.source} ({', '.join(val_data.classes.names)}) are not those of "
            f"{train_data.source} ({', '.join(train_data.classes.names)}). Expected the same names in the same order."
        )
    if not config.check_dataset.allow_faulty:
        require_usable({"train": train_data, "val": val_data})
    return train_data, val_data


def load_labels(config: ModuleConfig) -> LabelledParts:
    """The labelled pictures of a run, checked against the configuration. Raises ConfigError or DatasetError."""
    root, faulty = _root(config), config.check_dataset.allow_faulty
    told = FaultList()
    parts = read_labelled(root, told if faulty else None)
    if "train" not in parts:
        raise DatasetError(f"{root} has the parts {', '.join(parts)}. Expected train, and gallery and query, or val")
    gallery, queries = chosen_parts(parts, root)
    used = {name: part for name, part in parts.items() if part in (parts["train"], gallery, queries)}
    if faulty:
        _tell(told, used)
        used = {name: _readable(part) for name, part in used.items()}
    else:
        require_usable(used)
    names = {id(part): name for name, part in parts.items()}
    train = with_own_labels(used["train"])
    if len(train.labels) < 2:
        raise DatasetError(f"{train.source}: every picture has the same label. Expected two labels or more")
    _check_count(config, train.source, train.labels)
    return LabelledParts(train, used[names[id(gallery)]], used[names[id(queries)]])


def with_own_labels(images: LabelledImages) -> LabelledImages:
    """`images` with a `ClassMap` of the labels that occur among them alone, in the same order."""
    places, ids = np.unique(images.label_ids, return_inverse=True)
    names, source_ids = images.labels.names, images.labels.source_ids
    labels = ClassMap(tuple(names[i] for i in places.tolist()), tuple(source_ids[i] for i in places.tolist()))
    return replace(images, label_ids=ids.astype(np.int64), labels=labels)


def _root(config: ModuleConfig) -> str:
    root = config.global_.dataset_dir
    if root is None:
        raise ConfigError("Global.dataset_dir: not given. Say where the dataset is: -o Global.dataset_dir=PATH")
    return root


def _check_count(config: ModuleConfig, source: Path, classes: ClassMap) -> None:
    found, asked = len(classes), config.train.num_classes
    if asked is not None and asked != found:
        names = ", ".join(classes.names[:10]) + (", …" if found > 10 else "")
        raise ConfigError(
            f"Train.num_classes: {asked}, but {source} has {found} classes ({names}). Leave the key out, or mend the "
            "dataset."
        )


def _read_usable(root: str | Path, split: str) -> Dataset:
    """What can be used of a split; what is left out for an error is told. Raises DatasetError where nothing remains."""
    told = FaultList()
    dataset = read_dataset(root, split, told)
    _tell(told, {split: dataset})
    sizes = read_sizes([sample.path for sample in dataset.samples])
    pairs = zip(dataset.samples, sizes, strict=True)
    usable = tuple(sample for sample, size in pairs if size == (sample.width, sample.height))
    if not usable:
        raise DatasetError(f"{dataset.source}: none of the {len(dataset)} images of {split} can be used")
    return replace(dataset, samples=usable)


def _readable(images: LabelledImages) -> LabelledImages:
    """The pictures whose files can be read. Raises DatasetError where there are none."""
    sizes = read_sizes(images.paths)
    usable = [place for place, size in enumerate(sizes) if not isinstance(size, InputError)]
    if not usable:
        raise DatasetError(f"{images.source}: none of the {len(images)} pictures can be used")
    return images.take(usable)


def _tell(told: FaultList, splits: dict[str, Dataset] | dict[str, LabelledImages]) -> None:
    """Log what is left out: the errors of reading, and those of the image files."""
    for fault in quick_errors(splits):
        told(fault)
    for severity, sentence in told.summary():
        if severity == "error":
            log.warning("ignored in %s: %s", ", ".join(splits), sentence)
