"""Predictor: order, batches, bad inputs, devices, threads and memory."""

import gc
import itertools
import logging
import threading
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.fakes import FakeBackend, manifest, picture, tiny_bundle

from eyas.backends import device as device_module
from eyas.errors import BackendError, ConfigError, InputError
from eyas.inputs import InputItem
from eyas.pipelines import predictor as predictor_module
from eyas.pipelines.detector import Detector
from eyas.pipelines.predictor import Predictor

MANIFEST = manifest()


class Opened:
    """Opens fake detectors and remembers them; "a,b" stands for two devices."""

    def __init__(self, delays: Sequence[float] = (0.0,)) -> None:
        self._delays = itertools.cycle(delays)
        self.calls: list[str | None] = []
        self.backends: list[FakeBackend] = []

    def __call__(self, device: str | None) -> list[Detector]:
        self.calls.append(device)
        new = [FakeBackend(MANIFEST, next(self._delays)) for _ in (device or "one").split(",")]
        self.backends += new
        return [Detector(MANIFEST, backend) for backend in new]


def bgr(number: int) -> NDArray[np.uint8]:
    """A BGR array in which the fake network finds class `number` % 3 with the score (100 + `number`) / 255."""
    return np.ascontiguousarray(picture(number % 3, 100 + number)[..., ::-1])


def numbers(results: Iterator[object]) -> list[int]:
    return [round(float(result.scores[0]) * 255) - 100 for result in results]  # type: ignore[attr-defined]


def test_results_carry_where_they_come_from(tmp_path: Path) -> None:
    for number in (1, 0):
        cv2.imwrite(str(tmp_path / f"{number}.png"), bgr(number))
    results = list(Predictor(Opened()).predict(tmp_path, threshold=0.1))
    assert [result.input_path for result in results] == [str(tmp_path / "0.png"), str(tmp_path / "1.png")]
    assert [result.output_name for result in results] == ["0", "1"]
    assert [result.page_index for result in results] == [None, None]
    np.testing.assert_array_equal(results[1].image, picture(1, 101))
    assert results[1].class_ids.tolist() == [1]


@pytest.mark.parametrize(("batch_size", "batches"), [(1, [1] * 7), (3, [3, 3, 1]), (7, [7]), (50, [7])])
def test_batches_are_filled_and_order_is_kept(batch_size: int, batches: list[int]) -> None:
    opened = Opened()
    results = Predictor(opened).predict([bgr(n) for n in range(7)], batch_size=batch_size, threshold=0.1)
    assert numbers(results) == list(range(7))
    assert opened.backends[0].batches == batches


def test_order_is_kept_when_reading_takes_different_times(tmp_path: Path) -> None:
    sides = [1200 if number % 5 == 0 else 64 for number in range(15)]
    paths = []
    for number, side in enumerate(sides):
        paths.append(tmp_path / f"{number}.png")
        cv2.imwrite(str(paths[-1]), np.full((side, side, 3), bgr(number)[0, 0], np.uint8))
    predictor = Predictor(Opened())
    assert numbers(predictor.predict(paths, batch_size=4, threshold=0.1)) == list(range(15))


def test_a_bad_input_is_left_out_and_told_at_the_end(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not a picture")
    opened = Opened()
    found = Predictor(opened).predict(
        [bgr(0), broken, bgr(1), tmp_path / "absent.jpg", bgr(2)], batch_size=3, threshold=0.1
    )
    with caplog.at_level(logging.WARNING):
        assert numbers(itertools.islice(found, 3)) == [0, 1, 2]
    assert opened.backends[0].batches == [3], "the gaps are filled with the next pictures"
    with pytest.raises(InputError, match=r"2 of 5 inputs could not be used:\n.*broken\.png: .*\n.*absent\.jpg: "):
        next(found)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        f"left out {broken}",
        f"left out {tmp_path / 'absent.jpg'}",
    ]


