"""NMS against Paddle's recorded results, and against its rules written out one by one."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from eyas.vision.nms import NmsRule, multiclass_nms

CASES = (
    "sod_defaults",
    "pico_defaults",
    "small_topk",
    "nms_top_k_-1_keep_-1",
    "inverted_boxes",
    "ties_and_duplicates",
    "on_threshold",
    "nothing",
    "one_empty_image",
    "not_normalized",
    "background_0",
    "degenerate",
)


def paddle_rows(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], rule: NmsRule
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Rows (class, score, x1, y1, x2, y2) and anchor indices in Paddle's order: class by class."""
    class_ids, anchors = multiclass_nms(boxes, scores, rule)
    order = np.argsort(class_ids, kind="stable")
    class_ids, anchors = class_ids[order], anchors[order]
    columns = [class_ids[:, None].astype(np.float32), scores[class_ids, anchors][:, None], boxes[anchors]]
    return np.concatenate(columns, axis=1), anchors


@pytest.mark.parametrize("case", CASES)
def test_paddle_results_are_met_exactly(case: str, reference: Path) -> None:
    given_rule = json.loads((reference / "nms" / "nms.json").read_text())[case]
    rule = NmsRule(
        score_threshold=given_rule["score_threshold"],
        iou_threshold=given_rule["nms_threshold"],
        nms_top_k=given_rule["nms_top_k"],
        keep_top_k=given_rule["keep_top_k"],
        normalized=given_rule["normalized"],
        background_label=given_rule["background_label"],
    )
    with np.load(reference / "nms" / "nms.npz") as stored:
        boxes, scores = stored[f"{case}.boxes"], stored[f"{case}.scores"]
        expected, count, index = (stored[f"{case}.{name}"] for name in ("out", "num", "index"))
    found = [paddle_rows(*image, rule) for image in zip(boxes, scores, strict=True)]
    assert [len(rows) for rows, _ in found] == count.tolist()
    np.testing.assert_array_equal(np.concatenate([rows for rows, _ in found]), expected)
    offsets = [anchors + number * boxes.shape[1] for number, (_, anchors) in enumerate(found)]
    np.testing.assert_array_equal(np.concatenate(offsets), index)


def test_all_stored_cases_are_tested(reference: Path) -> None:
    assert set(json.loads((reference / "nms" / "nms.json").read_text())) == set(CASES)


def overlap(a: NDArray[np.float32], b: NDArray[np.float32], extra: float) -> np.float32:
    """Paddle's JaccardOverlap, line by line, in float32."""
    if b[0] > a[2] or b[2] < a[0] or b[1] > a[3] or b[3] < a[1]:
        return np.float32(0)
    one = np.float32(extra)
    shared = (min(a[2], b[2]) - max(a[0], b[0]) + one) * (min(a[3], b[3]) - max(a[1], b[1]) + one)

    def area(box: NDArray[np.float32]) -> np.float32:
        inverted = box[2] < box[0] or box[3] < box[1]
        return np.float32(0) if inverted else (box[2] - box[0] + one) * (box[3] - box[1] + one)

    with np.errstate(divide="ignore", invalid="ignore"):
        return np.float32(shared / (area(a) + area(b) - shared))


def plain_nms(boxes: NDArray[np.float32], scores: NDArray[np.float32], rule: NmsRule) -> list[tuple[int, int]]:
    """(class, anchor) of the survivors by descending score: the rules without any cleverness."""
    rows: list[tuple[int, int]] = []
    for label in range(len(scores)):
        order = [i for i in np.argsort(-scores[label], kind="stable") if scores[label][i] > rule.score_threshold]
        kept: list[int] = []
        for i in order if rule.nms_top_k < 0 else order[: rule.nms_top_k]:
            extra = 0.0 if rule.normalized else 1.0
            if all(overlap(boxes[i], boxes[k], extra) <= np.float32(rule.iou_threshold) for k in kept):
                kept.append(int(i))
        rows += [(label, i) for i in kept]
    rows.sort(key=lambda row: -scores[row[0], row[1]])
    return rows if rule.keep_top_k < 0 else rows[: rule.keep_top_k]


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 60),
    iou_threshold=st.sampled_from([0.05, 0.3, 0.5, 0.6, 0.9, 1.0]),
    nms_top_k=st.sampled_from([-1, 0, 3, 20]),
    keep_top_k=st.sampled_from([-1, 0, 5, 50]),
    normalized=st.booleans(),
    whole=st.booleans(),
)
def test_same_as_the_rules_written_out(
    seed: int, count: int, iou_threshold: float, nms_top_k: int, keep_top_k: int, normalized: bool, whole: bool
) -> None:
    """Boxes of all sorts (also inverted, without area, equal), scores with many ties."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 30, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(-4, 25, (count, 2))], axis=1).astype(np.float32)
    boxes = np.round(boxes) if whole else boxes
    scores = (rng.integers(0, 12, (3, count)) / 10).astype(np.float32)
    rule = NmsRule(0.15, iou_threshold, nms_top_k, keep_top_k, normalized)
    class_ids, anchors = multiclass_nms(boxes, scores, rule)
    assert list(zip(class_ids.tolist(), anchors.tolist(), strict=True)) == plain_nms(boxes, scores, rule)


def test_far_from_the_origin_nothing_is_missed() -> None:
    """Small boxes at large coordinates: edges there are rounded to quarters of a pixel."""
    rng = np.random.default_rng(3)
    corner = 4e6 + rng.uniform(0, 4, (80, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 5, (80, 2))], axis=1).astype(np.float32)
    scores = rng.uniform(0.1, 1, (2, 80)).astype(np.float32)
    rule = NmsRule(0.05, 0.5)
    class_ids, anchors = multiclass_nms(boxes, scores, rule)
    assert list(zip(class_ids.tolist(), anchors.tolist(), strict=True)) == plain_nms(boxes, scores, rule)


def test_arguments_are_not_changed() -> None:
    rng = np.random.default_rng(1)
    boxes, scores = rng.uniform(0, 9, (20, 4)).astype(np.float32), rng.uniform(0, 1, (2, 20)).astype(np.float32)
    copies = boxes.copy(), scores.copy()
    multiclass_nms(boxes, scores, replace(NmsRule(0.1, 0.5), background_label=0))
    np.testing.assert_array_equal(boxes, copies[0])
    np.testing.assert_array_equal(scores, copies[1])
