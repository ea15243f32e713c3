"""Results: checked arrays, PaddleX's keys, file names and files."""

import csv
import json
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from eyas.errors import ConfigError, InputError
from eyas.results import Detections, Features
from eyas.saving import array_stem, safe_relative, safe_stem, suffix_of, write_atomically

NAMES = ("pedestrian", "car", "行人")


def two_boxes(**source) -> Detections:
    result = Detections(
        np.array([[1, 2, 30, 40.5], [0, 0, 5, 6]], np.float32), np.array([0.9, 0.25]), np.array([1, 2]), NAMES
    )
    return result.with_source(**{"input_path": "photos/a.jpg", "image": np.full((48, 64, 3), 80, np.uint8)} | source)


def test_the_mapping_has_paddlex_keys_and_plain_types() -> None:
    res = two_boxes()
    assert list(res) == ["input_path", "page_index", "boxes"] and len(res) == 3
    assert res["input_path"] == "photos/a.jpg" and res["page_index"] is None
    score = float(np.float32(0.9))
    assert res["boxes"][0] == {"cls_id": 1, "label": "car", "score": score, "coordinate": [1.0, 2.0, 30.0, 40.5]}
    assert [type(v) for v in res["boxes"][1].values()] == [int, str, float, list]
    assert type(res["boxes"][0]["coordinate"][0]) is float
    assert res.json == {"res": dict(res)} and res == dict(res)
    assert res.labels == ["car", "行人"]


def test_input_img_is_bgr_and_not_part_of_the_json() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[..., 0] = 200  # red
    res = two_boxes(image=image)
    assert res["input_img"][0, 0].tolist() == [0, 0, 200] and "input_img" not in res.json["res"]
    with pytest.raises(KeyError):
        two_boxes(image=None)["input_img"]
    with pytest.raises(KeyError):
        res["score"]


