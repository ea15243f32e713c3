"""The networks that `eyas gallery` uses: those that the command line names, or that the gallery was made by."""

from dataclasses import dataclass
from pathlib import Path

from eyas.bundle import EmbeddingManifest, Manifest
from eyas.errors import ConfigError
from eyas.index import Gallery
from eyas.index.store import Store
from eyas.pipeline_schema import DetectionModule, RecognitionModule
from eyas.pipelines.detector import Detector
from eyas.pipelines.embedder import Embedder
from eyas.pipelines.index_files import is_gallery, signature
from eyas.pipelines.opening import Opening
from eyas.store import DEFAULT_FEATURES, STORE

MADE_WITH = "made_with"
"""The setting of a gallery that says how its feature model was named when it was built: `{model_name, model_dir}`."""


@dataclass(frozen=True)
class FeatureModel:
    """The feature model that the command line names: a name, a folder, a device; None: what the gallery remembers."""

    name: str | None = None
    folder: str | None = None
    device: str | None = None

    def open(self, gallery: Gallery | None) -> Embedder:
        """The model; without a name or folder the one that `gallery` was made by, and for a new one the default.

        Raises ConfigError where the gallery does not know its model.
        """
        named = {"model_name": self.name, "model_dir": self.folder}
        if not any(named.values()):
            named = {"model_name": DEFAULT_FEATURES} if gallery is None else _remembered(gallery)
        module = RecognitionModule(model_name=named.get("model_name"), model_dir=named.get("model_dir"))
        opening = Opening.of(module, EmbeddingManifest)
        return Embedder(opening.bundle.manifest, opening.backends(self.device)[0])

    def remember(self, gallery: Gallery) -> None:
        """Note in a new gallery what it was made with, so that later commands need not be told."""
        folder = None if self.folder is None else str(Path(self.folder).resolve())
        name = DEFAULT_FEATURES if self.name is None and folder is None else self.name
        gallery.set_setting(MADE_WITH, {"model_name": name, "model_dir": folder})


def made_with(index: Path) -> dict[str, str | None] | None:
    """The name and the folder of the feature model of the gallery at `index`, where it knows them.

    Raises GalleryError where there is no gallery and nothing that is read as one.
    """
    if not is_gallery(index) and signature(index) == ():  # before networks are fetched for nothing
        Store.open(index).close()
    if not is_gallery(index):
        return None
    with Store.open(index) as store:  # its search structures are read later, once
        named: dict[str, str | None] | None = store.setting(MADE_WITH)
        return named


def _remembered(gallery: Gallery) -> dict[str, str | None]:
    named: dict[str, str | None] | None = gallery.setting(MADE_WITH)
    if named is not None:
        return named
    own = gallery.info.model
    if own is None:
        raise ConfigError(
            f"{gallery.path} does not say which feature model made its vectors. "
            "Name it: --model NAME (see eyas models), or --model_dir FOLDER."
        )
    # Made in Python, so that no name was noted; whether this is the model is checked by its fingerprint.
    return {"model_name": own.name if own.name in STORE else DEFAULT_FEATURES}


def name_or_folder(named: str) -> dict[str, str | None]:
    """The model_name and model_dir that a flag means which takes either: what is there is a folder."""
    folder = Path(named).exists()
    return {"model_name": None if folder else named, "model_dir": named if folder else None}


def open_detector(named: str, device: str | None) -> Detector:
    """The detector of that name, or in that folder."""
    opening = Opening.of(DetectionModule.model_validate(name_or_folder(named)), Manifest)
    return Detector(opening.bundle.manifest, opening.backends(device)[0])
