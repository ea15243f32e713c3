"""Decoding: every odd kind of picture gives its known pixels or an InputError that names the file."""

import io
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from eyas.errors import InputError
from eyas.vision.image import decode_image, encode_image, image_frames, image_size, on_white, read_image, to_8bit

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quarters(height: int = 24, width: int = 40) -> np.ndarray:
    """Upright: red | green over blue | white, so that each turning and mirroring is told apart."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2], image[: height // 2, width // 2 :] = RED, GREEN
    image[height // 2 :, : width // 2], image[height // 2 :, width // 2 :] = BLUE, WHITE
    return image


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


# How a camera stores an upright picture under each EXIF orientation (EXIF 2.3, tag 0x0112).
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_all_orientations_come_out_upright(tmp_path: Path, kind: str, orientation: int) -> None:
    upright = quarters()
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    path = tmp_path / "picture"
    path.write_bytes(encoded(stored, kind, exif=exif, **options))
    got = read_image(path)
    assert got.shape == (24, 40, 3) and got.flags.c_contiguous and got.flags.writeable
    assert np.abs(got.astype(int) - upright).max() <= 3
    assert image_size(path) == (24, 40)


def test_a_wrong_orientation_value_is_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 42
    assert decode_image(encoded(Image.fromarray(quarters()), "PNG", exif=exif), "x").shape == (24, 40, 3)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's own notice
def test_damaged_exif_does_not_spoil_the_picture() -> None:
    data = encoded(Image.fromarray(quarters()), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert decode_image(data, "camera.jpg").shape == (24, 40, 3)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP", "JPEG2000", "AVIF"])
def test_kinds_are_told_by_content(kind: str) -> None:
    options = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100, "subsampling": "4:4:4"}}.get(kind, {})
    got = decode_image(encoded(Image.fromarray(quarters()), kind, **options), "name-without-suffix")
    assert got.shape == (24, 40, 3)
    assert np.abs(got.astype(int) - quarters()).max() <= (3 if kind == "AVIF" else 0)


@pytest.mark.parametrize("suffix", [".ras", ".sr", ".pbm", ".pgm", ".pnm", ".dib"])
def test_opencv_formats_of_the_suffix_list(suffix: str) -> None:
    grey = suffix in (".pbm", ".pgm")
    picture = np.where(quarters()[..., 0] > 0, 255, 0).astype(np.uint8) if grey else quarters()[..., ::-1]
    done, data = cv2.imencode(suffix, np.ascontiguousarray(picture))
    assert done
    expected = np.repeat(picture[..., None], 3, 2) if grey else quarters()
    np.testing.assert_array_equal(decode_image(bytes(data), f"x{suffix}"), expected)


def test_alpha_is_composited_on_white() -> None:
    rgba = np.zeros((2, 3, 4), np.uint8)
    rgba[..., 0], rgba[..., 3] = 200, [[0, 128, 255]] * 2
    got = decode_image(encoded(Image.fromarray(rgba), "PNG"), "x")
    assert got[0].tolist() == [[255, 255, 255], [227, 127, 127], [200, 0, 0]]
    grey = Image.fromarray(np.dstack((np.full((2, 2), 10, np.uint8), np.zeros((2, 2), np.uint8))), "LA")
    assert decode_image(encoded(grey, "PNG"), "x").min() == 255


@given(st.integers(0, 255), st.integers(0, 255))
def test_on_white_is_the_rounded_mix(colour: int, alpha: int) -> None:
    pixel = np.array([[[colour, colour, colour, alpha]]], np.uint8)
    exact = colour * alpha / 255 + 255 * (1 - alpha / 255)
    assert abs(int(on_white(pixel)[0, 0, 0]) - exact) <= 0.5


def test_palette_with_a_transparent_colour() -> None:
    palette = Image.fromarray(quarters()).convert("P", palette=Image.Palette.ADAPTIVE)
    index = palette.getpixel((0, 0))
    got = decode_image(encoded(palette, "PNG", transparency=index), "x")
    assert got[0, 0].tolist() == [255, 255, 255] and got[0, -1].tolist() == [0, 255, 0]


def test_one_bit_cmyk_grey_and_16_bit_colour() -> None:
    upright = Image.fromarray(quarters())
    one_bit = decode_image(encoded(upright.convert("1", dither=Image.Dither.NONE), "PNG"), "x")
    assert set(np.unique(one_bit)) == {0, 255}
    cmyk = decode_image(encoded(upright.convert("CMYK"), "JPEG", quality=100), "x")
    assert np.abs(cmyk.astype(int) - quarters()).max() <= 12
    grey = decode_image(encoded(upright.convert("L"), "JPEG", quality=100), "x")
    assert grey.shape == (24, 40, 3) and (grey[..., 0] == grey[..., 2]).all()
    done, deep = cv2.imencode(".png", quarters()[..., ::-1].astype(np.uint16) * 257)
    assert done
    np.testing.assert_array_equal(decode_image(bytes(deep), "x"), quarters())


def test_16_bit_grey_takes_the_high_byte_when_the_range_is_used() -> None:
    ramp = np.linspace(0, 65535, 4096).astype(np.uint16).reshape(64, 64)
    np.testing.assert_array_equal(to_8bit(ramp, "x"), ramp >> 8)
    done, data = cv2.imencode(".png", ramp)
    assert done
    np.testing.assert_array_equal(decode_image(bytes(data), "x")[..., 1], ramp >> 8)


def test_16_bit_grey_of_a_narrow_range_is_stretched() -> None:
    thermal = np.full((100, 100), 21_000, np.uint16)
    thermal[40:60] = 21_500  # a raw thermal frame: >> 8 would give 82 and 83
    assert set(np.unique(to_8bit(thermal, "x"))) == {0, 255}
    speck = np.full((100, 100), 300, np.uint16)
    speck[5, 5:8] = 900  # fewer than a thousandth of the pixels, yet it must be seen
    got = to_8bit(speck, "x")
    assert got[5, 6] == 255 and got[0, 0] == 0
    assert (to_8bit(np.full((4, 4), 51_200, np.uint16), "x") == 200).all()


def test_12_bit_microscopy_is_visible(shared_data: Path) -> None:
    files = sorted((shared_data / "formats/tiff16").glob("*.tif"))
    assert len(files) == 3
    for path in files:
        got = read_image(path)
        assert got.shape == (520, 696, 3) and image_size(path) == (520, 696)
        # The nuclei cover a few per cent; the background stays dark. A plain >> 8 would put all below 16.
        assert np.median(got) < 20 and np.percentile(got, 99) > 150


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0.0, 0.5, 1.0]], [[0, 128, 255]]),
        ([[0.0, 100.0, 255.0]], [[0, 100, 255]]),
        ([[-10.0, 0.0, 10.0]], [[0, 128, 255]]),
        ([[20.0, 27.5, 35.0]], [[0, 128, 255]]),  # degrees Celsius
        ([[0.0, np.nan, 1.0]], [[0, 0, 255]]),
    ],
)
def test_float_tiff(values: list[list[float]], expected: list[list[int]]) -> None:
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.array(values, np.float32))
    got = decode_image(stream.getvalue(), "x.tif")[..., 0]
    assert np.abs(got.astype(int) - expected).max() <= 1


def test_float_without_a_finite_value_is_refused() -> None:
    with pytest.raises(InputError, match=r"nan\.tif.*no finite value"):
        stream = io.BytesIO()
        tifffile.imwrite(stream, np.full((2, 2), np.nan, np.float32))
        decode_image(stream.getvalue(), "nan.tif")


def test_int32_tiff() -> None:
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.array([[0, 100, 255]], np.int32))
    assert decode_image(stream.getvalue(), "x.tif")[0, :, 0].tolist() == [0, 100, 255]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 32_768), (1, 100_000), (100_000, 1)])
def test_extreme_shapes_survive(tmp_path: Path, height: int, width: int) -> None:
    path = tmp_path / "long.png"
    Image.new("RGB", (width, height), BLUE).save(path)
    assert image_size(path) == (height, width)
    assert read_image(path).shape == (height, width, 3)


@pytest.mark.parametrize(("width", "height"), [(100_001, 1), (20_000, 20_000)])
def test_too_large_is_refused_from_the_header(width: int, height: int) -> None:
    # A PNG header alone: had a pixel been asked for, the message would be that of a broken file.
    header = encoded(Image.new("1", (1, 1)), "PNG")
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    chunk = b"IHDR" + size + header[24:29]
    forged = header[:12] + chunk + zlib.crc32(chunk).to_bytes(4, "big") + header[33:]
    with pytest.raises(InputError, match=rf"bomb\.png: it is {width:,} x {height:,} pixels"):
        decode_image(forged, "bomb.png")


def test_images_above_pillows_own_limit_are_read_without_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "large.png"  # 100 Mpixel: Pillow would warn above 89
    Image.new("1", (10_000, 10_000)).save(path)
    assert image_size(path) == (10_000, 10_000)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello, this is text", "not an image"),
        (b"%PDF-1.4 something", "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "no reader for HEIF"),
        (b"\x89PNG\r\n\x1a\n", "broken or cut"),
    ],
)
def test_what_is_no_image_is_named(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=rf"thing\.bin.*{reason}"):
        decode_image(data, "thing.bin")
    path = tmp_path / "thing.bin"
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"thing\.bin.*{reason}"):
        read_image(path)
    with pytest.raises(InputError, match=rf"thing\.bin.*{reason}"):
        image_size(path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_cut_file_is_refused_not_filled_with_grey(kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(InputError, match=r"cut\.img"):
        decode_image(data[: int(len(data) * share)], "cut.img")


def test_folders_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it is a folder"):
        read_image(tmp_path)
    with pytest.raises(InputError, match=r"gone\.png: it is missing"):
        read_image(tmp_path / "gone.png")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"]), st.data())
def test_a_damaged_file_gives_a_picture_or_an_input_error(kind: str, data: st.DataObject) -> None:
    whole = bytearray(encoded(Image.fromarray(quarters()), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        got = decode_image(bytes(whole), "damaged")
    except InputError as error:
        assert "damaged" in str(error)
    else:
        assert got.dtype == np.uint8 and got.ndim == 3 and got.shape[2] == 3


def test_tiff_pages_without_overviews(tmp_path: Path) -> None:
    path = tmp_path / "pages.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(np.full((8, 8), 10, np.uint8))
        writer.write(np.full((4, 4), 99, np.uint8), subfiletype=1)  # a reduced copy of the first page
        writer.write(np.full((8, 8), 20, np.uint8))
    assert image_frames(path, "pages.tif") == (0, 2)
    assert image_frames(encoded(Image.fromarray(quarters()), "PNG"), "x") == (0,)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp", ".tif", ".ppm", ".jpg"])
def test_encoding_keeps_the_pixels(suffix: str) -> None:
    got = decode_image(encode_image(quarters(), suffix), "x")
    assert np.abs(got.astype(int) - quarters()).max() <= {".jpg": 12, ".webp": 0}.get(suffix, 0)


def test_real_geotiff_and_thermal_jpeg(shared_data: Path) -> None:
    geotiff = shared_data / "formats/voc_deepforest_trees/2018_SJER_3_252000_4107000_image_477.tif"
    assert read_image(geotiff).std() > 20
    thermal = next((shared_data / "hit_uav/images").glob("*.jpg"))
    np.testing.assert_array_equal(read_image(thermal), cv2.imread(str(thermal))[..., ::-1])
