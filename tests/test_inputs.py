"""Inputs: what a user may pass, in which order, under which names, and what goes wrong in words."""

import io
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import Request

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from eyas import fetch as fetch_module
from eyas.errors import InputError
from eyas.fetch import fetch, public_name
from eyas.inputs import iter_inputs
from eyas.vision import pdf as pdf_module

RED = (255, 0, 0)


def picture(path: Path, colour: tuple[int, int, int] = RED, size: tuple[int, int] = (6, 4)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def pdf(path: Path, pages: int = 2) -> Path:
    images = [Image.new("RGB", (40, 20), (0, 60 * n, 255)) for n in range(pages)]
    images[0].save(path, "PDF", save_all=True, append_images=images[1:], resolution=72)
    return path


def names_of(value: object) -> list[str]:
    return [item.output_name for item in iter_inputs(value)]


def test_a_single_path_as_text_or_path(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.b.png")
    for value in (path, str(path), {"img": path}, {"image": str(path)}, {"input": path}):
        (item,) = iter_inputs(value)
        assert (item.index, item.input_path, item.page_index, item.output_name) == (0, str(path), None, "a.b")
        assert item.name == str(path)
        image = item.load()
        assert image.shape == (4, 6, 3) and image[0, 0].tolist() == list(RED)


def test_a_folder_is_searched_sorted_and_hidden_files_are_skipped(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "sub/a.jpg", "sub/deep/z.webp", ".hidden.png", ".git/x.png", "c.TIF"):
        picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    items = list(iter_inputs(tmp_path))
    assert [i.output_name for i in items] == ["a", "b", "c", "sub/a", "sub/deep/z"]
    assert [i.index for i in items] == list(range(5))
    assert items[3].input_path == str(tmp_path / "sub/a.jpg")
    assert all(item.load().shape == (4, 6, 3) for item in items)


def test_names_in_one_run_never_collide(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "A.bmp", "a_png.jpg", "other/a.jpg"):
        picture(tmp_path / name)
    assert names_of(tmp_path) == ["A", "a_jpg", "a_png", "a_png_jpg", "other/a"]
    listed = [tmp_path / "a.jpg", tmp_path / "other/a.jpg", tmp_path / "a.jpg"]
    assert names_of(listed) == ["a", "a_2", "a_3"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("aAb_2.é?", min_size=1, max_size=4), min_size=1, max_size=12))
def test_any_list_gets_different_names(stems: list[str]) -> None:
    values = [f"/nowhere/{stem}.png" for stem in stems] + [np.zeros((2, 2), np.uint8)] * 3
    names = [name.casefold() for name in names_of(values)]
    assert len(set(names)) == len(names) == len(stems) + 3
    assert names == [n.casefold() for n in names_of(values[: len(stems)])] + names[len(stems) :]


def test_arrays_are_bgr(tmp_path: Path) -> None:
    bgr = np.zeros((3, 5, 3), np.uint8)
    bgr[..., 2] = 255  # red in BGR
    bgra = np.dstack((bgr, np.full((3, 5), 255, np.uint8)))
    grey = np.full((3, 5), 7, np.uint8)
    items = list(iter_inputs([bgr, bgra, grey, grey[..., None], bgr[:, ::-1]]))
    got = [item.load() for item in items]
    assert [image.shape for image in got] == [(3, 5, 3)] * 5
    assert all((got[i] == RED).all() for i in (0, 1, 4)) and (got[2] == 7).all() and (got[3] == 7).all()
    assert all(image.flags.c_contiguous for image in got)
    got[0][:] = 1
    assert bgr[0, 0].tolist() == [0, 0, 255]  # the caller's array is not shared
    assert [item.input_path for item in items] == [None] * 5
    assert items[1].name == "input[1] (array [3, 5, 4])"


def test_pil_images_of_any_mode() -> None:
    modes = ["RGB", "L", "RGBA", "P", "CMYK", "1", "I;16"]
    shapes = [item.load().shape for item in iter_inputs([Image.new(mode, (6, 4)) for mode in modes])]
    assert shapes == [(4, 6, 3)] * len(modes)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 4, 3), np.float32), r"an array of float32 \[4, 4, 3\].*astype\('uint8'\)"),
        (np.zeros((2, 4, 4, 3), np.uint8), r"uint8 \[2, 4, 4, 3\].*list of arrays"),
        (np.zeros((3, 40, 40), np.uint8), r"uint8 \[3, 40, 40\].*transpose\(1, 2, 0\)"),
        (np.zeros((0, 4, 3), np.uint8), r"uint8 \[0, 4, 3\]"),
        (np.zeros((4, 4, 2), np.uint8), r"uint8 \[4, 4, 2\]"),
        (np.array(["a"]), r"an array of <U1 \[1\]"),
    ],
)
def test_arrays_that_do_not_fit_say_what_came(array: np.ndarray, words: str) -> None:
    (item,) = iter_inputs(array)
    with pytest.raises(InputError, match=words):
        item.load()


