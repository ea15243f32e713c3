"""Assignment against the reference, and what must hold for any objects."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.train.targets import MODEL, grid, load_unit, make_targets
from torch import Tensor

from eyas.train.assign import Assignment, Targets, TaskAlignedAssigner, anchors_inside, box_iou, points_inside
from eyas.train.losses import expected_boxes


def test_unit_case_equals_the_reference(reference: Path) -> None:
    unit = load_unit(reference)
    boxes = expected_boxes(unit.reg_logits.detach(), unit.anchors, (-2, 8)) * unit.strides
    np.testing.assert_allclose(boxes[:, ::97].numpy(), unit.arrays["pred_bboxes_sample"], rtol=1e-5, atol=1e-3)
    got = TaskAlignedAssigner().assign(
        unit.scores.detach(), boxes, unit.anchors * unit.strides, unit.strides, unit.targets
    )
    assert got.positive.sum(1).tolist() == unit.record["assign"]["num_pos"]
    assert got.scores.sum().item() == pytest.approx(unit.record["assign"]["scores_sum"], rel=1e-5)
    index = got.positive.nonzero().numpy()
    np.testing.assert_array_equal(index, unit.arrays["pos_index"])
    image, anchor = index.T
    np.testing.assert_array_equal(got.labels[image, anchor], unit.arrays["pos_label"])
    np.testing.assert_array_equal(got.boxes[image, anchor], unit.arrays["pos_bbox"])
    np.testing.assert_allclose(got.scores[image, anchor], unit.arrays["pos_score"], rtol=0, atol=1e-6)


def test_stored_predictions_equal_the_reference(reference: Path) -> None:
    record = json.loads((reference / MODEL / "train.json").read_text())
    arrays = np.load(reference / MODEL / "train.npz")
    anchors, strides = grid(320)
    got = TaskAlignedAssigner().assign(
        torch.from_numpy(arrays["assign.pred_scores"]),
        torch.from_numpy(arrays["assign.pred_bboxes"]),
        anchors * strides,
        strides,
        make_targets(record["gt_bbox"], record["gt_class"]),
    )
    np.testing.assert_array_equal(got.labels, arrays["assign.labels"])
    np.testing.assert_allclose(got.scores, arrays["assign.score_max"], rtol=0, atol=1e-6)
    index = got.positive.nonzero().numpy()
    np.testing.assert_array_equal(index, arrays["assign.pos_index"])
    np.testing.assert_array_equal(got.boxes[index[:, 0], index[:, 1]], arrays["assign.pos_bbox"])


def perfect(boxes: list[list[float]], classes: list[int], size: int = 64) -> tuple[Assignment, Tensor]:
    """Assignment where each anchor predicts, for certain, the smallest box that holds its centre (or nothing)."""
    anchors, strides = grid(size)
    centres = anchors * strides
    scores = torch.full((1, len(anchors), 3), 0.01)
    predicted = torch.cat([centres - 1, centres + 1], 1)
    for box, label in sorted(zip(boxes, classes, strict=True), key=lambda item: item[0][0] - item[0][2]):
        rows = points_inside(centres, torch.tensor([box]))[0]
        predicted[rows] = torch.tensor(box)
        scores[0, rows, label] = 0.9
    targets = make_targets([boxes], [classes])
    return TaskAlignedAssigner().assign(scores, predicted[None], centres, strides, targets), centres


def test_an_object_gets_at_most_topk_anchors_all_inside_or_near() -> None:
    got, centres = perfect([[0.0, 0.0, 64.0, 64.0]], [2])
    assert got.positive.sum() == 13
    assert set(got.labels[got.positive].tolist()) == {2}
    assert set(got.labels[~got.positive].tolist()) == {3}
    assert got.scores.max().item() == pytest.approx(1.0, abs=1e-6)
    assert got.scores[~got.positive].abs().sum() == 0
    assert got.boxes[~got.positive].abs().sum() == 0


def test_a_tiny_object_between_anchor_centres_is_learnt() -> None:
    # centres lie at 4, 12, ... (stride 8), 8, 24, ... (16) and 16, 48 (32): none in this box
    got, centres = perfect([[5.0, 5.0, 7.5, 7.5]], [1])
    chosen = {tuple(centre) for centre in centres[got.positive[0]].tolist()}
    near_8 = {(x, y) for x in (4.0, 12.0) for y in (4.0, 12.0)}
    assert chosen == near_8 | {(8.0, 8.0), (16.0, 16.0)}


def test_a_contested_anchor_goes_to_the_larger_overlap() -> None:
    anchors, strides = grid(64)
    centres = anchors * strides
    objects = [[0.0, 0.0, 16.0, 16.0], [0.0, 0.0, 20.0, 20.0]]
    predicted = points_inside(centres, torch.tensor(objects[1:])).T * torch.tensor([[[0.0, 0.0, 19.0, 19.0]]])
    scores = torch.full((1, len(anchors), 2), 0.5)
    got = TaskAlignedAssigner().assign(scores, predicted, centres, strides, make_targets([objects], [[0, 1]]))
    inside = points_inside(centres, torch.tensor(objects[:1]))[0]
    assert set(got.labels[0, inside & got.positive[0]].tolist()) == {1}
    assert got.boxes[got.positive].eq(torch.tensor(objects[1])).all()


def test_an_object_whose_best_anchors_all_lie_elsewhere_gets_none() -> None:
    # top-k looks at all anchors, as the published training does, and only then at where they lie
    anchors, strides = grid(64)
    box = [32.0, 32.0, 48.0, 48.0]
    elsewhere = ((anchors * strides).amax(1) < 30) & (strides[:, 0] == 8)
    predicted = torch.tensor([[box]]) * elsewhere[None, :, None]
    scores = torch.full((1, len(anchors), 1), 0.5)
    got = TaskAlignedAssigner().assign(scores, predicted, anchors * strides, strides, make_targets([[box]], [[0]]))
    assert elsewhere.sum() >= 13
    assert not got.positive.any()


def test_padding_and_boxes_without_area_are_no_objects() -> None:
    anchors, strides = grid(64)
    scores = torch.full((3, len(anchors), 2), 0.5)
    predicted = torch.cat([anchors - 1, anchors + 1], 1)[None].repeat(3, 1, 1) * strides
    targets = make_targets(
        [[[8.0, 8.0, 8.0, 24.0], [8.0, 20.0, 24.0, 20.0]], [], [[9.0, 9.0, 5.0, 5.0]]], [[0, 1], [], [1]], 1
    )
    got = TaskAlignedAssigner().assign(scores, predicted, anchors * strides, strides, targets)
    assert not got.positive.any()
    assert got.labels.eq(2).all()


def test_more_objects_than_anchors_and_topk_beyond_the_grid() -> None:
    got, _ = perfect([[float(i), 0.0, i + 30.0, 30.0] for i in range(30)], [i % 3 for i in range(30)], size=32)
    assert 0 < got.positive.sum() <= 21


def test_no_objects_in_the_whole_batch_and_no_rows() -> None:
    anchors, strides = grid(64)
    targets = Targets(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.int64), torch.zeros(2, 0, dtype=torch.bool))
    got = TaskAlignedAssigner().assign(
        torch.full((2, len(anchors), 4), 0.3), torch.zeros(2, len(anchors), 4), anchors * strides, strides, targets
    )
    assert not got.positive.any()
    assert got.labels.eq(4).all()


def test_overlap_of_hand_made_boxes() -> None:
    first = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    second = torch.tensor([[0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 3.0, 3.0], [5.0, 5.0, 6.0, 6.0], [2.0, 2.0, 0.0, 0.0]])
    torch.testing.assert_close(box_iou(first, second), torch.tensor([[1.0, 1 / 7, 0.0, 0.0]]))


def test_points_on_the_edge_are_outside() -> None:
    points = torch.tensor([[1.0, 1.0], [0.0, 1.0], [2.0, 1.0], [1.0, 0.0]])
    assert points_inside(points, torch.tensor([[0.0, 0.0, 2.0, 2.0]])).tolist() == [[True, False, False, False]]


def test_anchors_inside_regions() -> None:
    centres = torch.tensor([[4.0, 4.0], [12.0, 4.0], [20.0, 4.0]])
    regions = torch.tensor(
        [[[0.0, 0.0, 8.0, 8.0], [16.0, 0.0, 24.0, 8.0]], [[0.0, 0.0, 99.0, 99.0], [0.0, 0.0, 0.0, 0.0]]]
    )
    valid = torch.tensor([[True, True], [False, False]])
    assert anchors_inside(centres, regions, valid).tolist() == [[True, False, True], [False, False, False]]


coordinate = st.floats(0, 60, width=32)
extent = st.floats(1, 40, width=32)
one_box = st.tuples(coordinate, coordinate, extent, extent, st.integers(0, 2))


@settings(max_examples=60, deadline=None)
@given(st.lists(one_box, min_size=1, max_size=6))
def test_an_object_predicted_by_its_own_anchors_is_positive_unless_outcompeted(
    rows: list[tuple[float, float, float, float, int]],
) -> None:
    boxes = [[x, y, x + w, y + h] for x, y, w, h, _ in rows]
    got, centres = perfect(boxes, [row[4] for row in rows], size=96)
    assert got.labels[got.positive].lt(3).all()
    assert got.scores.ge(0).all() and got.scores.le(1 + 1e-5).all()
    taken = {tuple(box) for box in got.boxes[got.positive].tolist()}
    smaller_first = sorted(boxes, key=lambda box: box[2] - box[0])
    for box in boxes:
        held = points_inside(centres, torch.tensor([box]))[0]
        rivals = [b for b in smaller_first if b != box and box_iou(torch.tensor([b]), torch.tensor([box])).item() > 0]
        if held.any() and not rivals:
            assert tuple(torch.tensor(box).tolist()) in taken


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_every_positive_lies_in_or_near_its_object_and_order_does_not_matter(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    anchors, strides = grid(96)
    centres = anchors * strides
    corner = torch.rand(4, 2, generator=generator) * 70
    boxes = torch.cat([corner, corner + 2 + torch.rand(4, 2, generator=generator) * 24], 1)
    classes = torch.randint(0, 3, (4,), generator=generator)
    scores = torch.rand(1, len(anchors), 3, generator=generator)
    reach = strides * (1 + torch.rand(len(anchors), 2, generator=generator))
    predicted = torch.cat([centres - reach, centres + reach], 1)[None]
    assigner = TaskAlignedAssigner()

    def assign(order: Tensor) -> Assignment:
        targets = Targets(boxes[None, order], classes[None, order], torch.ones(1, 4, dtype=torch.bool))
        return assigner.assign(scores, predicted, centres, strides, targets)

    got, shuffled = assign(torch.arange(4)), assign(torch.randperm(4, generator=generator))
    chosen, owner = centres[got.positive[0]], got.boxes[got.positive]
    inside = ((chosen > owner[:, :2]) & (chosen < owner[:, 2:])).all(1)
    offset = (chosen - (owner[:, :2] + owner[:, 2:]) / 2).abs().amax(1)
    assert (inside | (offset < strides[got.positive[0], 0])).all()
    assert torch.equal(got.positive, shuffled.positive)
    assert torch.equal(got.boxes, shuffled.boxes)
    torch.testing.assert_close(got.scores, shuffled.scores)
