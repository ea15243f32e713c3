"""Every kind of fault once: damaged COCO datasets and lists, and what the check says about them."""

import json
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from tests.check.sets import HEIGHT, WIDTH, Change, Content, coco, lists, picture, turned

from eyas.check.checks import check_detection, check_recognition, quick_errors, require_usable
from eyas.data import load_dataset
from eyas.data.faults import Fault
from eyas.data.synthetic import write_dataset
from eyas.errors import DatasetError


def faults(root: Path) -> list[Fault]:
    return check_detection(root, (640, 640), False).faults.kept


def put(name: str, data: bytes) -> Change:
    """Exchange an image file."""
    return lambda root, *_: (root / "images" / name).write_bytes(data) and None


def box(number: int, **values: object) -> Change:
    """Change an annotation of train."""
    return lambda _, train, __: train["annotations"][number].update(values)


def image(number: int, **values: object) -> Change:
    """Change an image record of train."""
    return lambda _, train, __: train["images"][number].update(values)


def one_more(**values: object) -> Change:
    """Another annotation on image 1, otherwise as its first one."""
    return lambda _, train, __: train["annotations"].append({**train["annotations"][0], "id": 999, **values})


def class_in_val_alone(_: Path, train: Content, __: Content) -> None:
    train["annotations"] = [one for one in train["annotations"] if one["category_id"] == 1]


