"""`eyas convert`: a model as Paddle writes it -> a bundle, or weights to train from.

Also what a model's name or folder means to everything that predicts: a bundle that is there, or one that is made of
Paddle's files when they are first asked for, and kept in the cache.
"""

import hashlib
import json
import logging
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from eyas.archive import unpack_tar
from eyas.bundle import AnyManifest, Bundle, EmbeddingManifest, Manifest
from eyas.cache import disk_errors, home, locked, measure
from eyas.errors import ModelError, needs_train
from eyas.paddle import Inference, read_inference
from eyas.paddle.translate import Translated, translate
from eyas.store import (
    BUNDLE_FILE,
    BUNDLES,
    DEFAULT_MODEL,
    STORE,
    find_bundle,
    is_paddle_folder,
    known_model,
    local_model,
    paddle_folder_in,
)
from eyas.vision.decode import HeadSpec

log = logging.getLogger(__name__)

WEIGHTS = ".safetensors"
PADDLE_WEIGHTS = ".pdparams"


def convert(source: str | Path, target: Path, model: str | None = None, classes: Sequence[str] | None = None) -> Path:
    """Turn a model of Paddle into a bundle in the folder `target`, or into weights where it ends in `.safetensors`.

    `source` is an exported model (a folder, or its `.tar`), weights (`.pdparams`), or the name of a published model.
    `model` names the network of weights (None: the published one that fits), `classes` what it finds (None: what the
    file says, or the published model). Weights need the extra `train`. Raises ModelError or BackendError.
    """
    wants_weights = target.suffix == WEIGHTS
    if str(source) in STORE and not Path(source).exists():
        path = local_model(str(source), "weights" if wants_weights else "inference")
    else:
        path = Path(source)
    if path.suffix == ".tar" and path.is_file():
        with tempfile.TemporaryDirectory() as folder:
            unpack_tar(path, Path(folder) / "model")
            inner = paddle_folder_in(Path(folder) / "model")
            return convert(inner or Path(folder) / "model", target, model, classes)
    if not is_paddle_folder(path):
        raise ModelError(
            f"{path} is no model of Paddle. Expected a folder with inference.json or inference.pdmodel and "
            f"inference.pdiparams, its .tar, a {PADDLE_WEIGHTS} file, or one of: {', '.join(STORE)}."
        )
    weights = _weights_in(path)
    if weights is not None:
        return _from_weights(weights, target, model, classes)
    if wants_weights:
        raise ModelError(
            f"{path} is an exported model: its branches are merged, so it cannot be trained further. Expected the "
            f"weights that it was exported from, a {PADDLE_WEIGHTS} file. Or give a folder to convert to."
        )
    return _from_inference(path if path.is_dir() else path.parent, target, classes)


def resolve_model(model_name: str | None, model_dir: str | Path | None) -> Path:
    """The bundle folder of a model: of `model_dir` where it is given, else of the known model of that name.

    `model_dir` may be a bundle, what `eyas train` wrote (`output`, `output/best_model`, `output/best_model/inference`),
    PaddleX's path of a file in there, or a model of Paddle, which is converted into the cache when it is first used. A
    `model_name` that is itself a folder counts as `model_dir`. A published model is downloaded when it is first used.
    Raises ModelError for an unknown name, a folder without a model, and a model that cannot be had or converted.
    """
    if model_dir is None and model_name is not None and model_name not in STORE and Path(model_name).is_dir():
        model_dir = model_name
    if model_dir is not None:
        path = Path(model_dir)
        return _converted(path, _cached(path)) if is_paddle_folder(path) else find_bundle(path)
    entry = known_model(DEFAULT_MODEL if model_name is None else model_name)
    if entry.built_in:
        return find_bundle(BUNDLES / entry.name)
    place = converted_bundle(entry.name)
    return place if (place / BUNDLE_FILE).is_file() else _converted(local_model(entry.name), place)


def trained_or_named(output: Path, model_name: str) -> Path:
    """The bundle that training left in `output`, else that of the model of that name. Raises ModelError."""
    trained = output / "best_model" / "inference"
    return trained if (trained / BUNDLE_FILE).is_file() else resolve_model(model_name, None)


