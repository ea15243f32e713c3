"""What a model found in one image: checked arrays that also behave like PaddleX's result dict."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from eyas.errors import InputError
from eyas.saving import DrawnResult, Labels, PathLike, Result, need_image, target_file, write_text


@dataclass(frozen=True, eq=False, repr=False)
class Detections(DrawnResult):
    """The boxes of one image, best first.

    boxes_xyxy: float32 [N, 4], pixels of the upright image, half-open (x2, y2 lie outside).
    scores: float32 [N], falling. class_ids: int64 [N], indices into `names`.
    image: the upright picture, uint8 RGB [H, W, 3], or None. output_name: relative name for saved files.
    As a mapping it has the keys `input_path`, `page_index` and `boxes`; `res["input_img"]` gives the image as BGR.
    Raises ValueError when the arrays do not fit each other.
    """

    KEYS = ("input_path", "page_index", "boxes")

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        boxes = np.asarray(self.boxes_xyxy, dtype=np.float32)
        object.__setattr__(self, "boxes_xyxy", boxes.reshape(0, 4) if boxes.size == 0 else boxes)
        object.__setattr__(self, "scores", np.asarray(self.scores, dtype=np.float32))
        object.__setattr__(self, "class_ids", np.asarray(self.class_ids, dtype=np.int64))
        object.__setattr__(self, "names", tuple(self.names))
        self._check()

    def _check(self) -> None:
        count = len(self.boxes_xyxy)
        if self.boxes_xyxy.shape != (count, 4):
            raise ValueError(f"boxes_xyxy must have the shape [N, 4], got {list(self.boxes_xyxy.shape)}")
        for name, array in (("scores", self.scores), ("class_ids", self.class_ids)):
            if array.shape != (count,):
                raise ValueError(f"{name} must have the shape [{count}] of the boxes, got {list(array.shape)}")
        if not (np.isfinite(self.boxes_xyxy).all() and np.isfinite(self.scores).all()):
            raise ValueError("boxes and scores must be finite numbers, got NaN or infinity")
        if (np.diff(self.scores) > 0).any():
            raise ValueError("scores must fall from the first box to the last")
        if count and not (self.class_ids.min() >= 0 and self.class_ids.max() < len(self.names)):
            raise ValueError(
                f"class ids must lie in 0…{len(self.names) - 1}, got {self.class_ids.min()}…{self.class_ids.max()}"
            )

    @classmethod
    def empty(cls, names: Sequence[str]) -> Self:
        """A result without boxes."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), tuple(names))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], names: Sequence[str] | None = None) -> Self:
        """The result that `data` (a saved JSON file, with or without `res` around it) describes.

        Older spellings are read too: `img_path` for `input_path`, `coordinates` for `coordinate`. Without `names`
        they are taken from the labels; ids that no box uses are called `class {id}`. Raises InputError.
        """
        inner = data.get("res", data)
        try:
            boxes = sorted(inner["boxes"], key=lambda box: -box["score"])
            ids = [int(box["cls_id"]) for box in boxes]
            labels = {int(box["cls_id"]): str(box["label"]) for box in boxes}
            corners = [box["coordinate"] if "coordinate" in box else box["coordinates"] for box in boxes]
            scores = [box["score"] for box in boxes]
            if names is None:
                names = [labels.get(class_id, f"class {class_id}") for class_id in range(max(ids, default=-1) + 1)]
            result = cls(np.array(corners, np.float32), np.array(scores), np.array(ids), tuple(names))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"not a detection result: {type(error).__name__}: {error}. Expected a dict with `boxes`, a list of "
                "{cls_id, label, score, coordinate: [xmin, ymin, xmax, ymax]}."
            ) from error
        return result.with_source(inner.get("input_path", inner.get("img_path")), inner.get("page_index"))

    @property
    def labels(self) -> list[str]:
        """The class name of each box."""
        return [self.names[i] for i in self.class_ids]

    def __getitem__(self, key: str) -> Any:
        return self._boxes() if key == "boxes" else super().__getitem__(key)

    def _boxes(self) -> list[dict[str, Any]]:
        rows = zip(self.class_ids.tolist(), self.scores.tolist(), self.boxes_xyxy.tolist(), strict=True)
        return [
            {"cls_id": class_id, "label": self.names[class_id], "score": score, "coordinate": box}
            for class_id, score, box in rows
        ]

    def _summary(self) -> str:
        return f"{len(self.scores)} boxes"

    def draw(self, labels: Labels = "auto") -> NDArray[np.uint8]:
        """The image with its boxes, uint8 RGB [H, W, 3]. Raises InputError when the result holds no image."""
        from eyas.vision.draw import draw_detections

        image = need_image(self.image, self.input_path)
        return draw_detections(image, self.boxes_xyxy, self.class_ids, self.scores, self.names, labels=labels)

    def save_to_csv(self, save_path: PathLike) -> None:
        """Write one line a box to the file `save_path`, or to `{stem}_res.csv` in that folder."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["input_path", "page_index", "cls_id", "label", "score", "xmin", "ymin", "xmax", "ymax"])
        for box in self._boxes():
            source = (self.input_path, self.page_index)
            writer.writerow([*source, box["cls_id"], box["label"], box["score"], *box["coordinate"]])
        write_text(target_file(save_path, f"{self.stem}_res.csv", (".csv",)), text.getvalue())

    def save_to_coco(self, save_path: PathLike) -> None:
        """Write a COCO file of this one image to `save_path`, or to `{stem}_coco.json` in that folder.

        Labelling tools read it. Boxes are [x, y, width, height] pixels; category ids start at 1, as COCO's do.
        Raises InputError when the result holds no image, because COCO wants its size.
        """
        height, width = need_image(self.image, self.input_path).shape[:2]
        file_name = Path(self.input_path).name if self.input_path else self.stem
        data = {
            "images": [{"id": 1, "file_name": file_name, "width": width, "height": height}],
            "annotations": [_coco_box(number, box) for number, box in enumerate(self._boxes(), start=1)],
            "categories": [{"id": number, "name": name} for number, name in enumerate(self.names, start=1)],
        }
        target = target_file(save_path, f"{self.stem}_coco.json", (".json",))
        write_text(target, json.dumps(data, indent=2, ensure_ascii=False) + "\n")

    def save_to_yolo(self, save_path: PathLike) -> None:
        """Write YOLO label lines to `save_path`, or to `{stem}.txt` in that folder.

        A line is `class x_centre y_centre width height`, the last four as parts of the image size.
        Raises InputError when the result holds no image.
        """
        height, width = need_image(self.image, self.input_path).shape[:2]
        corners = self.boxes_xyxy.astype(np.float64) / (width, height, width, height)
        centres, sizes = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
        rows = zip(self.class_ids, np.hstack((centres, sizes)), strict=True)
        lines = [f"{class_id} " + " ".join(f"{value:.6f}" for value in row) + "\n" for class_id, row in rows]
        write_text(target_file(save_path, f"{self.stem}.txt", (".txt",)), "".join(lines))


def _coco_box(number: int, box: dict[str, Any]) -> dict[str, Any]:
    left, top, right, bottom = box["coordinate"]
    width, height = right - left, bottom - top
    return {
        "id": number,
        "image_id": 1,
        "category_id": box["cls_id"] + 1,
        "bbox": [left, top, width, height],
        "area": width * height,
        "iscrowd": 0,
        "score": box["score"],
    }


@dataclass(frozen=True, eq=False, repr=False)
class Features(Result):
    """What one image looks like, in numbers: the more two images are alike, the larger the product of their features.

    feature: float32 [D], of length 1 as an `Embedder` gives it.
    As a mapping it has the keys `input_path`, `page_index` and `feature` (the array); `to_dict` and JSON have a list.
    Raises ValueError for anything but a row of finite numbers.
    """

    KEYS = ("input_path", "page_index", "feature")

    feature: NDArray[np.float32]

    def __post_init__(self) -> None:
        object.__setattr__(self, "feature", np.asarray(self.feature, dtype=np.float32))
        if self.feature.ndim != 1 or not self.feature.size:
            raise ValueError(f"feature must have the shape [D], got {list(self.feature.shape)}")
        if not np.isfinite(self.feature).all():
            raise ValueError("a feature must be finite numbers, got NaN or infinity")

    def to_dict(self) -> dict[str, Any]:
        """`{input_path, page_index, feature}` in plain Python types."""
        return {**self, "feature": self.feature.tolist()}

    def __eq__(self, other: object) -> bool:
        # A mapping compares its values, and the truth of an array of comparisons is an error.
        return self.to_dict() == other.to_dict() if isinstance(other, Features) else NotImplemented

    def _summary(self) -> str:
        return f"{len(self.feature)} numbers"
