"""Recogniser: crops, thresholds of each metric, votes, the lead over the next label, duplicates, whole pictures."""

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.fakes import FakeBackend, FakeFeatures, embedding_manifest, manifest, picture

from eyas.errors import ConfigError, GalleryError
from eyas.index.gallery import Gallery
from eyas.index.records import Metric, ModelIdentity, NewItem
from eyas.inputs import iter_inputs
from eyas.pipelines.crops import candidates, cut, pixel_box
from eyas.pipelines.detector import Detector, Prepared, Threshold
from eyas.pipelines.embedder import Embedder
from eyas.pipelines.recogniser import Options, Recogniser
from eyas.pipelines.stream import stream
from eyas.recognitions import Recognised, Recognitions
from eyas.results import Detections

COLOURS = {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200), "orange": (200, 100, 0)}
MODEL = ModelIdentity.of(embedding_manifest())
Vector = Sequence[float]


class ScriptedDetector(Detector):
    """Finds the boxes that it was given, in each picture, with scores falling from 0.9 by 0.1."""

    def __init__(self, *boxes: Sequence[float]) -> None:
        super().__init__(manifest(), FakeBackend(manifest()))
        self._boxes = np.array(boxes, dtype=np.float32).reshape(-1, 4)

    def detect_prepared(self, batch: Sequence[Prepared], *, threshold: Threshold = None) -> list[Detections]:
        scores = 0.9 - 0.1 * np.arange(len(self._boxes))
        return [Detections(self._boxes, scores, np.zeros(len(self._boxes), np.int64), ("thing",)) for _ in batch]


def unit(vector: Vector) -> NDArray[np.float32]:
    return (np.array(vector) / np.linalg.norm(vector)).astype(np.float32)


def gallery_of(*rows: tuple[str, Vector], metric: Metric = "IP", **metadata: Sequence[Any]) -> Gallery:
    """A gallery of these vectors, made to length 1."""
    gallery = Gallery.create(None, width=3, kind="Flat", metric=metric, model=MODEL)
    items = [
        NewItem(label, f"{place:064x}", f"{place}.jpg", {key: values[place] for key, values in metadata.items()})
        for place, (label, _) in enumerate(rows)
    ]
    if rows:
        gallery.append(np.stack([unit(vector) for _, vector in rows]), items)
    return gallery


def colours(metric: Metric = "IP") -> Gallery:
    return gallery_of(*((label, colour) for label, colour in COLOURS.items()), metric=metric)


def embedder() -> Embedder:
    return Embedder(embedding_manifest(), FakeFeatures())


def recogniser(*boxes: Sequence[float], gallery: Gallery | None = None, **settings: int) -> Recogniser:
    return Recogniser(ScriptedDetector(*boxes), embedder(), colours() if gallery is None else gallery, **settings)


def scene(*painted: tuple[str, tuple[int, int, int, int]], size_hw: tuple[int, int] = (80, 100)) -> NDArray[np.uint8]:
    """A grey picture with rectangles of the colours that are named."""
    image = np.full((*size_hw, 3), 60, np.uint8)
    for name, (x1, y1, x2, y2) in painted:
        image[y1:y2, x1:x2] = COLOURS[name]
    return image


def asked(vector: Vector, gallery: Gallery, **options: Any) -> Recognised:
    """What a picture with that feature is recognised as."""
    colour = np.round(unit(vector) * 255).astype(np.uint8)
    image = np.broadcast_to(colour, (8, 8, 3)).copy()
    return Recogniser(None, embedder(), gallery)(image, Options(**options)).objects[0]


def test_each_object_is_cut_out_and_looked_up() -> None:
    image = scene(("red", (10, 20, 30, 40)), ("blue", (50, 5, 90, 70)))
    found = recogniser((10, 20, 30, 40), (50, 5, 90, 70))(image)
    assert found.labels == ["red", "blue"]
    np.testing.assert_allclose(found.det_scores, [0.9, 0.8], rtol=1e-6)
    np.testing.assert_array_equal(found.boxes_xyxy, [[10, 20, 30, 40], [50, 5, 90, 70]])
    red, _ = found.objects
    assert red.labels == ("red", "orange", "green", "blue") and red.scores[0] == pytest.approx(1)
    assert red.scores[1] == pytest.approx(2 / math.sqrt(5)) and red.margin == pytest.approx(1 - 2 / math.sqrt(5))
    assert [(match.id, match.label, match.source) for match in red.matches[:2]] == [
        (0, "red", "0.jpg"),
        (3, "orange", "3.jpg"),
    ]


