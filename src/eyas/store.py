"""The models that eyas knows by name, where their files lie, and the bundle directory that a name or a path means."""

import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from eyas.archive import unpack_tar
from eyas.cache import disk_errors, home, locked, measure, verify
from eyas.compat import is_paddle_file
from eyas.download import Remote, download
from eyas.errors import ModelError, did_you_mean

BUNDLES = Path(__file__).parent / "bundles"
BUNDLE_FILE = "bundle.json"
DEFAULT_MODEL = "SOD-XS-thermal"
"""The built-in detector: it comes with the package and needs no download."""
DEFAULT_FEATURES = "REC-XS-grocery"
"""The built-in feature model: it comes with the package, too."""

Kind = Literal["inference", "weights"]
"""A folder of Paddle's inference files, or the `.pdparams` file that training starts from."""
KINDS: tuple[Kind, ...] = ("inference", "weights")

_GRAPHS = ("inference.json", "inference.pdmodel", "model.json", "model.pdmodel")

VISDRONE = (
    "pedestrian", "people", "bicycle", "car", "van", "truck", "tricycle", "awning-tricycle", "bus", "motor",
)  # fmt: skip
"""The classes of the published small-object detectors, in the order of their scores."""


@dataclass(frozen=True)
class Figure:
    """A published result in percent: which metric, on which data."""

    metric: str
    percent: float
    data: str


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """One known model: what it does, how well, under which licence, and where its files come from.

    `size_hw` is the input's height and width in pixels. A detector has `classes`, in the order of its scores; a feature
    model has `features`, the length of its vector. `megabytes` is the published size of the network. `inference` and
    `weights` are None for a built-in model, whose bundle comes with the package.
    """

    name: str
    summary: str
    module: str
    task: Literal["detection", "embedding"]
    size_hw: tuple[int, int]
    classes: tuple[str, ...] = ()
    features: int = 0
    figures: tuple[Figure, ...]
    megabytes: float
    licence: str = "Apache-2.0"
    built_in: bool = False
    inference: Remote | None = None
    weights: Remote | None = None


def _inference(name: str) -> Remote:
    return Remote(f"official_inference_model/paddle3.0rc0/{name}_infer.tar")


def _weights(name: str) -> Remote:
    return Remote(f"official_pretrained_model/{name}_pretrained.pdparams")


def _small_objects(name: str, summary: str, side: int, ap: tuple[float, float], megabytes: float) -> ModelEntry:
    return ModelEntry(
        name=name,
        summary=summary,
        module="small_object_detection",
        task="detection",
        size_hw=(side, side),
        classes=VISDRONE,
        figures=(Figure("AP", ap[0], "VisDrone val"), Figure("AP50", ap[1], "VisDrone val")),
        megabytes=megabytes,
        inference=_inference(name),
        weights=_weights(name),
    )


def _feature(name: str, summary: str, recall: float, megabytes: float) -> ModelEntry:
    return ModelEntry(
        name=name,
        summary=summary,
        module="image_feature",
        task="embedding",
        size_hw=(224, 224),
        features=512,
        figures=(Figure("Recall@1", recall, "AliProducts"),),
        megabytes=megabytes,
        inference=_inference(name),
        weights=_weights(name),
    )


# No checksum of the published files is known: each is noted when its file is first used. Figures: PaddleX's tutorials.
_ENTRIES = (
    ModelEntry(
        name=DEFAULT_MODEL,
        summary="people and vehicles in thermal drone pictures",
        module="small_object_detection",
        task="detection",
        size_hw=(512, 640),
        classes=("Person", "Car", "Bicycle", "OtherVehicle"),
        figures=(Figure("AP", 27.6, "HIT-UAV, own split"), Figure("AP50", 53.1, "HIT-UAV, own split")),
        megabytes=7.8,
        built_in=True,
    ),
    ModelEntry(
        name=DEFAULT_FEATURES,
        summary="what a picture shows, as a vector; tiny network, trained on groceries",
        module="image_feature",
        task="embedding",
        size_hw=(160, 160),
        features=256,
        figures=(Figure("Recall@1", 68.6, "Grocery Store val"), Figure("Recall@1", 85.0, "its cartons")),
        megabytes=5.1,
        built_in=True,
    ),
    _small_objects("PP-YOLOE_plus_SOD-S", "small objects, small network", 640, (25.1, 42.8), 77.29),
    _small_objects("PP-YOLOE_plus_SOD-L", "small objects, large network", 640, (31.9, 52.1), 324.93),
    _small_objects(
        "PP-YOLOE_plus_SOD-largesize-L", "small objects in large pictures, large network", 1920, (42.7, 65.9), 340.42
    ),
    ModelEntry(
        name="PP-ShiTuV2_det",
        summary="the objects in a picture that stand out, whatever they are",
        module="mainbody_detection",
        task="detection",
        size_hw=(640, 640),
        classes=("mainbody",),
        figures=(Figure("AP", 41.5, "PaddleClas mainbody"), Figure("AP50", 62.0, "PaddleClas mainbody")),
        megabytes=27.54,
        inference=_inference("PP-ShiTuV2_det"),
        weights=_weights("PP-ShiTuV2_det"),
    ),
    _feature("PP-ShiTuV2_rec", "what a picture shows, as a vector; small network", 84.2, 16.3),
    _feature("PP-ShiTuV2_rec_CLIP_vit_base", "what a picture shows, as a vector; transformer", 88.69, 306.6),
    _feature("PP-ShiTuV2_rec_CLIP_vit_large", "what a picture shows, as a vector; large transformer", 91.03, 1050.0),
)
STORE: dict[str, ModelEntry] = {entry.name: entry for entry in _ENTRIES}
"""Name -> model."""


