"""What the doctor finds among drawn vectors in which faults were planted."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.doctor.galleries import WIDTH, drawn, unit, views
from tests.index.flat_gallery import FlatGallery

from eyas.doctor import Findings, examine
from eyas.doctor.duplicates import duplicate_limit
from eyas.doctor.neighbours import distance, neighbourhood
from eyas.errors import ConfigError, GalleryError
from eyas.index import Gallery, NewItem
from eyas.index.records import Metric


@pytest.mark.parametrize(("metric", "least"), [("IP", 72), ("L2", 72), ("hamming", 66)])  # 48 bits say less
def test_planted_wrong_labels_are_found(metric: Metric, least: int) -> None:
    found = wrong = 0
    for seed in range(4):
        vectors, names = drawn(40, 20, seed)
        rng = np.random.default_rng(100 + seed)
        planted = rng.choice(len(names), 20, replace=False).tolist()
        true = {row: names[row] for row in planted}
        for row in planted:
            names[row] = f"label {(int(names[row][-2:]) + rng.integers(1, 40)) % 40:02d}"
        told = examine(FlatGallery(vectors, names, metric)).mislabels
        found += sum(one.id in true and one.probable == true[one.id] for one in told)
        wrong += sum(one.id not in true for one in told)
    assert found >= least  # of 80
    assert wrong <= 4


def test_labels_that_look_alike_are_no_wrong_labels() -> None:
    """Two labels of one look: half of their pictures find the other label, and none has a wrong one."""
    vectors, names = drawn(20, 20, 0)
    rng = np.random.default_rng(5)
    twins = views(unit(rng.standard_normal((1, WIDTH))), 40, rng, 0.8)
    found = examine(FlatGallery(np.concatenate([vectors, twins]), [*names, *["milk"] * 20, *["cream"] * 20]))
    assert len(found.mislabels) <= 2
    assert [one.labels for one in found.confusable][:1] == [("cream", "milk")]
    pair = found.confusable[0]
    assert pair.pictures == 40 and pair.confused >= 12 and pair.separation < 0.5
    assert len(pair.examples) == 3
    assert found.wishes[0].label in pair.labels
    assert ": show what tells the two apart" in found.wishes[0].reason


def test_planted_duplicates_are_found_in_a_label_and_across_labels() -> None:
    vectors, names = drawn(30, 12, 1)
    rng = np.random.default_rng(9)
    rows = rng.choice(len(names), 10, replace=False)
    copies = unit(vectors[rows] + 0.05 * rng.standard_normal((10, WIDTH)) / np.sqrt(WIDTH))
    labels = [names[row] if place < 5 else "label 99" for place, row in enumerate(rows.tolist())]
    found = examine(FlatGallery(np.concatenate([vectors, copies]), names + labels))
    pairs = {(int(row), 360 + place) for place, row in enumerate(rows.tolist())}
    assert {one.ids for one in found.duplicates} == pairs
    assert [len(one.labels) for one in found.duplicates] == [2] * 5 + [1] * 5
    assert all(one.distance < found.duplicate_limit for one in found.duplicates)
    assert "nearly the same and have different labels" in "\n".join(found.lines())


def test_a_strange_picture_is_an_outlier() -> None:
    vectors, names = drawn(30, 12, 2, spread=0.5)
    strange = unit(np.random.default_rng(3).standard_normal((2, WIDTH)))
    found = examine(FlatGallery(np.concatenate([vectors, strange]), [*names, "label 03", "label 04"]))
    assert {one.id for one in found.outliers} == {360, 361}
    assert all(one.times_usual > 2 for one in found.outliers)
    assert examine(FlatGallery(vectors, names)).outliers == ()


def test_bursts_and_single_pictures_are_thin() -> None:
    vectors, names = drawn(20, 8, 4)
    rng = np.random.default_rng(1)
    other = unit(rng.standard_normal((4, WIDTH)))
    burst = unit(other[:1] + 0.01 * rng.standard_normal((6, WIDTH)))
    photo = views(other[1:2], 6, rng, 0.8)  # six cut out of one file
    rest = np.concatenate([burst, photo, other[2:3], views(other[3:4], 3, rng, 0.8)])
    labels = ["burst"] * 6 + ["photo"] * 6 + ["single"] + ["three"] * 3
    sources = [f"{row}.jpg" for row in range(160)] + [f"b{row}.jpg" for row in range(6)] + ["shelf.jpg"] * 6
    sources += ["s.jpg", "t0.jpg", "t1.jpg", "t2.jpg"]
    found = examine(FlatGallery(np.concatenate([vectors, rest]), names + labels, sources=sources))
    assert [(one.label, one.pictures, one.views) for one in found.thin] == [
        ("single", 1, 1),
        ("burst", 6, 1),
        ("photo", 6, 1),
        ("three", 3, 3),
    ]
    assert {one.label for one in found.wishes} >= {"single", "burst", "photo", "three"}
    told = "\n".join(found.lines())
    assert "'single' has a single picture" in told
    assert "'burst' has 6 pictures, all nearly the same" in told
    assert next(one for one in found.wishes if one.label == "single").need > 1


def test_a_sound_gallery_has_no_findings() -> None:
    found = examine(FlatGallery(*drawn(30, 12, 7, spread=0.5)))
    assert found.right == 1.0
    assert set(found.counts().values()) == {0}
    assert found.wishes == ()
    assert found.lines() == ["360 pictures of 30 labels; the nearest other picture has the right label for 100.0%"]


def test_a_gallery_of_copies_knows_that_they_are_copies() -> None:
    """Where every picture has a copy, the usual distance in a label is that of copies; other labels tell the scale."""
    vectors, names = drawn(30, 6, 8)
    rng = np.random.default_rng(0)
    copies = unit(vectors + 0.02 * rng.standard_normal(vectors.shape) / np.sqrt(WIDTH))
    found = examine(FlatGallery(np.concatenate([vectors, copies]), names * 2))
    assert len(found.duplicates) == 180


def test_it_works_on_a_gallery_on_disk(tmp_path: Path) -> None:
    vectors, names = drawn(12, 10, 3)
    names[17] = "label 07"
    with Gallery.create(tmp_path / "gallery", width=WIDTH, kind="Flat") as gallery:
        gallery.append(vectors, [NewItem(name, f"hash {row}") for row, name in enumerate(names)])
        gallery.remove([3])  # places and ids differ from here on
        steps: list[tuple[int, int]] = []
        found = examine(gallery, progress=lambda done, of: steps.append((done, of)))
    assert [(one.id, one.label, one.probable) for one in found.mislabels] == [(17, "label 07", "label 01")]
    assert steps == [(119, 119)]
    assert found.pictures == 119


def test_findings_are_plain_values() -> None:
    found = examine(FlatGallery(*drawn(10, 4, 0, spread=1.6)))
    assert isinstance(found, Findings)
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["pictures"] == 40
    assert len(data["thin"]) == 10
    assert all({"label", "need", "reason"} == set(one) for one in data["wishes"])


def test_two_pictures_are_enough_and_one_is_not() -> None:
    vectors, names = drawn(2, 1, 0)
    found = examine(FlatGallery(vectors, names))
    assert (found.pictures, found.labels, found.right) == (2, 2, -1.0)
    with pytest.raises(GalleryError, match="has 1 pictures. Expected at least 2"):
        examine(FlatGallery(vectors[:1], names[:1]))
    with pytest.raises(ConfigError, match="least_views: expected 1 or more, got 0"):
        examine(FlatGallery(vectors, names), least_views=0)


def test_pictures_of_one_file_alone() -> None:
    found = examine(FlatGallery(*drawn(3, 4, 0), sources=["shelf.jpg"] * 12))
    assert (found.right, found.usual_distance, found.mislabels, found.outliers) == (-1.0, 0.0, (), ())


def test_neighbours_are_others_from_other_files() -> None:
    vectors, names = drawn(5, 6, 0)
    sources = [f"{row // 2}.jpg" for row in range(30)]
    near = neighbourhood(FlatGallery(vectors, names, sources=sources), 4)
    product = vectors @ vectors.T
    for row in range(30):
        product[row, [row // 2 * 2, row // 2 * 2 + 1]] = -2
    assert (near.places == np.argsort(-product, axis=1, kind="stable")[:, :4]).all()
    expected = [np.linalg.norm(vectors[row] - vectors[near.places[row]], axis=1) for row in range(30)]
    assert near.distances == pytest.approx(np.array(expected), abs=1e-3)
    assert duplicate_limit(near) > 0


def test_distances_of_the_three_metrics_agree() -> None:
    rng = np.random.default_rng(0)
    one, two = unit(rng.standard_normal((2, 4096)) + rng.standard_normal((1, 4096)))
    true = float(np.linalg.norm(one - two))
    bits = float(((one > 0) != (two > 0)).sum())
    assert distance(np.array([one @ two]), "IP", 4096) == pytest.approx([true], abs=1e-3)
    assert distance(np.array([true**2], np.float32), "L2", 4096) == pytest.approx([true], abs=1e-3)
    assert distance(np.array([bits], np.float32), "hamming", 4096) == pytest.approx([true], abs=0.05)
