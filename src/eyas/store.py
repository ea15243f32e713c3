"""The models that eyas knows by name, and the bundle directory that a name or a path means."""

from dataclasses import dataclass
from pathlib import Path

from eyas.compat import is_paddle_file
from eyas.errors import ModelError, did_you_mean

BUNDLES = Path(__file__).parent / "bundles"
BUNDLE_FILE = "bundle.json"
DEFAULT_MODEL = "SOD-XS-thermal"
"""The built-in detector: it comes with the package and needs no download."""


@dataclass(frozen=True)
class ModelEntry:
    """One known model: what it is, and whether its bundle comes with the package."""

    name: str
    summary: str
    built_in: bool = False


_ENTRIES = (
    ModelEntry(DEFAULT_MODEL, "people and vehicles in thermal drone pictures, 4 classes", built_in=True),
    ModelEntry("PP-YOLOE_plus_SOD-S", "small objects, small network, input 640x640"),
    ModelEntry("PP-YOLOE_plus_SOD-L", "small objects, large network, input 640x640"),
    ModelEntry("PP-YOLOE_plus_SOD-largesize-L", "small objects in large pictures, large network, input 1920x1920"),
)
STORE: dict[str, ModelEntry] = {entry.name: entry for entry in _ENTRIES}
"""Name -> model."""


def resolve_model(model_name: str | None, model_dir: str | Path | None) -> Path:
    """The bundle directory of a model: `model_dir` where it is given, else the built-in bundle of that name.

    `model_dir` may be a bundle, what `eyas train` wrote (`output`, `output/best_model`, `output/best_model/inference`)
    or PaddleX's path of a file in there. A `model_name` that is itself a directory counts as `model_dir`.
    Raises ModelError for an unknown name, a name without weights here, and a directory without a bundle.
    """
    if model_dir is None and model_name is not None and model_name not in STORE and Path(model_name).is_dir():
        model_dir = model_name
    if model_dir is not None:
        return find_bundle(Path(model_dir))
    name = DEFAULT_MODEL if model_name is None else model_name
    if name not in STORE:
        raise ModelError(f"Unknown model {name!r}. {did_you_mean(name, STORE)}")
    if not STORE[name].built_in:
        raise ModelError(
            f"{name} comes without weights. Train it (eyas train -c {name} -o Global.dataset_dir=PATH) and name the "
            f"result: model_dir='output/best_model/inference'. Built in is {DEFAULT_MODEL}."
        )
    return find_bundle(BUNDLES / name)


def trained_or_named(output: Path, model_name: str) -> Path:
    """The bundle that training left in `output`, else that of the model of that name. Raises ModelError."""
    trained = output / "best_model" / "inference"
    return trained if (trained / BUNDLE_FILE).is_file() else resolve_model(model_name, None)


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
        return f"{path} holds a model of Paddle ({', '.join(paddle[:3])}), which eyas does not read. {expected}."
    if weights:
        return f"{path} holds weights but no bundle. Make one: eyas export -c CONFIG -o Export.weight_path={weights[0]}"
    found = ", ".join(file.name for file in files[:5]) or "nothing"
    return f"There is no model at {path}. {expected}; found {found}."
