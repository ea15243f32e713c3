"""Letters that a font lacks are told of."""

import logging

import pytest
from PIL import ImageFont

from eyas.vision import fonts


def test_a_script_that_the_font_lacks_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fonts, "_told", set())
    font = ImageFont.load_default(20)  # Pillow's own: Latin alone
    with caplog.at_level(logging.WARNING, "eyas"):
        for text in ("Person 0.90", "é ñ", "全脂牛奶", "全", "全脂"):
            fonts.warn_of_missing(text, font)
    blocks = {ord(letter) >> 8 for letter in "全脂牛奶"}
    assert len(caplog.records) == len(blocks) and "EYAS_FONT" in caplog.text