def rare_class(_: Path, train: Content, __: Content) -> None:
    train["annotations"] = [one for one in train["annotations"] if one["category_id"] == 1 or one["image_id"] == 1]
    for number in range(1000):
        cell = [number % 40 * 2 + 0.1, number // 40 * 2 + 0.1, 1.5, 1.2]
        train["annotations"].append({"id": 5000 + number, "image_id": 2, "category_id": 1, "bbox": cell})


def other_classes(_: Path, __: Content, val: Content) -> None:
    val["categories"].reverse()


def frames(root: Path, train: Content, val: Content) -> None:
    """Number 7 of a video in train, number 9 in val, moved by a tenth of its width."""
    with Image.open(BytesIO(picture(77, (WIDTH + 10, HEIGHT), "PNG"))) as whole:
        for part, name, left in ((train, "cam_007.png", 0), (val, "cam_009.png", 10)):
            whole.crop((left, 0, left + WIDTH, HEIGHT)).save(root / "images" / name)
            part["images"][0]["file_name"] = name


def busy_video(root: Path, train: Content, _: Content) -> None:
    """Five frames, all with 9 boxes but the third one."""
    train["annotations"] = []
    for place, record in enumerate(train["images"][:5]):
        name = f"cam_{place:03}.jpg"
        (root / "images" / record["file_name"]).rename(root / "images" / name)
        record["file_name"] = name
        for number in range(9 if place != 2 else 1):
            cell = [number * 10, 10, 6, 6]
            entry = {"id": 100 * place + number, "image_id": record["id"], "category_id": number % 2 + 1, "bbox": cell}
            train["annotations"].append(entry)


CASES: dict[str, tuple[Change, tuple[str, str, str, str]]] = {
    "missing": (lambda root, *_: (root / "images/002x.jpg").unlink(),
                ("error", "image-missing", "image id 2", "file_name")),
    "zero bytes": (put("002x.jpg", b""), ("error", "image-empty", "image id 2", "file_name")),
    "no image": (put("002x.jpg", b"<html>"), ("error", "image-unreadable", "image id 2", "file_name")),
    "cut short": (put("002x.jpg", picture(2)[:-400]), ("error", "image-broken", "image id 2", "file_name")),
    "other size": (image(1, width=WIDTH + 4), ("error", "size-mismatch", "image id 2", "width, height")),
    "sides exchanged": (image(1, width=HEIGHT, height=WIDTH),
                        ("error", "size-transposed", "image id 2", "width, height")),
    "before EXIF": (put("002x.jpg", turned(2, 6)), ("error", "size-before-turning", "image id 2", "width, height")),
    "EXIF": (put("002x.jpg", turned(2, 3)), ("info", "image-turned", "", "")),
    "listed twice": (image(2, file_name="002x.jpg"), ("error", "image-twice", "image id 3", "file_name")),
    "in no list": (put("other.jpg", picture(55)), ("info", "image-without-annotation", "", "")),
    "outside": (box(2, bbox=[WIDTH + 2, 5, 9, 9]), ("warning", "box-outside", "annotations[2] (id 20)", "box")),
    "over the edge": (box(2, bbox=[90, 20, 9, 9]), ("warning", "box-over-edge", "image id 2, box 1 (car)", "bbox")),
    "no area": (box(2, bbox=[20, 5, 0, 9]), ("warning", "box-without-area", "annotations[2] (id 20)", "box")),
    "negative": (box(2, bbox=[20, 5, -4, 9]), ("warning", "box-without-area", "annotations[2] (id 20)", "box")),
    "NaN": (box(2, bbox=[20, float("nan"), 4, 9]), ("error", "wrong-value", "annotations[2] (id 20)", "bbox")),
    "same box": (one_more(), ("warning", "box-twice", "image id 1, box 3 (car)", "bbox")),
    "two classes": (one_more(category_id=2), ("warning", "box-of-two-classes", "image id 1, box 3 (bus)", "bbox")),
    "image id twice": (image(2, id=2), ("error", "duplicate-id", "images[2] (id 2)", "id")),
    "box id twice": (box(3, id=20), ("warning", "duplicate-id", "annotations[3] (id 20)", "id")),
    "unknown class": (box(2, category_id=9), ("error", "unknown-reference", "annotations[2] (id 20)", "category_id")),
    "unknown image": (box(2, image_id=77), ("error", "unknown-reference", "annotations[2] (id 20)", "image_id")),
    "copy": (put("003x.jpg", picture(2)), ("warning", "duplicate-image", "image id 3", "file_name")),
    "compressed": (put("003x.jpg", picture(2, quality=50)), ("info", "near-duplicate", "image id 3", "file_name")),
    "copy in val": (put("102x.jpg", picture(2)), ("warning", "leak-same", "image id 102", "file_name")),
    "compressed in val": (put("102x.jpg", picture(2, quality=50)),
                          ("warning", "leak-alike", "image id 102", "file_name")),
    "frames": (frames, ("warning", "leak-frames", "image id 101", "file_name")),
    "class that train lacks": (class_in_val_alone, ("warning", "class-not-in-train", "", "classes")),
    "class that val lacks": (lambda _, __, val: val["annotations"].pop(1) and val["annotations"].pop(2)
                             and val["annotations"].pop(3) and None, ("info", "class-not-measured", "", "classes")),
    "rare class": (rare_class, ("warning", "class-rare", "", "classes")),
    "other classes": (other_classes, ("error", "classes-differ", "", "categories")),
    "empty image": (lambda _, train, __: train["annotations"].__delitem__(slice(2)),
                    ("info", "image-without-boxes", "", "")),
    "forgotten": (busy_video, ("info", "few-boxes", "image id 3", "")),
    "empty split": (lambda _, __, val: val.update(images=[], annotations=[]), ("error", "split-empty", "", "")),
    "nothing to learn": (lambda _, train, __: train.update(annotations=[]), ("error", "no-boxes", "", "")),
    "no list": (lambda _, train, __: train.pop("annotations") and None, ("error", "key-missing", "", "annotations")),
    "wrong keys": (lambda _, train, __: train["images"][0].update(filename=train["images"][0].pop("file_name")),
                   ("error", "key-missing", "images[0] (id 1)", "file_name")),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_each_fault_is_told_once(tmp_path: Path, name: str) -> None:
    change, (severity, code, record, field) = CASES[name]
    told = faults(coco(tmp_path / "set", change))
    found = [(one.severity, one.code, one.record, one.field) for one in told if one.code == code]
    assert found == [(severity, code, record, field)]


def test_a_clean_set_is_clean(tmp_path: Path) -> None:
    assert faults(coco(tmp_path / "set")) == []


def test_all_faults_come_in_one_run(tmp_path: Path) -> None:
    def damage(root: Path, train: Content, val: Content) -> None:
        for name in ("copy", "same box", "over the edge", "copy in val"):
            CASES[name][0](root, train, val)
        (root / "images/005x.jpg").unlink()

    codes = {one.code for one in faults(coco(tmp_path / "set", damage))}
    assert codes >= {"image-missing", "duplicate-image", "box-twice", "box-over-edge", "leak-same"}


def test_headers_alone_find_no_copies(tmp_path: Path) -> None:
    root = coco(tmp_path / "set", put("003x.jpg", picture(2)))
    (root / "images/004x.jpg").write_bytes(b"")
    told = check_detection(root, (640, 640), False, decode=False).faults.kept
    assert [one.code for one in told] == ["image-empty"]


def test_a_split_without_its_partner(tmp_path: Path) -> None:
    root = coco(tmp_path / "set")
    (root / "annotations/instance_val.json").unlink()
    assert [(one.severity, one.code, one.value) for one in faults(root) if one.code == "split-missing"] == [
        ("error", "split-missing", ["val"])
    ]


def test_pictures_alone_are_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(picture(1))
    assert [one.code for one in faults(tmp_path) if one.severity == "error"] == ["no-annotations"]


def test_ignored_regions_may_lie_on_each_other(tmp_path: Path) -> None:
    assert faults(coco(tmp_path / "set", one_more(iscrowd=1))) == []


def test_quick_errors_are_those_of_the_headers(tmp_path: Path) -> None:
    def damage(root: Path, train: Content, _: Content) -> None:
        (root / "images/002x.jpg").unlink()
        (root / "images/003x.jpg").write_bytes(picture(2))
        train["images"][3]["width"] = 50

    root = coco(tmp_path / "set", damage)
    parts = {name: load_dataset(root, name) for name in ("train", "val")}
    assert [one.code for one in quick_errors(parts)] == ["image-missing", "size-mismatch"]
    with pytest.raises(DatasetError) as raised:
        require_usable(parts)
    lines = str(raised.value).splitlines()
    assert lines[0] == "the images of the dataset have 2 faults:" and "002x.jpg" in lines[1] and "004x.jpg" in lines[2]
    assert "CheckDataset.allow_faulty=True" in lines[3]
    require_usable({"val": parts["val"]})


GALLERY = [("a.jpg", 0), ("b.jpg", 1), ("c.jpg", 2)]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"train": [("t.jpg", 0)], "gallery": GALLERY, "query": [("q.jpg", 1)]}, []),
        ({"train": GALLERY, "gallery": GALLERY, "query": [("q.jpg", 1)]}, []),
        ({"gallery": GALLERY, "query": [("q.jpg", 1)]}, [("info", "split-missing")]),
        ({"train": GALLERY, "gallery": GALLERY}, [("error", "split-missing")]),
        ({"train": GALLERY}, [("info", "split-missing")]),
        ({"train": GALLERY, "gallery": GALLERY, "query": [("a.jpg", 0)]}, [("warning", "leak-same")]),
        ({"train": GALLERY, "gallery": GALLERY, "query": [("q.jpg", 7)]}, [("warning", "label-not-in-gallery")]),
        ({"train": [*GALLERY, ("a.jpg", 0)], "gallery": GALLERY, "query": [("q.jpg", 1)]}, [("error", "image-twice")]),
        ({"train": [*GALLERY, ("a.jpg", 1)], "gallery": GALLERY, "query": [("q.jpg", 1)]},
         [("error", "label-conflict"), ("error", "image-twice")]),
    ],
)  # fmt: skip
def test_lists(tmp_path: Path, parts: dict[str, list[tuple[str, int]]], expected: list[tuple[str, str]]) -> None:
    told = check_recognition(lists(tmp_path / "set", parts)).faults.kept
    # one leak is told for each split that the image is in already
    assert sorted({(one.severity, one.code) for one in told}) == sorted(expected)


