"""A drone's camera over flat ground, and a brush that paints solid shapes and remembers which pixel belongs to whom.

Ground frame, metres: X right, Y away from the drone, Z up; the origin is what the image's centre looks at. Grey levels
are 0..255, hot is bright.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Grey = NDArray[np.float32]

FOCAL = 2.35  # in image heights: 24 degrees from top to bottom, as the cameras of HIT-UAV have
_BITS = 4  # fractional bits of the coordinates that go to OpenCV
_ONE = 1 << _BITS


@dataclass(frozen=True)
class Camera:
    """A pinhole `altitude` metres up that looks down by `pitch` radians (pi / 2: straight down)."""

    altitude: float
    pitch: float
    size_hw: tuple[int, int]

    @property
    def focal(self) -> float:
        """Focal length in pixels."""
        return FOCAL * self.size_hw[0]

    @cached_property
    def axes(self) -> Points:
        """Rows: image right, image down, forward."""
        sin, cos = np.sin(self.pitch), np.cos(self.pitch)
        return np.array([[1, 0, 0], [0, -sin, -cos], [0, cos, -sin]])

    @cached_property
    def centre(self) -> Points:
        """Where the camera is."""
        return np.array([0, -self.altitude / np.tan(self.pitch), self.altitude])

    def depth(self, points: Points) -> Points:
        """Metres along the line of sight of points [..., 3]."""
        away: Points = (points - self.centre) @ self.axes[2]
        return away

    def scale(self, point: Points) -> float:
        """Pixels a metre at one point [3]."""
        return float(self.focal / self.depth(point))

    def project(self, points: Points) -> Points:
        """Pixels x, y [..., 2] of points [..., 3]."""
        seen = (points - self.centre) @ self.axes.T
        middle = np.array([self.size_hw[1], self.size_hw[0]]) / 2
        pixels: Points = seen[..., :2] / seen[..., 2:] * self.focal + middle
        return pixels

    def ground(self, pixels: Points) -> Points:
        """Ground points [..., 3] (Z = 0) that pixels [..., 2] look at."""
        middle = np.array([self.size_hw[1], self.size_hw[0]]) / 2
        rays = np.concatenate([(pixels - middle) / self.focal, np.ones((*pixels.shape[:-1], 1))], axis=-1) @ self.axes
        points: Points = self.centre + rays * (-self.altitude / rays[..., 2:])
        points[..., 2] = 0
        return points

    def ground_maps(self) -> tuple[Grey, Grey, Grey]:
        """X [H, W], Y [H, 1] and pixels a metre [H, 1] of the ground in every pixel."""
        height, width = self.size_hw
        rows = self.ground(np.stack([np.full(height, width / 2), np.arange(height) + 0.5], axis=1))
        scale = self.focal / self.depth(rows)[:, None]
        across = (np.arange(width) + 0.5 - width / 2) / scale
        return across.astype(np.float32), rows[:, 1:2].astype(np.float32), scale.astype(np.float32)


class Box(NamedTuple):
    """A solid of eight corners in its own frame: x forward, y left, z up, in metres; the top may be smaller."""

    x: tuple[float, float]
    y: tuple[float, float]
    z: tuple[float, float]
    taper_x: float = 0.0
    taper_y: float = 0.0


@dataclass
class Canvas:
    """The picture being painted: `grey` uint8 [H, W] and `owner` uint8 [H, W], 0 for what is no object."""

    camera: Camera
    grey: NDArray[np.uint8]
    owner: NDArray[np.uint8] = field(init=False)

    def __post_init__(self) -> None:
        self.owner = np.zeros_like(self.grey)

    def polygon(self, points: Points, level: float, owner: int) -> None:
        """Fill the polygon of points [N, 3]."""
        self._fill(self.camera.project(points), level, owner)

    def hull(self, points: Points, level: float, owner: int) -> None:
        """Fill the outline of a convex solid with the corners [N, 3]."""
        pixels = self.camera.project(points).astype(np.float32)
        self._fill(cv2.convexHull(pixels)[:, 0], level, owner)

    def _fill(self, pixels: Points | Grey, level: float, owner: int) -> None:
        corners = np.rint(pixels * _ONE - _ONE / 2).astype(np.int32)
        cv2.fillPoly(self.grey, [corners], level, cv2.LINE_AA, _BITS)
        cv2.fillPoly(self.owner, [corners], owner, cv2.LINE_8, _BITS)

    def line(self, points: Points, width_m: float, level: float, owner: int) -> None:
        """An open line through points [N, 3], at least one pixel wide."""
        width = max(1, round(width_m * self.camera.scale(points[0])))
        corners = np.rint(self.camera.project(points) * _ONE - _ONE / 2).astype(np.int32)
        cv2.polylines(self.grey, [corners], False, level, width, cv2.LINE_AA, _BITS)
        cv2.polylines(self.owner, [corners], False, owner, width, cv2.LINE_8, _BITS)

    def balls(self, points: Points, radii_m: Points, levels: Points, owner: int) -> None:
        """Balls around points [N, 3], each at least one pixel wide, the first below the others."""
        camera = self.camera
        pixels = np.rint(camera.project(points) * _ONE - _ONE / 2).astype(int).tolist()
        radii = np.rint(np.maximum(radii_m * camera.focal / camera.depth(points), 0.5) * _ONE).astype(int).tolist()
        for (x, y), radius, level in zip(pixels, radii, levels.tolist(), strict=True):
            cv2.circle(self.grey, (x, y), radius, level, -1, cv2.LINE_AA, _BITS)
            cv2.circle(self.owner, (x, y), radius, owner, -1, cv2.LINE_8, _BITS)

    def ball(self, point: Points, radius_m: float, level: float, owner: int) -> None:
        """One ball around a point [3], at least one pixel wide."""
        self.balls(point[None], np.array([radius_m]), np.array([level]), owner)

    def count(self, owner: int) -> int:
        """Pixels that belong to `owner` now."""
        return int(np.count_nonzero(self.owner == owner))


@dataclass(frozen=True)
class Pose:
    """Where an object stands: its place on the ground and the direction it faces, in radians from the X axis."""

    x: float
    y: float
    heading: float

    def place(self, local: Points) -> Points:
        """Ground frame [N, 3] of points [N, 3] in the object's own frame (x forward, y left, z up)."""
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        turned = local @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
        placed: Points = turned + np.array([self.x, self.y, 0])
        return placed

    def box(self, box: Box) -> Points:
        """The corners [8, 3] of a box, the four of the bottom first."""
        (x0, x1), (y0, y1), (z0, z1) = box.x, box.y, box.z
        rim = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
        top = rim - np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * np.array([box.taper_x, box.taper_y])
        bottom_rim = np.column_stack([rim, np.full(4, z0)])
        return self.place(np.concatenate([bottom_rim, np.column_stack([top, np.full(4, z1)])]))