def test_nested_lists_and_iterators(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    array = np.zeros((2, 2, 3), np.uint8)
    items = list(iter_inputs(value for value in (path, {"img": [array, {"img": path}]}, (path,))))
    assert [item.input_path for item in items] == [str(path), None, str(path), str(path)]
    assert names_of([]) == []


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (5, "it is a int. Expected a path"),
        (None, "it is a NoneType"),
        (b"bytes", "it is a bytes"),
        ("", "the path is ''"),
        ({"img": "a", "b": 1}, "it holds 'img', 'b'"),
        ({"picture": "a"}, "'img', 'image' or 'input'; it holds 'picture'"),
        ({}, "it holds nothing"),
        ("a\0b", "cannot use"),
        ("x" * 5000, "cannot use"),
        ("ftp://host/x.png", "begins with http:// or https://"),
    ],
)
def test_a_wrong_top_level_input_raises_in_words(value: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        for item in iter_inputs(value):
            item.load()


def test_a_missing_path_is_named_with_its_neighbour(tmp_path: Path) -> None:
    picture(tmp_path / "street_01.jpg")
    with pytest.raises(InputError, match=r"street_1\.jpg'. Did you mean .*street_01\.jpg"):
        next(iter_inputs(tmp_path / "street_1.jpg"))
    with pytest.raises(InputError, match=r"The folder '.*nowhere' is missing"):
        next(iter_inputs(tmp_path / "nowhere/deep/a.jpg"))
    with pytest.raises(InputError, match=r"no file or folder '[^']*zzz'\.$"):
        next(iter_inputs(tmp_path / "zzz"))


def test_an_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"no image under the folder .*\.jpg.*\.pdf"):
        next(iter_inputs(tmp_path))


def test_bad_entries_of_a_list_do_not_stop_the_rest(tmp_path: Path) -> None:
    good = picture(tmp_path / "good.png")
    (tmp_path / "empty").mkdir()
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 cut")
    (tmp_path / "locked.pdf").write_bytes(b"%PDF-1.4 nothing")
    values = [tmp_path / "gone.png", good, tmp_path / "empty", 7, broken, tmp_path / "locked.pdf", good]
    items = list(iter_inputs(values))
    assert [item.index for item in items] == list(range(7))
    reasons = []
    for item in items:
        try:
            assert item.load().shape == (4, 6, 3)
            reasons.append("")
        except InputError as error:
            reasons.append(str(error))
    assert [bool(reason) for reason in reasons] == [True, False, True, True, True, True, False]
    assert "gone.png" in reasons[0] and "no image" in reasons[2] and "it is a int" in reasons[3]
    assert "broken.jpg" in reasons[4] and "locked.pdf" in reasons[5] and "PDF" in reasons[5]
    assert items[0].input_path == str(tmp_path / "gone.png") and items[3].name == "input[3]"


def test_a_bad_file_in_a_folder_becomes_an_item(tmp_path: Path) -> None:
    picture(tmp_path / "b.png")
    (tmp_path / "a.tif").write_bytes(b"II*\0 broken")
    (tmp_path / "c.pdf").write_bytes(b"")
    bad, good, worse = iter_inputs(tmp_path)
    assert good.load().shape == (4, 6, 3)
    for item, name in ((bad, "a.tif"), (worse, "c.pdf")):
        with pytest.raises(InputError, match=name):
            item.load()


