"""A bundle: a folder with a trained network and all that is needed to use it.

`bundle.json` holds the manifest, `model.onnx` the network: input "image" float32 [B, 3, H, W] as `Preprocess` makes it,
any batch size, one height and width.  Other files may lie beside it; the manifest has a SHA-256 of each.
"""

import hashlib
import json
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from eyas.errors import ModelError
from eyas.fields import Fields
from eyas.vision.decode import HeadSpec
from eyas.vision.preprocess import Preprocess

FORMAT_VERSION = 1
MANIFEST_NAME = "bundle.json"
NETWORK_NAME = "model.onnx"
TASKS = ("detection",)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a network is and how to use it.

    `names` are the classes in the order of the network's scores, `source_ids` their ids in the dataset.  `made` says in
    free words and numbers how the network was made.  `files` maps each file of the bundle to its SHA-256; it is empty
    for a network that is not in a bundle.  Raises ModelError when the values do not fit each other.
    """

    format_version: int = FORMAT_VERSION
    task: str = "detection"
    model: str
    head: HeadSpec
    preprocess: Preprocess
    names: tuple[str, ...]
    source_ids: tuple[int, ...]
    input_name: str = "image"
    outputs: tuple[str, ...] = ("scores", "distances")
    threshold: float = 0.5
    made: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_version(self.format_version)
        if self.task not in TASKS:
            raise ModelError(f"task: expected one of {', '.join(TASKS)}, got {self.task!r}.")
        if not self.names:
            raise ModelError("names: expected at least one class name, got none.")
        if len(self.source_ids) != len(self.names):
            raise ModelError(f"source_ids: expected {len(self.names)}, one for each name, got {len(self.source_ids)}.")
        if not 0 <= self.threshold <= 1:
            raise ModelError(f"threshold: expected a number from 0 to 1, got {self.threshold!r}.")
        for name in self.files:
            if name in ("", ".", "..") or "/" in name or "\\" in name:
                raise ModelError(f"files: expected plain file names inside the bundle, got {name!r}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they stand in bundle.json."""
        return {
            "format_version": self.format_version,
            "task": self.task,
            "model": self.model,
            "head": self.head.to_dict(),
            "preprocess": self.preprocess.to_dict(),
            "names": list(self.names),
            "source_ids": list(self.source_ids),
            "input_name": self.input_name,
            "outputs": list(self.outputs),
            "threshold": self.threshold,
            "made": dict(self.made),
            "files": dict(self.files),
        }

    @staticmethod
    def from_dict(values: object) -> "Manifest":
        """The opposite of `to_dict`.  Raises ModelError, with the dotted key, where a value does not fit."""
        if isinstance(values, Mapping):
            _check_version(values.get("format_version", FORMAT_VERSION))  # other versions may have other keys
        given = Fields(values, "", tuple(item.name for item in fields(Manifest)))
        names = given.object("files")
        digests = Fields(names, "files", tuple(names))
        return Manifest(
            format_version=given.whole("format_version"),
            task=given.text("task"),
            model=given.text("model"),
            head=HeadSpec.from_dict(given.any("head")),
            preprocess=Preprocess.from_dict(given.any("preprocess")),
            names=given.texts("names"),
            source_ids=given.wholes("source_ids"),
            input_name=given.text("input_name"),
            outputs=given.texts("outputs"),
            threshold=given.number("threshold"),
            made=given.object("made"),
            files={name: digests.text(name) for name in names},
        )


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
    manifest: Manifest

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
    def create(path: Path, manifest: Manifest, files: Mapping[str, Path]) -> "Bundle":
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
            manifest = replace(manifest, files={name: _sha256(draft / name) for name in files})
            text = json.dumps(manifest.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
            (draft / MANIFEST_NAME).write_text(text, encoding="utf-8")
            _put_in_place(draft, path)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return Bundle(path, manifest)

    @property
    def network(self) -> Path:
        """The network's ONNX file."""
        return self.path / NETWORK_NAME


def _read_manifest(path: Path) -> Manifest:
    try:
        manifest = Manifest.from_dict(json.loads(path.read_text(encoding="utf-8")))
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
    found = _sha256(path)
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


def _put_in_place(draft: Path, path: Path) -> None:
    if not path.exists():
        draft.rename(path)
        return
    old = draft.with_name(f"{draft.name}.old")
    path.rename(old)
    try:
        draft.rename(path)
    except OSError:
        old.rename(path)
        raise
    shutil.rmtree(old)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
