"""Archives: the good ones give their files, the others nothing but a sentence."""

import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.hostile_tars import END, HOSTILE, Hostile, file, folder, header, pax

from eyas import archive, cache
from eyas.archive import unpack_tar
from eyas.errors import ModelError

Tree = dict[str, bytes | None]


def tree(root: Path) -> Tree:
    """Everything under `root`: relative path -> content, None for a folder."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes() if path.is_file() else None for path in root.rglob("*")
    }


def written(members: Tree, form: int, names: Callable[[str], str] = str) -> bytes:
    """A tar archive as other programs write it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(names(name))
            info.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
            info.size, info.mtime, info.mode = len(data or b""), 1763722800.5, 0o4777
            tar.addfile(info, io.BytesIO(data or b""))
    return stream.getvalue()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where an archive is unpacked: two folders deep, with something beside it that must stay as it is."""
    place = tmp_path / "cache" / "models"
    place.mkdir(parents=True)
    for path in (tmp_path / "outside" / "x", tmp_path / "x", place / "x"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("untouched")
    return place


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.name)
def test_hostile_archives_are_refused_by_name(place: Path, tmp_path: Path, hostile: Hostile) -> None:
    given = place / "given.tar"
    given.write_bytes(hostile.make(tmp_path / "outside"))
    before = tree(tmp_path)
    with pytest.raises(ModelError) as caught:
        unpack_tar(given, place / "target")
    assert hostile.says in str(caught.value)
    assert str(caught.value).startswith(str(given))
    assert "\x1b" not in str(caught.value) and "\n" not in str(caught.value)
    assert tree(tmp_path) == before


def test_there_are_enough_of_them() -> None:
    assert len({hostile.name for hostile in HOSTILE}) == len(HOSTILE) >= 50


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("names", [str, "./{}".format])
def test_archives_as_other_programs_write_them(place: Path, form: int, names: Callable[[str], str]) -> None:
    members: Tree = {
        "PP-X_infer": None,
        "PP-X_infer/inference.json": b"{}" * 700,
        "PP-X_infer/inference.pdiparams": bytes(100_000),
        "PP-X_infer/empty": b"",
        "PP-X_infer/sub/." + "n" * 90: b"a long name",  # its folder is not listed
        "PP-X_infer/.hidden": b"h",
        "PP-X_infer/日本 é.yml": "ü".encode(),
    }
    given = place / "given.tar"
    given.write_bytes(written(members, form, names))
    assert unpack_tar(given, place / "deep" / "target") == place / "deep" / "target"
    assert tree(place / "deep") == {
        "target": None, "target/PP-X_infer/sub": None, **{f"target/{name}": data for name, data in members.items()},
    }  # fmt: skip
    for path in (place / "deep" / "target").rglob("*"):
        assert not path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)
        assert path.is_dir() or not os.access(path, os.X_OK)


def test_harmless_extras(place: Path) -> None:
    """The folder itself as ".", comments and times in extended headers, folders in any order, more after the end."""
    members = [
        folder(b"./"), pax((b"comment", b"c"), kind=b"g"), pax((b"mtime", b"1.5"), (b"path", b"d/a")), file(b"a"),
        folder(b"d"), file(b"old", kind=b"\0"), folder(b"v7/"), header(b"v7b/", kind=b"\0"), END, file(b"../ignored"),
    ]  # fmt: skip
    (place / "given.tar").write_bytes(b"".join(members))
    unpack_tar(place / "given.tar", place / "target")
    assert tree(place / "target") == {"d": None, "d/a": b"data", "old": b"data", "v7": None, "v7b": None}


def test_limits_on_all_members_together(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = place / "given.tar"
    given.write_bytes(b"".join(file(b"%d" % n, bytes(1000)) for n in range(5)) + END)
    monkeypatch.setattr(archive, "MAX_TOTAL_BYTES", 5000)
    monkeypatch.setattr(archive, "MAX_MEMBERS", 5)
    monkeypatch.setattr(archive, "MAX_MEMBER_BYTES", 1000)
    unpack_tar(given, place / "target")
    for name, words in (
        ("MAX_TOTAL_BYTES", "'4' brings the whole to 5,000 bytes, at most 4,999 are taken"),
        ("MAX_MEMBERS", "'4' is member 5, at most 4 are taken"),
        ("MAX_MEMBER_BYTES", "'0' has 1,000 bytes, at most 999 are taken"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(archive, name, getattr(archive, name) - 1)
            with pytest.raises(ModelError, match=words):
                unpack_tar(given, place / "other")


def test_where_it_cannot_be_unpacked(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = place / "given.tar"
    with pytest.raises(ModelError, match=r"there is no archive .*given\.tar"):
        unpack_tar(given, place / "target")
    given.write_bytes(file(b"a") + END)
    with pytest.raises(ModelError, match=r"x exists already\. Expected a name that is free"):
        unpack_tar(given, place / "x")
    with pytest.raises(ModelError, match="cannot use .*EYAS_HOME"):
        unpack_tar(given, place / "x" / "target")
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 2**20}))
    with pytest.raises(ModelError, match="is too full: expected 268 MB free, there are 1"):
        unpack_tar(given, place / "target")
    os.mkfifo(place / "pipe.tar")
    with pytest.raises(ModelError, match="there is no archive"):
        unpack_tar(place / "pipe.tar", place / "target")


def test_a_disk_that_fills_up_leaves_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = place / "given.tar"
    given.write_bytes(file(b"a") + file(b"b") + END)
    before, write = tree(place), archive._write

    def fill(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
        write(tar, member, path)
        if member.name == "b":
            raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(archive, "_write", fill)
    with pytest.raises(ModelError, match=r"cannot use .*/b: No space left on device"):
        unpack_tar(given, place / "target")
    assert tree(place) == before


SEED = written({"m": None, "m/inference.json": b"{}", "m/é": bytes(600), "n" * 130: b"n"}, tarfile.PAX_FORMAT)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_change_of_an_archive_unpacks_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("fuzz")
    changed = bytearray(SEED)
    for _ in range(data.draw(st.integers(1, 4))):
        block = data.draw(st.integers(0, len(SEED) // 512 - 1))
        place = data.draw(st.sampled_from([0, 1, 50, 99, 124, 130, 135, 156, 157, 257, 263, 345]))
        changed[block * 512 + place] = data.draw(
            st.sampled_from([0, 46, 47, 48, 49, 50, 53, 55, 76, 103, 120, 128, 255])
        )
        if data.draw(st.booleans()):  # as one who knows the format would: with a right checksum
            start = block * 512
            changed[start + 148 : start + 156] = b" " * 8
            changed[start + 148 : start + 156] = b"%06o\0 " % sum(changed[start : start + 512])
    (root / "given.tar").write_bytes(changed)
    try:
        unpack_tar(root / "given.tar", root / "target")
    except ModelError:
        assert set(tree(root)) == {"given.tar"}
    assert {name.partition("/")[0] for name in tree(root)} <= {"given.tar", "target"}
    assert not any(path.is_symlink() for path in root.rglob("*"))