def test_as_many_entries_as_are_asked_for_and_there() -> None:
    image = scene(("red", (0, 0, 20, 20)))
    for topk, count in ((1, 1), (2, 2), (9, 4)):
        (found,) = recogniser((0, 0, 20, 20))(image, Options(rec_topk=topk)).objects
        assert len(found.labels) == len(found.scores) == len(found.matches) == count


@given(
    st.lists(st.floats(-5, 30, width=32), min_size=4, max_size=4),
    st.integers(1, 25),
    st.integers(1, 25),
)
def test_a_crop_lies_in_the_picture_and_has_the_boxes_whole_pixels(box: list[float], height: int, width: int) -> None:
    image = np.arange(height * width * 3).reshape(height, width, 3).astype(np.uint8)
    x1, y1, x2, y2 = np.clip(np.array(box, np.float32), 0, (width, height, width, height)).tolist()
    part = cut(image, np.array(box, np.float32))
    if not (x1 < x2 and y1 < y2):
        assert part is None
        return
    assert part is not None and part.size
    expected = image[int(y1) : max(int(y2), int(y1) + 1), int(x1) : max(int(x2), int(x1) + 1)]
    np.testing.assert_array_equal(part, expected)


def test_fractions_are_cut_off_as_in_paddlex() -> None:
    assert pixel_box(np.float32([1.9, 2.1, 7.9, 8.99]), (20, 20)) == (1, 2, 7, 8)
    assert pixel_box(np.float32([3.2, 3.2, 3.9, 3.9]), (20, 20)) == (3, 3, 4, 4)
    assert pixel_box(np.float32([3, 3, 3, 9]), (20, 20)) is None
    assert pixel_box(np.float32([25, 3, 30, 9]), (20, 20)) is None


def test_which_boxes_are_looked_at() -> None:
    boxes, scores = np.float32([[0, 0, 4, 4], [5, 5, 5, 9], [2, 2, 8, 8]]), np.float32([0.9, 0.8, 0.7])
    whole = [0, 0, 20, 10]

    def chosen(full_image: Any, most: int | None = None, count: int = 3) -> list[tuple[list[float], float]]:
        found = candidates(boxes[:count], scores[:count], (10, 20), full_image, most)
        return list(zip(found[0].tolist(), found[1].round(3).tolist(), strict=True))

    first, second = ([0, 0, 4, 4], pytest.approx(0.9)), ([2, 2, 8, 8], pytest.approx(0.7))
    assert chosen("auto") == chosen("never") == [first, second]
    assert chosen("auto", most=1) == [first] and chosen("auto", most=2) == [first, second]
    assert chosen("always", most=1) == [first, (whole, 0)]
    assert chosen("auto", count=0) == chosen("always", count=0) == [(whole, 0)]
    assert chosen("never", count=0) == []


def test_the_whole_picture_where_nothing_is_detected() -> None:
    image = scene(("green", (0, 0, 100, 80)))
    found = recogniser()(image)
    assert (found.labels, found.det_scores.tolist()) == (["green"], [0.0])
    assert found["boxes"][0]["coordinate"] == [0.0, 0.0, 100.0, 80.0]
    assert recogniser()(image, Options(full_image="never"))["boxes"] == []
    both = recogniser((0, 0, 9, 9))(image, Options(full_image="always"))
    assert both.det_scores.tolist() == [pytest.approx(0.9), 0.0]


def test_without_a_detector_the_picture_is_the_object() -> None:
    found = Recogniser(None, embedder(), colours())(scene(("blue", (0, 0, 100, 80))), Options(full_image="never"))
    assert found.labels == ["blue"] and found["boxes"][0]["coordinate"] == [0.0, 0.0, 100.0, 80.0]


def test_a_batch_is_embedded_in_runs_and_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network = FakeFeatures()
    gallery = colours()
    boxes = [(5 * i, 0, 5 * i + 5, 10) for i in range(5)]
    subject = Recogniser(ScriptedDetector(*boxes), Embedder(embedding_manifest(), network), gallery, rec_batch_size=4)
    names = list(COLOURS)
    images = [scene(*((names[(i + j) % 4], boxes[i]) for i in range(5))) for j in range(3)]
    work = subject.work()
    searches = []
    search = gallery.search
    monkeypatch.setattr(gallery, "search", lambda q, *a, **k: searches.append(len(q)) or search(q, *a, **k))
    together = work.run([work.prepare(image) for image in images])
    assert network.batches == [4, 4, 4, 3] and searches == [15]
    assert [found.labels for found in together] == [[names[(i + j) % 4] for i in range(5)] for j in range(3)]
    assert together == [subject(image) for image in images]


