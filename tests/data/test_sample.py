"""The checks of the dataset types."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyas.data.sample import ClassMap, Dataset, Sample
from eyas.errors import DatasetError


def sample(**changes: Any) -> Sample:
    fields: dict[str, Any] = {
        "image_id": 1,
        "path": Path("a.png"),
        "width": 10,
        "height": 10,
        "boxes_xyxy": np.array([[1, 1, 4, 3], [0, 0, 2, 2]], np.float32),
        "class_ids": np.array([0, 1]),
        "ignore": np.array([False, True]),
    }
    return Sample(**{**fields, **changes})


def test_areas_default_to_width_times_height() -> None:
    assert sample().box_areas.tolist() == [6, 4]
    assert sample(areas=np.array([5.0, 3.0])).box_areas.tolist() == [5, 3]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 0}, "width 0"),
        ({"boxes_xyxy": np.zeros((2, 4))}, r"float32 \[N, 4\], got float64 \(2, 4\)"),
        ({"boxes_xyxy": np.zeros((2, 5), np.float32)}, r"\(2, 5\)"),
        ({"class_ids": np.zeros(3, np.int64)}, r"class_ids has shape \(3,\)"),
        ({"ignore": np.zeros(1, np.bool_)}, r"ignore has shape \(1,\)"),
        ({"areas": np.zeros(1)}, r"areas has shape \(1,\)"),
    ],
)
def test_a_sample_checks_its_arrays(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        sample(**changes)


def test_a_class_map_needs_distinct_names_and_ids() -> None:
    assert len(ClassMap(("a", "b"), (4, 2))) == 2
    with pytest.raises(DatasetError, match="class name 'a' is given twice"):
        ClassMap(("a", "a"), (1, 2))
    with pytest.raises(DatasetError, match="source id 1 is given twice"):
        ClassMap(("a", "b"), (1, 1))
    with pytest.raises(DatasetError, match="2 class names came with 1 source ids"):
        ClassMap(("a", "b"), (1,))


def test_a_dataset_checks_class_ids_and_image_ids() -> None:
    with pytest.raises(DatasetError, match=r"class ids \[0, 1\], known are 0 to 0"):
        Dataset((sample(),), ClassMap(("a",), (1,)), Path("x.json"))
    with pytest.raises(DatasetError, match="image id 1 is given twice"):
        Dataset((sample(), sample()), ClassMap(("a", "b"), (1, 2)), Path("x.json"))
