"""Fetch one file of the model zoo: once, resumed after a cut, checked, and there whole or not at all."""

import json
import logging
import os
import re
import ssl
import time
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request

from eyas.cache import disk_errors, locked, measure, need_room, note, sync_folder, verify, write_json
from eyas.errors import ConfigError, InputError, ModelError
from eyas.fetch import offline, opener, public_name

log = logging.getLogger(__name__)

PUBLISHER = "https://paddle-model-ecology.bj.bcebos.com/paddlex"
MAX_BYTES = 8 * 2**30
STALL_SECONDS = 30.0
"""How long a connection may be silent."""
TRIES = 4
"""So often in a row a try may fail that brings less than `PROGRESS_BYTES`."""
PROGRESS_BYTES = 2**20
PAUSE_SECONDS = 1.0
"""The wait after a first failure; it doubles with each further one."""
_CHUNK = 2**18
_TRY_AGAIN = (408, 416, 425, 429)

Advance = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Remote:
    """A file of the model zoo: its path below the mirror and, where they are known, its size in bytes and SHA-256."""

    path: str
    size: int | None = None
    sha256: str | None = None


class _Cut(Exception):
    """A try failed, and another one may not."""


class _Refused(Exception):
    """A try failed, and another one would too."""


def mirror() -> str:
    """The address that stands before every `Remote.path`: EYAS_MODEL_MIRROR, else the publisher's (https).

    Raises ConfigError when EYAS_MODEL_MIRROR is no http or https address.
    """
    given = os.environ.get("EYAS_MODEL_MIRROR", "")
    try:
        parts = urlsplit(given)
        usable = not given or (parts.scheme.lower() in ("http", "https") and bool(parts.hostname))
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(
            f"EYAS_MODEL_MIRROR is {public_name(given)!r}. Expected an address that begins with https://, or with "
            "http:// for a server that you trust."
        )
    return (given or PUBLISHER).rstrip("/")


def download(remote: Remote, target: Path) -> Path:
    """`target`, which holds the file `remote`: the one that lies there, else a fresh download.

    Nothing is contacted where the file is there, whoever put it there. It is compared with the size and SHA-256 that
    `remote` has, and with those that were noted beside it when it was first used. Several processes may ask at once:
    one fetches. Raises ModelError: offline, refused, not found, cut off, of another content, changed since; no room.
    """
    if not target.is_file():
        url = f"{mirror()}/{remote.path}"
        if offline():
            raise _failure(url, target, "EYAS_OFFLINE is set, so nothing is fetched", "Unset EYAS_OFFLINE")
        with disk_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with locked(target):
                if not target.is_file():  # else another process was faster
                    _fetch(url, remote, target)
    found = verify(target, "it lay here")[target.name]
    wrong = _not_as_pinned(remote, found.size, found.sha256)
    if wrong is not None:
        raise ModelError(f"{target} is not the published file: {wrong}. Delete it; then it is fetched again.")
    return target


def _failure(url: str, target: Path, reason: str, remedy: str) -> ModelError:
    return ModelError(
        f"cannot download {public_name(url)}: {reason}. {remedy}, or put the file at {target} by hand, or name another "
        "server with EYAS_MODEL_MIRROR."
    )


def _not_as_pinned(remote: Remote, size: int | None, sha256: str | None) -> str | None:
    if size is not None and remote.size not in (None, size):
        return f"it has {size:,} bytes, expected {remote.size:,}"
    if sha256 is not None and remote.sha256 not in (None, sha256):
        return f"its SHA-256 is {sha256}, expected {remote.sha256}"
    return None


def _fetch(url: str, remote: Remote, target: Path) -> None:
    part, failures = _Part(target), 0
    log.info("downloading %s to %s", public_name(url), target)
    with _bar(target.name) as advance:
        while not part.complete(url):
            before = part.size()
            try:
                _try(url, remote, part, advance)
                break
            except _Refused as error:
                raise _failure(url, target, str(error), "Look whether that server has the file") from error
            except _Cut as error:
                failures = 1 if part.size() - before >= PROGRESS_BYTES else failures + 1
                if failures >= TRIES:
                    remedy = "Try again (what has come is kept)"
                    raise _failure(url, target, f"{error}, after {TRIES} tries", remedy) from error
                log.info("%s: %s; trying again", target.name, error)
                time.sleep(PAUSE_SECONDS * 2 ** (failures - 1))
    found = measure(part.file)
    wrong = _not_as_pinned(remote, found.size, found.sha256)
    if wrong is not None:
        part.discard()
        raise _failure(url, target, wrong, "Try again later")
    note(target, public_name(url), {target.name: found})
    part.file.replace(target)
    part.discard()
    sync_folder(target.parent)