def test_a_missing_picture_of_a_list(tmp_path: Path) -> None:
    root = lists(tmp_path / "set", {"train": GALLERY, "gallery": GALLERY, "query": [("q.jpg", 1)]})
    (root / "images/q.jpg").unlink()
    told = [one for one in check_recognition(root).faults.kept if one.severity == "error"]
    assert [(one.code, one.file.name, one.record) for one in told] == [("image-missing", "query.txt", "line 1")]


@pytest.mark.parametrize("folder", ["hit_uav", "aerial_cars", "formats/labelme_nuts"])
def test_real_sets_raise_no_alarm(shared_data: Path, folder: str) -> None:
    assert [str(one) for one in faults(shared_data / folder) if one.severity != "info"] == []


def test_real_products_raise_no_alarm(shared_data: Path) -> None:
    """train and val: enough to train, and to measure by searching for one among the other."""
    assert check_recognition(shared_data / "grocery_store").faults.kept == []


def test_real_voc(shared_data: Path, tmp_path: Path) -> None:
    """The XML files lie apart from their images, so they are brought together first."""
    for file in (shared_data / "formats/voc_hit_uav").glob("*.xml"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
        (tmp_path / f"{file.stem}.jpg").symlink_to(shared_data / "hit_uav/images" / f"{file.stem}.jpg")
    assert [str(one) for one in faults(tmp_path) if one.severity != "info"] == []


def test_known_faults_of_real_sets(shared_data: Path) -> None:
    told = [one for one in faults(shared_data / "formats/voc_bccd") if one.severity != "info"]
    assert [(one.code, one.file.name, one.record) for one in told] == [
        ("box-without-area", "BloodImage_00338.xml", "object 13"),
        ("box-without-area", "BloodImage_00343.xml", "object 4"),
    ]


def test_an_empty_split_is_told_beside_a_fault_of_another(tmp_path: Path) -> None:
    root = tmp_path / "scenes"
    write_dataset(root, train=2, val=2, size_hw=(96, 128))
    train, val = (root / "annotations" / f"instance_{name}.json" for name in ("train", "val"))
    content = json.loads(val.read_text())
    content["annotations"][0]["bbox"][0] = "12"
    val.write_text(json.dumps(content))
    train.write_text(json.dumps({**json.loads(train.read_text()), "images": [], "annotations": []}))
    found = check_detection(root, (640, 640), False)
    assert ("error", "split-empty") in found.faults.counts
    assert ("error", "wrong-value") in found.faults.counts
    train.write_text("{")  # a file that cannot be read is told once, and not called empty or missing as well
    found = check_detection(root, (640, 640), False)
    assert not {"split-empty", "split-missing"} & {code for _, code in found.faults.counts}