def test_pdf_pages(tmp_path: Path) -> None:
    path = pdf(tmp_path / "doc.pdf", 3)
    items = list(iter_inputs(path))
    assert [(i.page_index, i.output_name) for i in items] == [(0, "doc_0"), (1, "doc_1"), (2, "doc_2")]
    assert items[1].name == f"{path} page 1" and items[1].input_path == str(path)
    for page, item in enumerate(items):
        image = item.load()
        assert image.shape == (40, 80, 3)  # 72 -> 144 dots an inch
        assert np.abs(image[20, 40].astype(int) - (0, 60 * page, 255)).max() <= 6
    assert [i.page_index for i in iter_inputs(tmp_path)] == [0, 1, 2]
    assert [i.page_index for i in iter_inputs(pdf(tmp_path / "one.pdf", 1))] == [0]


def test_pdf_pages_may_be_loaded_in_threads(tmp_path: Path) -> None:
    items = list(iter_inputs(pdf(tmp_path / "doc.pdf", 4))) * 6
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(lambda item: item.load(), items))
    for item, image in zip(items, images, strict=True):
        assert abs(int(image[20, 40, 1]) - 60 * item.page_index) <= 6


def test_pdfium_is_only_used_under_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[bool] = []

    class Lock:
        def __enter__(self) -> None:
            held.append(True)

        def __exit__(self, *_: object) -> None:
            held.append(False)

    monkeypatch.setattr(pdf_module, "_PDFIUM", Lock())
    for item in iter_inputs(pdf(tmp_path / "doc.pdf", 2)):
        item.load()
    assert held == [True, False] * 3  # the page count and two pages


def test_a_huge_pdf_page_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "poster.pdf"
    path.write_bytes(pdf(tmp_path / "small.pdf", 1).read_bytes().replace(b"[ 0 0 40.0 20.0 ]", b"[ 0 0 14000 14000 ]"))
    (item,) = iter_inputs(path)
    with pytest.raises(InputError, match=r"poster\.pdf: page 0 would be 28,001 x 28,001"):
        item.load()


def test_tiff_pages(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    stack = np.arange(3, dtype=np.uint8)[:, None, None] * np.full((1, 5, 7), 50, np.uint8)
    tifffile.imwrite(path, stack, photometric="minisblack")
    items = list(iter_inputs(path))
    assert [(i.page_index, i.output_name) for i in items] == [(0, "stack_0"), (1, "stack_1"), (2, "stack_2")]
    assert [item.load()[0, 0, 0] for item in items] == [0, 50, 100]
    single = tmp_path / "single.tif"
    tifffile.imwrite(single, np.full((5, 7), 9, np.uint8))
    (item,) = iter_inputs(single)
    assert item.page_index is None and item.output_name == "single" and item.load().shape == (5, 7, 3)


def test_listing_reads_no_picture_and_keeps_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = picture(tmp_path / "000000.png")
    for number in range(1, 3000):
        os.link(first, tmp_path / f"{number:06}.png")
    opened: list[Path] = []
    monkeypatch.setattr(Path, "open", lambda self, *_: opened.append(self))
    assert sum(1 for _ in iter_inputs(tmp_path)) == 3000
    assert opened == []


def test_a_path_that_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (item,) = iter_inputs(tmp_path / "pipe.png")
    with pytest.raises(InputError, match="not a regular file"):
        item.load()


class Site(BaseHTTPRequestHandler):
    """A tiny site; `files` maps a path to (status, headers, body)."""

    files: dict[str, tuple[int, dict[str, str], bytes]]
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        status, headers, body = self.files.get(self.path, (404, {}, b"nothing"))
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[str, type[Site]]]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "EYAS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    handler = type("ThisSite", (Site,), {"files": {}, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_urls(site: tuple[str, type[Site]], tmp_path: Path) -> None:
    root, handler = site
    done, data = cv2.imencode(".png", np.full((4, 6, 3), (0, 0, 255), np.uint8))
    assert done
    handler.files["/dir/my%20photo.png?key=secret"] = (200, {}, bytes(data))
    handler.files["/doc.pdf"] = (200, {}, pdf(tmp_path / "d.pdf", 2).read_bytes())
    url = f"{root}/dir/my%20photo.png?key=secret"
    (item,) = iter_inputs(url)
    assert item.input_path == url and item.output_name == "my photo" and "secret" not in item.name
    assert handler.asked == []  # nothing is fetched before load
    assert (item.load() == RED).all()
    pages = list(iter_inputs([f"{root}/doc.pdf"]))
    assert [(p.page_index, p.output_name) for p in pages] == [(0, "doc_0"), (1, "doc_1")]
    assert pages[1].load().shape == (40, 80, 3) and handler.asked.count("/doc.pdf") == 1


