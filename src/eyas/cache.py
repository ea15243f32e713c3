"""Where downloaded models lie, and what keeps them whole: a record of checksums beside each, a lock, room checked."""

import errno
import hashlib
import json
import logging
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eyas.errors import ConfigError, ModelError
from eyas.fields import Fields

log = logging.getLogger(__name__)

SPARE_BYTES = 256 * 2**20
"""What stays free on the disk."""

_WAIT_SECONDS = 0.1
_TAKEN = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)


@dataclass(frozen=True)
class Measure:
    """Size in bytes and SHA-256 (hexadecimal) of a file."""

    size: int
    sha256: str


def home() -> Path:
    """The folder of all that eyas keeps: EYAS_HOME, else `eyas` in XDG_CACHE_HOME, else ~/.cache/eyas."""
    own, shared = os.environ.get("EYAS_HOME", ""), os.environ.get("XDG_CACHE_HOME", "")
    try:
        if own:
            return Path(own).expanduser().absolute()
        # The XDG rules say that a relative path counts as none.
        return (Path(shared) if Path(shared).is_absolute() else Path.home() / ".cache") / "eyas"
    except RuntimeError as error:
        raise ConfigError(
            f"there is no home folder for downloaded models ({error}). Name one with EYAS_HOME."
        ) from error


def measure(path: Path) -> Measure:
    """Size and SHA-256 of a file."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return Measure(stream.tell(), digest)


def verify(path: Path, source: str) -> dict[str, Measure]:
    """Compare the file or folder `path` with the record beside it, `<path>.json`; without one, write it.

    Returns a `Measure` for each file: relative name -> size and SHA-256. A folder's hidden files do not count. `source`
    says in the record where `path` came from. Raises ModelError when a file was changed, added or removed.
    """
    record = _record(path)
    with disk_errors(path):
        found = {name: measure(file) for name, file in _files(path).items()}
    if not record.is_file():
        note(path, source, found)
        return found
    known = _read_record(record)
    for name in sorted(known.keys() | found.keys()):
        what = _difference(known.get(name), found.get(name))
        if what is not None:
            where = path if path.is_file() else path / name
            raise ModelError(
                f"{where} {what} since {record.name} was written beside it. Delete {path} and {record}: "
                "then it is fetched again when it is needed."
            )
    return found


def note(path: Path, source: str, found: Mapping[str, Measure]) -> None:
    """Write the record of `path` that `verify` reads."""
    files = {name: asdict(found[name]) for name in sorted(found)}
    try:
        write_json(_record(path), {"source": source, "files": files})
    except OSError as error:  # a shared folder may be read-only; the model can be used all the same
        log.warning("%s: cannot note the checksums: %s", path, error)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock `<path>.lock` against other processes and threads; the system frees it when its holder dies."""
    lock = path.with_name(f"{path.name}.lock")
    with lock.open("ab") as stream:
        if not _try_lock(stream.fileno()):
            log.info("waiting for another process that fetches %s", path.name)
            while not _try_lock(stream.fileno()):
                time.sleep(_WAIT_SECONDS)
        yield


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """An OSError inside becomes a ModelError about `path` that says how to go on."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        raise ModelError(
            f"cannot use {where}: {error.strerror or error}. Models are kept under {home()}; free space or mend the "
            "permissions there, or name another folder with EYAS_HOME."
        ) from error


def need_room(folder: Path, size: int) -> None:
    """Raise ModelError when the disk of `folder` has no room for `size` more bytes."""
    free, needed = shutil.disk_usage(folder).free, size + SPARE_BYTES
    if free < needed:
        raise ModelError(
            f"the disk of {folder} is too full: expected {needed / 1e6:,.0f} MB free, there are {free / 1e6:,.0f}. "
            "Free space, or name another folder with EYAS_HOME."
        )


def write_json(target: Path, values: Any) -> None:
    """Write `values` to `target`: a reader, also one after a power cut, sees the old file or the whole new one."""
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        with draft.open("x", encoding="utf-8") as stream:
            stream.write(json.dumps(values, indent=2) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(target.parent)


def put_in_place(draft: Path, target: Path) -> None:
    """Rename `draft` to `target`; a folder that is there goes, and comes back where the renaming fails."""
    if not target.is_dir():
        draft.replace(target)
        return
    old = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.old")
    target.rename(old)
    try:
        draft.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` outlast a power cut; for a file, what is in it. Windows has no call for that."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _files(path: Path) -> dict[str, Path]:
    if not path.is_dir():
        return {path.name: path}
    found = {file.relative_to(path): file for file in path.rglob("*") if file.is_file()}
    return {name.as_posix(): file for name, file in found.items() if not any(p.startswith(".") for p in name.parts)}


def _difference(known: Measure | None, found: Measure | None) -> str | None:
    if known == found:
        return None
    if known is None:
        return "was added"
    if found is None:
        return "was removed"
    return (
        f"was changed or damaged ({found.size:,} bytes with SHA-256 {found.sha256}, expected {known.size:,} with "
        f"{known.sha256})"
    )


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _read_record(record: Path) -> dict[str, Measure]:
    try:
        given = Fields(json.loads(record.read_text(encoding="utf-8")), "", ("source", "files"))
        files = given.object("files")
        entries = {name: Fields(values, f"files.{name}", ("size", "sha256")) for name, values in files.items()}
        return {name: Measure(entry.whole("size"), entry.text("sha256")) for name, entry in entries.items()}
    except (OSError, ValueError, ModelError) as error:
        raise ModelError(
            f"{record} is no record of checksums ({error}). Delete it and what it stands beside: then that is fetched "
            "again when it is needed."
        ) from error


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise
    return True
