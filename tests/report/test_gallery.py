"""The page about a gallery: its pictures, what stands for missing ones, and that it loads nothing."""

from pathlib import Path

import cv2
import numpy as np
from tests.doctor.galleries import drawn
from tests.index.flat_gallery import FlatGallery
from tests.report.reading import check_self_contained

from eyas.doctor import examine, write_findings
from eyas.report.gallery import SIDE, Exhibit, Part, side_by_side, write_gallery_report
from eyas.report.items import item_picture

HOSTILE = "<script>alert(1)</script>"


def jpeg(level: int) -> bytes:
    return bytes(cv2.imencode(".jpg", np.full((60, 90, 3), level, np.uint8))[1])


def test_the_picture_of_an_item_is_its_thumbnail_else_its_file(tmp_path: Path) -> None:
    for name, level in (("a.jpg", 40), ("b.jpg", 80)):
        (tmp_path / name).write_bytes(jpeg(level))
    sources = [str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg"), str(tmp_path / "gone.jpg"), None]
    gallery = FlatGallery(np.eye(4), list("abcd"), sources=sources, thumbnails={0: jpeg(200)})
    seen = [item_picture(gallery, item) for item in gallery.get(range(4))]
    assert [None if one is None else round(float(one.mean())) for one in seen] == [200, 80, None, None]


def test_pictures_stand_in_one_row() -> None:
    row = side_by_side([np.zeros((400, 800, 3), np.uint8), None, np.zeros((50, 20, 3), np.uint8)])
    assert row.shape == (SIDE * 3 // 4, SIDE + 8 + SIDE + 8 + 20, 3)


def test_the_page_of_findings(tmp_path: Path) -> None:
    vectors, names = drawn(12, 10, 3)
    names = [HOSTILE if name == "label 07" else name for name in names]
    names[17] = HOSTILE  # it belongs to label 01
    vectors = np.concatenate([vectors, vectors[40:41]])  # and a copy of picture 40
    names.append(names[40])
    gallery = FlatGallery(vectors, names, thumbnails={17: jpeg(99)})
    findings = examine(gallery)
    path = write_findings(tmp_path / "report" / "page.html", gallery, findings)
    page = check_self_contained(path.read_text(encoding="utf-8"))
    assert HOSTILE in page.text
    assert f"picture 17 is labelled '{HOSTILE}' and looks like 'label 01'" in page.text
    assert "pictures 40, 120 of 'label 04' are nearly the same" in page.text
    shown = [one["alt"] for one in page.all("img")]
    assert f"Beside each other: {HOSTILE} (17), label 01 ({findings.mislabels[0].nearest})" in shown
    assert len(shown) == 2 + len(findings.confusable)


def test_what_has_gone_is_left_out_and_nothing_found_is_said(tmp_path: Path) -> None:
    gallery = FlatGallery(np.eye(3), list("abc"))
    parts = [
        Part("Gone", "", (Exhibit("picture 7", (7,)), Exhibit("picture 1 and 8", (1, 8)))),
        Part("Many", "", (Exhibit("a lot", (0, 1, 2, 0, 1, 2)),)),
        Part("Nothing", "A note."),
        Part("Rows", "", head=("Label", "Count"), rows=(("a", 3),)),
    ]
    page = check_self_contained(write_gallery_report(tmp_path / "a.html", gallery, "A title", [], parts).read_text())
    assert [one["alt"] for one in page.all("img")] == [
        "Beside each other: b (1)",
        "Beside each other: a (0), b (1), c (2), a (0)",
    ]
    assert "a lot (2 more are not shown)" in page.text
    assert page.text.count("Nothing was found.") == 1
    assert len(page.all("td")) == 1
