"""The built-in feature model on real photographs, through a gallery, as its model card says."""

from pathlib import Path

import numpy as np
import pytest

from eyas.backends import open_backends
from eyas.backends.device import parse_device
from eyas.bundle import Bundle
from eyas.data.labelled import LabelledImages
from eyas.data.lists import read_labelled
from eyas.data.synthetic_packages import DESIGNS, photograph
from eyas.index import Gallery, ModelIdentity
from eyas.index.pictures import Picture
from eyas.pipelines.embedder import Embedder
from eyas.pipelines.gallery_builder import LabelledArray, add_pictures
from eyas.pipelines.recogniser import Recogniser
from eyas.store import DEFAULT_FEATURES, local_model
from eyas.vision.image import read_image

CARTONS, ALL_KINDS = 0.85, 0.686
"""The figures of the model card; engines may differ in a picture or two."""
SLACK = 0.02


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    bundle = Bundle.open(local_model(DEFAULT_FEATURES))
    return Embedder(bundle.manifest, open_backends(bundle, parse_device("cpu"), engine=None, threads=None)[0])


def test_it_is_small_enough_for_the_package() -> None:
    assert sum(file.stat().st_size for file in local_model(DEFAULT_FEATURES).iterdir()) < 8_000_000


def share_right(embedder: Embedder, gallery: LabelledImages, queries: LabelledImages) -> float:
    """How many of `queries` find a picture of their label first, among those of `gallery`."""
    pictures = [Picture(path, label) for path, label in zip(gallery.paths, gallery.names, strict=True)]
    with Gallery.create(None, width=embedder.manifest.width, model=ModelIdentity.of(embedder.manifest)) as index:
        add_pictures(index, pictures, embedder)
        paths = [queries.paths[start : start + 16] for start in range(0, len(queries), 16)]
        vectors = np.concatenate([embedder.embed_batch([read_image(path) for path in batch]) for batch in paths])
        found = index.search(vectors, 1)
        return float(np.mean([found.labels[place] for place in found.label_ids[:, 0]] == np.array(queries.names)))


def packages(images: LabelledImages) -> LabelledImages:
    return images.take([place for place, path in enumerate(images.paths) if "/Packages/" in path.as_posix()])


def test_cartons_are_told_apart(embedder: Embedder, shared_data: Path) -> None:
    parts = read_labelled(shared_data / "grocery_store")
    assert share_right(embedder, packages(parts["train"]), packages(parts["val"])) >= CARTONS - SLACK


@pytest.mark.slow
def test_all_kinds_are_told_apart(embedder: Embedder, shared_data: Path) -> None:
    parts = read_labelled(shared_data / "grocery_store")
    assert share_right(embedder, parts["train"], parts["val"]) >= ALL_KINDS - SLACK


def test_drawn_packages_are_recognised(embedder: Embedder) -> None:
    views = [
        LabelledArray(photograph(design, 100 * kind + view), design.name)
        for kind, design in enumerate(DESIGNS)
        for view in range(5)
    ]
    with Gallery.create(None, width=embedder.manifest.width, model=ModelIdentity.of(embedder.manifest)) as gallery:
        add_pictures(gallery, views, embedder)
        recognise = Recogniser(None, embedder, gallery)
        found = [recognise(photograph(design, 9000 + kind)).labels for kind, design in enumerate(DESIGNS)]
    assert found == [[design.name] for design in DESIGNS]