def test_a_single_bad_input_raises_its_own_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not a picture")
    for wrong in (broken, [broken], tmp_path / "absent.jpg", 5, np.zeros((4, 4), np.float64)):
        with pytest.raises(InputError) as caught:
            list(Predictor(Opened()).predict(wrong))
        assert "of 1 inputs" not in str(caught.value)


def test_the_final_error_stays_short(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^40 of 40 inputs could not be used:(\n.*){10}\n  … and 30 more$"):
        list(Predictor(Opened()).predict([tmp_path / f"{i}.jpg" for i in range(40)]))


def test_thresholds_and_batch_sizes_of_a_call_go_before_those_of_the_predictor() -> None:
    opened = Opened()
    predictor = Predictor(opened, batch_size=2, threshold={"car": 0.1})
    images = [bgr(0), bgr(1), bgr(2)]
    assert [len(result.scores) for result in predictor.predict(images)] == [0, 1, 0]
    assert [len(result.scores) for result in predictor.predict(images, batch_size=3, threshold=0.1)] == [1, 1, 1]
    assert opened.backends[0].batches == [2, 1, 3]


def test_wrong_arguments_raise_before_the_first_result() -> None:
    predictor = Predictor(Opened())
    for size in (0, -1, 1.5, True, "2"):
        with pytest.raises(ConfigError, match="batch_size must be a whole number, 1 or more"):
            predictor.predict([bgr(0)], batch_size=size)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Did you mean 'person'"):
        predictor.predict([bgr(0)], threshold={"persons": 0.1})
    with pytest.raises(ConfigError, match="threshold"):
        Predictor(Opened(), threshold=3)
    with pytest.raises(ConfigError, match="batch_size"):
        Predictor(Opened(), batch_size=0)


def test_a_predictor_can_be_called() -> None:
    predictor = Predictor(Opened())
    assert numbers(predictor([bgr(4)], threshold=0.1)) == [4]


def test_the_device_of_a_call_is_opened_for_that_call() -> None:
    opened = Opened()
    predictor = Predictor(opened, device="cpu")
    state = dict(vars(predictor))
    assert numbers(predictor.predict([bgr(1)], device="gpu:0", threshold=0.1)) == [1]
    assert numbers(predictor.predict([bgr(2)], threshold=0.1)) == [2]
    assert opened.calls == ["cpu", "gpu:0"]
    assert [backend.batches for backend in opened.backends] == [[1], [1]]
    assert vars(predictor) == state


def test_several_devices_share_the_work_and_keep_the_order() -> None:
    opened = Opened(delays=(0.02, 0.0, 0.005))
    results = Predictor(opened, device="a,b,c").predict([bgr(n) for n in range(30)], batch_size=2, threshold=0.1)
    assert numbers(results) == list(range(30))
    assert [sum(backend.batches) for backend in opened.backends] == [10, 10, 10]


def test_devices_work_at_the_same_time() -> None:
    """Each run waits until all four devices are in one."""
    barrier = threading.Barrier(4)

    class Meeting(FakeBackend):
        def run(self, inputs):  # type: ignore[no-untyped-def]
            barrier.wait(timeout=20)
            return super().run(inputs)

    predictor = Predictor(lambda _: [Detector(MANIFEST, Meeting(MANIFEST)) for _ in range(4)])
    assert numbers(predictor.predict([bgr(n) for n in range(12)], threshold=0.1)) == list(range(12))


def test_reading_goes_on_while_the_network_runs() -> None:
    """Each run waits until the picture after next was read."""
    read = [threading.Event() for _ in range(12)]

    class Noticed:
        """A picture that tells when it is read."""

        def __init__(self, number: int) -> None:
            self.number = number

        def __call__(self) -> NDArray[np.uint8]:
            read[self.number].set()
            return picture(self.number % 3, 100 + self.number)

    class Waiting(FakeBackend):
        def run(self, inputs):  # type: ignore[no-untyped-def]
            assert read[min(len(self.batches) + 2, 11)].wait(timeout=20)
            return super().run(inputs)

    items = [InputItem(n, f"{n}", None, None, f"{n}", Noticed(n)) for n in range(12)]
    detector = Detector(MANIFEST, Waiting(MANIFEST))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictor_module, "iter_inputs", lambda _: iter(items))
        assert numbers(Predictor(lambda _: [detector]).predict("any", threshold=0.1)) == list(range(12))