class _Part:
    """What has come so far, `<target>.part`, and in `<target>.part.json` which version of which file it belongs to."""

    def __init__(self, target: Path) -> None:
        self.file = target.with_name(f"{target.name}.part")
        self._note = target.with_name(f"{target.name}.part.json")

    def size(self) -> int:
        """The bytes that are there."""
        return self.file.stat().st_size if self.file.is_file() else 0

    def begin(self, url: str, version: str, total: int | None) -> None:
        """Drop all bytes, then note what the next ones belong to; never the other way round."""
        self.file.write_bytes(b"")
        write_json(self._note, {"url": public_name(url), "version": version, "total": total})

    def version(self, url: str) -> str:
        """The ETag or date under which `url` can be asked for the rest, "" where it must be asked for the whole."""
        return str(self._known(url).get("version", "")) if self.size() else ""

    def complete(self, url: str) -> bool:
        """Whether all bytes are there, as after a crash just before the end."""
        return self.file.is_file() and self._known(url).get("total") == self.size()

    def discard(self) -> None:
        """Forget what has come."""
        self.file.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def _known(self, url: str) -> dict[str, object]:
        try:
            known = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # there is none, or a half one: the part is worth nothing
            return {}
        return known if isinstance(known, dict) and known.get("url") == public_name(url) else {}


def _try(url: str, remote: Remote, part: _Part, advance: Advance) -> None:
    """Ask once for what is missing of `part` and append what comes. Raises _Cut or _Refused."""
    version = part.version(url)
    start = part.size() if version else 0
    headers = {"User-Agent": "eyas"} | ({"Range": f"bytes={start}-", "If-Range": version} if start else {})
    with _answer(Request(url, headers=headers), part) as response:
        start, total = _place(response, start, part)
        most = _most(remote, total)
        need_room(part.file.parent, max(0, (total or 0) - start))
        if not start:
            part.begin(url, _version_of(response), total)
        with part.file.open("ab") as stream:
            for chunk in _chunks(response, None if total is None else total - start):
                stream.write(chunk)
                start += len(chunk)
                advance(start, total)
                if start > most:
                    break
            stream.flush()
            os.fsync(stream.fileno())
    if start > most:
        part.discard()
        raise _Refused(f"the server sent more than {most:,} bytes")
    if total is not None and start < total:
        raise _Cut(f"the connection ended {total - start:,} bytes too early")


def _answer(request: Request, part: _Part) -> HTTPResponse:
    try:
        response: HTTPResponse = opener().open(request, timeout=STALL_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        reason = " ".join(f"the server answered {error.code} {error.reason}".split())
        if error.code == 416:  # it has no such part: what is here is of another file
            part.discard()
        raise (_Cut if error.code in _TRY_AGAIN or error.code >= 500 else _Refused)(reason) from error
    except InputError as error:  # a redirect that must not be followed
        raise _Refused(str(error).rstrip(".")) from error
    except (OSError, HTTPException, ValueError) as error:
        cause = getattr(error, "reason", error)
        final = isinstance(error, ValueError) or isinstance(cause, ssl.SSLCertVerificationError)
        raise (_Refused if final else _Cut)(str(cause) or type(cause).__name__) from error
    return response


def _place(response: HTTPResponse, start: int, part: _Part) -> tuple[int, int | None]:
    """Where the body of an answer begins in the file, and the length of the whole file if the server says it."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise _Refused(f"the server sent it compressed ({response.headers['Content-Encoding']})")
    if response.status == 200:
        if response.length is None and not response.chunked:
            raise _Refused("the server does not say how long it is")
        return 0, response.length
    given = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("Content-Range", "").strip())
    if response.status != 206 or given is None or int(given[1]) != start or not start:
        part.discard()
        raise _Cut(f"the server answered {response.status} with another part than the one asked for")
    return start, int(given[3])


def _version_of(response: HTTPResponse) -> str:
    """What If-Range needs: a strong ETag, else the date, else nothing."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _most(remote: Remote, total: int | None) -> int:
    """The most bytes that may come, given the length that the server says."""
    wrong = _not_as_pinned(remote, total, None)
    if wrong is None and total is not None and total > MAX_BYTES:
        wrong = f"it has {total:,} bytes, at most {MAX_BYTES:,} are taken"
    if wrong is not None:
        raise _Refused(wrong)
    return total or remote.size or MAX_BYTES


def _chunks(response: HTTPResponse, left: int | None) -> Iterator[bytes]:
    """The body of an answer as it comes, `left` bytes or until its end. Raises _Cut when the connection breaks."""
    try:
        # read1: what has come is handed on at once, so that a cut after it does not lose it.
        while chunk := response.read1(_CHUNK if left is None else min(_CHUNK, left)):
            yield chunk
            left = None if left is None else left - len(chunk)
    except (OSError, HTTPException) as error:
        raise _Cut(f"the connection broke ({' '.join(str(error).split()) or type(error).__name__})") from error


@contextmanager
def _bar(name: str) -> Iterator[Advance]:
    """A bar on stderr where that is a terminal; the function is told the bytes that are there, and of how many."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
