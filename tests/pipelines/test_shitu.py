"""PP-ShiTuV2 in Python: the calls of PaddleX, old and new, on tiny networks."""

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from tests.fakes import embedding_manifest, tiny_bundle, tiny_feature_bundle

from eyas import Recognitions, create_pipeline
from eyas.errors import ConfigError, GalleryError, ModelError
from eyas.index.gallery import Gallery
from eyas.pipelines.embedder import Embedder
from eyas.pipelines.index_data import IndexData
from eyas.pipelines.shitu import ShiTuPipeline

LABELS = ["milk", "milk", "green tea", "green tea", "juice", "juice"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {"Detection": tiny_bundle(folder, (32, 32)).path, "Recognition": tiny_feature_bundle(folder).path}


def config(models: dict[str, Path], *parts: str, **top: object) -> dict[str, Any]:
    modules = {part: {"model_dir": str(models[part])} for part in parts or ("Recognition",)}
    return {"pipeline_name": "PP-ShiTuV2", "device": "cpu", "SubModules": modules, **top}


@pytest.fixture(scope="module")
def pipeline(models: dict[str, Path]) -> ShiTuPipeline:
    """Without a detector: the whole picture is looked up."""
    opened = create_pipeline(config=config(models))
    assert isinstance(opened, ShiTuPipeline)
    return opened


class SignedFeatures:
    """A feature network whose numbers are positive and negative, as those of the published ones are."""

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        (images,) = inputs.values()
        cells = images.reshape(len(images), 3, 8, 8, 8, 8).mean(axis=(3, 5)).reshape(len(images), -1) - 127
        directions = np.random.default_rng(0).normal(size=(cells.shape[1], 64)).astype(np.float32)
        return {"features": cells @ directions}


@pytest.fixture(scope="module")
def signed() -> ShiTuPipeline:
    return ShiTuPipeline(lambda device: [(None, Embedder(embedding_manifest(width=64), SignedFeatures()))])


def pictures(count: int = 6) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(3)
    coarse = [rng.integers(0, 255, (4, 5, 3), dtype=np.uint8) for _ in range(count)]
    return [cv2.resize(one, (60, 40), interpolation=cv2.INTER_NEAREST) for one in coarse]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A gallery as PaddleX has it: images and gallery.txt."""
    folder = tmp_path / "drink_dataset_v2.0"
    (folder / "gallery").mkdir(parents=True)
    for number, image in enumerate(pictures()):
        cv2.imwrite(str(folder / "gallery" / f"{number}.png"), image)
    lines = [f"gallery/{number}.png {label}" for number, label in enumerate(LABELS)]
    (folder / "gallery.txt").write_text("\n".join(lines) + "\n\n")
    return folder


def best(results: Iterator[Recognitions]) -> list[str | None]:
    return [result.labels[0] for result in results]


def test_new_form_from_a_folder_and_a_list(pipeline: ShiTuPipeline, root: Path, tmp_path: Path) -> None:
    index = pipeline.build_index(gallery_imgs=str(root), gallery_label=str(root / "gallery.txt"))
    assert index.id_map == dict(enumerate(LABELS))
    assert (index.metric_type, index.index_type) == ("IP", "HNSW32")
    assert best(pipeline.predict(str(root / "gallery"), index=index)) == LABELS
    index.save(str(tmp_path / "drink_index"))
    for saved in (str(tmp_path / "drink_index"), tmp_path / "drink_index"):
        assert best(pipeline.predict(str(root / "gallery"), index=saved)) == LABELS


def test_new_form_from_lists(pipeline: ShiTuPipeline, root: Path) -> None:
    arrays = pictures()
    index = pipeline.build_index(
        [*arrays[:3], *(str(root / "gallery" / f"{n}.png") for n in (3, 4, 5))], LABELS, "L2", "Flat"
    )
    assert (index.metric_type, index.index_type, len(index)) == ("L2", "Flat", 6)
    (result,) = pipeline(arrays[1], index=index)
    assert (result.labels, result.input_path, result.det_scores.tolist()) == (["milk"], None, [0.0])
    assert result.objects[0].scores[0] == pytest.approx(0, abs=1e-6)
    np.testing.assert_array_equal(result.boxes_xyxy, [[0, 0, 60, 40]])


def test_old_form_writes_the_folder_and_returns_the_index(pipeline: ShiTuPipeline, root: Path, tmp_path: Path) -> None:
    index_dir = tmp_path / "drink_index"
    index = pipeline.build_index(data_root=str(root), index_dir=str(index_dir), index_type="IVF", metric_type="L2")
    assert isinstance(index, IndexData)
    assert (index.index_type, index.metric_type, index.id_map) == ("IVF", "L2", dict(enumerate(LABELS)))
    assert {path.name.partition("-")[0] for path in index_dir.iterdir()} == {"gallery.sqlite"}
    assert best(pipeline.predict(x=str(root / "gallery"), index_dir=str(index_dir))) == LABELS
    assert best(pipeline.predict({"img": str(root / "gallery" / "4.png")}, str(index_dir))) == ["juice"]


def test_old_form_again_is_one_change_that_keeps_ids(pipeline: ShiTuPipeline, root: Path, tmp_path: Path) -> None:
    first = pipeline.build_index(data_root=root, index_dir=tmp_path / "g")
    (root / "gallery.txt").write_text("gallery/5.png juice\ngallery/1.png soy milk\n")
    second = pipeline.build_index(data_root=root, index_dir=tmp_path / "g")
    assert second.id_map == {1: "soy milk", 5: "juice"}
    assert first.gallery is second.gallery
    assert second.gallery.undo().added == (0, 2, 3, 4)
    assert first.id_map == dict(enumerate(LABELS))


def test_old_form_of_another_kind_takes_the_place(signed: ShiTuPipeline, root: Path, tmp_path: Path) -> None:
    signed.build_index(data_root=root, index_dir=tmp_path / "g")
    (tmp_path / "g" / "notes.txt").write_text("mine")
    index = signed.build_index(data_root=root, index_dir=tmp_path / "g", index_type="Flat", metric_type="hamming")
    assert (index.gallery.kind, index.gallery.metric, len(index)) == ("Flat", "hamming", 6)
    names = {path.name for path in (tmp_path / "g").iterdir()}
    assert {"notes.txt", "gallery.sqlite"} <= names
    assert not names & {"vector.index", "id_map.yaml"}
    assert not [name for name in names if name.startswith(".")]
    assert best(signed.predict(root / "gallery", index=tmp_path / "g")) == LABELS


def test_appending_in_the_new_form(pipeline: ShiTuPipeline, root: Path, tmp_path: Path) -> None:
    arrays = pictures(8)
    index = pipeline.build_index(arrays[:4], LABELS[:4])
    index.save(tmp_path / "g")
    same = pipeline.append_index(arrays[4:6], LABELS[4:], index)
    assert same is index
    assert index.id_map == dict(enumerate(LABELS))
    other = pipeline.append_index(gallery_imgs=arrays[6:], gallery_label=["cola", "cola"], index=str(tmp_path / "g"))
    assert other.id_map == {**dict(enumerate(LABELS[:4])), 4: "cola", 5: "cola"}
    assert len(IndexData.load(tmp_path / "g")) == 4  # PaddleX too leaves the folder until it is saved
    other.save(tmp_path / "g")
    assert best(pipeline.predict(arrays[7], index=tmp_path / "g")) == ["cola"]


def test_appending_and_removing_in_the_old_form(pipeline: ShiTuPipeline, root: Path, tmp_path: Path) -> None:
    index_dir = tmp_path / "g"
    listed = (root / "gallery.txt").read_text().splitlines()
    (root / "gallery.txt").write_text("\n".join(listed[:4]))
    pipeline.build_index(data_root=root, index_dir=index_dir)
    (root / "gallery.txt").write_text("\n".join(listed[4:6]))
    index = pipeline.append_index(data_root=root, index_dir=index_dir, index_type="HNSW32", metric_type="IP")
    assert index.id_map == dict(enumerate(LABELS))
    (root / "gallery.txt").write_text("gallery/0.png milk\ngallery/4.png juice\n")
    index = pipeline.remove_index(data_root=root, index_dir=str(index_dir), index_type="HNSW32")
    assert sorted(index.id_map) == [1, 2, 3, 5]
    assert IndexData.load(index_dir).id_map == index.id_map
    assert best(pipeline.predict(root / "gallery" / "5.png", index_dir=index_dir)) == ["juice"]


def test_an_index_of_paddlex_is_changed_in_the_old_form_and_stays_one(
    pipeline: ShiTuPipeline, root: Path, tmp_path: Path
) -> None:
    pipeline.build_index(pictures()[:5], LABELS[:5]).save(tmp_path / "g")
    (tmp_path / "g" / "gallery.sqlite").unlink()
    (root / "gallery.txt").write_text("gallery/5.png juice\n")
    index = pipeline.append_index(data_root=root, index_dir=tmp_path / "g", metric_type="IP")
    assert index.id_map == dict(enumerate(LABELS))
    assert sorted(yaml.safe_load((tmp_path / "g" / "id_map.yaml").read_text())["id_map"]) == [0, 1, 2, 3, 4, 5]
    pipeline.remove_index(data_root=root, index_dir=tmp_path / "g")
    assert sorted(yaml.safe_load((tmp_path / "g" / "id_map.yaml").read_text())["id_map"]) == [0, 1, 2, 3, 4]
    assert len(index) == 5


def test_removal_by_a_list_goes_by_picture_and_label(
    pipeline: ShiTuPipeline, root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline.build_index(data_root=root, index_dir=tmp_path / "g")
    (root / "gallery" / "copy.png").write_bytes((root / "gallery" / "3.png").read_bytes())
    (root / "gallery.txt").write_text("gallery/copy.png green tea\ngallery/0.png juice\n")
    index = pipeline.remove_index(data_root=root, index_dir=tmp_path / "g")
    assert sorted(index.id_map) == [0, 1, 2, 4, 5]
    assert "1 of 2 pictures are not in the index with that label: gallery.txt, line 2" in caplog.messages
    with pytest.raises(GalleryError, match="2 of 2 pictures are not in the index with that label.*Nothing was removed"):
        pipeline.remove_index(data_root=root, index_dir=tmp_path / "g")


@pytest.mark.parametrize("kind", ["HNSW32", "IVF", "Flat"])
@pytest.mark.parametrize(("metric", "lenient"), [("IP", -1.0), ("L2", 4.0), ("hamming", -1.0)])
def test_every_type_and_metric_finds_appends_and_removes(
    signed: ShiTuPipeline, kind: Any, metric: Any, lenient: float
) -> None:
    arrays = pictures(7)
    index = signed.build_index(arrays[:6], LABELS, metric_type=metric, index_type=kind)
    signed.append_index(arrays[6:], ["cola"], index)
    assert best(signed.predict(arrays, index=index, rec_topk=1)) == [*LABELS, "cola"]
    signed.remove_index([6, 0], index)
    assert sorted(index.id_map) == [1, 2, 3, 4, 5]
    (result,) = signed.predict(arrays[1], index=index, rec_topk=9, rec_threshold=lenient)
    scores = [match.score for match in result.objects[0].matches]
    assert (len(scores), result.objects[0].matches[0].id) == (5, 1)
    assert scores == sorted(scores, reverse=metric == "IP")
    assert scores[0] == pytest.approx(1 if metric == "IP" else 0, abs=1e-5)


def test_remove_ids_from_a_file(pipeline: ShiTuPipeline, tmp_path: Path) -> None:
    index = pipeline.build_index(pictures(), LABELS)
    (tmp_path / "remove_ids.txt").write_text("1\n4\n")
    assert sorted(pipeline.remove_index(str(tmp_path / "remove_ids.txt"), index).id_map) == [0, 2, 3, 5]
    with pytest.raises(GalleryError, match="99"):
        pipeline.remove_index([0, 99], index)
    assert sorted(index.id_map) == [0, 2, 3, 5]


def test_detected_objects_are_looked_up(models: dict[str, Path], root: Path, tmp_path: Path) -> None:
    pipeline = create_pipeline(config=config(models, "Detection", "Recognition", det_threshold=0.9), index=None)
    assert isinstance(pipeline, ShiTuPipeline)
    pipeline.build_index(data_root=root, index_dir=tmp_path / "g")
    by_file = create_pipeline(
        config=config(models, "Detection", "Recognition", det_threshold=0.9), index_dir=str(tmp_path / "g")
    )
    (many,) = by_file.predict(pictures()[0])
    (few,) = by_file.predict(pictures()[0], det_threshold=0.99, max_boxes=2, rec_topk=3)
    assert len(many.objects) > len(few.objects) == 2
    assert many.det_scores.min() > 0.9
    assert [len(one.labels) for one in few.objects] == [3, 3]
    (whole,) = by_file.predict(pictures()[0], det_threshold=1)
    assert (whole.labels, whole.det_scores.tolist()) == (["milk"], [0.0])


def test_options_of_the_file_and_of_the_call(models: dict[str, Path]) -> None:
    arrays = pictures()
    pipeline = create_pipeline(config=config(models, rec_threshold=2.0, rec_topk=2))
    assert isinstance(pipeline, ShiTuPipeline)
    index = pipeline.build_index(arrays, LABELS)
    (unknown,) = pipeline.predict(arrays[0], index=index)
    assert unknown["boxes"][0]["labels"] == unknown["boxes"][0]["rec_scores"] == [None]
    (known,) = pipeline.predict(arrays[0], index=index, rec_threshold=0.5, vote="max")
    assert known.objects[0].labels[0] == "milk"
    assert len(set(known.objects[0].labels)) == 2
    with pytest.raises(ConfigError, match="rec_topk must be a whole number, 1 or more, got 0"):
        pipeline.predict(arrays[0], index=index, rec_topk=0)


def test_an_index_given_when_the_pipeline_is_made(
    pipeline: ShiTuPipeline, models: dict[str, Path], tmp_path: Path
) -> None:
    arrays = pictures()
    index = pipeline.build_index(arrays, LABELS)
    index.save(tmp_path / "g")
    for given in (index, index.gallery, str(tmp_path / "g"), tmp_path / "g"):
        assert best(create_pipeline(config=config(models), index=given).predict(arrays)) == LABELS
    assert best(create_pipeline(config=config(models, index=str(tmp_path / "g"))).predict(arrays[2])) == ["green tea"]
    other = pipeline.build_index(arrays[:1], ["other"])
    file = create_pipeline(config=config(models, index=str(tmp_path / "g")), index_dir=other)
    assert best(file.predict(arrays[2], rec_threshold=-1)) == ["other"]  # an argument wins over the file


def test_without_an_index_the_error_says_how(pipeline: ShiTuPipeline) -> None:
    with pytest.raises(
        ConfigError, match=r"There is no index to look things up in. Build one, build_index\(gallery_imgs"
    ):
        pipeline.predict(pictures()[0])
    with pytest.raises(ConfigError, match="needs an input"):
        pipeline.predict(index="g")


def test_a_gallery_stays_open_and_changes_are_seen(pipeline: ShiTuPipeline, tmp_path: Path) -> None:
    arrays = pictures()
    pipeline.build_index(arrays[:2], ["a", "b"]).save(tmp_path / "g")
    assert pipeline.gallery(tmp_path / "g") is pipeline.gallery(str(tmp_path / "g"))
    with Gallery.open(tmp_path / "g") as elsewhere:
        elsewhere.update([1], label="c")
    assert best(pipeline.predict(arrays[1], index=tmp_path / "g")) == ["c"]
    pipeline.build_index(arrays[1:3], ["d", "e"]).save(tmp_path / "g")  # another gallery takes the place
    assert best(pipeline.predict(arrays[1], index=tmp_path / "g")) == ["d"]


def test_another_models_gallery_is_refused(pipeline: ShiTuPipeline, tmp_path: Path) -> None:
    other = tiny_feature_bundle(tmp_path, width=8, model="Other").path
    wider = create_pipeline(config=config({"Recognition": other}))
    assert isinstance(wider, ShiTuPipeline)
    index = pipeline.build_index(pictures(), LABELS)
    with pytest.raises(GalleryError, match="FakeFeatures.*Other"):
        wider.predict(pictures()[0], index=index)
    with pytest.raises(GalleryError, match="FakeFeatures.*Other"):
        wider.append_index(pictures(), LABELS, index)


def test_models_of_other_tasks_are_refused(models: dict[str, Path]) -> None:
    swapped = {"Recognition": models["Detection"], "Detection": models["Recognition"]}
    with pytest.raises(ModelError, match="is for detection, and one for embedding is needed here"):
        create_pipeline(config=config(swapped, "Recognition"))
    with pytest.raises(ModelError, match="is for embedding, and one for detection is needed here"):
        create_pipeline(config=config(swapped, "Detection", "Recognition"))


@pytest.mark.parametrize(
    ("call", "arguments", "message"),
    [
        ("build_index", {}, "gallery_imgs must be given. Give gallery_imgs and gallery_label; or, as in earlier"),
        ("build_index", {"data_root": "d"}, "build_index: index_dir must be given"),
        ("build_index", {"data_root": "d", "gallery_label": "l"}, "gallery_label and data_root do not go together"),
        ("build_index", {"gallery_imgs": "d", "gallery_label": ["a"]}, "a folder and a list file, or a list"),
        ("build_index", {"gallery_imgs": ["a.png"], "gallery_label": ["a", "b"]}, "1 pictures and gallery_label 2"),
        ("build_index", {"gallery_imgs": ["a.png"], "gallery_label": [3]}, r"gallery_imgs\[0\]: expected a text as"),
        ("append_index", {"gallery_imgs": "d", "index_dir": "i"}, "gallery_imgs and index_dir do not go together"),
        ("append_index", {"gallery_imgs": ["a.png"], "gallery_label": ["a"]}, "append_index: index must be given"),
        ("remove_index", {"remove_ids": [1]}, "remove_index: index must be given"),
        ("remove_index", {"remove_ids": [1], "index": 3}, "index: expected the folder of a gallery .* got 3"),
        ("remove_index", {"data_root": "d", "index_dir": "i", "index": "g"}, "index, data_root and index_dir do not"),
    ],
)  # fmt: skip
def test_wrong_calls(pipeline: ShiTuPipeline, call: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        getattr(pipeline, call)(**arguments)


def test_another_type_than_the_index_has_is_refused(pipeline: ShiTuPipeline) -> None:
    index = pipeline.build_index(pictures(), LABELS)
    with pytest.raises(ConfigError, match="append_index: index_type: 'IVF' was given, and the index is HNSW32"):
        pipeline.append_index(pictures(), LABELS, index, index_type="IVF")
    with pytest.raises(ConfigError, match="remove_index: metric_type: 'L2' was given, and the index is IP"):
        pipeline.remove_index([1], index, metric_type="L2")
    with pytest.raises(ConfigError, match="HNSW64.*Did you mean 'HNSW32'"):
        pipeline.build_index(pictures(), LABELS, index_type="HNSW64")  # type: ignore[arg-type]


def test_pictures_that_cannot_be_used(
    pipeline: ShiTuPipeline, root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "gallery" / "1.png").write_text("no picture")
    (root / "gallery.txt").write_text((root / "gallery.txt").read_text() + "gallery/9.png cola\n")
    index = pipeline.build_index(data_root=root, index_dir=tmp_path / "g", skip_bad=True)
    assert index.id_map == {0: "milk", 1: "green tea", 2: "green tea", 3: "juice", 4: "juice"}
    assert [message.split(":")[1].strip() for message in caplog.messages] == [
        "gallery.txt, line 8",
        "gallery.txt, line 2",
    ]
    with pytest.raises(GalleryError, match="gallery.txt, line 8: there is no file"):
        pipeline.build_index(data_root=root, index_dir=tmp_path / "g")
    with pytest.raises(GalleryError, match=r"gallery_imgs\[1\]: .*float32"):
        pipeline.append_index([pictures()[0], np.zeros((9, 9, 3), np.float32)], ["a", "b"], index)
    assert len(index) == 5


def test_threads_share_a_pipeline(pipeline: ShiTuPipeline, tmp_path: Path) -> None:
    arrays = pictures()
    pipeline.build_index(arrays, LABELS).save(tmp_path / "g")
    found: list[list[str | None]] = []

    def look() -> None:
        found.append(best(pipeline.predict(arrays, index=tmp_path / "g")))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [LABELS] * 8


def test_several_devices_share_the_pictures_in_order() -> None:
    asked: list[str | None] = []

    def open_models(device: str | None) -> list[tuple[None, Embedder]]:
        asked.append(device)
        count = len((device or "gpu:0").split(","))
        return [(None, Embedder(embedding_manifest(width=64), SignedFeatures())) for _ in range(count)]

    pipeline = ShiTuPipeline(open_models, device="gpu:0,1", batch_size=2)
    index = pipeline.build_index(pictures(), LABELS)
    assert best(pipeline.predict(pictures(), index=index)) == LABELS
    assert best(pipeline.predict(pictures(), index=index, device="gpu:2", batch_size=1)) == LABELS
    assert asked == ["gpu:0,1", "gpu:2"]
    with pytest.raises(ConfigError, match="batch_size must be a whole number, 1 or more, got 0"):
        pipeline.predict(pictures(), index=index, batch_size=0)


def test_conditions_on_metadata(signed: ShiTuPipeline, root: Path) -> None:
    rows = [f"gallery/{n}.png,{label},{2020 + n}" for n, label in enumerate(LABELS)]
    (root / "items.csv").write_text("path,label,year\n" + "\n".join(rows))
    index = signed.build_index(root, root / "items.csv")
    (result,) = signed.predict(root / "gallery" / "0.png", index, rec_threshold=-1, where={"year": {">": 2023}})
    assert {match.id for match in result.objects[0].matches} == {4, 5}
