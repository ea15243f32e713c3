"""Datasets put together: classes by name, image ids made distinct, no image twice."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from eyas.data.faults import Fault, Report
from eyas.data.sample import ClassMap, Dataset, Sample


def union(maps: Iterable[ClassMap]) -> ClassMap:
    """The classes of several datasets, matched by name; a class keeps its id unless another one has it already."""
    ids: dict[str, int] = {}
    for classes in maps:
        for name, source_id in zip(classes.names, classes.source_ids, strict=True):
            if name not in ids:
                ids[name] = free_id(source_id, ids.values())
    return ClassMap(tuple(ids), tuple(ids.values()))


def free_id(wanted: int, taken: Iterable[int]) -> int:
    """`wanted` where it is free, else the number after the largest one."""
    taken = set(taken)
    return wanted if wanted not in taken else max(taken) + 1


def with_classes(dataset: Dataset, classes: ClassMap) -> Dataset:
    """The same images with their class ids in `classes`, which must have all names of the dataset's."""
    if dataset.classes == classes:
        return dataset
    place = np.array([classes.names.index(name) for name in dataset.classes.names], np.int64)
    samples = tuple(replace(sample, class_ids=place[sample.class_ids]) for sample in dataset.samples)
    return replace(dataset, samples=samples, classes=classes)


def merge(datasets: Sequence[Dataset], report: Report) -> Dataset:
    """One dataset of all images, in order; an image that was there before is told and left out.

    An image keeps its id where no image before it has the same one. `source` is that of the first.
    """
    classes = union(dataset.classes for dataset in datasets)
    first: dict[Path, Path] = {}
    ids: set[int] = set()
    samples: list[Sample] = []
    largest = max((sample.image_id for dataset in datasets for sample in dataset.samples), default=0)
    for dataset in (with_classes(dataset, classes) for dataset in datasets):
        for sample in dataset.samples:
            path = sample.path.resolve()
            if path in first:
                message = f"{sample.path} is in {first[path]} too, whose boxes are used"
                report(Fault("warning", "image-twice", dataset.source, message, value=str(sample.path)))
                continue
            first[path] = dataset.source
            if sample.image_id in ids:
                largest += 1
                sample = replace(sample, image_id=largest)
            ids.add(sample.image_id)
            samples.append(sample)
    embedded = {path: file for dataset in datasets for path, file in dataset.embedded.items()}
    return Dataset(tuple(samples), classes, datasets[0].source, embedded)


def take(dataset: Dataset, places: Iterable[int]) -> Dataset:
    """The samples at those places."""
    return replace(dataset, samples=tuple(dataset.samples[place] for place in places))