def converted_bundle(name: str) -> Path:
    """Where this version of eyas keeps what it made of a published model; it need not be there."""
    return home() / "bundles" / version("eyas") / name


def _cached(source: Path) -> Path:
    """Where the bundle made of `source` is kept: another place once one of its files is another."""
    files = sorted(source.iterdir()) if source.is_dir() else [source]
    seen = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]
    return converted_bundle(f"{source.resolve().name}-{hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:16]}")


def _converted(source: Path, place: Path) -> Path:
    """`place`, where it is missing made of `source`; of several processes one does it and the others wait."""
    with disk_errors(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        with locked(place):
            if not (place / BUNDLE_FILE).is_file():
                log.info("converting %s; the result is kept in %s", source, place)
                convert(source, place)
    return place


def _weights_in(path: Path) -> Path | None:
    """The `.pdparams` file that `path` is, or that lies in that folder where it holds no exported model."""
    if path.is_file():
        return path if path.suffix == PADDLE_WEIGHTS else None
    if any(path.glob("*.pdiparams")):
        return None
    found = sorted(path.glob(f"*{PADDLE_WEIGHTS}"))
    if len(found) > 1:
        raise ModelError(f"{path} holds several weights ({', '.join(file.name for file in found)}). Name one of them.")
    return found[0]


def _from_weights(weights: Path, target: Path, model: str | None, classes: Sequence[str] | None) -> Path:
    with needs_train():
        from eyas.export.run import write_bundle
        from eyas.models.backend import open_weights
        from eyas.models.files import save_tensors
        from eyas.schema import Export
    network, manifest = open_weights(weights, model, classes)
    if target.suffix != WEIGHTS:
        return write_bundle(network, manifest, target, Export())
    save_tensors(target, network.state_dict(), {"manifest": manifest.to_dict()})
    return target


def _from_inference(folder: Path, target: Path, classes: Sequence[str] | None) -> Path:
    inference = read_inference(folder)
    with tempfile.TemporaryDirectory() as work:
        network = Path(work) / "model.onnx"
        translated = translate(inference.graph, inference.settings.task, network)
        made: dict[str, object] = {
            "by": "eyas convert",
            "source": {file.name: measure(file).sha256 for file in inference.files},
        }
        manifest = _manifest(folder, inference, translated, tuple(classes) if classes is not None else None, made)
        del inference  # its arrays lie in mapped files
        Bundle.create(target, manifest, {"model.onnx": network})
    log.info("bundle written to %s", target)
    return target


def _manifest(
    folder: Path,
    inference: Inference,
    translated: Translated,
    classes: tuple[str, ...] | None,
    made: dict[str, object],
) -> AnyManifest:
    """What the translated network needs to predict."""
    settings, rule = inference.settings, translated.rule
    model = settings.model_name or folder.resolve().name
    if rule is None:
        if translated.count is None:
            raise ModelError(f"{folder}: the network does not say how long its features are.")
        return EmbeddingManifest(
            model=model, preprocess=settings.preprocess, width=translated.count, made=made,
            input_name=translated.input_name, outputs=translated.outputs,
        )  # fmt: skip
    names = settings.labels if classes is None else classes
    if translated.count is not None and translated.count != len(names):
        raise ModelError(
            f"{folder}: the network has {translated.count} classes, and {len(names)} names came: "
            f"{', '.join(names[:5])}. Give one for each: --classes a,b,c"
        )
    if not rule.normalized or rule.background_label != -1:
        raise ModelError(
            f"{folder}: its suppression counts pixels inclusively or has a background class "
            f"({rule.background_label}), as none of the published detectors does. eyas cannot do that."
        )
    head = HeadSpec(
        kind="boxes", strides=(), score_threshold=rule.score_threshold, nms_top_k=rule.nms_top_k,
        keep_top_k=rule.keep_top_k, nms_iou=rule.iou_threshold,
    )  # fmt: skip
    return Manifest(
        model=model, head=head, preprocess=settings.preprocess, names=names, source_ids=tuple(range(len(names))),
        threshold=0.5 if settings.threshold is None else settings.threshold, made=made,
        input_name=translated.input_name, outputs=translated.outputs,
    )  # fmt: skip
