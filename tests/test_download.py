"""A file of the model zoo comes once, whole and unchanged, or the error says what to do."""

import json
import logging
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from tests.zoo_server import Step, Zoo, open_zoo

from eyas import cache, download
from eyas.download import PUBLISHER, Remote, mirror
from eyas.errors import ConfigError, ModelError

PATH = "official/model.bin"
BODY = np.random.default_rng(0).bytes(1_500_000)
TAG = '"one"'


@pytest.fixture
def zoo(monkeypatch: pytest.MonkeyPatch) -> Iterator[Zoo]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "EYAS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.0)
    with open_zoo() as zoo:
        zoo.files[f"/{PATH}"] = BODY
        monkeypatch.setenv("EYAS_MODEL_MIRROR", zoo.address)
        yield zoo


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EYAS_HOME", str(tmp_path))
    return tmp_path / "models" / "model.bin"


def fetch(target: Path, **pins: object) -> Path:
    return download.download(Remote(PATH, **pins), target)  # type: ignore[arg-type]


def refused(target: Path, words: str, **pins: object) -> str:
    with pytest.raises(ModelError, match=words) as caught:
        fetch(target, **pins)
    assert not target.exists()
    return str(caught.value)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_comes_once_and_is_noted(zoo: Zoo, target: Path) -> None:
    assert fetch(target) == target
    assert target.read_bytes() == BODY
    record = json.loads((target.parent / "model.bin.json").read_text())
    digest = sha256(BODY).hexdigest()
    assert record == {
        "source": f"{zoo.address}/{PATH}",
        "files": {"model.bin": {"size": len(BODY), "sha256": digest}},
    }
    assert files(target.parent) == {"model.bin", "model.bin.json", "model.bin.lock"}
    fetch(target)
    fetch(target, size=len(BODY), sha256=digest)
    assert [(asked.path, asked.range) for asked in zoo.asked] == [(f"/{PATH}", None)]


@pytest.mark.parametrize("headers", [{}, {"ETag": None, "Last-Modified": "Sat, 21 Nov 2026 11:00:00 GMT"}])
def test_a_cut_connection_is_taken_up_where_it_broke(zoo: Zoo, target: Path, headers: dict[str, str | None]) -> None:
    zoo.steps = [Step(send=400_000, headers=headers), Step(send=600_000, headers=headers), Step(headers=headers)]
    assert fetch(target).read_bytes() == BODY
    assert [asked.range for asked in zoo.asked] == [None, "bytes=400000-", "bytes=1000000-"]
    assert len({asked.if_range for asked in zoo.asked[1:]}) == 1
    assert zoo.asked[1].if_range == headers.get("Last-Modified", zoo.asked[2].if_range)


def test_a_part_is_kept_for_the_next_call(zoo: Zoo, target: Path) -> None:
    zoo.steps = [Step(send=400_000)] + [Step(status=503)] * 3
    said = refused(target, "the server answered 503 Service Unavailable, after 4 tries. Try again")
    assert said.endswith(
        f"(what has come is kept), or put the file at {target} by hand, or name another server with EYAS_MODEL_MIRROR."
    )
    assert files(target.parent) == {"model.bin.part", "model.bin.part.json", "model.bin.lock"}
    assert fetch(target).read_bytes() == BODY
    assert zoo.asked[-1].range == "bytes=400000-"


def test_a_file_that_changed_meanwhile_is_fetched_anew(zoo: Zoo, target: Path) -> None:
    """If-Range: the parts of two versions never end up in one file."""
    other = BODY[::-1]
    zoo.steps = [Step(send=400_000), Step(body=other)]
    assert fetch(target).read_bytes() == other
    assert zoo.asked[1].range == "bytes=400000-"


@pytest.mark.parametrize(
    "second",
    [
        Step(ranges=False),
        Step(headers={"Content-Range": "bytes 1-1499999/1500000"}),
        Step(headers={"Content-Range": "400000-"}),
        Step(headers={"Content-Range": None}),
        Step(status=416),
    ],
)
def test_a_server_that_answers_a_range_with_something_else(zoo: Zoo, target: Path, second: Step) -> None:
    zoo.steps = [Step(send=400_000), second]
    assert fetch(target).read_bytes() == BODY
    assert zoo.asked[1].range == "bytes=400000-"
    assert [asked.range for asked in zoo.asked[2:]] == ([None] if second.ranges else [])  # it starts anew


