"""Recognitions: PaddleX's shape, the evidence, files and pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from eyas.errors import InputError
from eyas.recognitions import Match, Recognised, Recognitions

MILK = Recognised(
    ("Milk", "Juice"), (0.75, 0.5), (Match(3, "Milk", 0.75, "a.jpg"), Match(7, "Juice", 0.5, None)), None, 0.25
)
NOTHING = Recognised((None,), (None,), (Match(7, "Juice", 0.25, None),), "best match 'Juice' 0.25 is below …")


def recognitions(*objects: Recognised, image: NDArray[np.uint8] | None = None) -> Recognitions:
    boxes = np.array([[8 + 40 * i, 24, 40 + 40 * i, 60] for i in range(len(objects))], np.float32)
    result = Recognitions(boxes, np.linspace(1, 0.5, len(objects)), objects)
    return result.with_source("photos/a.jpg", image=image)


def test_the_dict_is_paddlexs() -> None:
    assert recognitions(MILK, NOTHING).to_dict() == {
        "input_path": "photos/a.jpg",
        "page_index": None,
        "boxes": [
            {
                "labels": ["Milk", "Juice"],
                "rec_scores": [0.75, 0.5],
                "det_score": 1.0,
                "coordinate": [8.0, 24.0, 40.0, 60.0],
            },
            {"labels": [None], "rec_scores": [None], "det_score": 0.5, "coordinate": [48.0, 24.0, 80.0, 60.0]},
        ],
    }


def test_the_keys_and_types_of_a_box_are_those_that_paddlex_wrote(shared_data: Path) -> None:
    folder = shared_data.parent / "reference/paddlex_outputs/pipeline_PP-ShiTuV2"
    if not folder.is_dir():
        pytest.skip(f"PaddleX's own result is not at {folder}")
    (path,) = folder.glob("*.json")
    data = json.loads(path.read_text(encoding="utf-8"))
    own = recognitions(MILK).to_dict()
    assert list(own) == ["input_path", "page_index", "boxes"] and set(data) == {"input_path", "boxes"}
    (box,), theirs = own["boxes"], data["boxes"][0]
    assert list(box) == list(theirs)
    assert [type(value) for value in box.values()] == [type(value) for value in theirs.values()]


def test_evidence_is_added_only_where_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = recognitions(MILK, NOTHING)
    milk, nothing = found.evidence
    assert milk == {
        "known": True,
        "reason": None,
        "margin": 0.25,
        "matches": [
            {"id": 3, "label": "Milk", "score": 0.75, "source": "a.jpg"},
            {"id": 7, "label": "Juice", "score": 0.5, "source": None},
        ],
    }
    assert (nothing["known"], nothing["margin"]) == (False, None) and "below" in nothing["reason"]
    with_it = found.explained().to_dict()
    assert [box["evidence"] for box in with_it["boxes"]] == [milk, nothing]
    assert [{k: v for k, v in box.items() if k != "evidence"} for box in with_it["boxes"]] == found["boxes"]
    found.save_to_json(tmp_path)
    assert json.loads((tmp_path / "a_res.json").read_text(encoding="utf-8")) == found.to_dict()
    found.explained().save_to_json(tmp_path / "deep" / "b.json")
    assert json.loads((tmp_path / "deep" / "b.json").read_text(encoding="utf-8")) == with_it
    found.print()
    assert json.loads(capsys.readouterr().out) == found.json
    found.explained().print()
    assert json.loads(capsys.readouterr().out) == {"res": with_it}
    found.print(format_json=False)
    assert capsys.readouterr().out == found.str + "\n"
    found.explained().print(json_format=False)
    assert capsys.readouterr().out == repr({"res": with_it}) + "\n"


def test_an_array_has_no_path_and_is_saved_in_a_folder(tmp_path: Path) -> None:
    found = recognitions(MILK).with_source(None, image=np.zeros((80, 90, 3), np.uint8))
    assert found["input_path"] is None
    found.save_all(tmp_path)
    stem = found.stem
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{stem}_res.json", f"{stem}_res.png"]


@pytest.mark.parametrize(
    ("boxes", "scores", "count"),
    [
        (np.zeros((2, 4)), np.zeros(1), 1),
        (np.zeros((1, 4)), np.zeros(2), 1),
        (np.zeros((1, 3)), np.zeros(1), 1),
        (np.full((1, 4), np.nan), np.zeros(1), 1),
    ],
)
def test_parts_that_do_not_fit_are_refused(boxes: NDArray[np.float64], scores: NDArray[np.float64], count: int) -> None:
    with pytest.raises(ValueError, match=r"1 objects need boxes \[1, 4\]|must be finite"):
        Recognitions(boxes, scores, (MILK,) * count)


def test_nothing_found_is_a_result_too(tmp_path: Path) -> None:
    empty = Recognitions(np.zeros((0, 4)), np.zeros(0), ()).with_source("a.png", image=np.zeros((20, 30, 3), np.uint8))
    assert empty["boxes"] == [] and empty.evidence == [] and repr(empty).startswith("Recognitions(0 boxes, 0 recog")
    np.testing.assert_array_equal(empty.draw(), np.zeros((20, 30, 3)))


def drawn(monkeypatch: pytest.MonkeyPatch, *objects: Recognised) -> tuple[list[int], list[float], list[str]]:
    """The class ids, scores and names that are given to the painter."""
    seen = []

    def record(image, boxes, class_ids, scores, names, *, labels):  # type: ignore[no-untyped-def]
        seen.append((class_ids.tolist(), scores.tolist(), list(names)))
        return image

    monkeypatch.setattr("eyas.vision.draw.draw_detections", record)
    recognitions(*objects, image=np.zeros((80, 200, 3), np.uint8)).draw()
    return seen[0]


def test_colours_go_by_the_first_appearance_of_a_label(monkeypatch: pytest.MonkeyPatch) -> None:
    juice = Recognised(("Juice",), (0.5,), (Match(7, "Juice", 0.5, None),))
    ids, scores, names = drawn(monkeypatch, juice, NOTHING, MILK, juice, NOTHING)
    assert (ids, names) == ([0, 1, 2, 0, 1], ["Juice", "unknown", "Milk"])
    np.testing.assert_array_equal(scores, [0.5, np.nan, 0.75, 0.5, np.nan])  # none is written at an unknown one


def test_the_picture_has_boxes_and_any_letters() -> None:
    image = np.full((120, 160, 3), 90, np.uint8)
    chinese = Recognised(("牛奶",), (0.9,), (Match(0, "牛奶", 0.9, None),))
    found = recognitions(chinese, NOTHING, image=image)
    got = found.draw("always")
    assert got.shape == image.shape and (got != image).any() and (found.image == 90).all()
    with pytest.raises(InputError, match="holds no image"):
        recognitions(MILK).draw()


@given(
    st.lists(
        st.tuples(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12), st.floats(-1, 1, width=32)),
        min_size=1,
        max_size=5,
    )
)
def test_labels_and_scores_survive_json(hits: list[tuple[str, float]]) -> None:
    labels, scores = zip(*hits, strict=True)
    matches = tuple(Match(i, label, score, None) for i, (label, score) in enumerate(hits))
    found = recognitions(Recognised(labels, scores, matches))
    back = json.loads(json.dumps(found.explained().to_dict()))["boxes"][0]
    assert back["labels"] == list(labels) and back["rec_scores"] == list(scores)
    assert [(m["label"], m["score"]) for m in back["evidence"]["matches"]] == hits