def test_threads_may_share_a_predictor() -> None:
    predictor = Predictor(Opened(), batch_size=3)
    failures: list[object] = []

    def work(offset: int) -> None:
        wanted = [(offset + n) % 100 for n in range(20)]
        found = numbers(predictor.predict([bgr(n) for n in wanted], threshold=0.1))
        if found != wanted:
            failures.append((found, wanted))

    threads = [threading.Thread(target=work, args=(7 * i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_an_error_of_the_network_comes_after_the_results_before_it() -> None:
    class Failing(FakeBackend):
        def run(self, inputs):  # type: ignore[no-untyped-def]
            if len(self.batches) == 3:
                raise BackendError("out of memory")
            return super().run(inputs)

    predictor = Predictor(lambda device: [Detector(MANIFEST, Failing(MANIFEST))])
    found = predictor.predict([bgr(n) for n in range(9)], threshold=0.1)
    assert numbers(itertools.islice(found, 3)) == [0, 1, 2]
    with pytest.raises(BackendError, match="out of memory"):
        next(found)
    assert _eyas_threads() == 0


def test_stopping_early_reads_little_ahead_and_leaves_no_thread() -> None:
    taken = itertools.count()

    def endless() -> Iterator[NDArray[np.uint8]]:
        for number in itertools.cycle(range(100)):
            next(taken)
            yield bgr(number)

    found = Predictor(Opened(), batch_size=2).predict(endless(), threshold=0.1)
    assert numbers(itertools.islice(found, 5)) == [0, 1, 2, 3, 4]
    found.close()  # type: ignore[attr-defined]
    assert next(taken) < 30
    assert _eyas_threads() == 0


def _eyas_threads() -> int:
    return sum(thread.name.startswith("eyas") for thread in threading.enumerate())


def test_memory_is_flat_over_2000_pictures() -> None:
    """Each result holds its picture of 12 KB: kept, they would take 24 MB."""
    found = Predictor(Opened(), batch_size=4).predict((bgr(n % 100) for n in range(2000)), threshold=0.0)
    for _ in itertools.islice(found, 200):
        pass
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        count = sum(1 for _ in itertools.islice(found, 1700))
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert count == 1700
    assert grown < 3_000_000
    assert len(list(found)) == 100


def test_a_real_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tiny_bundle(tmp_path)
    predictor = Predictor.open(bundle, device="cpu", threads=1, threshold=0.3)
    assert predictor.names == bundle.manifest.names
    noise = np.random.default_rng(0).integers(0, 256, (3, 50, 60, 3), dtype=np.uint8)
    together = list(predictor.predict(list(noise), batch_size=3))
    alone = [next(iter(predictor.predict(image))) for image in noise]
    assert sum(len(result.scores) for result in together) > 10
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.boxes_xyxy, other.boxes_xyxy)
        np.testing.assert_array_equal(one.scores, other.scores)
    monkeypatch.setattr(device_module, "gpu_count", lambda: 0)
    with pytest.raises(BackendError, match="this machine has no GPU 0"):
        predictor.predict(noise[0], device="gpu:0")


def test_old_name_of_the_input() -> None:
    """PaddleX 3.0-beta called it `x`; no input, or a misspelt name, is an error in words."""
    predictor = Predictor(Opened())
    new, old = (list(results) for results in (predictor.predict(bgr(1)), predictor.predict(x=bgr(1))))
    assert [r["boxes"] for r in new] == [r["boxes"] for r in old]
    with pytest.raises(ConfigError, match="needs an input"):
        predictor.predict()
    with pytest.raises(TypeError, match="unexpected keyword argument 'inputt'. Did you mean 'input'"):
        predictor.predict(inputt=bgr(1))
