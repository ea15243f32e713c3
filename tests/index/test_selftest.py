"""The self-test: a sound gallery passes it, and each of several broken ones does not."""

from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from tests.index import planted

import eyas.index.selftest as selftest
from eyas.errors import GalleryError
from eyas.index.records import Kind
from eyas.index.selftest import Book, Outcome

Work = Callable[[str, int, Connection], None]


def test_a_process_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    outcome = selftest.selftest(tmp_path / "disk", kills=8, seed=3, progress=lambda *at: told.append(at))
    assert outcome.sound, outcome
    assert outcome.kills == 8 and told == [(number, 8) for number in range(1, 9)]
    assert outcome.acknowledged > 0 and sum(outcome.in_flight.values()) > 0
    assert not (tmp_path / "disk").exists()
    assert outcome.lines()[0].startswith(f"8 kills, {outcome.acknowledged} changes acknowledged: 0 lost, 0 phantoms")
    assert outcome.to_dict()["sound"] is True


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["HNSW32", "IVF", "Flat"])
def test_two_hundred_kills(tmp_path: Path, kind: Kind, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = selftest.selftest(tmp_path / "disk", kills=200, seed=11, kind=kind)
    with capsys.disabled():
        print("", *outcome.lines(), sep="\n")  # noqa: T201
    assert outcome.sound, outcome
    assert outcome.kills == 200 and outcome.acknowledged > 400
    assert outcome.in_flight.keys() == {"append", "remove", "update", "undo", "optimise"}
    assert sum(outcome.in_flight.values()) > 100 and outcome.slowest_open < 1.0


@pytest.mark.parametrize(
    ("work", "kills", "faults"),
    [
        (planted.acknowledges_before_commit, 6, ("lost", "phantoms")),
        (planted.loses_a_row_when_opened, 4, ("lost",)),
        (planted.uses_ids_again, 4, ("reused_ids",)),
        (planted.stores_other_vectors, 3, ("wrong_answers",)),
        (planted.damages_vectors, 3, ("corrupt",)),
        (planted.stores_halves, 8, ("lost", "phantoms")),
        (planted.fails, 6, ("corrupt",)),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_broken_gallery_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: Work, kills: int, faults: tuple[str, ...]
) -> None:
    monkeypatch.setattr(selftest, "_work", work)
    outcome = selftest.selftest(tmp_path / "disk", kills=kills, seed=1)
    assert not outcome.sound and any(getattr(outcome, fault) for fault in faults), outcome


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    with pytest.raises(GalleryError, match="is not empty"):
        selftest.selftest(tmp_path, kills=1)
    assert (tmp_path / "precious").read_text() == "x"


def test_the_book_follows_changes_and_undo() -> None:
    book, outcome = Book(), Outcome()
    for order in (
        {"do": "append", "items": {"x": "a", "y": "b"}},
        {"do": "update", "items": {"x": "c"}},
        {"do": "optimise", "items": None},
        {"do": "remove", "items": ["y"]},
    ):
        book.acknowledge(order)
    assert book.content == {"x": "c"}
    for content in ({"x": "c", "y": "b"}, {"x": "a", "y": "b"}, {}):
        book.acknowledge({"do": "undo", "items": None})
        assert book.content == content
    assert (book.used_twice({"x": 0, "y": 1}), book.used_twice({"x": 0}), book.used_twice({"z": 1})) == (0, 0, 1)
    assert outcome.sound and not Outcome(phantoms=1).sound and not Outcome(corrupt=["x"]).sound
