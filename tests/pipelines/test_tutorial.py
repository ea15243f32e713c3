"""PaddleX's tutorial of PP-ShiTuV2, with the package's name replaced: its Python code, old and new, and its files.

Tiny networks stand where the published ones would be kept after their download.
"""

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.fakes import tiny_bundle, tiny_feature_bundle

from eyas import create_pipeline
from eyas.cli import main
from eyas.convert import converted_bundle
from eyas.errors import ConfigError
from eyas.pipelines.index_data import IndexData

LABELS = ["Lays chips", "Lays chips", "yuanqisenlin", "yuanqisenlin"]

OLD = """
from eyas import create_pipeline

pipeline = create_pipeline(pipeline="PP-ShiTuV2")
pipeline.build_index(data_root="./drink_dataset_v2.0/", index_dir="./drink_index")

output = pipeline.predict("./drink_dataset_v2.0/test_images/", index_dir="./drink_index")
for res in output:
    res.print()
    res.save_to_img("./output/")
    res.save_to_json("./output/")
"""

OLD_CHANGES = """
from eyas import create_pipeline

pipeline = create_pipeline("PP-ShiTuV2")
pipeline.build_index(
    data_root="./drink_dataset_v2.0/", index_dir="./drink_index", index_type="IVF", metric_type="IP"
)
pipeline.append_index(
    data_root="./more/", index_dir="./drink_index", index_type="IVF", metric_type="IP"
)
pipeline.remove_index(data_root="./more/", index_dir="./drink_index", index_type="IVF")

pipeline = create_pipeline("PP-ShiTuV2", index_dir="./drink_index", device="cpu", use_hpip=False)
for res in pipeline.predict([{"img": "./drink_dataset_v2.0/test_images/001.jpg"}]):
    res.print(json_format=False)
    res.save_to_json("./output/res.json")
"""

NEW = """
from eyas import create_pipeline

pipeline = create_pipeline(pipeline="PP-ShiTuV2")
index_data = pipeline.build_index(
    gallery_imgs="./drink_dataset_v2.0/", gallery_label="./drink_dataset_v2.0/gallery.txt"
)
index_data.save("./drink_index")

output = pipeline.predict("./drink_dataset_v2.0/test_images/", index="./drink_index")
for res in output:
    res.print()
    res.save_to_img("./output/")
    res.save_to_json("./output/")

index_data = pipeline.append_index(
    gallery_imgs="./more/", gallery_label="./more/gallery.txt", index="./drink_index"
)
index_data.save("./drink_index")
index_data = pipeline.remove_index(remove_ids="./remove_ids.txt", index="./drink_index")
index_data.save("./drink_index")

pipeline = create_pipeline(pipeline="PP-ShiTuV2", index="./drink_index")
output = pipeline.predict(
    input="./drink_dataset_v2.0/test_images/001.jpg", det_threshold=0.5, rec_threshold=0.5, rec_topk=5
)
for res in output:
    res.save_to_json(save_path="./output/res.json")
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where downloads are kept."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EYAS_HOME", str(home))
        for bundle, name in ((tiny_bundle, "PP-ShiTuV2_det"), (tiny_feature_bundle, "PP-ShiTuV2_rec")):
            place = converted_bundle(name)
            made = bundle(tmp_path_factory.mktemp("made"), (32, 32), model=name).path
            shutil.copytree(made, place)
    return home


@pytest.fixture(autouse=True)
def here(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tutorial's folders, with PaddleX's files in them."""
    monkeypatch.setenv("EYAS_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for folder, labels in (("drink_dataset_v2.0", LABELS), ("more", ["new", "new"])):
        (tmp_path / folder / "gallery").mkdir(parents=True)
        for number in range(len(labels)):
            image = cv2.resize(rng.integers(0, 255, (4, 5, 3), dtype=np.uint8), (60, 40))
            cv2.imwrite(str(tmp_path / folder / "gallery" / f"{number}.jpg"), image)
        lines = [f"gallery/{number}.jpg {label}\n" for number, label in enumerate(labels)]
        (tmp_path / folder / "gallery.txt").write_text("".join(lines))
    tests = tmp_path / "drink_dataset_v2.0" / "test_images"
    tests.mkdir()
    for number in (0, 2):
        shutil.copy(tmp_path / "drink_dataset_v2.0" / "gallery" / f"{number}.jpg", tests / f"00{number // 2 + 1}.jpg")
    (tmp_path / "remove_ids.txt").write_text("4\n5\n")
    return tmp_path


@pytest.mark.parametrize("code", [OLD, OLD_CHANGES, NEW], ids=["old", "old changes", "new"])
def test_python(code: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(code, {})
    assert "'boxes'" in (out := capsys.readouterr().out) or '"boxes"' in out
    names = {path.name for path in (here / "output").iterdir()}
    assert names <= {"001_res.jpg", "001_res.json", "002_res.jpg", "002_res.json", "res.json"}
    result = json.loads((here / "output" / sorted(names - {"001_res.jpg", "002_res.jpg"})[-1]).read_text())
    assert set(result) == {"input_path", "page_index", "boxes"}
    assert set(result["boxes"][0]) == {"labels", "rec_scores", "det_score", "coordinate"}
    assert len(result["boxes"][0]["labels"]) == 4
    assert sorted(IndexData.load("drink_index").id_map.values()) == LABELS


def test_the_page_on_recognition(here: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "recognition.md").read_text(encoding="utf-8")
    section = page.partition("\n## The pipeline in Python\n")[2].partition("\n## ")[0]
    shutil.move(here / "drink_dataset_v2.0", here / "drinks")
    blocks = re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    exec("\n".join(blocks), {})
    assert (here / "output" / "001_res.json").is_file()


def run(*arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["eyas", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
    return int(caught.value.code or 0)


def test_the_pipeline_file_and_the_command_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--get_pipeline_config", "PP-ShiTuV2", "--save_path", "./my_path") == 0
    file = here / "my_path" / "PP-ShiTuV2.yaml"
    pipeline = create_pipeline(pipeline="./my_path/PP-ShiTuV2.yaml")
    pipeline.build_index(data_root="drink_dataset_v2.0", index_dir="drink_index")  # type: ignore[union-attr]
    file.write_text(file.read_text().replace("index: null ", "index: ./drink_index "))
    capsys.readouterr()
    picture = "drink_dataset_v2.0/test_images/001.jpg"
    assert run("--pipeline", str(file), "--input", picture, "--threshold", "1", "--save_path", "out") == 0
    assert capsys.readouterr().out.startswith(f"{{'res': {{'input_path': '{picture}', 'page_index': None, 'boxes': [")
    (box,) = json.loads((here / "out" / "001_res.json").read_text())["boxes"]
    assert (box["labels"][0], box["det_score"], box["coordinate"]) == ("Lays chips", 0.0, [0.0, 0.0, 60.0, 40.0])


def test_the_old_pipeline_file(here: Path) -> None:
    (here / "old.yaml").write_text(
        "Pipeline:\n  device: gpu:0\n  det_model: PP-ShiTuV2_det\n  rec_model: PP-ShiTuV2_rec\n"
        "  det_batch_size: 1\n  rec_batch_size: 1\n  device: cpu\n"
    )
    pipeline = create_pipeline(pipeline="old.yaml")
    with pytest.raises(ConfigError, match="There is no index to look things up in"):
        pipeline.predict("drink_dataset_v2.0/test_images/001.jpg")
    index = pipeline.build_index("drink_dataset_v2.0", "drink_dataset_v2.0/gallery.txt")  # type: ignore[union-attr]
    assert index.id_map == dict(enumerate(LABELS))
