"""Pictures into a gallery: which part of them, embedded once, all or nothing, what cannot be used."""

import io
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from tests.fakes import FakeBackend, FakeFeatures, embedding_manifest, manifest

from eyas.errors import ConfigError, GalleryError, ModelError
from eyas.index.gallery import Gallery
from eyas.index.pictures import Picture
from eyas.index.records import ModelIdentity, content_hash
from eyas.pipelines.detector import Detector
from eyas.pipelines.embedder import Embedder
from eyas.pipelines.gallery_builder import LabelledArray, add_pictures
from eyas.vision.thumbnail import thumbnail

MODEL = ModelIdentity.of(embedding_manifest())
RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)
Colour = tuple[int, int, int]


class Counting(FakeFeatures):
    """A feature network that also says in which threads it ran."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    def run(self, inputs: Any) -> dict[str, NDArray[np.float32]]:
        self.threads.add(threading.get_ident())
        return super().run(inputs)


@pytest.fixture
def gallery() -> Gallery:
    return Gallery.create(None, width=3, kind="Flat", model=MODEL)


def embedder(network: FakeFeatures | None = None) -> Embedder:
    return Embedder(embedding_manifest(), network or FakeFeatures())


def plain(colour: Colour, size_hw: tuple[int, int] = (12, 16)) -> NDArray[np.uint8]:
    return np.full((*size_hw, 3), colour, np.uint8)


def saved(path: Path, image: NDArray[np.uint8], label: str, **values: Any) -> Picture:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return Picture(path, label, **values)


def numbered(count: int, label: str = "a") -> list[LabelledArray]:
    """Pictures that all differ."""
    return [LabelledArray(plain((200, i % 256, i // 256)), label, where=f"array {i}") for i in range(count)]


def test_files_and_arrays_go_in_with_labels_sources_and_metadata(gallery: Gallery, tmp_path: Path) -> None:
    first = saved(tmp_path / "x" / "red.png", plain(RED), "红 red", metadata={"shop": "x"})
    added = add_pictures(gallery, [first, LabelledArray(plain(GREEN), "green")], embedder())
    assert (added.change.kind, added.change.added, added.skipped) == ("append", (0, 1), ())
    red, green = gallery.get([0, 1])
    assert (red.label, red.source, red.metadata) == ("红 red", str(first.path), {"shop": "x"})
    assert red.content_hash == content_hash(first.path.read_bytes())
    assert (green.label, green.source, green.metadata) == ("green", None, {})
    np.testing.assert_allclose(gallery.vectors(), [[1, 0, 0], [0, 1, 0]])


@pytest.mark.parametrize("count", [0, 1, 4, 5, 23])
def test_features_are_those_of_the_embedder_in_batches(gallery: Gallery, count: int) -> None:
    network = Counting()
    pictures = numbered(count)
    told: list[tuple[int, int]] = []
    added = add_pictures(gallery, pictures, embedder(network), batch_size=4, progress=lambda *at: told.append(at))
    assert network.batches == [4] * (count // 4) + [count % 4] * (count % 4 > 0)
    assert network.threads <= {threading.get_ident()}
    assert len(added.change.added) == len(gallery) == count
    expected = embedder().embed_batch([picture.image for picture in pictures])
    np.testing.assert_array_equal(gallery.vectors(), expected)
    assert told == [(done, count) for done in range(1, count + 1) if done % 4 == 0 or done == count]


def test_what_is_there_is_not_embedded_again(gallery: Gallery) -> None:
    pictures = numbered(6)
    add_pictures(gallery, pictures, embedder())
    before = gallery.vectors()
    network = Counting()
    again = add_pictures(gallery, [*pictures, LabelledArray(plain(BLUE), "b")], embedder(network))
    assert network.batches == [1]
    assert (again.change.added, again.change.unchanged) == ((6,), (0, 1, 2, 3, 4, 5))
    np.testing.assert_array_equal(gallery.vectors(range(6)), before)
    nothing = add_pictures(gallery, pictures, embedder(network))
    assert network.batches == [1] and nothing.change.generation == again.change.generation


def test_another_label_or_metadata_updates_without_embedding(gallery: Gallery) -> None:
    add_pictures(gallery, numbered(2), embedder())
    network = Counting()
    picture = numbered(1)[0]
    changed = add_pictures(gallery, [LabelledArray(picture.image, "new", {"shop": "y"})], embedder(network))
    assert changed.change.updated == (0,) and network.batches == []
    assert (gallery.get([0])[0].label, gallery.get([0])[0].metadata) == ("new", {"shop": "y"})


def test_replace_leaves_only_what_is_given_and_ids_stay(gallery: Gallery) -> None:
    add_pictures(gallery, numbered(4), embedder())
    network = Counting()
    added = add_pictures(gallery, [*numbered(2), LabelledArray(plain(BLUE), "b")], embedder(network), replace=True)
    assert (added.change.kind, added.change.removed, added.change.unchanged) == ("build", (2, 3), (0, 1))
    assert network.batches == [1] and gallery.find().tolist() == [0, 1, 4]
    np.testing.assert_allclose(gallery.vectors([4]), [[0, 0, 1]])


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 7), st.booleans()), max_size=24),
    st.lists(st.integers(0, 7), max_size=8),
    st.integers(1, 5),
)
def test_any_order_of_old_new_and_repeated_pictures(
    wanted: list[tuple[int, bool]], before: list[int], batch_size: int
) -> None:
    """Each picture ends up once, with its own feature, whatever was there and however it is named."""
    with Gallery.create(None, width=3, kind="Flat", model=MODEL) as gallery:
        images = [plain((90, 40 * i, 3)) for i in range(8)]
        add_pictures(gallery, [LabelledArray(images[i], f"l{i}") for i in before], embedder())
        pictures = [LabelledArray(images[i], f"l{i}", {"x": 1} if flag else {}) for i, flag in wanted]
        add_pictures(gallery, pictures, embedder(), batch_size=batch_size)
        items = gallery.list()
        assert sorted(item.label for item in items) == sorted({f"l{i}" for i in [*before, *(i for i, _ in wanted)]})
        expected = embedder().embed_batch([images[int(item.label[1:])] for item in items])
        np.testing.assert_array_equal(gallery.vectors(), expected.reshape(-1, 3))


def scene() -> NDArray[np.uint8]:
    """Red on the left, blue on the right."""
    image = plain(RED, (40, 60))
    image[:, 30:] = BLUE
    return image


def test_boxes_are_cut_out(gallery: Gallery, tmp_path: Path) -> None:
    right = saved(tmp_path / "a.png", scene(), "blue", box=(31.9, 2, 50, 30))
    left = Picture(right.path, "red", box=(0, 0, 20, 20))
    whole = Picture(right.path, "both")
    added = add_pictures(gallery, [right, left, whole], embedder())
    assert added.change.added == (0, 1, 2)  # three objects of one picture
    np.testing.assert_allclose(gallery.vectors(), [[0, 0, 1], [1, 0, 0], [1, 0, 0]])
    data = right.path.read_bytes()
    hashes = [item.content_hash for item in gallery.get([0, 2])]
    assert hashes == [content_hash(data, right.box), content_hash(data)]


def test_no_crop_takes_whole_pictures(gallery: Gallery) -> None:
    add_pictures(gallery, [LabelledArray(scene(), "a", box=(31, 2, 50, 30))], embedder(), crop="none")
    np.testing.assert_allclose(gallery.vectors(), [[1, 0, 0]])


def test_auto_takes_the_given_box_else_what_the_detector_is_surest_of(gallery: Gallery) -> None:
    """`FakeBackend` finds a box around (8, 8) with two strides of 32 to each side, scaled to the picture."""
    described = manifest((64, 64))
    detector = Detector(described, FakeBackend(described))
    image = plain((0, 250, 0), (256, 256))
    image[200:, 200:] = BLUE
    pictures = [LabelledArray(image, "found"), LabelledArray(image, "given", box=(210, 210, 256, 256))]
    network = FakeFeatures()
    seen: list[NDArray[np.uint8]] = []
    subject = Embedder(embedding_manifest(), network)
    prepare = subject.prepare
    subject.prepare = lambda part: seen.append(part) or prepare(part)  # type: ignore[method-assign, func-returns-value]
    add_pictures(gallery, pictures, subject, crop="auto", detector=detector)
    np.testing.assert_allclose(gallery.vectors(), [[0, 1, 0], [0, 0, 1]])
    box = detector(image).boxes_xyxy[0].astype(int)
    assert sorted(part.shape[:2] for part in seen) == sorted([(box[3] - box[1], box[2] - box[0]), (46, 46)])
    nothing = plain((0, 10, 0), (256, 256))  # a score of 10 / 255: nothing is detected
    add_pictures(gallery, [LabelledArray(nothing, "whole")], subject, crop="auto", detector=detector)
    assert seen[-1].shape == nothing.shape


def test_the_object_of_a_picture_is_not_taken_for_the_whole(gallery: Gallery) -> None:
    detector = Detector(manifest(), FakeBackend(manifest()))
    picture = LabelledArray(plain((0, 250, 0), (256, 256)), "a")
    add_pictures(gallery, [picture], embedder())
    network = Counting()
    add_pictures(gallery, [picture], embedder(network), crop="auto", detector=detector)
    add_pictures(gallery, [picture], embedder(network), crop="auto", detector=detector)
    assert network.batches == [1] and len(gallery) == 2


def test_wrong_choices_are_explained(gallery: Gallery) -> None:
    with pytest.raises(ConfigError, match="crop 'box' is unknown. Did you mean 'boxes'"):
        add_pictures(gallery, [], embedder(), crop="box")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="needs a detector"):
        add_pictures(gallery, [], embedder(), crop="auto")
    other = Gallery.create(None, width=3, kind="Flat", model=ModelIdentity("Other", "0" * 64, 3))
    with pytest.raises(GalleryError, match="was made by the model Other"):
        add_pictures(other, numbered(1), embedder())


def bad_pictures(folder: Path) -> list[Picture | LabelledArray]:
    """Two good ones, and one each of what cannot be used."""
    good = saved(folder / "good.png", plain(RED), "a", where="list.txt, line 1")
    cut_short = Picture(folder / "cut.png", "a", where="list.txt, line 2")
    cut_short.path.write_bytes(good.path.read_bytes()[:40])
    return [
        good,
        cut_short,
        Picture(folder / "gone.png", "a", where="list.txt, line 3"),
        Picture(folder, "a", where="list.txt, line 4"),
        Picture(good.path, "a", box=(90, 0, 99, 9), where="list.txt, line 5"),
        Picture(good.path, " ", where="list.txt, line 6"),
        LabelledArray(np.zeros((4, 4), np.uint8), "a", where="gallery_imgs[6]"),
        LabelledArray(plain(BLUE), "b"),
    ]


def test_what_cannot_be_used_is_named_and_nothing_is_written(gallery: Gallery, tmp_path: Path) -> None:
    with pytest.raises(GalleryError) as caught:
        add_pictures(gallery, bad_pictures(tmp_path), embedder(), batch_size=1)
    message = str(caught.value)
    assert message.startswith("6 of 8 pictures cannot go into the gallery, and nothing was written:\n")
    for part in (
        f"\n  list.txt, line 2: cannot read {tmp_path / 'cut.png'}: the file is broken or cut short",
        f"\n  list.txt, line 3: cannot read {tmp_path / 'gone.png'}: No such file",
        f"\n  list.txt, line 4: cannot read {tmp_path}: Is a directory",
        "\n  list.txt, line 5: the box [90, 0, 99, 9] has no area inside the picture of 16 x 12 pixels",
        "\n  list.txt, line 6: the label is empty",
        "\n  gallery_imgs[6]: expected uint8 RGB [H, W, 3], got uint8 [4, 4]",
        "`skip_bad` leaves out",
    ):
        assert part in message
    assert len(gallery) == 0 and gallery.generation == 0


def test_bad_pictures_may_be_left_out(gallery: Gallery, tmp_path: Path) -> None:
    added = add_pictures(gallery, bad_pictures(tmp_path), embedder(), skip_bad=True)
    assert len(added.skipped) == 6 and added.skipped[0].startswith("list.txt, line 2: cannot read")
    assert [item.label for item in gallery.get(added.change.added)] == ["a", "b"]
    np.testing.assert_allclose(gallery.vectors(), [[1, 0, 0], [0, 0, 1]])


def test_many_bad_pictures_are_counted(gallery: Gallery, tmp_path: Path) -> None:
    pictures = [Picture(tmp_path / f"{i}.png", "a") for i in range(30)]
    with pytest.raises(GalleryError, match=r"30 of 30 pictures(?s:.*)… and 10 more\n"):
        add_pictures(gallery, pictures, embedder())


@pytest.mark.parametrize("skip_bad", [False, True])
def test_two_labels_for_one_picture_are_named_with_both_places(
    gallery: Gallery, tmp_path: Path, skip_bad: bool
) -> None:
    first = saved(tmp_path / "a.png", plain(RED), "cola", where="list.txt, line 1")
    copy = saved(tmp_path / "b.png", plain(RED), "lemonade", where="list.txt, line 9")
    with pytest.raises(GalleryError, match="line 9: 'lemonade' is the same picture as 'cola' at list.txt, line 1"):
        add_pictures(gallery, [first, *numbered(3), copy], embedder(), skip_bad=skip_bad)
    assert len(gallery) == 0


def test_a_picture_named_twice_with_one_label_goes_in_once(gallery: Gallery, tmp_path: Path) -> None:
    network = Counting()
    picture = saved(tmp_path / "a.png", plain(RED), "cola")
    copy = saved(tmp_path / "b.png", plain(RED), "cola")
    added = add_pictures(gallery, [picture, copy, picture], embedder(network))
    assert added.change.added == (0,) and network.batches == [1]


def test_a_broken_network_leaves_the_gallery_as_it_was(gallery: Gallery) -> None:
    add_pictures(gallery, numbered(3), embedder())

    class Broken(FakeFeatures):
        def run(self, inputs: Any) -> dict[str, NDArray[np.float32]]:
            found = super().run(inputs)
            return {"features": found["features"] * np.float32(np.nan if len(self.batches) > 1 else 1)}

    with pytest.raises(ModelError, match="NaN"):
        add_pictures(
            gallery, [LabelledArray(plain((9, 9, i)), "n") for i in range(9)], embedder(Broken()), batch_size=4
        )
    assert len(gallery) == 3 and gallery.generation == 1


def test_an_interrupt_ends_the_threads_and_writes_nothing(gallery: Gallery) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        add_pictures(gallery, numbered(200), embedder(), progress=stop)
    assert len(gallery) == 0 and threading.active_count() <= threads


def sizes(data: Sequence[bytes | None]) -> list[tuple[int, int]]:
    return [Image.open(io.BytesIO(jpeg or b"")).size for jpeg in data]


def test_thumbnails_show_what_went_in(gallery: Gallery) -> None:
    image = plain(RED, (300, 640))
    image[:, 320:] = BLUE
    pictures = [LabelledArray(image, "whole"), LabelledArray(image, "part", box=(400, 0, 500, 50))]
    add_pictures(gallery, pictures, embedder(), thumbnails=True)
    stored = [gallery.thumbnail(item) for item in (0, 1)]
    assert sizes(stored) == [(160, 75), (100, 50)]
    part = np.asarray(Image.open(io.BytesIO(stored[1] or b"")))
    assert np.abs(part.astype(int) - BLUE).max() < 8
    add_pictures(gallery, [LabelledArray(plain(GREEN), "none")], embedder())
    assert gallery.thumbnail(2) is None


def test_a_thumbnail_of_a_sliver_has_a_pixel_at_least() -> None:
    assert sizes([thumbnail(plain(RED, (1, 4000)))]) == [(160, 1)]
