"""Unpack a tar archive that nobody vouches for: regular files and folders alone, and nothing outside the target."""

import io
import os
import shutil
import tarfile
import unicodedata
import uuid
from collections.abc import Iterator
from pathlib import Path

from eyas.cache import disk_errors, need_room, sync_folder
from eyas.errors import ModelError

MAX_MEMBERS = 10_000
MAX_MEMBER_BYTES = 4 * 2**30
MAX_TOTAL_BYTES = 8 * 2**30
MAX_NAME_BYTES = 255
MAX_HEADER_BYTES = 2**20
_CHUNK = 2**18

_KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}
# What an extended header must not say: that a member is larger, smaller or elsewhere than its own header has it.
_TRICKS = frozenset({"size", "linkpath", "hdrcharset"})
_DEVICE_NAMES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
_DAMAGE = (tarfile.TarError, ValueError, LookupError, ArithmeticError, RecursionError)


def unpack_tar(archive: Path, target: Path) -> Path:
    """The new folder `target` with the content of `archive`, an uncompressed tar file; it appears whole or not at all.

    Only regular files and folders with plain names are taken, within the limits of this module; owners, permissions and
    times are not. Raises ModelError that names the first member which is anything else, and leaves nothing behind.
    """
    if not archive.is_file():
        raise ModelError(f"there is no archive {archive}.")
    if target.exists():
        raise ModelError(f"{target} exists already. Expected a name that is free, to unpack {archive.name} there.")
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        need_room(target.parent, archive.stat().st_size)
        draft = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
        draft.mkdir()
        try:
            _unpack(archive, draft)
            for folder in (draft, *(path for path in draft.rglob("*") if path.is_dir())):
                sync_folder(folder)
            draft.rename(target)
            sync_folder(target.parent)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return target


class _Bounded(io.FileIO):
    """A file that hands out no more than a header may hold at once, so that a header cannot fill the memory."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return super().read(size) or b""


def _unpack(archive: Path, draft: Path) -> None:
    """Check every header, then write: an archive with one bad member costs no more than a walk over it."""
    last = "the beginning"
    try:
        with (
            _Bounded(archive) as stream,
            tarfile.open(fileobj=stream, mode="r:", encoding="utf-8", errors="surrogateescape") as tar,
        ):
            members: list[tuple[str, tarfile.TarInfo]] = []
            for name, member in _checked(tar, archive):
                members.append((name, member))
                last = _shown(member.name)
            stream.seek(tar.offset)  # tarfile takes a broken header for the end
            if stream.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
                raise tarfile.ReadError("there is no end mark")
            for name, member in members:
                _write(tar, member, draft / name)
    except _DAMAGE as error:
        raise ModelError(
            f"{archive} is no whole, uncompressed tar archive: it is damaged or cut off after {last} ({error}). "
            "Delete it and fetch it again."
        ) from error


def _checked(tar: tarfile.TarFile, archive: Path) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """The members with their plain names. Raises ModelError for the first that is not taken, one of `_DAMAGE` too."""
    names, total = _Names(), 0
    for count, member in enumerate(tar, start=1):
        if member.isdir() and member.name == ".":  # the folder that is unpacked into
            continue
        total += member.size
        name = member.name.removeprefix("./")
        reason = (
            _wrong_kind(tar, member)
            or _over_limits(member, count, total)
            or _odd(name)
            or names.clash(name, member.isdir())
        )
        if reason is not None:
            raise ModelError(f"{archive}: {_shown(member.name)} {reason}. Nothing was unpacked; delete this file.")
        yield name, member


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(member)
    assert source is not None, "a regular file has content"
    with source, path.open("xb") as stream:
        shutil.copyfileobj(source, stream, _CHUNK)
        stream.flush()
        os.fsync(stream.fileno())


def _wrong_kind(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str | None:
    """Why a member is not a plain file or folder, if it is not."""
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
        return f"is {_KINDS.get(member.type, f'of the unknown type {member.type!r}')}"
    if any(key.startswith("GNU.sparse") for key in member.pax_headers):
        return "is a sparse file"
    # A long name stands in an extended header of its own member; one that renames every member is a trick.
    tricks = [key for key in member.pax_headers if key in _TRICKS or (key == "path" and key in tar.pax_headers)]
    return f"has an extended header that changes its {tricks[0]}" if tricks else None


def _over_limits(member: tarfile.TarInfo, count: int, total: int) -> str | None:
    """Which limit a member breaks; `count` and `total` bytes include it."""
    if not 0 <= member.size <= MAX_MEMBER_BYTES:
        return f"has {member.size:,} bytes, at most {MAX_MEMBER_BYTES:,} are taken"
    if total > MAX_TOTAL_BYTES:
        return f"brings the whole to {total:,} bytes, at most {MAX_TOTAL_BYTES:,} are taken"
    if count > MAX_MEMBERS:
        return f"is member {count:,}, at most {MAX_MEMBERS:,} are taken"
    return None


def _odd(name: str) -> str | None:
    """What is wrong with a name, on any system: the same archive gives the same files everywhere."""
    parts = name.split("/")
    faults = (
        (not name.isprintable(), "has invisible characters in its name"),
        (len(name.encode("utf-8", "surrogateescape")) > MAX_NAME_BYTES, f"has a name of over {MAX_NAME_BYTES} bytes"),
        (name.startswith("/"), "is an absolute path"),
        ("\\" in name, "has a backslash in its name"),
        (":" in name, "has a colon in its name, as a drive letter does"),
        (".." in parts, "leads out of the folder"),
        ("" in parts, "has an empty part in its name"),
        (any(part.endswith((".", " ")) for part in parts), "has a part that ends with a dot or a space"),
        (any(part.partition(".")[0].lower() in _DEVICE_NAMES for part in parts), "has the name of a device"),
    )
    return next((reason for wrong, reason in faults if wrong), None)


class _Names:
    """The names so far, as a file system sees them that ignores case and knows one form of each letter."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, str]] = {}

    def clash(self, name: str, folder: bool) -> str | None:
        """Why `name` cannot stand beside the names so far; None, and it is one of them, where it can."""
        parts = name.split("/")
        for end in range(1, len(parts)):
            parent = "/".join(parts[:end])
            spelling, kind = self._seen.setdefault(_folded(parent), (parent, "implied folder"))
            if kind == "file" or spelling != parent:
                return f"lies below {spelling!r}, which is there as a {kind}"
        spelling, kind = self._seen.get(_folded(name), (name, ""))
        if kind and not (folder and kind == "implied folder" and spelling == name):
            return f"has the name of {spelling!r}, which is there as a {kind}"
        self._seen[_folded(name)] = (name, "folder" if folder else "file")
        return None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _shown(name: str) -> str:
    """A member's name in quotes, without what a terminal would obey, and not too long."""
    return repr(name if len(name) <= 120 else f"{name[:120]}…")