def test_thresholds_of_each_metric() -> None:
    """The angle between the query and the only picture is 60 degrees: cosine 0.5, squared distance 1."""
    query, row = (1, 0, 0), (1, math.sqrt(3), 0)
    near = {"IP": {"rec_threshold": 0.49}, "L2": {"rec_threshold": 1.01}}
    far = {"IP": {"rec_threshold": 0.51}, "L2": {"rec_threshold": 0.99}}
    for metric in ("IP", "L2"):
        gallery = gallery_of(("it", row), metric=metric)
        assert asked(query, gallery, **near[metric]).label == "it"
        rejected = asked(query, gallery, **far[metric])
        assert (rejected.labels, rejected.scores) == ((None,), (None,))
        assert [match.label for match in rejected.matches] == ["it"]
        side = "0.5 is below its threshold 0.51" if metric == "IP" else "1 is beyond its threshold 0.99"
        assert rejected.reason == f"best match 'it' {side}"
    exact = gallery_of(("it", query), metric="L2")
    assert asked(query, exact).scores == (pytest.approx(0, abs=1e-6),) and asked(query, exact).label == "it"


def test_hamming_distances_and_the_radius() -> None:
    gallery = gallery_of(("two", (1, 1, -1)), ("none", (-1, -1, -1)), metric="hamming")
    query = (1, 1, 1)
    found = asked(query, gallery, hamming_radius=1)
    assert found.scores == (1, 3) and found.labels == ("two", "none") and found.margin == 2
    assert asked(query, gallery, hamming_radius=0.5).label is None
    # 3 signs, cosine 0.5: 3 * acos(0.5) / pi = 1 of them may differ.
    assert asked(query, gallery, rec_threshold=0.499).label == "two"
    assert asked(query, gallery, rec_threshold=0.501).label is None
    assert Options(rec_threshold=0).limit("hamming", 512) == 256
    with pytest.raises(ConfigError, match=r"must lie in -1…1 .* got 1\.5"):
        asked(query, gallery, rec_threshold=1.5)


def test_the_reason_names_the_label_and_the_numbers() -> None:
    rejected = asked((0, 1, 1), gallery_of(("Milk", (0, 0, 1)), ("Juice", (1, 0, 0))), rec_threshold=0.9)
    assert rejected.reason == "best match 'Milk' 0.7071 is below its threshold 0.9"
    assert rejected.margin == pytest.approx(math.sqrt(0.5), abs=1e-3)


def test_an_empty_gallery_and_a_filter_without_pictures_say_so() -> None:
    nothing = asked((1, 0, 0), gallery_of())
    assert (nothing.labels, nothing.matches, nothing.reason) == ((None,), (), "the gallery is empty")
    filtered = asked((1, 0, 0), gallery_of(("a", (1, 0, 0)), shop=["x"]), where={"shop": "y"})
    assert filtered.reason == "no picture of the gallery meets the condition"


def test_only_pictures_that_meet_the_condition_are_found() -> None:
    gallery = gallery_of(("a", (1, 0, 0)), ("b", (1, 0.5, 0)), shop=["x", "y"])
    assert asked((1, 0, 0), gallery).label == "a"
    assert asked((1, 0, 0), gallery, where={"shop": "y"}).labels == ("b",)


def test_the_lead_over_the_next_label() -> None:
    gallery = gallery_of(("Milk", (1, 0, 0)), ("Milk", (1, 0.01, 0)), ("Juice", (1, 0.3, 0)))
    lead = 1 - 1 / math.hypot(1, 0.3)
    found = asked((1, 0, 0), gallery)
    assert found.labels == ("Milk", "Milk", "Juice") and found.margin == pytest.approx(lead, abs=1e-5)
    assert asked((1, 0, 0), gallery, margin=lead * 0.99).label == "Milk"
    close = asked((1, 0, 0), gallery, margin=lead * 1.01)
    assert close.label is None and close.margin == found.margin
    assert close.reason is not None and close.reason.startswith("best match 'Milk' 1 and the next label 'Juice' 0.95")
    for metric in ("L2", "hamming"):
        assert asked((1, 0, 0), gallery_of(("only", (1, 0, 0)), metric=metric), margin=0.5).label == "only"


