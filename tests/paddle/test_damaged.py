"""Real files, cut or with changed bytes: a refusal or a sound result, never another exception, and little memory."""

import shutil
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.paddle.test_pdmodel import check_values

from eyas.errors import ModelError
from eyas.paddle import read_inference
from eyas.paddle.pickles import read_pdparams

FILES = [
    "rec_tiny.pdparams",
    "pir/inference.json",
    "pir30/inference.json",
    "pir/inference.pdiparams",
    "pdmodel/inference.pdmodel",
    "pdmodel/inference.pdiparams",
    "pdmodel/inference.yml",
]
# The start of a file decides most, so half of the changes are there.
places = st.one_of(st.floats(0, 1, exclude_max=True), st.floats(0, 0.02))


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(places, st.integers(0, 255)), max_size=3),
    end=st.one_of(st.just(1.0), st.floats(0.001, 1)),
)
def test_damaged_files(formats: Path, tmp_path: Path, name: str, changes: list[tuple[float, int]], end: float) -> None:
    source = formats / "rec_tiny" / name
    data = bytearray(source.read_bytes())
    for place, value in changes:
        data[int(place * len(data))] = value
    damaged = bytes(data[: max(1, int(end * len(data)))])
    folder = tmp_path / "model"
    shutil.rmtree(folder, ignore_errors=True)  # a mapped file must not change, so each run has its own
    folder.mkdir()
    for file in source.parent.iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(damaged if file == source else file.read_bytes())
    target = folder / source.name
    tracemalloc.start()
    try:
        if target.suffix == ".pdparams":
            assert sum(array.nbytes for array in read_pdparams(target).values()) <= len(damaged)
        else:
            check_values(read_inference(folder).graph)
    except ModelError as error:
        assert str(folder) in str(error) and len(str(error)) < 2000
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 5_000_000
