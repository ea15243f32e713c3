"""Tar archives that a careless reader would obey; written block by block, as tarfile would not write most of them."""

import gzip
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

BLOCK = 512
END = bytes(2 * BLOCK)
GIB = 2**30


@dataclass(frozen=True)
class Hostile:
    """An archive; `make` is told a folder outside the target to aim at. `says`: a part of the refusal."""

    name: str
    make: Callable[[Path], bytes]
    says: str


def header(
    name: bytes, size: int = 0, kind: bytes = b"0", link: bytes = b"", prefix: bytes = b"", raw_size: bytes = b""
) -> bytes:
    """One header block with a right checksum. `raw_size` stands in for the octal size."""
    fields = (
        name[:100].ljust(100, b"\0"), b"0000644\0", b"0000000\0", b"0000000\0", raw_size or b"%011o\0" % size,
        b"00000000000\0", b" " * 8, kind, link[:100].ljust(100, b"\0"), b"ustar\x0000", bytes(32), bytes(32),
        b"0000001\0", b"0000001\0", prefix.ljust(155, b"\0"), bytes(12),
    )  # fmt: skip
    block = b"".join(fields)
    assert len(block) == BLOCK
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padded(data: bytes) -> bytes:
    """`data` filled up to whole blocks."""
    return data + bytes(-len(data) % BLOCK)


def file(name: bytes, data: bytes = b"data", kind: bytes = b"0", prefix: bytes = b"") -> bytes:
    """A member with content."""
    return header(name, len(data), kind, prefix=prefix) + padded(data)


def folder(name: bytes) -> bytes:
    """A folder's member."""
    return header(name, kind=b"5")


def link(name: bytes, to: bytes, kind: bytes = b"2") -> bytes:
    """A symbolic link, or with kind b"1" a hard one."""
    return header(name, kind=kind, link=to)


def record(key: bytes, value: bytes) -> bytes:
    """One record of an extended (pax) header."""
    length = len(key) + len(value) + 3
    while len(b"%d" % length) + len(key) + len(value) + 3 != length:
        length = len(b"%d" % length) + len(key) + len(value) + 3
    return b"%d %s=%s\n" % (length, key, value)