def known_model(name: str) -> ModelEntry:
    """The description of the model of that name. Raises ModelError with the nearest name."""
    if name not in STORE:
        raise ModelError(f"Unknown model {name!r}. {did_you_mean(name, STORE)}")
    return STORE[name]


def local_model(name: str, kind: Kind = "inference") -> Path:
    """The folder with Paddle's inference files of a published model, or with `kind` "weights" its `.pdparams` file.

    It is downloaded when it is first asked for. Later it comes from the cache, which is compared with the checksums
    noted then, and nothing is contacted. For a built-in model the folder is its bundle.
    Raises ModelError: unknown, not to be had (with the address and the path for a download by hand), damaged.
    """
    entry = known_model(name)
    if entry.built_in and kind == "inference":
        return find_bundle(BUNDLES / name)
    place = local_path(name, kind)
    remote = entry.inference if kind == "inference" else entry.weights
    if remote is None or place is None:
        raise ModelError(f"{name} is built in: it is a bundle alone, and there is no file of weights to train from.")
    return download(remote, place) if kind == "weights" else _unpacked(remote, place)


def published_weights(url: str) -> Path:
    """The local file of the published weights at `url`, as PaddleX's configurations name them; see `local_model`.

    Raises ModelError also for an address of no published model: only those are fetched.
    """
    file = url.rpartition("/")[2]
    for entry in STORE.values():
        if entry.weights is not None and PurePosixPath(entry.weights.path).name == file:
            return local_model(entry.name, "weights")
    raise ModelError(
        f"{url} is not the address of published weights. Download the file, and give its path. Published are those of: "
        f"{', '.join(entry.name for entry in STORE.values() if entry.weights is not None)}."
    )


def local_path(name: str, kind: Kind) -> Path | None:
    """Where a published model's folder or weights lie once they are there; None for a built-in model."""
    entry = known_model(name)
    remote = entry.inference if kind == "inference" else entry.weights
    return None if remote is None else home() / "models" / PurePosixPath(remote.path).name.removesuffix(".tar")


def _unpacked(remote: Remote, folder: Path) -> Path:
    """`folder`, or the one in it, with Paddle's files. Where it is missing, its archive is fetched and unpacked."""
    archive = folder.with_name(f"{folder.name}.tar")
    if not folder.is_dir():
        with disk_errors(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with locked(folder):
                for draft in folder.parent.glob(f".{folder.name}.*"):  # of a process that was killed
                    shutil.rmtree(draft, ignore_errors=True)
                if not folder.is_dir():
                    download(remote, archive)
                    unpack_tar(archive, folder)
                    verify(folder, f"{archive.name} with SHA-256 {measure(archive).sha256}")
                    archive.unlink()
                    archive.with_name(f"{archive.name}.json").unlink(missing_ok=True)
    verify(folder, "it lay here")
    place = paddle_folder_in(folder)
    if place is None:
        raise ModelError(
            f"{folder} holds no model of Paddle. Expected inference.json or inference.pdmodel, and "
            "inference.pdiparams. Delete it; then it is fetched again."
        )
    return place


def paddle_folder_in(folder: Path) -> Path | None:
    """`folder` itself or the first folder in it where Paddle's files lie, see `is_paddle_folder`; None: neither."""
    places = (folder, *sorted(path for path in folder.iterdir() if path.is_dir()))
    return next((place for place in places if is_paddle_folder(place)), None)


def is_paddle_folder(path: Path) -> bool:
    """Whether `path` is a folder, or a file in one, with Paddle's inference files, or with weights (`.pdparams`).

    Inference files are a graph (inference or model, `.json` or `.pdmodel`) and the `.pdiparams` of the same name.
    """
    if path.is_file():
        if path.suffix == ".pdparams":
            return True
        if path.suffix != ".pdiparams" and path.name not in _GRAPHS:
            return False
    elif not path.is_dir():
        return False
    elif any(path.glob("*.pdparams")):
        return True
    graphs = ((path if path.is_dir() else path.parent) / name for name in _GRAPHS)
    return any(graph.is_file() and graph.with_suffix(".pdiparams").is_file() for graph in graphs)


def find_bundle(path: Path) -> Path:
    """The bundle directory in or near `path`. Raises ModelError that says what is there instead."""
    folders = [path, path / "inference", path / "best_model" / "inference"]
    if not path.is_dir():  # a file of a bundle or of a training run; PaddleX's own file names may be absent here
        folders = [path.parent, path.parent / "inference", path.parent.parent / "inference"]
    for folder in folders:
        if (folder / BUNDLE_FILE).is_file():
            return folder
    raise ModelError(_what_is_there(path))


def _what_is_there(path: Path) -> str:
    expected = f"Expected a directory with {BUNDLE_FILE}, as eyas train and eyas export write it"
    if not path.exists():
        near = did_you_mean(path.name, [item.name for item in path.parent.iterdir()]) if path.parent.is_dir() else ""
        return f"There is no model at {path}. {expected}. {near if near.startswith('Did') else ''}".rstrip()
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    paddle = [file.name for file in files if is_paddle_file(file)]
    weights = [file for file in files if file.suffix == ".safetensors"]
    if paddle:
        return (
            f"{path} holds part of a model of Paddle ({', '.join(paddle[:3])}). {expected}, or all of Paddle's files."
        )
    if weights:
        return f"{path} holds weights but no bundle. Make one: eyas export -c CONFIG -o Export.weight_path={weights[0]}"
    found = ", ".join(file.name for file in files[:5]) or "nothing"
    return f"There is no model at {path}. {expected}; found {found}."
