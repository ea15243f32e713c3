"""Models as Paddle writes them, read without Paddle: the exported folder as a graph of operators, and weights."""

from dataclasses import dataclass
from pathlib import Path

from eyas.errors import ModelError
from eyas.paddle.graph import Graph
from eyas.paddle.pdmodel import read_pdmodel
from eyas.paddle.pir import read_pir
from eyas.paddle.settings import Settings, read_settings


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
    graph = read_graph(folder)
    settings_file = folder / "inference.yml"
    settings = read_settings(settings_file)
    _check_size(graph, settings, settings_file)
    return Inference(graph, settings, (*_network_files(folder), settings_file))


def read_graph(folder: Path) -> Graph:
    """The network alone of `read_inference`."""
    program, parameters = _network_files(folder)
    return (read_pir if program.suffix == ".json" else read_pdmodel)(program, parameters)


def _network_files(folder: Path) -> tuple[Path, Path]:
    for name in ("inference.json", "inference.pdmodel"):
        if (folder / name).is_file():
            return folder / name, folder / "inference.pdiparams"
    raise ModelError(
        f"There is no exported Paddle model in {folder}. Expected inference.json or inference.pdmodel, with "
        "inference.pdiparams and inference.yml beside it."
    )


def _check_size(graph: Graph, settings: Settings, where: Path) -> None:
    images = [graph.values[name] for name in graph.inputs if len(graph.values[name].shape) == 4]
    if len(images) != 1:
        raise ModelError(f"{where.parent}: the network has the inputs {list(graph.inputs)}. Expected one image.")
    expected = (3, *settings.preprocess.size_hw)
    if any(side not in (-1, wanted) for side, wanted in zip(images[0].shape[1:], expected, strict=True)):
        raise ModelError(
            f"{where}: images become [N, {', '.join(map(str, expected))}], the network's input {images[0].name!r} is "
            f"{list(images[0].shape)}. The settings and the network are not of the same model."
        )
