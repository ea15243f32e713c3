"""The SQLite file of a gallery: made, opened, read and written in transactions, its failures told in words."""

import os
import secrets
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from eyas.cache import sync_folder
from eyas.errors import GalleryError
from eyas.index.tables import APPLICATION_ID, FORMAT_VERSION, PAGE_BYTES, SCHEMA, SCRATCH

FILE = "gallery.sqlite"
BUSY_SECONDS = 30.0
_IDLE_READERS = 8
_WRITE_CACHE_KIB = 262_144  # the index of a million hashes fits: else its pages are written again and again
_READ_CACHE_KIB = 16_384
_WAL_LIMIT_BYTES = 64 * 2**20

_AS_BEFORE = "Nothing was changed: the gallery is as it was before."
LEAST_FREE = 64 * 1024
"""Bytes; on a disk with less nothing can be opened."""

_REASONS = {
    sqlite3.SQLITE_FULL: f"the disk is full. {_AS_BEFORE} Free space, then try again.",
    sqlite3.SQLITE_IOERR: (
        "the disk failed to read or write. What was acknowledged before stays in the gallery; what was being written "
        "is not acknowledged. Look at the disk and the system's log, then open the gallery again."
    ),
    sqlite3.SQLITE_BUSY: (
        f"another process has been writing for more than {BUSY_SECONDS:.0f} s. {_AS_BEFORE} Try again when it is done."
    ),
    sqlite3.SQLITE_READONLY: "it may be read but not written. Expected rights to write the file and its folder.",
    sqlite3.SQLITE_CANTOPEN: (
        "it cannot be opened. Expected rights to read and write the file and its folder, on a disk that is not "
        "read-only."
    ),
    sqlite3.SQLITE_NOTADB: "it is not a gallery: no SQLite database, or a damaged one. Use a snapshot, or build anew.",
    sqlite3.SQLITE_CORRUPT: "it is damaged. Use a snapshot, or build the gallery anew.",
}


class Database:
    """One gallery's file. Any number of threads read at once, each in a state of its own; one at a time writes.

    Readers see what was committed before they began, also by other processes, and wait for nobody.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / FILE
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._idle: list[sqlite3.Connection] = []
        self._failed: str | None = None
        self._closed = False
        with explained(self.file):
            self._writer = _connect(self.file, _WRITE_CACHE_KIB)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection in one consistent state. Raises GalleryError for whatever the database reports."""
        self._check_open()
        with explained(self.file):
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = _connect(self.file, _READ_CACHE_KIB)
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                _roll_back(connection)
                if self._closed or len(self._idle) >= _IDLE_READERS:
                    connection.close()
                else:
                    self._idle.append(connection)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are on disk, all of them, when the block ends; none of them if it fails.

        Raises GalleryError for whatever the database reports, and for every later call after an I/O error: what a
        disk that failed once says about later writes is not to be trusted.
        """
        with self._lock:
            self._check_open()
            if self._failed is not None:
                raise GalleryError(f"{self.file}: not written any more since an error: {self._failed}. Open it again.")
            with explained(self.file):
                yield from self._transaction()

    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield self._writer
            self._writer.execute("COMMIT")
        except BaseException as error:
            _roll_back(self._writer)
            if isinstance(error, sqlite3.Error):
                code = _code(error)
                if code == sqlite3.SQLITE_IOERR:
                    self._failed = str(error)
                elif code == sqlite3.SQLITE_FULL:
                    with suppress(sqlite3.Error):  # gives the space of the change that failed back
                        self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            raise

    def _check_open(self) -> None:
        if self._closed:
            raise GalleryError(f"{self.file.parent}: the gallery was closed. Open it again to use it.")
        if os.getpid() != self._process:
            raise GalleryError(
                f"{self.file.parent}: the gallery was opened in another process, of which this one is a copy. "
                "Open it here again: a database does not outlast a fork."
            )

    def close(self) -> None:
        """Close all connections; a read in another thread ends as usual. Safe to call twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if os.getpid() != self._process:
                return
            while self._idle:
                self._idle.pop().close()
            with suppress(sqlite3.Error):
                self._writer.close()


def create_database(folder: Path, first_row: tuple[object, ...]) -> None:
    """Make `folder`, if missing, and in it a database without items. It appears whole or not at all.

    `first_row` fills the columns uuid to model_fingerprint of the table `gallery`. The folder gets mode 0700 where it
    is made here, the file 0600. Raises GalleryError: a gallery is there, the folder cannot be made or written.
    """
    with disk_errors(folder):
        make_folder(folder)
        draft = folder / f".{secrets.token_hex(8)}.sqlite"
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        try:
            with explained(draft):
                _fill(draft, first_row)
            sync_file(draft)
            _publish(draft, folder / FILE)
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(folder)