def test_the_next_label_is_found_behind_any_number_of_pictures_of_one_label() -> None:
    same = [("Milk", (1, 0.0001 * i, 0)) for i in range(300)]
    gallery = gallery_of(*same, ("Juice", (1, 0.05, 0)))
    assert asked((1, 0, 0), gallery).margin is None
    close = asked((1, 0, 0), gallery, margin=0.01)
    assert close.label is None and close.margin == pytest.approx(1 - 1 / math.hypot(1, 0.05), abs=1e-5)
    assert asked((1, 0, 0), gallery, margin=1e-5).label == "Milk"


def test_votes() -> None:
    # Cosines with (1, 0, 0): one picture of a at 0.99, four of b at 0.98, 0.97 …
    def row(cosine: float) -> Vector:
        return (cosine, math.sqrt(1 - cosine**2), 0)

    gallery = gallery_of(("a", row(0.99)), *(("b", row(0.98 - 0.01 * i)) for i in range(4)), ("a", row(0.2)))
    query = (1, 0, 0)
    raw = asked(query, gallery)
    assert raw.labels == ("a", "b", "b", "b", "b")
    most = asked(query, gallery, vote="vote")
    assert most.labels == ("b", "a") and most.scores == pytest.approx((0.98, 0.99), abs=2e-3)
    assert most.margin == pytest.approx(-0.01, abs=2e-3)
    mean = asked(query, gallery, vote="mean")
    assert mean.labels == ("b", "a") and mean.scores == pytest.approx((0.965, 0.595), abs=2e-3)
    best = asked(query, gallery, vote="max")
    assert best.labels == ("a", "b") and best.scores == pytest.approx((0.99, 0.98), abs=2e-3)
    for found in (most, mean, best):
        assert [match.label for match in found.matches] == ["a", "b", "b", "b", "b"]
    assert asked(query, gallery, vote="mean", rec_threshold=0.97).label is None


@pytest.mark.parametrize("metric", ["IP", "L2", "hamming"])
@pytest.mark.parametrize("vote", ["vote", "mean", "max"])
def test_labels_come_once_and_the_nearest_lone_label_wins_in_any_metric(metric: Metric, vote: Any) -> None:
    gallery = gallery_of(("a", (1, 1, 1)), ("a", (1, 0.9, 1)), ("b", (-1, -1, 1)), ("c", (-1, -1, -1)), metric=metric)
    found = asked((1, 1, 1), gallery, vote=vote, rec_threshold=-1 if metric == "IP" else 9, hamming_radius=3)
    assert found.labels == ("a", "b", "c")


def test_of_two_boxes_with_one_label_the_worse_goes() -> None:
    image = scene(("red", (0, 0, 40, 40)), ("orange", (60, 0, 100, 40)))
    image[0, 0] = (200, 20, 0)  # the first box is a little less red: the network looks at that pixel
    boxes = [(0, 0, 40, 40), (1, 1, 40, 40), (60, 0, 100, 40), (60, 1, 100, 40), (0, 40, 40, 80)]
    subject = recogniser(*boxes)
    assert subject(image, Options(rec_threshold=0.9)).labels == ["red", "red", "orange", "orange", None]
    kept = subject(image, Options(rec_threshold=0.9, rec_nms=0.5))
    assert kept.labels == ["red", "orange", None]
    np.testing.assert_array_equal(kept.boxes_xyxy[0], boxes[1])
    assert len(subject(image, Options(rec_nms=0.99)).objects) == 5


def test_at_most_so_many_boxes() -> None:
    image = scene(("red", (0, 0, 20, 20)), ("green", (20, 0, 40, 20)), ("blue", (40, 0, 60, 20)))
    found = recogniser((0, 0, 20, 20), (20, 0, 40, 20), (40, 0, 60, 20))(image, Options(max_boxes=2))
    assert found.labels == ["red", "green"]


