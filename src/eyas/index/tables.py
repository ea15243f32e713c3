"""The tables of a gallery's database, and what marks a file as one."""

APPLICATION_ID = 0x65796173
"""`eyas` in ASCII: SQLite keeps it in the header of the file."""
FORMAT_VERSION = 1
"""Kept as SQLite's `user_version`. A change of the tables raises it."""

# 7 vectors of 512 numbers fill 88 % of such a page; of SQLite's usual 4096 bytes one vector would fill half.
PAGE_BYTES = 16384

# `items_by_label` holds every id with its label: the state of a gallery is read from it without touching the items.
# Vectors and thumbnails lie in tables of their own, so that reading labels or metadata never pages through them.
# `kept` holds what a change took away or wrote over, until it is undone or too old.
SCHEMA = """
CREATE TABLE gallery (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    uuid TEXT NOT NULL,
    kind TEXT NOT NULL,
    metric TEXT NOT NULL,
    width INTEGER NOT NULL,
    model_name TEXT,
    model_fingerprint TEXT,
    generation INTEGER NOT NULL,
    next_id INTEGER NOT NULL
);
CREATE TABLE labels (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
CREATE TABLE items (
    id INTEGER PRIMARY KEY,
    label INTEGER NOT NULL REFERENCES labels (id),
    hash TEXT NOT NULL UNIQUE,
    source,
    metadata TEXT NOT NULL,
    added TEXT NOT NULL
);
CREATE INDEX items_by_label ON items (label);
CREATE TABLE vectors (
    id INTEGER PRIMARY KEY REFERENCES items (id),
    crc INTEGER NOT NULL,
    data BLOB NOT NULL
);
CREATE TABLE thumbnails (
    id INTEGER PRIMARY KEY REFERENCES items (id),
    data BLOB NOT NULL
);
CREATE TABLE changes (
    generation INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    time TEXT NOT NULL,
    added INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    first_id INTEGER NOT NULL,
    next_id INTEGER NOT NULL,
    undone INTEGER NOT NULL DEFAULT 0,
    kept_bytes INTEGER,
    touched BLOB
);
CREATE TABLE kept (
    generation INTEGER NOT NULL,
    id INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    label TEXT NOT NULL,
    hash TEXT NOT NULL,
    source,
    metadata TEXT NOT NULL,
    added TEXT NOT NULL,
    thumbnail BLOB,
    crc INTEGER,
    vector BLOB,
    PRIMARY KEY (generation, id)
);
CREATE TABLE settings (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE segments (
    name TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL,
    ids BLOB NOT NULL
);
"""

# Lists that a statement needs, whatever their length: filled and emptied within a transaction of one connection.
SCRATCH = """
CREATE TEMP TABLE chosen (id INTEGER PRIMARY KEY);
CREATE TEMP TABLE arriving (place INTEGER PRIMARY KEY, hash TEXT NOT NULL);
CREATE TEMP TABLE loose (label INTEGER PRIMARY KEY);
CREATE TEMP TABLE wanted (list TEXT, value, PRIMARY KEY (list, value)) WITHOUT ROWID;
"""
