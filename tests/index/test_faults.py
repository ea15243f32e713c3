"""A failing disk: what was acknowledged stays, what failed left nothing, and searches go on."""

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from eyas.index import Gallery
from eyas.index.selftest import WIDTH

CALLS = ("pwrite64", "fdatasync", "fsync", "ftruncate", "openat", "rename")
ERRORS = {"pwrite64": ("ENOSPC", "EIO"), "ftruncate": ("EIO",), "openat": ("EIO",), "rename": ("EIO",)}

CHILD = """
import json, resource, signal, sys
from hashlib import sha256
import numpy as np
from eyas.errors import EyasError
from eyas.index import Gallery, NewItem
from eyas.index.selftest import vector_of
path, limit = sys.argv[1], int(sys.argv[2])

def tell(**message):
    print(json.dumps(message), flush=True)

def keys(first, count):
    return [sha256(str(n).encode()).hexdigest() for n in range(first, first + count)]

try:
    gallery = Gallery.open(path)
except EyasError as error:
    sys.exit(tell(failed=str(error)))
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
steps = [("append", keys(100 * step, 40)) for step in range(6)]
steps[2:2] = [("remove", keys(0, 10)), ("optimise", []), ("undo", [])]
for do, names in steps:
    tell(begin=do, keys=names)
    try:
        if do == "append":
            gallery.append(np.stack([vector_of(name) for name in names]), [NewItem("a", name) for name in names])
        elif do == "remove":
            gallery.remove(gallery.find(hashes=names))
        elif do == "undo":
            gallery.undo()
        else:
            gallery.optimise()
        tell(done=True)
    except EyasError as error:
        tell(failed=str(error))
    held = gallery.list()
    if held:  # searches answer whatever happened to the write
        found = gallery.search(np.stack([vector_of(item.content_hash) for item in held]), 1)
        tell(wrong=int((found.ids[:, 0] != [item.id for item in held]).sum()))
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("faults") / "gallery"
    Gallery.create(path, width=WIDTH).close()
    return path


def after_faults(template: Path, place: Path, prefix: list[str], limit: int = 0) -> int:
    """Run the child on a copy of `template` and hold what is there against what it said; how often it failed."""
    path = place / "gallery"
    shutil.copytree(template, path)
    command = [*prefix, sys.executable, "-c", CHILD, str(path), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-800:]
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    content: set[str] = set()
    earlier: list[set[str]] = []
    possible: set[str] | None = None
    failures = 0
    for number, message in enumerate(messages):
        if "begin" in message:
            names = set(message["keys"])
            after = {"append": content | names, "remove": content - names}.get(message["begin"], content)
            if message["begin"] == "undo":
                after = earlier[-1] if earlier else content
            possible = after
            outcome = messages[number + 1] if number + 1 < len(messages) else {}
            if outcome.get("done"):
                if message["begin"] in ("append", "remove"):
                    earlier.append(content)
                content, possible = after, None
            elif "failed" in outcome:
                failures += 1
                possible = None  # it was refused, so nothing of it may be there
        assert message.get("wrong", 0) == 0
    with Gallery.open(path) as gallery:
        held = {item.content_hash for item in gallery.list()}
        assert held in ([content] if possible is None else [content, possible]), (messages[-3:], done.stderr[-500:])
        assert gallery.verify() == []
    return failures


def inject(call: str, error: str, when: int, place: Path) -> list[str]:
    files = [
        item for name in ("gallery.sqlite", "gallery.sqlite-wal") for item in ("-P", str(place / "gallery" / name))
    ]
    folder = ["-P", str(place / "gallery" / "segments")] if call in ("rename", "openat") else []
    return ["strace", "-f", "-o", "/dev/null", *files, *folder, "-e", f"inject={call}:error={error}:when={when}+7"]


def strace_works() -> bool:
    try:
        return subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(not strace_works(), reason="strace is not installed, or may not trace here")
@pytest.mark.parametrize("when", (2, 9))
@pytest.mark.parametrize(("call", "error"), [("pwrite64", "ENOSPC"), ("pwrite64", "EIO"), ("fdatasync", "EIO")])
def test_a_failing_call_leaves_what_was_acknowledged(
    template: Path, tmp_path: Path, call: str, error: str, when: int
) -> None:
    assert after_faults(template, tmp_path, inject(call, error, when, tmp_path)) > 0


@pytest.mark.slow
@pytest.mark.skipif(not strace_works(), reason="strace is not installed, or may not trace here")
@pytest.mark.parametrize("when", range(1, 18))
@pytest.mark.parametrize("call", CALLS)
def test_many_failing_calls(template: Path, tmp_path: Path, call: str, when: int) -> None:
    for number, error in enumerate(ERRORS.get(call, ("EIO",))):
        place = tmp_path / str(number)
        place.mkdir()
        after_faults(template, place, inject(call, error, when, place))


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="this system limits no file sizes")
def test_a_file_that_may_not_grow_refuses_the_write_and_keeps_the_rest(template: Path, tmp_path: Path) -> None:
    assert after_faults(template, tmp_path, [], limit=60_000) > 0