def pax(*records: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    """An extended header for the next member, or with kind b"g" for all that follow."""
    return file(b"PaxHeaders/x", b"".join(record(key, value) for key, value in records), kind)


def long_name(name: bytes, kind: bytes = b"L") -> bytes:
    """GNU's way to give the next member a long name, or with kind b"K" a long link."""
    return file(b"././@LongLink", name + b"\0", kind)


def base256(value: int) -> bytes:
    """A size in GNU's binary form."""
    return (b"\xff" if value < 0 else b"\x80") + (value % 256**11).to_bytes(11, "big")


def plain(*members: bytes) -> Callable[[Path], bytes]:
    """An archive of these members that aims at nothing in particular."""
    return lambda outside: b"".join(members) + END


def aimed(make: Callable[[bytes], bytes]) -> Callable[[Path], bytes]:
    """An archive whose members know the path of a folder outside."""
    return lambda outside: make(str(outside).encode()) + END


def climb(outside: Path) -> bytes:
    """The long chain of CVE-2025-4517: links so long that a check of the resolved path gives up, then a way out."""
    deep, members, path = b"d" * 247, b"", b""
    for step in b"abcdefghijklmnop":
        members += folder(path + deep) + link(path + bytes([step]), deep)
        path += bytes([step]) + b"/"
    members += link(path + b"l" * 254, b"../" * 16) + link(b"escape", path + b"l" * 254 + b"/../../outside")
    return members + link(b"flag", b"escape/flag", b"1") + file(b"flag") + END


def gzipped(outside: Path) -> bytes:
    """A good archive, compressed: ten megabytes of nothing in ten kilobytes."""
    return gzip.compress(file(b"a", bytes(10**7)) + END)


def zipped(outside: Path) -> bytes:
    """Not a tar archive at all."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("../a", "data")
    return stream.getvalue()


def spoilt(outside: Path) -> bytes:
    """A header in the middle whose checksum is wrong."""
    second = bytearray(file(b"b"))
    second[0] ^= 1
    return file(b"a") + bytes(second) + file(b"c") + END


GOOD = file(b"good")

LINKS = (
    Hostile("symlink-file", aimed(lambda out: link(b"a", out + b"/x")), "'a' is a symbolic link"),
    Hostile("symlink-folder-then-file", aimed(lambda out: link(b"d", out) + file(b"d/x")), "'d' is a symbolic link"),
    Hostile("symlink-relative", plain(GOOD, link(b"a", b"../../x")), "'a' is a symbolic link"),
    Hostile("symlink-inside", plain(GOOD, link(b"a", b"good")), "'a' is a symbolic link"),
    Hostile("symlink-long", plain(long_name(b"../" * 60 + b"x", b"K"), link(b"a", b"")), "'a' is a symbolic link"),
    Hostile("symlink-pax", plain(pax((b"linkpath", b"/etc/passwd")), link(b"a", b"b")), "'a' is a symbolic link"),
    Hostile("symlink-chain", climb, "is a symbolic link"),
    Hostile("symlink-to-itself", plain(link(b"a", b"a")), "'a' is a symbolic link"),
    Hostile("hard-link-outside", plain(link(b"a", b"/etc/passwd", b"1")), "'a' is a hard link"),
    Hostile("hard-link-inside", plain(GOOD, link(b"a", b"good", b"1")), "'a' is a hard link"),
    Hostile(
        "hard-link-chain", plain(*(link(b"%d" % n, b"%d" % (n + 1), b"1") for n in range(9))), "'0' is a hard link"
    ),
    Hostile("hard-link-with-content", plain(file(b"a", kind=b"1")), "'a' is a hard link"),
)
KINDS = (
    Hostile("character-device", plain(header(b"a", kind=b"3")), "'a' is a device"),
    Hostile("block-device", plain(header(b"a", kind=b"4")), "'a' is a device"),
    Hostile("named-pipe", plain(GOOD, header(b"a", kind=b"6")), "'a' is a named pipe"),
    Hostile("contiguous", plain(file(b"a", kind=b"7")), "'a' is of the unknown type b'7'"),
    Hostile("unknown-kind", plain(file(b"a", kind=b"Z")), "'a' is of the unknown type b'Z'"),
    Hostile("multi-volume", plain(file(b"a", kind=b"M")), "'a' is of the unknown type b'M'"),
    Hostile("volume-label", plain(file(b"a", kind=b"V")), "'a' is of the unknown type b'V'"),
    Hostile("sparse-old", plain(file(b"a", kind=b"S")), "'a' is a sparse file"),
    Hostile(
        "sparse-pax", plain(pax((b"GNU.sparse.map", b"0,1"), (b"GNU.sparse.size", b"1")), file(b"a")), "a sparse file"
    ),
    Hostile(
        "sparse-pax-1",
        plain(
            pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"%d" % 2**60)),
            file(b"a", padded(b"1\n0\n4\n") + b"data"),
        ),
        "'a' is a sparse file",
    ),
)
NAMES = (
    Hostile("absolute", aimed(lambda out: file(out + b"/x")), "/x' is an absolute path"),
    Hostile("absolute-two-slashes", plain(file(b"//x")), "'//x' is an absolute path"),
    Hostile("absolute-prefix", plain(file(b"x", prefix=b"/tmp")), "'/tmp/x' is an absolute path"),
    Hostile("absolute-pax", aimed(lambda out: pax((b"path", out + b"/x")) + file(b"a")), "/x' is an absolute path"),
    Hostile("absolute-gnu", aimed(lambda out: long_name(out + b"/x") + file(b"a")), "/x' is an absolute path"),
    Hostile("absolute-folder", aimed(lambda out: folder(out + b"/d")), "/d' is an absolute path"),
    Hostile("up", plain(file(b"../x")), "'../x' leads out of the folder"),
    Hostile("up-after-dot", plain(file(b"./../x")), "'./../x' leads out of the folder"),
    Hostile("up-inside", plain(file(b"a/../../../x")), "'a/../../../x' leads out of the folder"),
    Hostile("up-pax", plain(pax((b"path", b"a/../../x")), file(b"a")), "'a/../../x' leads out of the folder"),
    Hostile("up-gnu", plain(GOOD, long_name(b"a/../../x"), file(b"a")), "'a/../../x' leads out of the folder"),
    Hostile("up-folder", plain(folder(b"..")), "'..' leads out of the folder"),
    Hostile("backslash", plain(file(b"..\\x")), "has a backslash in its name"),
    Hostile("share", plain(file(b"\\\\host\\share\\x")), "has a backslash in its name"),
    Hostile("drive", plain(file(b"C:x")), "'C:x' has a colon in its name"),
    Hostile("stream", plain(file(b"a:hidden")), "'a:hidden' has a colon in its name"),
    Hostile("device-name", plain(file(b"sub/Aux.json")), "'sub/Aux.json' has the name of a device"),
    Hostile("port-name", plain(file(b"COM1")), "'COM1' has the name of a device"),
    Hostile("newline", plain(file(b"a\nb")), r"'a\nb' has invisible characters"),
    Hostile("escape", plain(file(b"a\x1b[2Jb")), r"'a\x1b[2Jb' has invisible characters"),
    Hostile("null", plain(pax((b"path", b"a\0b")), file(b"a")), r"'a\x00b' has invisible characters"),
    Hostile("right-to-left", plain(file("a\u202egnp.exe".encode())), r"'a\u202egnp.exe' has invisible characters"),
    Hostile("not-utf-8", plain(file(b"a\xff")), r"'a\udcff' has invisible characters"),
    Hostile("empty", plain(file(b"")), "'' has an empty part"),
    Hostile("empty-part", plain(file(b"a//b")), "'a//b' has an empty part"),
    Hostile("dot-part", plain(file(b"a/./b")), "'a/./b' has a part that ends with a dot"),
    Hostile("dot-file", plain(file(b".")), "'.' has a part that ends with a dot"),
    Hostile("final-dot", plain(file(b"a./b")), "'a./b' has a part that ends with a dot"),
    Hostile("final-space", plain(file(b"a /b")), "'a /b' has a part that ends with a dot or a space"),
    Hostile("long", plain(long_name(b"n" * 256), file(b"n")), "has a name of over 255 bytes"),
    Hostile("long-in-bytes", plain(pax((b"path", "é".encode() * 128)), file(b"n")), "has a name of over 255 bytes"),
    Hostile("deep", plain(long_name(b"d/" * 5000 + b"x"), file(b"n")), "has a name of over 255 bytes"),
)
TWICE = (
    Hostile(
        "same-name",
        plain(file(b"a", b"good"), file(b"a", b"evil")),
        "'a' has the name of 'a', which is there as a file",
    ),
    Hostile("same-name-dot", plain(file(b"a"), file(b"./a")), "'./a' has the name of 'a', which is there as a file"),
    Hostile("case", plain(file(b"model.json"), file(b"Model.JSON")), "'Model.JSON' has the name of 'model.json'"),
    Hostile("letter-forms", plain(file("é".encode()), file("e\u0301".encode())), "has the name of 'é'"),
    Hostile("sharp-s", plain(file("ß".encode()), file(b"SS")), "'SS' has the name of 'ß'"),
    Hostile("folder-over-file", plain(file(b"a"), folder(b"a")), "'a' has the name of 'a', which is there as a file"),
    Hostile("file-over-folder", plain(folder(b"a"), file(b"a")), "'a' has the name of 'a', which is there as a folder"),
    Hostile("file-over-implied-folder", plain(file(b"a/b"), file(b"a")), "'a' has the name of 'a', which is there as"),
    Hostile("below-a-file", plain(file(b"a"), file(b"a/b")), "'a/b' lies below 'a', which is there as a file"),
    Hostile(
        "folder-case", plain(file(b"a/x"), file(b"A/y")), "'A/y' lies below 'a', which is there as a implied folder"
    ),
    Hostile("folder-twice", plain(folder(b"a"), folder(b"a")), "'a' has the name of 'a', which is there as a folder"),
)
SIZES = (
    Hostile("huge", plain(header(b"a", 7 * GIB)), "'a' has 7,516,192,768 bytes, at most 4,294,967,296 are taken"),
    Hostile(
        "huge-binary", plain(header(b"a", raw_size=base256(2**80))), "'a' has 1,208,925,819,614,629,174,706,176 bytes"
    ),
    Hostile("negative", plain(GOOD, header(b"a", raw_size=base256(-1024))), "'a' has -1,024 bytes"),
    Hostile("negative-back-to-the-start", plain(GOOD, header(b"a", raw_size=base256(-1536))), "'a' has -1,536 bytes"),
    Hostile("pax-size", plain(pax((b"size", b"512")), file(b"a")), "'a' has an extended header that changes its size"),
    Hostile(
        "pax-size-negative",
        plain(pax((b"size", b"-512")), file(b"a")),
        "'a' has an extended header that changes its size",
    ),
    Hostile(
        "global-size",
        plain(pax((b"size", b"9"), kind=b"g"), file(b"a")),
        "'a' has an extended header that changes its size",
    ),
    Hostile(
        "global-path",
        plain(pax((b"path", b"b"), kind=b"g"), file(b"a")),
        "'b' has an extended header that changes its path",
    ),
    Hostile(
        "pax-charset",
        plain(pax((b"hdrcharset", b"BINARY")), file(b"a")),
        "'a' has an extended header that changes its hdr",
    ),
    Hostile(
        "pax-linkpath", plain(pax((b"linkpath", b"/x")), file(b"a")), "'a' has an extended header that changes its link"
    ),
    Hostile(
        "too-many", plain(*(file(b"%d" % n, b"") for n in range(10_001))), "'10000' is member 10,001, at most 10,000"
    ),
)
DAMAGE = (
    Hostile(
        "pax-huge", plain(GOOD, header(b"x", 2**33 - 1, b"x"), file(b"a")), "cut off after 'good' (a header of 85899"
    ),
    Hostile(
        "gnu-huge", plain(GOOD, header(b"x", 2**33 - 1, b"L"), file(b"a")), "cut off after 'good' (a header of 85899"
    ),
    Hostile("pax-negative", plain(GOOD, header(b"x", kind=b"x", raw_size=base256(-512))), "cut off after 'good'"),
    Hostile("pax-no-length", plain(GOOD, file(b"x", b"0 path=b\n", b"x"), file(b"a")), "cut off after 'good'"),
    # Python's versions differ in what they make of it.
    Hostile("pax-wrong-length", plain(GOOD, file(b"x", b"99 path=b\n", b"x"), file(b"a")), "given.tar"),
    Hostile("pax-chain", plain(GOOD, pax((b"comment", b"c")) * 5000, file(b"a")), "cut off after 'good'"),
    Hostile("gnu-chain", plain(GOOD, long_name(b"n") * 5000, file(b"a")), "cut off after 'good'"),
    Hostile("cut-in-content", lambda outside: (GOOD + file(b"a", bytes(5000)))[:-600], "cut off after 'a'"),
    Hostile("cut-in-header", lambda outside: (GOOD + file(b"a"))[:1100], "cut off after 'good'"),
    Hostile("cut-before-the-end-mark", lambda outside: GOOD + file(b"a"), "cut off after 'a'"),
    Hostile("spoilt-header", spoilt, "cut off after 'a'"),
    Hostile("nothing", lambda outside: b"", "no whole, uncompressed tar archive"),
    Hostile("noise", lambda outside: bytes(range(1, 256)) * 9, "no whole, uncompressed tar archive"),
    Hostile("gzip", gzipped, "no whole, uncompressed tar archive"),
    Hostile("zip", zipped, "no whole, uncompressed tar archive"),
)
HOSTILE = (*LINKS, *KINDS, *NAMES, *TWICE, *SIZES, *DAMAGE)
