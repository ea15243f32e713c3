"""`eyas gallery …` and recognition on the command line, on drawn packages."""

import json
import os
import shutil
from pathlib import Path

import pytest
from tests.fakes import tiny_feature_bundle
from typer.testing import CliRunner, Result

from eyas.cli import app
from eyas.data.synthetic_packages import DESIGNS, write_demo
from eyas.errors import GalleryError

LABELS = sorted(design.name for design in DESIGNS)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn packages, and in `net` a feature model that looks at colours."""
    folder = write_demo(tmp_path_factory.mktemp("demo"), views=3)
    (folder / "net").mkdir()
    tiny_feature_bundle(folder / "net")
    return folder


@pytest.fixture
def index(demo: Path, tmp_path: Path) -> Path:
    run("build", demo / "gallery.txt", "--index", tmp_path / "g", "--model_dir", demo / "net" / "features")
    return tmp_path / "g"


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run(*arguments: object, code: int = 0) -> str:
    done = invoke("gallery", *arguments)
    assert done.exit_code == code, done.output
    return done.stdout


def report(*arguments: object, code: int = 0) -> dict[str, object]:
    found: dict[str, object] = json.loads(run(*arguments, "--format", "json", code=code))
    return found


def test_build_says_what_it_holds_and_building_again_changes_nothing(demo: Path, index: Path) -> None:
    shown = report("show", "--index", index)
    assert (shown["items"], shown["labels"], shown["index_type"], shown["metric_type"]) == (18, 6, "HNSW32", "IP")
    assert shown["model"] == "FakeFeatures"
    again = report("build", demo / "gallery", "--index", index)
    assert (again["added"], again["removed"], again["generation"]) == ([], [], shown["generation"])
    assert json.loads(run("list", "--index", index, "--labels", "--format", "json")) == dict.fromkeys(LABELS, 3)


def test_add_list_remove_undo_and_history(demo: Path, index: Path) -> None:
    added = report("add", demo / "queries" / "oat milk" / "3.png", "--label", "oat milk 1 l", "--index", index)
    assert added["added"] == [18]
    run("add", demo / "queries", "--index", index)  # the same picture, with the label of its folder
    (item,) = json.loads(run("list", "--index", index, "--offset", "18", "--limit", "1", "--format", "json"))
    assert item["label"] == "oat milk"
    assert report("remove", "--label", "tomato soup", "--index", index)["items"] == 25
    assert report("undo", "--index", index)["items"] == 30
    ids = demo / "ids.txt"
    ids.write_text("0\n2\n")
    assert report("remove", "--ids", ids, "--index", index)["removed"] == [0, 2]
    lines = run("history", "--index", index).splitlines()
    assert "remove: 2 removed" in lines[0] and "(taken back)" in lines[2]
    assert report("verify", "--index", index)["problems"] == []


def test_metadata_of_a_table_can_be_searched(demo: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    rows = [f"{demo}/gallery/{name}/0.png,{name},{number}\n" for number, name in enumerate(LABELS)]
    table.write_text("path,label,shelf\n" + "".join(rows))
    shutil.copytree(demo / "gallery", tmp_path / "gallery")
    table.write_text(table.read_text().replace(f"{demo}/", ""))
    index = tmp_path / "g"
    run("build", table, "--index", index, "--model_dir", demo / "net" / "features", "--metric", "L2")
    query = demo / "queries" / LABELS[0] / "3.png"
    found = json.loads(run("search", query, "--index", index, "--where", "shelf>=4", "--format", "json"))
    assert {match["label"] for match in found["matches"]} == set(LABELS[4:])
    assert (
        len(json.loads(run("list", "--index", index, "--where", "shelf=1", "--where", "shelf=2", "--format", "json")))
        == 2
    )
    assert "expected key=value" in invoke("gallery", "list", "--index", index, "--where", "shelf").output


def test_exports_come_back(demo: Path, index: Path, tmp_path: Path) -> None:
    for form in ("paddlex", "npy", "parquet"):
        target = tmp_path / f"out-{form}{'.parquet' if form == 'parquet' else ''}"
        assert run("export", target, "--index", index, "--to", form)
        back = tmp_path / f"back-{form}"
        imported = report("import", target, "--index", back, "--model_dir", demo / "net" / "features")
        assert (imported["items"], imported["labels"]) == (18, 6)
        query = demo / "queries" / "oat milk" / "3.png"
        ours, theirs = (json.loads(run("search", query, "--index", g, "--format", "json")) for g in (index, back))
        assert [m["id"] for m in ours["matches"]] == [m["id"] for m in theirs["matches"]]


def test_a_snapshot_is_a_gallery_and_optimise_keeps_the_answers(index: Path, tmp_path: Path) -> None:
    run("snapshot", tmp_path / "copy", "--index", index)
    assert report("optimise", "--index", tmp_path / "copy")["items"] == 18
    assert report("verify", "--index", tmp_path / "copy")["items"] == 18


def test_predict_looks_pictures_up(demo: Path, index: Path, tmp_path: Path) -> None:
    picture = demo / "queries" / "apple juice" / "3.png"
    arguments = ("predict", picture, "--pipeline", "PP-ShiTuV2", "--index", index, "--detector", "none")
    done = invoke(*arguments, "--rec_topk", 2, "--format", "json", "--save_path", tmp_path / "out", "--evidence")
    assert done.exit_code == 0, done.output
    (result,) = json.loads(done.stdout)
    (box,) = result["boxes"]
    assert (len(box["labels"]), box["det_score"], box["coordinate"]) == (2, 0.0, [0.0, 0.0, 160.0, 160.0])
    assert box["evidence"]["matches"][0]["label"] == box["labels"][0]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["3_res.json", "3_res.png"]
    strict = json.loads(invoke(*arguments, "--rec_threshold", 1.5, "--format", "json").stdout)[0]["boxes"][0]
    assert (strict["labels"], strict["rec_scores"]) == ([None], [None])


def test_doctor_and_blame_write_their_pages(demo: Path, index: Path, tmp_path: Path) -> None:
    findings = report("doctor", "--index", index, "--save_path", tmp_path / "doctor")
    assert findings["pictures"] == 18
    assert sorted(path.name for path in (tmp_path / "doctor").iterdir()) == [
        "gallery_doctor.html",
        "gallery_doctor.json",
    ]
    whole = report("blame", demo / "queries", "--index", index, "--detector", "none")
    assert whole["objects"] == 12
    missed = report(
        "blame", demo / "shelf.csv", "--index", index, "--detector", "none", "--save_path", tmp_path / "blame"
    )
    assert missed["culprits"] == {"detector": 8}
    assert sorted(path.name for path in (tmp_path / "blame").iterdir()) == ["blame.html", "blame.json"]


def test_wrong_use_is_told(demo: Path, index: Path, tmp_path: Path) -> None:
    missing = invoke("predict", demo / "shelf.png", "--pipeline", "PP-ShiTuV2")
    assert missing.exit_code == 2 and "--index" in missing.output
    other = invoke("predict", demo / "shelf.png", "--index", index)
    assert other.exit_code == 2 and "PP-ShiTuV2" in other.output
    assert "no gallery" in invoke("gallery", "show", "--index", tmp_path / "nothing").output
    flat = invoke("gallery", "build", demo / "gallery", "--index", index, "--index_type", "Flat")
    assert flat.exit_code == 2 and "HNSW32" in flat.output
    assert invoke("gallery", "remove", "--index", index).exit_code == 2


def test_a_bad_picture_leaves_nothing_unless_it_may_be_skipped(demo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "packs"
    shutil.copytree(demo / "gallery", folder)
    (folder / "oat milk" / "9.png").write_bytes(b"no picture")
    arguments = ("build", folder, "--index", tmp_path / "g", "--model_dir", demo / "net" / "features")
    refused = invoke("gallery", *arguments)
    assert refused.exit_code == 1 and "9.png" in refused.output
    assert not (tmp_path / "g").exists()
    told = report(*arguments, "--skip_bad")
    assert told["items"] == 18 and "9.png" in str(told["skipped"])


def test_the_selftest_finds_nothing_lost(tmp_path: Path) -> None:
    found = report("selftest", "--kills", 5, "--folder", tmp_path / "disk")
    assert found["sound"] is True and found["kills"] == 5
    assert not (tmp_path / "disk").exists()


def test_a_build_that_fails_leaves_the_other_files_of_its_folder_alone(demo: Path, tmp_path: Path) -> None:
    packs, mine = tmp_path / "packs" / "milk", tmp_path / "mine"
    packs.mkdir(parents=True)
    (packs / "9.png").write_bytes(b"no picture")
    mine.mkdir()
    (mine / "letter.txt").write_text("dear")
    model = ("--model_dir", demo / "net" / "features")
    for flags in ((), ("--skip_bad",)):  # with none left there is nothing to build either
        assert "9.png" in invoke("gallery", "build", packs.parent, "--index", mine, *model, *flags).output
        assert [path.name for path in mine.iterdir()] == ["letter.txt"]
    (packs / "8.png").write_bytes((demo / "shelf.png").read_bytes())
    run("build", packs.parent, "--index", mine, *model, "--skip_bad")
    refused = invoke("gallery", "build", packs.parent, "--index", mine / "letter.txt", *model, "--skip_bad")
    assert refused.exit_code == 1 and "is a file" in refused.output


def test_an_import_that_fails_leaves_the_other_files_of_its_folder_alone(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise GalleryError("the disk failed")

    run("export", tmp_path / "out", "--index", index, "--to", "npy")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    monkeypatch.setattr("eyas.index.Gallery.append", broken)
    run("import", tmp_path / "out", "--index", tmp_path / "mine", code=1)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]
    run("import", tmp_path / "out", "--index", tmp_path / "new", code=1)
    assert not (tmp_path / "new").exists()


def test_a_gallery_knows_its_model_also_when_it_is_empty(demo: Path, index: Path) -> None:
    run("undo", "--index", index)
    assert json.loads(run("search", demo / "shelf.png", "--index", index, "--format", "json"))["matches"] == []
    assert report("add", demo / "gallery", "--index", index)["items"] == 18


def test_a_model_that_nobody_named_is_asked_for(demo: Path, index: Path, tmp_path: Path) -> None:
    run("export", tmp_path / "out", "--index", index)
    run("import", tmp_path / "out", "--index", tmp_path / "back")
    asked = invoke("gallery", "search", demo / "shelf.png", "--index", tmp_path / "back")
    assert asked.exit_code == 2 and "--model_dir" in asked.output
    (tmp_path / "other").mkdir()
    tiny_feature_bundle(tmp_path / "other", width=8)
    other = ("--model_dir", tmp_path / "other" / "features")
    refused = invoke("gallery", "import", tmp_path / "out", "--index", tmp_path / "x", *other)
    assert refused.exit_code == 1 and "vectors of 16 numbers, and the model FakeFeatures makes 8" in refused.output


def test_predict_looks_for_the_gallery_before_it_fetches_networks(demo: Path, tmp_path: Path) -> None:
    done = invoke("predict", demo / "shelf.png", "--pipeline", "PP-ShiTuV2", "--index", tmp_path / "nothing")
    assert done.exit_code == 1 and "no gallery" in done.output and "download" not in done.output


def test_a_pipeline_file_may_name_a_gallery_below_the_home_folder(
    demo: Path, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(index.parent))
    monkeypatch.setenv("USERPROFILE", str(index.parent))
    file = tmp_path / "recognise.yaml"
    file.write_text("pipeline_name: PP-ShiTuV2\nindex: ~/g\nSubModules: {Recognition: {}}\n")
    done = invoke("predict", demo / "shelf.png", "--pipeline", file, "--format", "json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)[0]["boxes"][0]["labels"][0] in LABELS


def test_a_reason_shows_the_digits_that_differ(demo: Path, index: Path) -> None:
    arguments = ("predict", demo / "queries" / "oat milk" / "3.png", "--pipeline", "PP-ShiTuV2", "--index", index)
    flags = ("--detector", "none", "--evidence", "--format", "json")
    best = json.loads(invoke(*arguments, *flags).stdout)[0]["boxes"][0]["rec_scores"][0]
    strict = json.loads(invoke(*arguments, *flags, "--rec_threshold", best + 1e-6).stdout)[0]["boxes"][0]
    found, limit = (part.split()[-1] for part in strict["evidence"]["reason"].split(" is below its threshold "))
    assert float(found) < float(limit)


def test_exports_are_replaced_when_that_is_asked_for(index: Path, tmp_path: Path) -> None:
    run("export", tmp_path / "out", "--index", index)
    assert "overwrite" in invoke("gallery", "export", tmp_path / "out", "--index", index).output
    run("export", tmp_path / "out", "--index", index, "--overwrite")


def test_numbers_that_are_names_can_be_searched(demo: Path, tmp_path: Path) -> None:
    table = demo / "codes.csv"
    rows = [f"gallery/{name}/0.png,{name},00{number},{number}\n" for number, name in enumerate(LABELS)]
    table.write_text("path,label,code,shelf\n" + "".join(rows))
    run("build", table, "--index", tmp_path / "g", "--model_dir", demo / "net" / "features")
    for condition in ("code=002", "shelf=2"):
        (item,) = json.loads(run("list", "--index", tmp_path / "g", "--where", condition, "--format", "json"))
        assert item["label"] == LABELS[2]


def test_a_picture_without_a_label_is_asked_for_one(demo: Path, index: Path) -> None:
    refused = invoke("gallery", "add", demo / "shelf.png", "--index", index)
    assert refused.exit_code == 2 and "--label" in refused.output


def test_a_path_may_be_spelt_in_another_way(demo: Path, index: Path) -> None:
    first, second = (demo / "gallery" / "oat milk" / name for name in ("0.png", "1.png"))
    assert report("remove", "--path", os.path.relpath(first), "--index", index)["items"] == 17
    spelt = f"{demo}/queries/../gallery/oat milk/{second.name}"
    assert report("remove", "--path", spelt, "--index", index)["items"] == 16


def test_conditions_that_mean_nothing_are_told(index: Path) -> None:
    assert "no item is like that" in run("remove", "--label", "no such label", "--index", index)
    unreadable = invoke("gallery", "list", "--index", index, "--where", "shelf=[1")
    assert unreadable.exit_code == 2 and "--where 'shelf=[1'" in unreadable.output


def test_any_detector_may_come_first(demo: Path, index: Path) -> None:
    arguments = ("predict", demo / "shelf.png", "--pipeline", "PP-ShiTuV2", "--index", index, "--format", "json")
    done = invoke(*arguments, "--detector", "SOD-XS-thermal")
    assert done.exit_code == 0 and json.loads(done.stdout)[0]["boxes"]
    unknown = invoke(*arguments, "--detector", "no such")
    assert unknown.exit_code == 1 and "'no such'" in unknown.output