def test_urls_that_fail_say_why(site: tuple[str, type[Site]], monkeypatch: pytest.MonkeyPatch) -> None:
    root, handler = site
    handler.files["/file"] = (302, {"Location": "file:///etc/passwd"}, b"")
    handler.files["/ftp"] = (302, {"Location": "ftp://127.0.0.1/x"}, b"")
    handler.files["/loop"] = (302, {"Location": "/loop"}, b"")
    handler.files["/moved"] = (302, {"Location": "/big"}, b"")
    handler.files["/big"] = (200, {}, b"x" * 200_000)
    handler.files["/short"] = (200, {"Content-Length": "500"}, b"x")
    assert len(fetch(f"{root}/moved")) == 200_000
    for path, words in (
        ("/gone.png?token=1", r"http://127\.0\.0\.1:\d+/gone\.png: the server answered 404"),
        ("/file", "the server answered 302.*not allowed"),
        ("/ftp", "redirects to ftp://"),
        ("/loop", "cannot download"),
        ("/short", "ended 499 bytes too early"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            fetch(root + path)
        assert "token" not in str(caught.value)
    monkeypatch.setattr(fetch_module, "MAX_BYTES", 2**16)
    with pytest.raises(InputError, match="larger than"):
        fetch(f"{root}/big")
    monkeypatch.setattr(fetch_module, "TOTAL_SECONDS", -1.0)
    with pytest.raises(InputError, match="not done after"):
        fetch(f"{root}/big")


@pytest.mark.parametrize(
    ("start", "target", "allowed"),
    [("https", "https", True), ("http", "https", True), ("http", "http", True), ("https", "http", False)],
)
def test_a_redirect_never_leaves_encryption(start: str, target: str, allowed: bool) -> None:
    request = Request(f"{start}://a.example/x")
    follow = partial(
        fetch_module._Redirects().redirect_request,
        *(request, io.BytesIO(), 302, "Found", HTTPMessage(), f"{target}://b.example/y"),
    )
    if allowed:
        following = follow()
        assert following is not None and following.full_url == f"{target}://b.example/y"
    else:
        with pytest.raises(InputError, match="redirects to http://b"):
            follow()


def test_offline_contacts_nobody(site: tuple[str, type[Site]], monkeypatch: pytest.MonkeyPatch) -> None:
    root, handler = site
    monkeypatch.setenv("EYAS_OFFLINE", "1")
    (item,) = iter_inputs(f"{root}/a.png")
    with pytest.raises(InputError, match="EYAS_OFFLINE is set"):
        item.load()
    assert handler.asked == []


def test_a_refused_connection_is_an_input_error(site: tuple[str, type[Site]]) -> None:
    with pytest.raises(InputError, match=r"cannot download http://127\.0\.0\.1:1/a\.png"):
        fetch("http://user:password@127.0.0.1:1/a.png")


def test_public_name_holds_no_secret() -> None:
    assert public_name("https://user:pw@host:8/a/b.png?sig=1#x") == "https://host:8/a/b.png"
    assert public_name("http://[bad") == "the URL"
    with pytest.raises(InputError, match="not a URL"):
        fetch("http://[bad")
