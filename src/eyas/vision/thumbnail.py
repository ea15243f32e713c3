"""Small pictures to show beside a result."""

import cv2

from eyas.vision.image import RGB, encode_image

SIDE = 160


def thumbnail(image_rgb: RGB, side: int = SIDE) -> bytes:
    """A JPEG of uint8 RGB [H, W, 3] whose longer side has at most `side` pixels; a smaller picture keeps its size."""
    height, width = image_rgb.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = image_rgb if scale == 1 else cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA)
    return encode_image(small, ".jpg")
