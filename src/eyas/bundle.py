"""A bundle: a folder with a trained network and all that is needed to use it.

`bundle.json` holds the manifest, `model.onnx` the network: input "image" float32 [B, 3, H, W] as `Preprocess` makes it,
any batch size, one height and width.  Other files may lie beside it; the manifest has a SHA-256 of each.
"""

import json
import shutil
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from eyas.cache import measure, put_in_place
from eyas.errors import ModelError
from eyas.fields import Fields
from eyas.vision.decode import HeadSpec
from eyas.vision.preprocess import Preprocess

FORMAT_VERSION = 1
MANIFEST_NAME = "bundle.json"
NETWORK_NAME = "model.onnx"


@dataclass(frozen=True, kw_only=True)
class NetworkManifest(ABC):
    """What a network is and how to use it; `Manifest` and `EmbeddingManifest` add what their task needs.

    `made` says in free words and numbers how the network was made.  `files` maps each file of the bundle to its
    SHA-256; it is empty for a network that is not in a bundle.  `KEYS` are the keys of bundle.json, each an attribute.
    """

    task: ClassVar[str]
    KEYS: ClassVar[tuple[str, ...]]

    format_version: int = FORMAT_VERSION
    model: str
    preprocess: Preprocess
    input_name: str = "image"
    outputs: tuple[str, ...]
    made: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_version(self.format_version)
        for name in self.files:
            if name in ("", ".", "..") or "/" in name or "\\" in name:
                raise ModelError(f"files: expected plain file names inside the bundle, got {name!r}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they stand in bundle.json; `manifest_from_dict` reads them."""
        return {key: _plain(getattr(self, key)) for key in self.KEYS}

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """The opposite of `to_dict`.  Raises ModelError, with the dotted key, where a value does not fit."""
        _check_preamble(values, (cls.task,))
        given = Fields(values, "", cls.KEYS)
        names = given.object("files")
        digests = Fields(names, "files", tuple(names))
        return cls(
            format_version=given.whole("format_version"),
            model=given.text("model"),
            preprocess=Preprocess.from_dict(given.any("preprocess")),
            input_name=given.text("input_name"),
            outputs=given.texts("outputs"),
            made=given.object("made"),
            files={name: digests.text(name) for name in names},
            **cls._own_values(given),
        )

    @staticmethod
    @abstractmethod
    def _own_values(given: Fields) -> dict[str, Any]:
        """The values of the keys that this kind of manifest adds."""


@dataclass(frozen=True, kw_only=True)
class Manifest(NetworkManifest):
    """What a detector is and how to use it.

    `names` are the classes in the order of the network's scores, `source_ids` their ids in the dataset.
    Raises ModelError when the values do not fit each other.
    """

    task: ClassVar[str] = "detection"
    KEYS = (
        "format_version", "task", "model", "head", "preprocess", "names", "source_ids", "input_name", "outputs",
        "threshold", "made", "files",
    )  # fmt: skip

    head: HeadSpec
    names: tuple[str, ...]
    source_ids: tuple[int, ...]
    outputs: tuple[str, ...] = ("scores", "distances")
    threshold: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.names:
            raise ModelError("names: expected at least one class name, got none.")
        if len(self.source_ids) != len(self.names):
            raise ModelError(f"source_ids: expected {len(self.names)}, one for each name, got {len(self.source_ids)}.")
        if not 0 <= self.threshold <= 1:
            raise ModelError(f"threshold: expected a number from 0 to 1, got {self.threshold!r}.")

    @staticmethod
    def _own_values(given: Fields) -> dict[str, Any]:
        return {
            "head": HeadSpec.from_dict(given.any("head")),
            "names": given.texts("names"),
            "source_ids": given.wholes("source_ids"),
            "threshold": given.number("threshold"),
        }


@dataclass(frozen=True, kw_only=True)
class EmbeddingManifest(NetworkManifest):
    """What a feature model is and how to use it: its one output is float32 [B, `width`].

    Raises ModelError when the values do not fit.
    """

    task: ClassVar[str] = "embedding"
    KEYS = ("format_version", "task", "model", "width", "preprocess", "input_name", "outputs", "made", "files")

    width: int
    outputs: tuple[str, ...] = ("features",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < 1:
            raise ModelError(f"width: expected 1 or more, the length of a feature, got {self.width}.")
        if len(self.outputs) != 1:
            raise ModelError(f"outputs: expected one, the features, got {list(self.outputs)}.")

    @staticmethod
    def _own_values(given: Fields) -> dict[str, Any]:
        return {"width": given.whole("width")}


AnyManifest = Manifest | EmbeddingManifest

MANIFESTS: dict[str, type[AnyManifest]] = {"detection": Manifest, "embedding": EmbeddingManifest}
"""Task -> what a bundle of it says."""

_M = TypeVar("_M", bound=NetworkManifest)


def manifest_from_dict(values: object) -> AnyManifest:
    """The manifest that `values` (parsed JSON) hold, by their task.  Raises ModelError, with the dotted key."""
    _check_preamble(values, tuple(MANIFESTS))
    task = values.get("task", Manifest.task) if isinstance(values, Mapping) else Manifest.task
    return MANIFESTS[task].from_dict(values)


def need_task(manifest: NetworkManifest, kind: type[_M]) -> _M:
    """`manifest` where it is of that kind.  Raises ModelError where it is one for another task."""
    if not isinstance(manifest, kind):
        raise ModelError(f"The model {manifest.model} is for {manifest.task}, and one for {kind.task} is needed here.")
    return manifest


def _plain(value: Any) -> Any:
    if isinstance(value, (HeadSpec, Preprocess)):
        return value.to_dict()
    return list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, dict) else value


def _check_preamble(values: object, tasks: tuple[str, ...]) -> None:
    """Raise ModelError for another version or task, which may have other keys."""
    if isinstance(values, Mapping):
        _check_version(values.get("format_version", FORMAT_VERSION))
        if values.get("task", tasks[0]) not in tasks:
            raise ModelError(f"task: expected one of {', '.join(tasks)}, got {values['task']!r}.")


def _check_version(version: object) -> None:
    if version != FORMAT_VERSION:
        raise ModelError(
            f"format_version: this eyas reads version {FORMAT_VERSION}, got {version!r}. "
            "Use the eyas that wrote it, or export the model again."
        )


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk: its folder and its manifest."""

    path: Path
    manifest: AnyManifest

    @staticmethod
    def open(path: Path, verify: bool = True) -> "Bundle":
        """The bundle in the folder `path`; with `verify` the checksum of every file is compared.

        Raises ModelError when the folder is no bundle, its manifest does not fit, or a file is missing or changed.
        """
        manifest_file = path / MANIFEST_NAME
        if not manifest_file.is_file():
            missing = MANIFEST_NAME if path.is_dir() else "the folder"
            raise ModelError(
                f"{path} is not a bundle: {missing} is missing. Expected a folder with {MANIFEST_NAME} and "
                f"{NETWORK_NAME}, as `eyas export` writes it."
            )
        manifest = _read_manifest(manifest_file)
        for name, digest in manifest.files.items():
            _check_file(path / name, digest if verify else None)
        return Bundle(path, manifest)

    @staticmethod
    def create(path: Path, manifest: AnyManifest, files: Mapping[str, Path]) -> "Bundle":
        """Write a bundle of `manifest` and copies of `files` (name in the bundle -> file) at `path`.

        The folder appears whole or not at all.  A bundle that is there already is replaced; raises ModelError when
        something else is there, or when `files` has no network.
        """
        if NETWORK_NAME not in files:
            raise ModelError(f"A bundle needs {NETWORK_NAME}, got {', '.join(files) or 'no file'}.")
        _check_replaceable(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        draft.mkdir()
        try:
            for name, source in files.items():
                shutil.copyfile(source, draft / name)
            manifest = replace(manifest, files={name: measure(draft / name).sha256 for name in files})
            text = json.dumps(manifest.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
            (draft / MANIFEST_NAME).write_text(text, encoding="utf-8")
            put_in_place(draft, path)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return Bundle(path, manifest)

    @property
    def network(self) -> Path:
        """The network's ONNX file."""
        return self.path / NETWORK_NAME


def _read_manifest(path: Path) -> AnyManifest:
    try:
        manifest = manifest_from_dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ModelError(f"{path} is not readable as JSON: {error}. Export the model again.") from error
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    if NETWORK_NAME not in manifest.files:
        raise ModelError(f"{path}: files: {NETWORK_NAME} is missing. Every bundle has one.")
    return manifest


def _check_file(path: Path, digest: str | None) -> None:
    if not path.is_file():
        raise ModelError(f"{path.parent} is not a whole bundle: {path.name} is missing. Copy or export it again.")
    if digest is None:
        return
    found = measure(path).sha256
    if found != digest:
        raise ModelError(
            f"{path} was changed or damaged: its SHA-256 is {found}, expected {digest}. "
            "Copy or export the bundle again."
        )


def _check_replaceable(path: Path) -> None:
    if not path.exists():
        return
    if not path.is_dir():
        raise ModelError(f"{path} is a file. Expected a folder to write a bundle to, or a name that is free.")
    present = {item.name for item in path.iterdir()}
    own = {MANIFEST_NAME, *_read_manifest(path / MANIFEST_NAME).files} if MANIFEST_NAME in present else set()
    strange = sorted(present - own)
    if strange:
        raise ModelError(
            f"{path} holds files that are no part of a bundle ({', '.join(strange[:5])}), and writing a bundle there "
            "would delete them. Choose another folder."
        )
