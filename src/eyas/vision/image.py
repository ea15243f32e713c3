"""Encoded image in, upright uint8 RGB array out.

What a pixel means, whatever the file holds:
  orientation   EXIF orientation is applied (all eight), so boxes are in the frame a viewer shows.
  alpha         composited on white.
  CMYK, YCCK    Pillow's plain formula, no colour profile.
  16-bit        the high byte (>> 8). A single-channel image that spans less than an eighth of the range, as 12-bit
                microscopes and raw thermal cameras write, would come out flat: it is stretched, see `to_8bit`.
  float, int32  0…1 and 0…255 are taken as they are, anything else is stretched, see `to_8bit`.
  animation     the first frame. A multi-page TIFF: `frame` chooses, `image_frames` lists.
The kind of file is told by its first bytes, never by its name.
"""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from eyas.errors import InputError

log = logging.getLogger(__name__)

Source = Path | bytes
RGB = NDArray[np.uint8]

SUFFIXES = (  # what a folder is searched for, beside .pdf; the list of PaddleX and AVIF, JPEG 2000
    *(".bmp", ".dib", ".jpeg", ".jpg", ".png", ".webp", ".pbm", ".pgm", ".ppm", ".pnm", ".sr", ".ras"),
    *(".tiff", ".tif", ".avif", ".jp2"),
)
MAX_PIXELS = 200_000_000  # 600 MB as RGB
MAX_SIDE = 100_000
MAX_FILE_BYTES = 2_000_000_000