def test_calibrated_thresholds_are_each_labels_own(monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = gallery_of(("strict", (1, 0, 0)), ("lax", (0, 1, 0)))
    own = {"strict": 0.95, "lax": 0.6}
    calibration = SimpleNamespace(stale=False, threshold=own.__getitem__)
    monkeypatch.setattr("eyas.index.calibration.Calibration.load", lambda _: calibration)
    strict = asked((1, 0.9, 0), gallery, rec_threshold="calibrated")
    assert strict.reason is not None and strict.reason.endswith("is below its threshold 0.95")
    assert asked((0.9, 1, 0), gallery, rec_threshold="calibrated").label == "lax"
    monkeypatch.setattr("eyas.index.calibration.Calibration.load", lambda _: None)
    with pytest.raises(GalleryError, match="has no thresholds of its own.*eyas gallery calibrate"):
        asked((1, 0, 0), gallery, rec_threshold="calibrated")


def test_the_gallery_of_another_model_is_refused() -> None:
    other = Gallery.create(None, width=3, kind="Flat", model=ModelIdentity("Other", "0" * 64, 3))
    with pytest.raises(GalleryError, match="was made by"):
        Recogniser(None, embedder(), other)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rec_threshold": "high"}, "rec_threshold must be a number or \"calibrated\", got 'high'"),
        ({"rec_threshold": math.nan}, "rec_threshold must be a number"),
        ({"rec_topk": 0}, "rec_topk must be a whole number, 1 or more, got 0"),
        ({"rec_topk": True}, "rec_topk must be a whole number"),
        ({"max_boxes": 1.5}, "max_boxes must be a whole number"),
        ({"hamming_radius": -1}, "hamming_radius must be a number, 0 or more, got -1"),
        ({"rec_nms": 1.5}, r"rec_nms must be a number from 0 to 1, got 1\.5"),
        ({"margin": -0.1}, "margin must be a number, 0 or more"),
        ({"full_image": "yes"}, "full_image 'yes' is unknown. Known: always, auto, never"),
        ({"vote": "means"}, "vote 'means' is unknown. Did you mean 'mean'"),
        ({"where": "x"}, "where must be a mapping"),
    ],
)
def test_wrong_options_are_explained(values: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Options(**values)


def test_a_wrong_detection_threshold_is_told_before_any_picture() -> None:
    with pytest.raises(ConfigError, match=r"threshold must lie in 0\.\.1, got 2"):
        recogniser().work(Options(det_threshold=2))


def test_the_detectors_own_boxes_and_threshold() -> None:
    """`FakeBackend` finds one box around (16, 16), from -48 to 80, clipped; its score is the green value."""
    subject = Recogniser(Detector(manifest(), FakeBackend(manifest())), embedder(), colours())
    found = subject(picture(1, 200))
    assert found.det_scores.tolist() == [pytest.approx(200 / 255)] and found.labels == ["green"]
    assert subject(picture(1, 200), Options(det_threshold=0.9)).det_scores.tolist() == [0]


def test_a_folder_streams_through(tmp_path: Path) -> None:
    from PIL import Image

    for name in ("red", "blue", "green"):
        Image.fromarray(scene((name, (0, 0, 100, 80)))).save(tmp_path / f"{name}.png")
    found = list(stream(iter_inputs(tmp_path), [recogniser((0, 0, 50, 50)).work()], 2))
    assert [(Path(str(one.input_path)).stem, one.labels) for one in found] == [
        (name, [name]) for name in ("blue", "green", "red")
    ]
    assert isinstance(found[0], Recognitions) and found[0].draw().shape == (80, 100, 3)


def test_threads_may_share_a_recogniser() -> None:
    image = scene(("red", (0, 0, 20, 20)), ("green", (20, 0, 40, 20)))
    subject = recogniser((0, 0, 20, 20), (20, 0, 40, 20))
    choices = [Options(), Options(max_boxes=1), Options(vote="mean"), Options(rec_threshold=0.9999, rec_topk=1)]
    expected = [subject(image, options) for options in choices]
    with ThreadPoolExecutor(8) as pool:
        got = pool.map(lambda i: (i % 4, subject(image, choices[i % 4])), range(64))
        assert all(found == expected[place] for place, found in got)


def test_a_picture_that_was_removed_since_the_search_has_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = gallery_of(("a", (1, 0, 0)), ("b", (1, 0.1, 0)))
    get = gallery.get
    calls: Iterator[int] = iter(range(9))

    def raced(ids: Any) -> Any:
        if next(calls) == 0:
            raise GalleryError("no item 0")
        return get(ids)

    monkeypatch.setattr(gallery, "get", raced)
    monkeypatch.setattr(gallery, "find", lambda: np.array([1]))
    assert [match.source for match in asked((1, 0, 0), gallery).matches] == [None, "1.jpg"]
