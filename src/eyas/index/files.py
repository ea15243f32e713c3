"""Segments as files: written whole or not at all, and read only where every byte is as it was written.

A file is what Faiss writes. Its checksum stands in the gallery's database, so a damaged or exchanged file is never
searched; whoever finds one builds the segment again from the vectors in the database.
"""

import os
import secrets
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyas.cache import sync_folder
from eyas.errors import GalleryError
from eyas.index.engine import Segment
from eyas.index.kinds import structure_for
from eyas.index.records import GalleryInfo, SegmentRecord
from eyas.index.structures import code_width, load_faiss, of

CHUNK = 64 * 2**20
"""Bytes with a SHA-256 of their own, so that several threads share the work."""
BLOCK = 2**20
"""Bytes read at a time: they are still in the processor's cache when they are hashed."""
ALIGNMENT = 64

Bytes = NDArray[np.uint8]

_limits = threading.Lock()


def save_segment(segment: Segment, folder: Path, name: str) -> SegmentRecord:
    """Write `segment` to the file `name` in `folder`, and return what the store needs to know of it.

    The file is on the disk, whole, when this returns; a power cut before leaves the old file or none. The folder is
    made if it is missing. Raises GalleryError where the disk is full or cannot be written to.
    """
    faiss = load_faiss()
    target, draft = folder / name, folder / f".{name}.{secrets.token_hex(8)}.tmp"
    write = faiss.write_index_binary if segment.metric == "hamming" else faiss.write_index
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(draft, "xb", opener=_private) as stream:
            # Faiss' own writer does not notice when the last bytes find no room on the disk.
            write(segment.index, faiss.PyCallbackIOWriter(stream.write, BLOCK))
            stream.flush()
            os.fsync(stream.fileno())
        digest = checksum(draft)
        draft.replace(target)
        sync_folder(folder)
    except OSError as error:
        reason = error.strerror or str(error)
        raise GalleryError(f"cannot write the search structure {target}: {reason}. Free space or mend it.") from error
    finally:
        draft.unlink(missing_ok=True)
    return SegmentRecord(name, digest, segment.ids)


def load_segment(folder: Path, record: SegmentRecord, info: GalleryInfo) -> Segment:
    """The segment of `record`, as it was saved.

    Raises GalleryError where its file is missing, cannot be read, was changed in any byte, or holds something else than
    the record and `info` say. Its vectors are still in the database then: build the segment anew.
    """
    path = folder / record.name
    if Path(record.name).name != record.name:
        raise GalleryError(f"segment {record.name!r}: expected the plain name of a file. Build the segment anew.")
    try:
        data = _room(path, most=_most_bytes(len(record.ids), info.width))
        digest = _read(path, len(data), data)
    except OSError as error:
        raise _unusable(path, f"cannot be read ({error.strerror or error})") from error
    if digest != record.sha256:
        raise _unusable(path, "was changed since it was written: its SHA-256 is not the one that was noted")
    index = parse(path, data, binary=info.metric == "hamming")
    wrong = _difference(index, len(record.ids), info)
    if wrong is not None:
        raise _unusable(path, wrong)
    structure = structure_for(info.kind, len(record.ids))(index, info.metric == "hamming", data)
    return Segment(structure, record.ids, info.kind, info.metric)


def checksum(path: Path) -> str:
    """SHA-256 over the SHA-256 of each 64 MiB of a file and its length, hexadecimal."""
    return _read(path, path.stat().st_size, None)


def parse(path: Path, data: Bytes, binary: bool) -> Any:
    """The Faiss index that `data` holds; it points into `data`, which must live as long.

    Raises GalleryError where Faiss cannot make sense of the bytes. Faiss is held to no more memory than the file has
    bytes. Still, bytes that nobody vouches for may crash it.
    """
    faiss = load_faiss()
    read = faiss.read_index_binary if binary else faiss.read_index
    try:
        with _limited(faiss, max(len(data), 1)):
            return read(faiss.ZeroCopyIOReader(faiss.swig_ptr(data), len(data)))
    except (RuntimeError, MemoryError) as error:
        raise _unusable(path, f"is not a file of Faiss {faiss.__version__} ({str(error).splitlines()[0]})") from error


@contextmanager
def _limited(faiss: Any, size: int) -> Iterator[None]:
    """Faiss allocates and repeats no more than `size` for one vector of a file.  The limits are the process's: one
    reader at a time, and the old ones come back."""
    with _limits:
        before = faiss.get_deserialization_vector_byte_limit(), faiss.get_deserialization_loop_limit()
        faiss.set_deserialization_vector_byte_limit(size)
        faiss.set_deserialization_loop_limit(size)
        try:
            yield
        finally:
            faiss.set_deserialization_vector_byte_limit(before[0])
            faiss.set_deserialization_loop_limit(before[1])


def _room(path: Path, most: int) -> Bytes:
    """Memory for the bytes of a file.

    Our own and not mapped: a mapped file that another program cuts off ends the process, and one that it rewrites
    changes the answers. Vectors are the end of a file, so the end is put where numpy and the processor like it.
    """
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(0, "it is no plain file")
    size = status.st_size
    if size > most:
        raise OSError(0, f"{size:,} bytes are more than its vectors can need, {most:,}")
    room = np.empty(size + 2 * ALIGNMENT, dtype=np.uint8)
    start = -(room.ctypes.data + size) % ALIGNMENT
    return room[start : start + size]


def _read(path: Path, size: int, data: Bytes | None) -> str:
    """The checksum of the `size` bytes of a file, which several threads read into `data` as they hash them."""
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        begins = range(0, size, CHUNK)
        digests = list(pool.map(lambda begin: _read_chunk(path, begin, min(begin + CHUNK, size), data), begins))
    return sha256(b"".join([*digests, size.to_bytes(8, "little")])).hexdigest()


def _read_chunk(path: Path, begin: int, end: int, data: Bytes | None) -> bytes:
    digest, spare = sha256(), bytearray(BLOCK)
    with path.open("rb", buffering=0) as stream:
        stream.seek(begin)
        while begin < end:
            length = min(BLOCK, end - begin)
            block = memoryview(spare)[:length] if data is None else data.data[begin : begin + length]
            got = stream.readinto(block)
            if not got:
                raise OSError(0, "it became shorter while it was read")
            digest.update(block[:got])
            begin += got
    return digest.digest()


def _difference(index: Any, count: int, info: GalleryInfo) -> str | None:
    """What `index` has that the record does not say, in words."""
    faiss, structure, binary = load_faiss(), structure_for(info.kind, count), info.metric == "hamming"
    wanted = structure.binary_type if binary else structure.float_type
    if not isinstance(index, getattr(faiss, wanted)):
        return f"holds a {type(index).__name__}, expected {wanted}"
    width = code_width(info.width) if binary else info.width
    if (index.ntotal, index.d) != (count, width):
        return f"holds {index.ntotal} vectors of {index.d} numbers, expected {count} of {width}"
    if not binary and index.metric_type != of(info.metric):
        return f"holds an index of another metric than {info.metric}"
    return None


def _most_bytes(count: int, width: int) -> int:
    """More than any structure over `count` vectors needs: links, lists and centres included."""
    return 2**20 + count * (8 * width + 1024)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _unusable(path: Path, what: str) -> GalleryError:
    return GalleryError(f"the search structure {path} {what}. It is made from the database: build it anew.")