_KINDS = (  # first bytes -> Pillow's name of the format
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"BM", "BMP"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    *((magic, "TIFF") for magic in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    *((magic, "PPM") for magic in (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6")),
    (b"\x59\xa6\x6a\x95", "SUN"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
)
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"} | dict.fromkeys((b"heic", b"heix", b"heim", b"mif1", b"msf1"), "HEIF")
_ORIENTATION = 0x0112  # EXIF tag


def decode_image(data: bytes, name: str) -> RGB:
    """The picture in `data`, uint8 RGB [H, W, 3], upright. `name` stands in messages.

    Raises InputError for no bytes, an unknown kind, a broken or cut file, or one over the size limits.
    """
    return read_frame(data, name, 0)


def read_image(path: Path) -> RGB:
    """The picture in a file, uint8 RGB [H, W, 3], upright. Raises InputError as `decode_image` does."""
    return read_frame(path, str(path), 0)


def read_frame(source: Source, name: str, frame: int) -> RGB:
    """Frame `frame` of an image given as a file or as bytes, uint8 RGB [H, W, 3], upright. Raises InputError."""
    with _opened(source, name) as image:
        if frame:
            image.seek(frame)
            _check_size(image.size, name)
        # Pillow turns a TIFF upright by itself while it loads.
        orientation = 1 if image.format == "TIFF" else _orientation(image, name)
        return _turn(rgb_from_pil(image, name), orientation)


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of the upright picture, from the header alone. Raises InputError."""
    with _opened(path, str(path)) as image:
        # Pillow itself gives the upright size of a TIFF.
        turned = image.format != "TIFF" and _orientation(image, str(path)) >= 5
        width, height = image.size
    return (width, height) if turned else (height, width)


def image_frames(source: Source, name: str) -> tuple[int, ...]:
    """The frame numbers of a TIFF's pages, (0,) for any other image. Raises InputError.

    Reduced copies of a page (overviews, as GeoTIFF holds them) and masks are not pages.
    """
    with _opened(source, name) as image:
        if not isinstance(image, TiffImagePlugin.TiffImageFile):
            return (0,)
        pages = []
        for frame in range(image.n_frames):
            image.seek(frame)
            # NewSubfileType: bit 0 a reduced copy, bit 2 a mask (TIFF 6.0, section 8).
            if not int(image.tag_v2.get(254, 0)) & 0b101:
                pages.append(frame)
    return tuple(pages) or (0,)


def encode_image(image_rgb: RGB, suffix: str) -> bytes:
    """`image_rgb` as the bytes of a `suffix` file (".png", ".jpg", …). JPEG keeps thin coloured lines sharp (4:4:4)."""
    options = []
    if suffix in (".jpg", ".jpeg"):
        options = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    elif suffix == ".png":
        options = [cv2.IMWRITE_PNG_COMPRESSION, 3]
    done, data = cv2.imencode(suffix, cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR), options)
    if not done:
        height, width = image_rgb.shape[:2]
        raise InputError(f"cannot write a picture of {width} x {height} pixels as {suffix}; try .png")
    return bytes(data)


def rgb_from_pil(image: Image.Image, name: str) -> RGB:
    """A PIL image as uint8 RGB [H, W, 3], in its own frame: its EXIF orientation is not applied. Raises InputError."""
    if image.mode.startswith("I;16"):
        return _grey_to_rgb(to_8bit(np.asarray(image).astype(np.uint16), name))
    if image.mode in ("I", "F"):
        return _grey_to_rgb(to_8bit(np.asarray(image), name))
    if image.has_transparency_data:
        return on_white(np.array(image.convert("RGBA")))
    if image.mode == "L":
        return _grey_to_rgb(np.asarray(image))
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def on_white(rgba: RGB) -> RGB:
    """uint8 RGBA [H, W, 4] composited on white: uint8 RGB [H, W, 3]."""
    deep = rgba.astype(np.uint16, order="C")
    colour, alpha = deep[..., :3], deep[..., 3:]
    return (255 - ((255 - colour) * alpha + 127) // 255).astype(np.uint8)


def to_8bit(values: NDArray[Any], name: str) -> RGB:
    """One channel of uint16, int32 or float [H, W] as uint8 [H, W], by one fixed rule.

    The full range is 65,535 for uint16; else 1 (floats only), 255 or 65,535, the first that holds all values.
    Where the values between the 0.1 % and 99.9 % points span an eighth of it or more, the full range maps to 0…255
    (uint16: >> 8). Otherwise those two points do: 12-bit microscopy and raw thermal frames become visible.
    NaN and infinity are painted like the lowest value. Raises InputError where no value is finite.
    """
    finite = values if values.dtype.kind in "ui" else values[np.isfinite(values)]
    if finite.size == 0:
        raise InputError(f"cannot use {name}: it holds no finite value, only NaN or infinity")
    full = _full_range(finite)
    low, high = (float(value) for value in np.percentile(finite, (0.1, 99.9)))
    if low == high:  # less than a thousandth of the pixels differ: let those count
        low, high = float(finite.min()), float(finite.max())
    if full is not None and (low == high or high - low >= full / 8):
        if values.dtype == np.uint16:
            return (values >> 8).astype(np.uint8)
        low, high = 0.0, full
    scale = 255 / (high - low) if high > low else 0.0
    filled = np.nan_to_num(values.astype(np.float64), nan=low, posinf=low, neginf=low)
    return np.clip(np.rint((filled - low) * scale), 0, 255).astype(np.uint8)


def _full_range(finite: NDArray[Any]) -> float | None:
    if finite.dtype == np.uint16:
        return 65535.0
    if finite.min() < 0:
        return None
    limits = (255.0, 65535.0) if finite.dtype.kind in "ui" else (1.0, 255.0, 65535.0)
    return next((limit for limit in limits if finite.max() <= limit), None)


@contextmanager
def _opened(source: Source, name: str) -> Iterator[Image.Image]:
    """The opened image; whatever goes wrong while it is used becomes an InputError."""
    with _stream(source, name) as stream:
        try:
            yield _open(stream, name)
        except InputError:
            raise
        except Exception as error:  # Pillow's decoders raise nearly every type on a broken file
            reason = str(error) or type(error).__name__
            raise InputError(f"cannot read {name}: the file is broken or cut short ({reason})") from error


def _stream(source: Source, name: str) -> BinaryIO:
    if isinstance(source, bytes):
        if not source:
            raise InputError(f"cannot read {name}: it is empty (0 bytes)")
        return io.BytesIO(source)
    try:
        if not source.is_file():
            found = "a folder" if source.is_dir() else "not a regular file" if source.exists() else "missing"
            raise InputError(f"cannot read {name}: it is {found}. Expected an image file.")
        size = source.stat().st_size
        if size > MAX_FILE_BYTES:
            raise InputError(f"cannot read {name}: it has {size:,} bytes; the limit is {MAX_FILE_BYTES:,}")
        if size == 0:
            raise InputError(f"cannot read {name}: it is empty (0 bytes)")
        return source.open("rb")
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {name}: {error}") from error


def _open(stream: BinaryIO, name: str) -> Image.Image:
    """The image with its header read and its size checked; no pixel is decoded yet.

    Not `Image.open`: that applies Pillow's own size limit, a process-wide setting which a library should not change.
    """
    head = stream.read(16)
    stream.seek(0)
    kind = _kind(head)
    if kind is None:
        raise InputError(
            f"cannot read {name}: not an image this program knows (it begins with {head[:8]!r}). "
            "Expected JPEG, PNG, WebP, TIFF, BMP, GIF, PNM, Sun raster, JPEG 2000 or AVIF."
        )
    Image.preinit()
    if kind not in Image.OPEN:
        Image.init()
    if kind not in Image.OPEN:
        raise InputError(f"cannot read {name}: Pillow has no reader for {kind} here. Convert the file to JPEG or PNG.")
    image: Image.Image = Image.OPEN[kind][0](stream, "")
    _check_size(image.size, name)
    return image


def _kind(head: bytes) -> str | None:
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12])
    return next((kind for magic, kind in _KINDS if head.startswith(magic)), None)


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if min(size) < 1 or max(size) > MAX_SIDE or width * height > MAX_PIXELS:
        raise InputError(
            f"cannot use {name}: it is {width:,} x {height:,} pixels. "
            f"The limits are {MAX_SIDE:,} a side and {MAX_PIXELS:,} in all; cut it into parts first."
        )


def _orientation(image: Image.Image, name: str) -> int:
    """EXIF orientation 1…8; 1 where there is none or the EXIF block cannot be read."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception as error:  # a damaged EXIF block does not spoil the picture
        log.warning("%s: its EXIF block cannot be read (%s); taken as upright", name, error)
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turn(image: RGB, orientation: int) -> RGB:
    """`image` as stored -> upright. The eight cases of EXIF 2.3, tag Orientation."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def _grey_to_rgb(grey: RGB) -> RGB:
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB))
