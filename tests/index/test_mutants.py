"""A gallery whose files were damaged says so or answers as before: never something else, and it never crashes."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import pytest
from tests.index.galleries_on_disk import (
    QUERIES,
    answers_of,
    keep_structures,
    make_gallery,
    small_structures,
    true_answers,
)

from eyas.index import Gallery
from eyas.index.records import KINDS, METRICS, Kind, Metric

MADE: tuple[tuple[Kind, Metric], ...] = (("HNSW32", "IP"), ("IVF", "L2"), ("Flat", "IP"))
ROOT = Path(__file__).parents[2]
MEMORY = Path("/dev/shm")
"""Nothing here is about the disk: where there is one in memory, the thousands of copies go there."""


@pytest.fixture(scope="module", params=MADE, ids=lambda made: "-".join(made))
def folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    place = Path(mkdtemp(prefix="eyas-mutants-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
    kind, metric = request.param
    others = place / "others"
    make_gallery(place / "gallery", others, kind, metric)
    for number, (other_kind, other_metric) in enumerate(product(KINDS, METRICS[:2]), 1):
        make_gallery(place / f"other-{number}", others, other_kind, other_metric, seed=number)
        keep_structures(place / f"other-{number}", others)
    with small_structures(), Gallery.open(place / "gallery") as gallery:
        true = true_answers(gallery)
        assert [[number for number, _ in row] for row in answers_of(gallery)[: len(QUERIES)]] == true
    yield place
    rmtree(place)


def outcomes(folder: Path, what: str, count: int, bug: str = "none") -> Counter[str]:
    """What became of `count` mutants; a crash ends the process that opens them, and the next one goes on after it."""
    found: Counter[str] = Counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    while found.total() < count:
        command = [sys.executable, "-m", "tests.index.mutants", str(folder), what, str(found.total()), str(count), bug]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        lines = [line.split() for line in done.stdout.splitlines()]
        found.update(line[0] for line in lines)
        if bug == "none":
            sys.stderr.writelines(f"{' '.join(line)}\n" for line in lines if line[0] in ("wrong", "quiet", "other"))
            sys.stderr.write(done.stderr[-3000:])
        if done.returncode:
            assert done.returncode < 0, done.stderr[-800:]
            found["crashed"] += 1
    sys.stderr.write(f"{what}, {bug}: {dict(found)}\n")
    return found


@pytest.mark.parametrize(("what", "count"), [("files", 42), ("rows", 28)])
def test_damage_beside_the_database_changes_no_answer(folder: Path, what: str, count: int) -> None:
    assert outcomes(folder, what, count) == {"same": count}


@pytest.mark.parametrize("folder", MADE[2:], indirect=True, ids="-".join)
@pytest.mark.parametrize(("what", "bug"), [("files", "file"), ("rows", "row")])
def test_without_the_checks_answers_go_wrong(folder: Path, what: str, bug: str) -> None:
    found = outcomes(folder, what, 56, bug)
    assert found["wrong"] + found["crashed"] > 1, found


def test_damage_of_the_database_is_told_or_harmless(folder: Path) -> None:
    found = outcomes(folder, "database", 50)
    assert found.keys() <= {"same", "told", "refused", "quiet"}, found
    assert found["refused"] + found["told"] > 10, found


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize(("what", "count"), [("files", 1700), ("rows", 970), ("database", 1000)])
def test_thousands_of_mutants(folder: Path, what: str, count: int) -> None:
    found = outcomes(folder, what, count)
    # A note whose name is no text cannot be dropped: verify goes on telling of it.
    harmless = {"files": {"same"}, "rows": {"same", "told"}, "database": {"same", "told", "refused", "quiet"}}[what]
    assert found.keys() <= harmless, found