@pytest.mark.parametrize(
    ("boxes", "scores", "ids", "message"),
    [
        ([[0, 0, 1]], [0.5], [0], r"boxes_xyxy must have the shape \[N, 4\], got \[1, 3\]"),
        ([[0, 0, 1, 1]], [0.5, 0.4], [0], r"scores must have the shape \[1\] of the boxes, got \[2\]"),
        ([[0, 0, 1, 1]], [0.5], [[0]], r"class_ids must have the shape \[1\]"),
        ([[0, 0, np.nan, 1]], [0.5], [0], "must be finite"),
        ([[0, 0, 1, 1]], [np.inf], [0], "must be finite"),
        ([[0, 0, 1, 1]] * 2, [0.4, 0.5], [0, 0], "scores must fall"),
        ([[0, 0, 1, 1]], [0.5], [3], "class ids must lie in 0…2, got 3…3"),
        ([[0, 0, 1, 1]], [0.5], [-1], "class ids must lie in 0…2, got -1"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(boxes, scores, ids, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Detections(np.array(boxes), np.array(scores), np.array(ids), NAMES)


def test_empty_and_frozen() -> None:
    empty = Detections.empty(["a"])
    assert empty["boxes"] == [] and empty.boxes_xyxy.shape == (0, 4) and empty.boxes_xyxy.dtype == np.float32
    assert Detections([], [], [], ("a",)).boxes_xyxy.shape == (0, 4)
    with pytest.raises(AttributeError):
        empty.input_path = "x"  # type: ignore[misc]


def test_repr_is_short_and_str_is_one_line() -> None:
    res = two_boxes(page_index=3)
    assert repr(res) == "Detections(2 boxes, input_path='photos/a.jpg', page_index=3)"
    line = res.str
    assert line.startswith("{'res': {'input_path': 'photos/a.jpg', 'page_index': 3, 'boxes': [{'cls_id': 1, 'label':")
    assert "\n" not in line and "array" not in line and "np." not in line


def test_print_writes_json_or_the_compact_line_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    res = two_boxes()
    res.print()
    out = capsys.readouterr()
    assert json.loads(out.out) == res.json and "行人" in out.out and out.err == ""
    assert out.out.splitlines()[1] == '    "res": {'
    res.print(format_json=False)
    assert capsys.readouterr().out == res.str + "\n"
    res.print(json_format=False)
    assert capsys.readouterr().out == res.str + "\n"
    res.print(indent=2, ensure_ascii=True)
    text = capsys.readouterr().out
    assert "\\u884c" in text and text.splitlines()[1] == '  "res": {'


def test_print_emits_no_terminal_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = Detections([[0, 0, 1, 1]], [0.5], [0], ("\x1b[31mred\x9b0m\x07",))
    hostile.print()
    hostile.print(format_json=False)
    assert not set(capsys.readouterr().out) & {"\x1b", "\x9b", "\x07"}


def test_print_survives_a_terminal_that_lacks_the_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr("sys.stdout", SimpleNamespace(encoding="cp1252", write=written.append))
    two_boxes().print()
    assert "\\u884c" in "".join(written)


def test_json_file_or_folder(tmp_path: Path) -> None:
    res = two_boxes()
    res.save_to_json(tmp_path / "deep/er/out.json")
    res.save_to_json(tmp_path / "folder", indent=2)
    one = (tmp_path / "deep/er/out.json").read_text(encoding="utf-8")
    assert json.loads(one) == dict(res) and "行人" in one
    two = (tmp_path / "folder/a_res.json").read_text(encoding="utf-8")
    assert json.loads(two) == dict(res) and '\n  "boxes"' in two
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a_res.json", "deep", "er", "folder", "out.json"]


def test_an_existing_folder_may_be_called_like_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.json").mkdir()
    two_boxes().save_to_json(tmp_path / "x.json")
    assert (tmp_path / "x.json/a_res.json").is_file()


@pytest.mark.parametrize(
    ("source", "json_name", "image_name"),
    [
        ({"input_path": "photos/a.jpg"}, "a_res.json", "a_res.jpg"),
        ({"input_path": "A.PNG"}, "A_res.json", "A_res.png"),
        ({"input_path": "b.tiff", "page_index": 2}, "b_2_res.json", "b_2_res.tiff"),
        ({"input_path": "doc.pdf", "page_index": 0}, "doc_0_res.json", "doc_0_res.png"),
        ({"input_path": "scan.jp2"}, "scan_res.json", "scan_res.png"),
        ({"input_path": "https://x.org/p/c.jpeg?size=1"}, "c_res.json", "c_res.jpeg"),
        ({"output_name": "sub/a_png"}, "sub/a_png_res.json", "sub/a_png_res.jpg"),
        ({"output_name": "../../etc/x"}, "etc/x_res.json", "etc/x_res.jpg"),
    ],
)
def test_names_in_a_folder(tmp_path: Path, source: dict, json_name: str, image_name: str) -> None:
    two_boxes(**source).save_all(tmp_path)
    files = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file())
    assert files == sorted([json_name, image_name])


def test_an_array_has_one_stable_name(tmp_path: Path) -> None:
    res = two_boxes(input_path=None)
    res.save_all(tmp_path)
    res.save_to_csv(tmp_path)
    stems = {p.name.rsplit("_res", 1)[0] for p in tmp_path.iterdir()}
    assert len(stems) == 1 and len(list(tmp_path.iterdir())) == 3
    seconds, digits = stems.pop().split("_")
    assert int(seconds) > 1_700_000_000 and 1000 <= int(digits) <= 9999
    assert len({array_stem() for _ in range(200)}) > 150


def test_the_picture_shows_the_boxes(tmp_path: Path) -> None:
    res = two_boxes()
    res.save_to_img(tmp_path / "out.png")
    saved = np.array(Image.open(tmp_path / "out.png"))
    np.testing.assert_array_equal(saved, np.array(res.img["res"]))
    assert saved.shape == (48, 64, 3) and (saved != 80).any() and (res.image == 80).all()


def test_pictures_that_cannot_be_made_say_why(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"photos/a\.jpg holds no image"):
        two_boxes(image=None).save_to_img(tmp_path)
    with pytest.raises(InputError, match="an unnamed image holds no image"):
        _ = Detections.empty(["a"]).img
    with pytest.raises(ConfigError, match=r"as '\.avif'.*\.png"):
        two_boxes().save_to_img(tmp_path / "x.avif")
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_folder_is_needed_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("x")
    with pytest.raises(ConfigError, match=r"taken.*is a file.*\.json"):
        two_boxes().save_to_json(tmp_path / "taken")


def test_csv(tmp_path: Path) -> None:
    two_boxes(page_index=1).save_to_csv(tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["label"] for row in rows] == ["car", "行人"]
    assert (
        rows[0]["page_index"] == "1"
        and float(rows[0]["ymax"]) == 40.5
        and np.float32(rows[0]["score"]) == np.float32(0.9)
    )


def test_coco(tmp_path: Path) -> None:
    two_boxes().save_to_coco(tmp_path)
    data = json.loads((tmp_path / "a_coco.json").read_text(encoding="utf-8"))
    assert data["images"] == [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}]
    assert [c["name"] for c in data["categories"]] == list(NAMES)
    first = data["annotations"][0]
    assert first["bbox"] == [1, 2, 29, 38.5] and first["area"] == 29 * 38.5 and first["category_id"] == 2
    assert [a["id"] for a in data["annotations"]] == [1, 2]


def test_yolo(tmp_path: Path) -> None:
    two_boxes().save_to_yolo(tmp_path)
    lines = (tmp_path / "a.txt").read_text().splitlines()
    assert lines == ["1 0.242188 0.442708 0.453125 0.802083", "2 0.039062 0.062500 0.078125 0.125000"]


def test_from_dict_reads_old_spellings_and_names_what_is_wrong() -> None:
    old = {"img_path": "a.jpg", "boxes": [{"cls_id": 2, "label": "car", "score": 0.5, "coordinates": [1, 2, 3, 4]}]}
    res = Detections.from_dict(old)
    assert res["input_path"] == "a.jpg" and res.names == ("class 0", "class 1", "car")
    assert res["boxes"][0]["coordinate"] == [1, 2, 3, 4]
    with pytest.raises(InputError, match="not a detection result: KeyError: 'boxes'"):
        Detections.from_dict({"input_path": "a.jpg"})
    with pytest.raises(InputError, match="not a detection result"):
        Detections.from_dict({"boxes": [{"cls_id": 0, "label": "a", "score": 0.5, "coordinate": [1, 2]}]})


def test_paddlex_own_json_round_trips(shared_data: Path) -> None:
    folder = shared_data.parent / "reference/paddlex_outputs/PP-YOLOE_plus_SOD-S"
    if not folder.is_dir():
        pytest.skip(f"PaddleX's own result is not at {folder}")
    (path,) = folder.glob("*.json")
    data = json.loads(path.read_text(encoding="utf-8"))
    res = Detections.from_dict(data)
    assert list(data) == list(res) and data["input_path"] == res["input_path"]
    by_score = sorted(data["boxes"], key=lambda box: -box["score"])
    assert res["boxes"] == by_score and len(by_score) > 10


def features(**source) -> Features:
    result = Features(np.array([0.6, 0.0, -0.8], np.float32))
    return result.with_source(**{"input_path": "photos/a.jpg"} | source)


def test_features_are_a_mapping_with_an_array_and_json_with_a_list() -> None:
    res = features(page_index=2)
    assert list(res) == ["input_path", "page_index", "feature"] and len(res) == 3
    assert (res["input_path"], res["page_index"]) == ("photos/a.jpg", 2)
    assert res["feature"].dtype == np.float32 and res["feature"].shape == (3,)
    numbers = [float(np.float32(0.6)), 0.0, float(np.float32(-0.8))]
    assert res.json == {"res": {"input_path": "photos/a.jpg", "page_index": 2, "feature": numbers}}
    assert [type(number) for number in res.to_dict()["feature"]] == [float] * 3
    assert res.str == repr(res.json) and "\n" not in res.str and "array" not in res.str
    assert repr(res) == "Features(3 numbers, input_path='photos/a.jpg', page_index=2)"
    image = np.zeros((4, 4, 3), np.uint8)
    image[..., 0] = 200  # red
    assert features(image=image)["input_img"][0, 0].tolist() == [0, 0, 200]
    with pytest.raises(KeyError):
        res["boxes"]


def test_features_are_equal_where_source_and_numbers_are() -> None:
    assert features() == features()
    assert features() != features(input_path="b.jpg")
    assert features() != Features([0.6, 0.0, 0.8]).with_source("photos/a.jpg")
    assert features() != two_boxes()


def test_features_are_printed_and_saved_as_json_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    res = features()
    res.print()
    assert json.loads(capsys.readouterr().out) == res.json
    res.print(format_json=False)
    assert capsys.readouterr().out == res.str + "\n"
    res.save_to_json(tmp_path / "deep" / "x.json", indent=None)
    assert json.loads((tmp_path / "deep" / "x.json").read_text()) == res.to_dict()
    res.save_all(tmp_path / "all")
    assert [path.name for path in (tmp_path / "all").iterdir()] == ["a_res.json"]
    features(input_path=None).save_to_json(tmp_path / "array")
    assert len(list((tmp_path / "array").glob("*_res.json"))) == 1
    assert not hasattr(res, "save_to_img") and not hasattr(res, "img")


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ([[1.0, 2.0]], r"feature must have the shape \[D\], got \[1, 2\]"),
        ([], r"feature must have the shape \[D\], got \[0\]"),
        ([1.0, np.nan], "must be finite numbers"),
    ],
)
def test_what_is_no_feature_is_refused(feature, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Features(np.array(feature))


@pytest.mark.parametrize("model", ["PP-ShiTuV2_rec", "PP-ShiTuV2_rec_CLIP_vit_base", "PP-ShiTuV2_rec_CLIP_vit_large"])
def test_the_json_of_features_is_paddlex_own(shared_data: Path, model: str) -> None:
    """Its version 3.7.2 has the feature as a batch of one, [1, 512], where its documentation says [512]."""
    folder = shared_data.parent / "reference/paddlex_outputs" / model
    if not folder.is_dir():
        pytest.skip(f"PaddleX's own result is not at {folder}")
    (path,) = folder.glob("*.json")
    data = json.loads(path.read_text(encoding="utf-8"))
    (feature,) = data["feature"]
    res = Features(np.array(feature)).with_source(data["input_path"])
    assert res.to_dict() == {**data, "feature": feature} and list(res) == list(data)
    assert len(res.feature) == 512 and np.linalg.norm(res.feature) == pytest.approx(1)


@st.composite
def detections(draw: st.DrawFn) -> Detections:
    names = draw(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=5))
    count = draw(st.integers(0, 6))
    number = st.floats(-100, 5000, width=32)
    boxes = draw(st.lists(st.lists(number, min_size=4, max_size=4), min_size=count, max_size=count))
    scores = sorted(draw(st.lists(st.floats(0, 1, width=32), min_size=count, max_size=count)), reverse=True)
    ids = draw(st.lists(st.integers(0, len(names) - 1), min_size=count, max_size=count))
    path = draw(st.none() | st.text(min_size=1, max_size=20))
    page = draw(st.none() | st.integers(0, 99))
    return Detections(boxes, scores, ids, tuple(names)).with_source(path, page)


