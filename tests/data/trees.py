"""Folders for the tests of the readers, written from a mapping."""

import io
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from PIL import Image

from eyas.data import Dataset, read_dataset
from eyas.data.faults import Fault, FaultList


@cache
def picture(width: int, height: int, kind: str = "PNG") -> bytes:
    """A grey picture of that size."""
    stream = io.BytesIO()
    Image.new("RGB", (width, height), "grey").save(stream, kind)
    return stream.getvalue()


def tree(root: Path, files: Mapping[str, str | bytes | tuple[int, int]]) -> Path:
    """Write files below `root`: texts, bytes, or pictures given by (width, height)."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, tuple):
            path.write_bytes(picture(*content, "JPEG" if path.suffix == ".jpg" else "PNG"))
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content, encoding="utf-8")
    return root


def told(root: Path, split: str | None = None, format: str | None = None) -> tuple[Dataset, list[Fault]]:
    """The dataset as far as it can be read, and every fault."""
    faults = FaultList()
    return read_dataset(root, split, faults, format), faults.kept


def codes(faults: list[Fault]) -> list[tuple[str, str]]:
    """(severity, code) of each."""
    return [(fault.severity, fault.code) for fault in faults]


def boxes(dataset: Dataset) -> dict[str, list[list[float]]]:
    """File name -> its boxes."""
    return {sample.path.name: sample.boxes_xyxy.tolist() for sample in dataset.samples}