@pytest.mark.parametrize("tag", [None, 'W/"weak"'])
def test_without_a_version_the_whole_is_asked_for_again(zoo: Zoo, target: Path, tag: str | None) -> None:
    zoo.steps = [Step(send=400_000, headers={"ETag": tag})]
    assert fetch(target).read_bytes() == BODY
    assert [asked.range for asked in zoo.asked] == [None, None]


def test_another_mirror_gets_no_range_of_the_first_ones_version(
    zoo: Zoo, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo.steps = [Step(send=400_000)] + [Step(status=500)] * 3
    refused(target, "500")
    monkeypatch.setenv("EYAS_MODEL_MIRROR", f"{zoo.address}/other/")
    zoo.files[f"/other/{PATH}"] = BODY
    assert fetch(target).read_bytes() == BODY
    assert (zoo.asked[-1].path, zoo.asked[-1].range) == (f"/other/{PATH}", None)


def test_a_part_without_a_readable_note_is_worth_nothing(zoo: Zoo, target: Path) -> None:
    target.parent.mkdir()
    for note in (None, "{", "[]", json.dumps({"url": "http://elsewhere/x", "version": TAG, "total": 5})):
        (target.parent / "model.bin.part").write_bytes(b"junk!")
        if note is not None:
            (target.parent / "model.bin.part.json").write_text(note)
        assert fetch(target).read_bytes() == BODY
        assert zoo.asked[-1].range is None
        target.unlink()


def test_a_part_that_was_whole_already_is_not_asked_for(zoo: Zoo, target: Path) -> None:
    target.parent.mkdir()
    (target.parent / "model.bin.part").write_bytes(BODY)
    note = {"url": f"{zoo.address}/{PATH}", "version": TAG, "total": len(BODY)}
    (target.parent / "model.bin.part.json").write_text(json.dumps(note))
    assert fetch(target).read_bytes() == BODY
    assert zoo.asked == []


@pytest.mark.parametrize(("status", "asked"), [(404, 1), (403, 1), (500, 4), (503, 4), (429, 4), (416, 4)])
def test_statuses(zoo: Zoo, target: Path, status: int, asked: int) -> None:
    zoo.steps = [Step(status=status)] * 4
    said = refused(target, f"cannot download {zoo.address}/{PATH}: the server answered {status}")
    assert f"put the file at {target} by hand" in said
    assert len(zoo.asked) == asked
    assert ("Look whether that server has the file" in said) == (asked == 1)


def test_tries_are_counted_anew_when_much_has_come(zoo: Zoo, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad line may cut the connection often; what is counted is a failure after a failure."""
    zoo.steps = [Step(send=200_000)] * 7
    monkeypatch.setattr(download, "PROGRESS_BYTES", 100_000)
    assert fetch(target).read_bytes() == BODY
    assert len(zoo.asked) == 8
    target.unlink()
    zoo.steps = [Step(send=50_000)] * 7
    assert "after 4 tries" in refused(target, f"the connection ended {len(BODY) - 200_000:,} bytes too early")


def test_the_waits_double(zoo: Zoo, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(download, "PAUSE_SECONDS", 1.0)
    monkeypatch.setattr(time, "sleep", waits.append)
    zoo.steps = [Step(status=500)] * 3
    fetch(target)
    assert waits == [1.0, 2.0, 4.0]


def test_a_silent_server(zoo: Zoo, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "STALL_SECONDS", 0.2)
    zoo.steps = [Step(send=400_000, gate=True)]
    assert fetch(target).read_bytes() == BODY
    assert zoo.asked[1].range == "bytes=400000-"  # what came before the silence is not lost
    target.unlink()
    zoo.steps = [Step(send=0, gate=True)] * 4
    refused(target, "timed out.*after 4 tries")


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Step(headers={"Content-Length": None}), "does not say how long it is"),
        (Step(headers={"Content-Encoding": "gzip"}), r"sent it compressed \(gzip\)"),
        (Step(headers={"Content-Length": str(9 * 2**30)}), "it has 9,663,676,416 bytes, at most 8,589,934,592"),
        (Step(status=206), "another part than the one asked for"),
        (Step(status=302, headers={"Location": "ftp://127.0.0.1/x"}), "redirects to ftp://127.0.0.1/x"),
        (Step(status=302, headers={"Location": "file:///etc/passwd"}), "the server answered 302"),
        (Step(status=302, headers={"Location": f"/{PATH}"}), "the server answered 302"),
    ],
)
def test_answers_that_cannot_be_used(zoo: Zoo, target: Path, step: Step, words: str) -> None:
    zoo.steps = [step] * 16
    said = refused(target, words)
    assert "\n" not in said


def test_redirects_are_followed_and_the_range_goes_along(zoo: Zoo, target: Path) -> None:
    zoo.files["/moved"] = BODY
    moved = Step(status=302, headers={"Location": "/moved"})
    zoo.steps = [moved, Step(send=400_000), moved]
    assert fetch(target).read_bytes() == BODY
    assert [(asked.path, asked.range) for asked in zoo.asked[2:]] == [
        (f"/{PATH}", "bytes=400000-"), ("/moved", "bytes=400000-"),
    ]  # fmt: skip


def test_a_body_in_chunks_has_no_length(zoo: Zoo, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo.steps = [Step(chunked=True, send=400_000), Step()]
    assert fetch(target).read_bytes() == BODY
    assert zoo.asked[1].range == "bytes=400000-"
    target.unlink()
    zoo.steps = [Step(chunked=True)]
    assert fetch(target).read_bytes() == BODY
    target.unlink()
    monkeypatch.setattr(download, "MAX_BYTES", 1_000_000)
    zoo.steps = [Step(chunked=True)]
    refused(target, "the server sent more than 1,000,000 bytes")
    assert files(target.parent) == {"model.bin.json", "model.bin.lock"}


def test_another_size_or_content_than_the_published(zoo: Zoo, target: Path) -> None:
    refused(target, "it has 1,500,000 bytes, expected 7", size=7)
    zoo.steps = [Step(chunked=True)]
    refused(target, "the server sent more than 7 bytes", size=7)
    zoo.steps = [Step(chunked=True)]
    refused(target, "it has 1,500,000 bytes, expected 2,000,000", size=2_000_000)
    refused(target, f"its SHA-256 is {sha256(BODY).hexdigest()}, expected 00", sha256="00")
    assert files(target.parent) == {"model.bin.lock"}  # nothing of it is kept
    target.write_bytes(b"by hand")
    with pytest.raises(ModelError, match="is not the published file: it has 7 bytes, expected 8. Delete it"):
        fetch(target, size=8)


def test_a_changed_file_is_noticed_whenever_it_is_used(zoo: Zoo, target: Path) -> None:
    fetch(target)
    with target.open("r+b") as stream:
        stream.seek(777_777)
        stream.write(bytes([BODY[777_777] ^ 1]))
    with pytest.raises(ModelError, match=r"model\.bin was changed or damaged \(1,500,000 bytes.*Delete .*model\.bin"):
        fetch(target)
    record = target.parent / "model.bin.json"
    for text in ("{", "[]", "{}", '{"source": "", "files": {"model.bin": {"size": "1", "sha256": ""}}}'):
        record.write_text(text)
        with pytest.raises(ModelError, match=r"model\.bin\.json is no record of checksums"):
            fetch(target)
    target.unlink()
    assert fetch(target).read_bytes() == BODY
    assert len(zoo.asked) == 2


def test_a_file_put_there_by_hand_is_noted_on_first_use(
    zoo: Zoo, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.parent.mkdir()
    target.write_bytes(b"mine")
    monkeypatch.setenv("EYAS_OFFLINE", "1")
    monkeypatch.setenv("EYAS_MODEL_MIRROR", "nonsense")  # not read where nothing is to be fetched
    assert fetch(target).read_bytes() == b"mine"
    target.write_bytes(b"more")
    with pytest.raises(ModelError, match="was changed"):
        fetch(target)
    assert zoo.asked == []


def test_offline_contacts_nobody(zoo: Zoo, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EYAS_OFFLINE", "1")
    said = refused(target, "EYAS_OFFLINE is set, so nothing is fetched. Unset EYAS_OFFLINE, or put the file at")
    assert f"{zoo.address}/{PATH}" in said and str(target) in said
    assert zoo.asked == []
    assert not target.parent.exists()


def test_the_mirror(zoo: Zoo, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo.files[f"/deep/{PATH}"] = BODY
    for ending in ("/deep", "/deep/", "/deep//"):
        monkeypatch.setenv("EYAS_MODEL_MIRROR", zoo.address + ending)
        assert mirror() == f"{zoo.address}/deep"
    assert fetch(target).read_bytes() == BODY
    for wrong in ("ftp://host/x", "host/x", "https://", "http://[bad", "file:///x"):
        monkeypatch.setenv("EYAS_MODEL_MIRROR", wrong)
        with pytest.raises(ConfigError, match="EYAS_MODEL_MIRROR is .*Expected an address"):
            mirror()
    monkeypatch.delenv("EYAS_MODEL_MIRROR")
    assert mirror() == PUBLISHER and PUBLISHER.startswith("https://")


def test_no_server_at_all(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EYAS_OFFLINE", raising=False)
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.0)
    with socket.socket() as free:  # bound and not listening: a connection is refused
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("EYAS_MODEL_MIRROR", f"http://user:secret@127.0.0.1:{free.getsockname()[1]}")
        said = refused(target, "cannot download http://127.0.0.1:")
    assert "secret" not in said
    monkeypatch.setenv("EYAS_MODEL_MIRROR", "http://127.0.0.1:port")
    refused(target, "cannot download")


def test_a_disk_that_is_too_full(zoo: Zoo, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": cache.SPARE_BYTES + len(BODY) - 1})
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda folder: usage)
    said = refused(target, "the disk of .* is too full: expected 270 MB free, there are 270")
    assert "EYAS_HOME" in said
    assert len(zoo.asked) == 1
    usage.free += 1
    assert fetch(target).read_bytes() == BODY


SMALL_DISK = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))\n"
RUN = f"""
import logging, sys
from pathlib import Path
from eyas.download import Remote, download
from eyas.errors import ModelError
logging.basicConfig(level="INFO", format="%(message)s")
try:
    print(download(Remote({PATH!r}), Path(sys.argv[1])).stat().st_size, flush=True)
except ModelError as error:
    print(error, flush=True)
"""


def start(code: str, target: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, str(target)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_write_that_fails_is_not_taken_for_a_bad_connection(zoo: Zoo, target: Path) -> None:
    out, _ = start(SMALL_DISK + RUN, target).communicate(timeout=60)
    assert re.search(r"cannot use .*models.*: File too large\. Models are kept under .* EYAS_HOME", out)
    assert len(zoo.asked) == 1
    assert fetch(target).read_bytes() == BODY
    assert zoo.asked[1].range == f"bytes={600_000}-"


def test_a_folder_that_cannot_be_made(zoo: Zoo, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="cannot use .*EYAS_HOME"):
        fetch(tmp_path / "file" / "models" / "x")


def test_a_record_that_cannot_be_written_is_a_warning(
    zoo: Zoo, target: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fetch(target)
    (target.parent / "model.bin.json").unlink()

    def fail(path: Path, values: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(cache, "write_json", fail)
    assert fetch(target) == target
    assert "model.bin: cannot note the checksums: [Errno 30] Read-only file system" in caplog.text


def test_two_processes_fetch_once(zoo: Zoo, target: Path) -> None:
    zoo.steps = [Step(send=400_000, gate=True)]
    first = start(RUN, target)
    assert zoo.reached.wait(60)
    second = start(RUN, target)
    assert second.stderr is not None
    assert second.stderr.readline() == "waiting for another process that fetches model.bin\n"
    zoo.gate.set()
    assert [process.communicate(timeout=60)[0] for process in (first, second)] == [f"{len(BODY)}\n"] * 2
    assert len(zoo.asked) == 1


def test_a_killed_process_leaves_its_part_and_its_lock_to_the_next(zoo: Zoo, target: Path) -> None:
    zoo.steps = [Step(send=400_000, gate=True)]
    first, part = start(RUN, target), target.parent / "model.bin.part"
    assert zoo.reached.wait(60)
    while not part.exists() or part.stat().st_size < 100_000:
        assert first.poll() is None
        time.sleep(0.005)
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=60)
    size = part.stat().st_size
    zoo.gate.set()
    assert fetch(target).read_bytes() == BODY
    assert zoo.asked[1].range == f"bytes={size}-"


def test_a_bar_shows_on_a_terminal_alone(
    zoo: Zoo, target: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(target)
    assert capsys.readouterr() == ("", "")
    target.unlink()
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    fetch(target)
    out, err = capsys.readouterr()
    assert out == ""
    assert "model.bin" in err and "1.5/1.5 MB" in err


def test_what_is_said(zoo: Zoo, target: Path, caplog: pytest.LogCaptureFixture) -> None:
    zoo.steps = [Step(status=500)]
    with caplog.at_level(logging.INFO, "eyas"):
        fetch(target)
    assert caplog.messages == [
        f"downloading {zoo.address}/{PATH} to {target}",
        "model.bin: the server answered 500 Internal Server Error; trying again",
    ]


def test_the_home_of_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("EYAS_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.home() == tmp_path / ".cache" / "eyas"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache.home() == tmp_path / ".cache" / "eyas"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.home() == tmp_path / "xdg" / "eyas"
    monkeypatch.setenv("EYAS_HOME", "~/mine")
    assert cache.home() == tmp_path / "mine"
