"""Datasets: one reader for each format, all returning the same `Dataset`."""

from collections.abc import Callable
from pathlib import Path

from eyas.data.coco import load_dataset
from eyas.data.sample import Dataset

__all__ = ["READERS", "Dataset", "load_dataset"]

READERS: dict[str, Callable[[str | Path, str], Dataset]] = {"COCODetDataset": load_dataset}