@given(detections())
def test_json_round_trip_keeps_every_bit(res: Detections) -> None:
    back = Detections.from_dict(json.loads(json.dumps(res.json)), res.names)
    np.testing.assert_array_equal(back.boxes_xyxy, res.boxes_xyxy)
    np.testing.assert_array_equal(back.scores, res.scores)
    np.testing.assert_array_equal(back.class_ids, res.class_ids)
    assert back == res and back.names == res.names and back.page_index == res.page_index


@given(st.text(max_size=400))
def test_safe_stem_is_one_short_name_and_stays(name: str) -> None:
    stem = safe_stem(name)
    assert stem and not set(stem) & set('/\\:*?"<>|\0\n\x1b') and stem not in (".", "..")
    assert len(stem.encode("utf-8", "surrogatepass")) <= 200 and safe_stem(stem) == stem


@given(st.text(alphabet="ab/.\\:", max_size=30))
def test_output_names_never_leave_the_folder(name: str) -> None:
    relative = safe_relative(name)
    assert not relative.startswith("/") and ".." not in relative.split("/") and relative


def test_long_names_stay_different() -> None:
    one, two = safe_stem("x" * 300 + "1"), safe_stem("x" * 300 + "2")
    assert one != two and len(one) <= 200


def test_a_file_name_that_is_not_utf8_is_kept(tmp_path: Path) -> None:
    res = two_boxes(input_path="bad\udcff.jpg")
    res.save_to_json(tmp_path / "x.json")
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))["input_path"] == "bad\udcff.jpg"


@pytest.mark.parametrize(
    ("path", "suffix"),
    [(None, ""), ("a.JPG", ".jpg"), ("https://x.org/a.png?b=c.gif", ".png"), ("dir.v2/name", ""), ("HTTP://x/y", "")],
)
def test_suffix_of(path: str | None, suffix: str) -> None:
    assert suffix_of(path) == suffix


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "x.json"
    write_atomically(target, b"old")

    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old" and list(tmp_path.iterdir()) == [target]


def test_readers_never_see_half_a_file(tmp_path: Path) -> None:
    target = tmp_path / "x.bin"
    contents = [bytes([i]) * 200_000 for i in range(4)]
    write_atomically(target, contents[0])
    done = threading.Event()

    def write() -> None:
        for i in range(60):
            write_atomically(target, contents[i % 4])
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not done.is_set():
        assert target.read_bytes() in contents
    thread.join()
