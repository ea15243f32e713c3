"""Models as Paddle writes them, read without Paddle: the exported folder as a graph of operators, and weights."""

from dataclasses import dataclass
from pathlib import Path

from eyas.paddle.graph import Graph
from eyas.paddle.settings import Settings


@dataclass(frozen=True)
class Inference:
    """An exported model."""

    graph: Graph
    settings: Settings
    files: tuple[Path, ...]
    """The files that were read."""


def read_inference(folder: Path) -> Inference:
    """The exported model in `folder`: inference.json or inference.pdmodel, inference.pdiparams and inference.yml.

    Raises ModelError where a file is missing, is not what its name says, or does not fit the others.
    """
    raise NotImplementedError(folder)


def read_graph(folder: Path) -> Graph:
    """The network alone of `read_inference`."""
    raise NotImplementedError(folder)
