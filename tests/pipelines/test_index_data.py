"""IndexData: what PaddleX calls an index, on disk, as bytes, and as a Faiss index."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from eyas.errors import GalleryError
from eyas.index.gallery import Gallery
from eyas.index.records import NewItem
from eyas.index.store import Store
from eyas.pipelines import index_files
from eyas.pipelines.galleries import Galleries
from eyas.pipelines.index_data import IndexData

LABELS = ["milk", "milk", "green tea", "juice 果汁"]


def unit_rows(count: int, width: int = 8, seed: int = 0) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    normalised: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return normalised


def filled(path: Path | None = None, labels: list[str] = LABELS, **changes: Any) -> IndexData:
    gallery = Gallery.create(path, width=8, **changes)
    gallery.append(unit_rows(len(labels)), [NewItem(label, f"h{n}") for n, label in enumerate(labels)])
    return IndexData(gallery)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"segments", "gallery.sqlite-wal", "gallery.sqlite-shm"}


def test_attributes_are_those_of_paddlex() -> None:
    index = filled(kind="Flat", metric="L2")
    assert index.id_map == dict(enumerate(LABELS))
    assert index.index_info == {"id_map": index.id_map, "metric_type": "L2", "index_type": "Flat"}
    assert repr(index) == "IndexData(4 pictures, Flat, L2)"
    assert IndexData.load(index) is index


@pytest.mark.parametrize("kind", ["HNSW32", "IVF", "Flat"])
def test_the_faiss_index_has_the_same_vectors_and_ids(kind: Any) -> None:
    index = filled(kind=kind)
    index.gallery.remove([1])
    found = index.index
    assert (found.ntotal, found.d) == (3, 8)
    scores, ids = found.search(unit_rows(4), 1)
    assert ids[[0, 2, 3], 0].tolist() == [0, 2, 3]
    np.testing.assert_allclose(scores[[0, 2, 3], 0], 1, atol=1e-5)
    assert (index.index_bytes.dtype, index.index_bytes.ndim) == (np.uint8, 1)


def test_saved_it_is_a_gallery_and_an_index_of_paddlex(tmp_path: Path) -> None:
    index = filled()
    index.save(str(tmp_path / "deep" / "g"))
    folder = tmp_path / "deep" / "g"
    assert names(folder) == {"gallery.sqlite", "vector.index", "id_map.yaml", "index_info.yaml"}
    told = yaml.safe_load((folder / "id_map.yaml").read_text(encoding="utf-8"))
    assert told == {"id_map": dict(enumerate(LABELS)), "metric_type": "IP", "index_type": "HNSW32"}
    with Gallery.open(folder) as gallery:
        np.testing.assert_array_equal(gallery.vectors(), unit_rows(4))
    shutil.copytree(folder, tmp_path / "paddlex", ignore=shutil.ignore_patterns("gallery*", "segments"))
    assert IndexData.load(tmp_path / "paddlex").id_map == index.id_map


def test_a_loaded_copy_leaves_the_folder_alone(tmp_path: Path) -> None:
    filled().save(tmp_path / "g")
    copy = IndexData.load(str(tmp_path / "g"))
    copy.gallery.remove([0])
    assert sorted(copy.id_map) == [1, 2, 3]
    assert sorted(IndexData.load(tmp_path / "g").id_map) == [0, 1, 2, 3]
    copy.save(tmp_path / "g")
    again = IndexData.load(tmp_path / "g")
    assert sorted(again.id_map) == [1, 2, 3]
    assert again.gallery.append(unit_rows(1, seed=9), [NewItem("x", "new")]).added == (4,)


def test_saving_where_it_lies_renews_what_paddlex_reads(tmp_path: Path) -> None:
    index = filled(tmp_path / "g")
    index.save(tmp_path / "g")
    index.gallery.remove([0])
    assert sorted(yaml.safe_load((tmp_path / "g" / "id_map.yaml").read_text())["id_map"]) == [0, 1, 2, 3]
    index.save(tmp_path / "g")
    assert sorted(yaml.safe_load((tmp_path / "g" / "id_map.yaml").read_text())["id_map"]) == [1, 2, 3]
    assert index.gallery.undo().added == (0,)


def test_paddlex_files_may_be_left_out(tmp_path: Path) -> None:
    filled().save(tmp_path / "g")
    index = filled(labels=["new"])
    index.save(tmp_path / "g", paddlex=False)
    assert names(tmp_path / "g") == {"gallery.sqlite"}  # those of the earlier index would say something else
    assert IndexData.load(tmp_path / "g").id_map == {0: "new"}


@pytest.mark.parametrize("changes", [{"metric": "hamming"}, {"labels": []}])
def test_what_paddlex_cannot_use_has_no_files_of_it(tmp_path: Path, changes: dict[str, Any]) -> None:
    filled().save(tmp_path / "g")
    filled(**changes).save(tmp_path / "g")
    assert names(tmp_path / "g") == {"gallery.sqlite"}


def test_ids_of_paddlex_stay_as_they_are(tmp_path: Path) -> None:
    index = filled(labels=["a", "b", "c", "d", "e"])
    index.gallery.remove([0, 2, 3])
    index.save(tmp_path / "g")
    (tmp_path / "g" / "gallery.sqlite").unlink()
    loaded = IndexData.load(tmp_path / "g")
    assert loaded.id_map == {1: "b", 4: "e"}
    np.testing.assert_allclose(loaded.gallery.vectors([4]), unit_rows(5)[4:], atol=1e-6)
    assert loaded.gallery.append(unit_rows(1, seed=9), [NewItem("x", "new")]).added == (5,)


def test_ids_that_would_take_too_much_room_are_given_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("eyas.pipelines.index_data._MOST_GAPS", 1)
    index = filled(labels=["a", "b", "c"])
    index.gallery.remove([0, 1])
    index.save(tmp_path / "g")
    (tmp_path / "g" / "gallery.sqlite").unlink()
    assert IndexData.load(tmp_path / "g").id_map == {0: "c"}
    assert caplog.messages[-1] == f"{tmp_path / 'g'}: ids up to 2 for 1 pictures; they are numbered anew, from 0"


def test_bytes_there_and_back() -> None:
    index = filled(metric="L2", kind="IVF")
    data = index.to_bytes()
    assert data.startswith(b"SQLite format 3\0")
    back = IndexData.from_bytes(data)
    assert back.index_info == index.index_info
    np.testing.assert_array_equal(back.gallery.vectors(), index.gallery.vectors())
    back.gallery.remove([0])
    assert len(index) == 4


@pytest.mark.parametrize("data", [b"", b"\x80\x04K\x01.", b"SQLite format 3\0" + bytes(4096)])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(GalleryError):
        IndexData.from_bytes(data)


def test_a_folder_without_an_index(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(GalleryError, match="is no gallery that can be imported; found notes.txt"):
        IndexData.load(tmp_path)
    with pytest.raises(GalleryError, match="no gallery: there is no such folder"):
        Galleries().get(tmp_path / "missing")


def test_an_index_of_paddlex_is_read_once(tmp_path: Path) -> None:
    filled().save(tmp_path / "g")
    (tmp_path / "g" / "gallery.sqlite").unlink()
    galleries = Galleries()
    first = galleries.get(tmp_path / "g")
    assert galleries.get(str(tmp_path / "g")) is first
    filled(labels=["other"]).save(tmp_path / "h")
    for name in ("vector.index", "id_map.yaml", "index_info.yaml"):
        shutil.copy(tmp_path / "h" / name, tmp_path / "g" / name)
    assert galleries.get(tmp_path / "g").labels == ("other",)
    assert first.labels == tuple(sorted(set(LABELS)))  # whoever still uses it can


def test_a_failing_save_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(labels=["old"]).save(tmp_path / "g")
    before = {path.name: path.read_bytes() for path in (tmp_path / "g").iterdir() if path.is_file()}

    def check() -> None:
        assert {path.name: path.read_bytes() for path in (tmp_path / "g").iterdir() if path.is_file()} == before

    new = filled()
    monkeypatch.setattr(Store, "snapshot", lambda store, target: (_ for _ in ()).throw(GalleryError("disk full")))
    with pytest.raises(GalleryError, match="disk full"):
        new.save(tmp_path / "g")
    check()
    monkeypatch.undo()
    real = Path.replace
    for step in range(1, 9):
        calls = iter(range(1, 100))

        def failing(self: Path, target: Path, step: int = step, calls: Any = calls) -> Path:
            if next(calls) == step:
                raise OSError(5, "Input/output error", str(self))
            return real(self, target)

        monkeypatch.setattr(index_files.Path, "replace", failing)
        with pytest.raises(GalleryError, match="Input/output error"):
            new.save(tmp_path / "g")
        monkeypatch.undo()
        check()
    new.save(tmp_path / "g")
    assert IndexData.load(tmp_path / "g").id_map == new.id_map