def _fill(file: Path, first_row: tuple[object, ...]) -> None:
    connection = sqlite3.connect(file, isolation_level=None)
    try:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
        connection.execute("PRAGMA synchronous = OFF")  # the whole file is synced before it gets its name
        connection.executescript(f"BEGIN; {SCHEMA} COMMIT;")
        connection.execute("INSERT INTO gallery VALUES (1, ?, ?, ?, ?, ?, ?, 0, 0)", first_row)
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()


def _publish(draft: Path, file: Path) -> None:
    try:
        os.link(draft, file)  # unlike a rename it fails where another process was faster
    except FileExistsError:
        raise GalleryError(f"{file.parent}: there is a gallery already. Open it, or name another folder.") from None
    except OSError:  # a file system without links
        if file.exists():
            raise GalleryError(f"{file.parent}: there is a gallery already. Open it, or name another folder.") from None
        draft.rename(file)


def make_folder(folder: Path, mode: int = 0o700) -> None:
    """Make `folder` with that mode, and its parents with the usual one, so that it outlasts a power cut."""
    if not folder.is_dir():
        make_folder(folder.parent, 0o777)
        folder.mkdir(mode, exist_ok=True)
        sync_folder(folder.parent)


def sync_file(file: Path) -> None:
    """Make what was written to `file` outlast a power cut."""
    descriptor = os.open(file, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _connect(file: Path, cache_kib: int) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{file.absolute().as_uri()}?{'immutable=1' if _is_sealed(file) else 'mode=rw'}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=64,
    )
    try:
        _check_format(connection, file)
        for setting in (
            "trusted_schema = OFF",
            "cell_size_check = ON",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "temp_store = MEMORY",
            "secure_delete = FAST",
            f"cache_size = -{cache_kib}",
            f"journal_size_limit = {_WAL_LIMIT_BYTES}",
        ):
            connection.execute(f"PRAGMA {setting}")
        connection.executescript(SCRATCH)
    except BaseException:
        connection.close()
        raise
    return connection


def _is_sealed(file: Path) -> bool:
    """Whether `file` lies on a read-only disk and nobody has it open for writing, so that no journal is needed."""
    try:
        read_only = bool(os.statvfs(file.parent).f_flag & os.ST_RDONLY)
    except (AttributeError, OSError):  # Windows; a folder that is gone, of which SQLite will tell
        return False
    return read_only and not file.with_name(f"{FILE}-wal").exists()


def _check_format(connection: sqlite3.Connection, file: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise GalleryError(
            f"{file}: a database of another application (id {application:#x}). Expected a gallery of eyas "
            f"({APPLICATION_ID:#x})."
        )
    if version != FORMAT_VERSION:
        newer = "; a newer eyas made it" if version > FORMAT_VERSION else ""
        raise GalleryError(
            f"{file}: format version {version}{newer}. This eyas reads version {FORMAT_VERSION}: "
            "use the one that made the gallery, or build it anew."
        )


def _roll_back(connection: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary code of an error; 0 for one that Python's module raised itself."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


@contextmanager
def explained(file: Path) -> Iterator[None]:
    """A failure that SQLite reports inside becomes a GalleryError about `file`, in words."""
    try:
        yield
    except sqlite3.Error as error:
        code = _code(error)
        if code == 0 and isinstance(error, sqlite3.OperationalError):  # a text that is no UTF-8
            code = sqlite3.SQLITE_CORRUPT
        if code == 0:
            raise
        if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and _is_full(file.parent):
            code = sqlite3.SQLITE_FULL  # SQLite wants room for 32 kB of shared memory even to read
        reason = _REASONS.get(code, f"the database refused. {_AS_BEFORE}")
        raise GalleryError(f"{file}: {reason} (SQLite: {error})") from error
    except UnicodeDecodeError as error:  # SQLite tells of damage in the words that are damaged
        raise GalleryError(f"{file}: {_REASONS[sqlite3.SQLITE_CORRUPT]} ({error})") from error


def _is_full(folder: Path) -> bool:
    with suppress(OSError):
        return shutil.disk_usage(folder).free < LEAST_FREE
    return False


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """An OSError inside becomes a GalleryError about `path`."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        raise GalleryError(
            f"cannot use {where}: {error.strerror or error}. Expected a folder with rights to write in it, "
            "on a disk with room that is not read-only."
        ) from error
