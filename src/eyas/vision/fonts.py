"""A font that can write class names, Chinese, Japanese and Korean ones too where the system has such a font."""

import logging
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

from eyas.errors import ConfigError

log = logging.getLogger(__name__)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# In order of preference; the first ones hold CJK glyphs.
_FILES = (
    *("NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "NotoSansSC-Regular.otf", "SourceHanSansSC-Regular.otf"),
    *("wqy-microhei.ttc", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf", "DroidSansFallback.ttf"),
    *("PingFang.ttc", "Hiragino Sans GB.ttc", "Arial Unicode.ttf", "msyh.ttc", "simhei.ttf", "malgun.ttf"),
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "Helvetica.ttc", "arial.ttf"),
)


_UNASSIGNED = "\U0010fffd"


@lru_cache(maxsize=32)
def load_font(size: int) -> Font:
    """The label font at `size` pixels: the file in EYAS_FONT, else a system font, else Pillow's own (Latin only).

    Raises ConfigError when EYAS_FONT names a file that is no font.
    """
    chosen = os.environ.get("EYAS_FONT")
    if chosen:
        try:
            return ImageFont.truetype(chosen, size)
        except OSError as error:
            raise ConfigError(f"EYAS_FONT is {chosen!r}, which cannot be read as a font ({error})") from error
    path = _system_font()
    return ImageFont.truetype(str(path), size) if path else ImageFont.load_default(size)


_told: set[int] = set()


def warn_of_missing(text: str, font: Font) -> None:
    """Tell that `font` has no shape for letters of `text`: once for each block of 256 letters, in a process."""
    for letter in set(text):
        block = ord(letter) >> 8
        if not block or block in _told or letter.isspace():
            continue
        if bytes(font.getmask(letter)) == bytes(font.getmask(_UNASSIGNED)):
            _told.add(block)
            log.warning(
                "the font has no %r (U+%04X): such letters are drawn as boxes. Name a font that has them in EYAS_FONT.",
                letter,
                ord(letter),
            )


@lru_cache(maxsize=1)
def _system_font() -> Path | None:
    found: dict[str, Path] = {}
    for folder in _folders():
        for root, _, files in os.walk(folder):
            found.update((name, Path(root) / name) for name in files if name in _FILES and name not in found)
    return next((found[name] for name in _FILES if name in found), None)


def _folders() -> Iterator[Path]:
    home = Path(os.environ.get("HOME", "/nonexistent"))
    yield from (home / ".local/share/fonts", home / ".fonts", home / "Library/Fonts")
    yield from (Path("/usr/local/share/fonts"), Path("/usr/share/fonts"))
    yield from (Path("/System/Library/Fonts"), Path("/Library/Fonts"))
    yield Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts"
