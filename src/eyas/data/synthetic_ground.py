"""The ground of a drawn scene: strips of asphalt, paving and lawn, and marks on it that are no objects."""

from dataclasses import dataclass

import cv2
import numpy as np

from eyas.data.synthetic_paint import Box, Camera, Grey, Points, Pose

Random = np.random.Generator


@dataclass(frozen=True)
class Strip:
    """A strip of ground between `low` and `high` metres across the scene's direction."""

    kind: str
    low: float
    high: float
    level: float


@dataclass(frozen=True)
class Layout:
    """Strips side by side that run in the direction `heading` and bend by `bend` (metres across = bend * along²)."""

    strips: tuple[Strip, ...]
    heading: float
    bend: float

    def to_ground(self, along: float, across: float) -> tuple[float, float]:
        """Ground X, Y of a place given in metres along and across the strips."""
        across += self.bend * along**2
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        return float(along * cos - across * sin), float(along * sin + across * cos)

    def to_strip(self, x: float, y: float) -> tuple[Strip, float, float]:
        """(the strip, metres along, metres across) of a place on the ground."""
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        along = x * cos + y * sin
        across = -x * sin + y * cos - self.bend * along**2
        found = next((strip for strip in self.strips if across < strip.high), self.strips[-1])
        return found, float(along), float(across)


# kind: (lowest level, highest level, blotches, grain, widths in metres), relative to the scene's own level
_KINDS = {
    "asphalt": (-10.0, 22.0, 1.2, 0.6, (6.0, 16.0)),
    "paving": (0.0, 40.0, 1.8, 0.9, (2.5, 8.0)),
    "lawn": (-60.0, -20.0, 6.0, 2.6, (4.0, 18.0)),
    "hedge": (-80.0, -40.0, 13.0, 6.0, (1.5, 5.0)),
}


_STEP = 0.05  # metres between the samples of a profile across the strips


def make_layout(camera: Camera, open_ground: bool, rng: Random) -> Layout:
    """Strips that cover all the camera sees; on `open_ground` one wide one lies in the middle."""
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * np.array(camera.size_hw[::-1])
    reach = float(np.abs(camera.ground(corners.astype(np.float64))).max()) * 1.5
    base = rng.uniform(95, 165)
    strips: list[Strip] = []
    low = -reach
    while low < reach:
        middle = -12 < low < 4 if open_ground else -8 < low < 0
        kind = _next_kind(strips[-1].kind if strips else "", open_ground and middle, rng)
        least, most, _, _, widths = _KINDS[kind]
        width = rng.uniform(25, 60) if open_ground and middle else rng.uniform(*widths)
        width *= max(1.0, abs(low) / 30)  # far strips are wide, or an oblique view is a comb of them
        level = float(np.clip(base + rng.uniform(least, most), 28, 205))
        strips.append(Strip(kind, low, low + width, level))
        low += width
    bend = rng.normal(0, 0.004) if rng.random() < 0.4 else 0.0
    return Layout(tuple(strips), rng.uniform(0, np.pi), bend)


def _next_kind(last: str, wide: bool, rng: Random) -> str:
    if wide:
        return str(rng.choice(["asphalt", "paving"]))
    after = {
        "asphalt": ["paving", "lawn", "hedge"],
        "paving": ["lawn", "asphalt", "hedge"],
        "lawn": ["asphalt", "paving", "hedge"],
        "hedge": ["asphalt", "paving", "lawn"],
    }
    return str(rng.choice(after.get(last, list(_KINDS))))


def noise(size_hw: tuple[int, int], cells: float, rng: Random) -> Grey:
    """Smooth noise float32 [H, W] of about unit size, with `cells` pixels between its hills."""
    shape = (int(size_hw[0] / cells) + 3, int(size_hw[1] / cells) + 3)
    coarse = rng.standard_normal(shape, dtype=np.float32)
    smooth: Grey = cv2.resize(coarse, size_hw[::-1], interpolation=cv2.INTER_CUBIC)
    return smooth


def paint_ground(camera: Camera, layout: Layout, rng: Random) -> Grey:
    """Levels float32 [H, W] of the bare ground."""
    x, y, scale = camera.ground_maps()
    cos, sin = np.float32(np.cos(layout.heading)), np.float32(np.sin(layout.heading))
    along = x * cos + y * sin
    across = y * cos - x * sin
    if layout.bend:
        across -= np.float32(layout.bend) * along * along
    shape = camera.size_hw
    least = float(across.min())
    table = _profile(layout, least, float(across.max()), rng)
    place = ((across - np.float32(least)) * np.float32(1 / _STEP)).astype(np.int32)
    level, blotch, grain = (np.take(column, place) for column in table)
    level += _texture(shape, float(scale.mean()), blotch, grain, rng)
    period = rng.uniform(4, 25)
    level += np.sin(across * np.float32(6.3 / period) + np.float32(rng.uniform(0, 6.3))) * np.float32(rng.uniform(0, 9))
    if rng.random() < 0.35:
        _joints(level, (along, across), scale, grain, rng)
    return level


def _profile(layout: Layout, least: float, most: float, rng: Random) -> Grey:
    """Level, blotches and grain float32 [3, N] at every _STEP metres across the strips, kerbs included."""
    across = np.arange(least, most + 2 * _STEP, _STEP)
    owner = np.searchsorted([strip.high for strip in layout.strips[:-1]], across, side="right")
    table = np.array([(strip.level, *_KINDS[strip.kind][2:4]) for strip in layout.strips], np.float32).T[:, owner]
    for strip in layout.strips:
        if least < strip.low < most and rng.random() < 0.6:
            kerb = np.abs(across - strip.low) < rng.uniform(0.1, 0.25)
            table[0, kerb] += rng.uniform(15, 50) * rng.choice([-1.0, 1.0])
    return table


def _texture(size_hw: tuple[int, int], metre: float, blotch: Grey, grain: Grey, rng: Random) -> Grey:
    """What makes ground uneven: slow warm and cold patches, clumps where `blotch` is large, and grain."""
    clumps = noise(size_hw, max(3.0, 0.9 * metre), rng) + noise(size_hw, max(2.5, 0.3 * metre), rng) * np.float32(0.5)
    uneven = clumps * np.float32(2)
    np.clip(uneven, -1, 1, out=uneven)
    uneven += clumps * np.float32(0.4)
    uneven *= blotch
    uneven += grain * noise(size_hw, 1.7, rng)
    uneven += noise(size_hw, 190, rng) * np.float32(rng.uniform(5, 20))
    uneven += noise(size_hw, 60, rng) * np.float32(rng.uniform(1, 5))
    return uneven


def _joints(level: Grey, maps: tuple[Grey, Grey], scale: Grey, grain: Grey, rng: Random) -> None:
    """Joints between slabs, in place, where the ground is smooth."""
    smooth = (grain < 3).astype(np.float32) * np.float32(rng.uniform(5, 16) * rng.choice([-1.0, 1.0]))
    for position in maps:
        pitch = np.float32(rng.uniform(3, 8))
        off = np.abs(position - np.rint(position / pitch) * pitch) * scale
        level += smooth * np.clip(np.float32(1.2) - off, 0, 1)


def add_soft_marks(level: Grey, camera: Camera, marks: list[tuple[Pose, Box, float]], rng: Random) -> None:
    """Add, in place, blurred rectangles: cold or warm ground where a car stood, the glow under one, shadows."""
    soft = np.zeros_like(level)
    for pose, box, strength in marks:
        corners = np.rint(camera.project(pose.box(box)[:4]) * 16).astype(np.int32)
        cv2.fillPoly(soft, [corners], strength, cv2.LINE_8, 4)
    if marks:
        level += cv2.GaussianBlur(soft, (0, 0), rng.uniform(1.5, 4.0))


def add_road_marks(level: Grey, camera: Camera, quads: list[Points], strength: float) -> None:
    """Add, in place, painted lines: quads [4, 3] on the ground, a little warmer or colder than it."""
    marks = np.zeros(level.shape, np.uint8)
    for quad in quads:
        pixels = np.rint(camera.project(quad) * 16 - 8).astype(np.int32)
        cv2.fillPoly(marks, [pixels], 255, cv2.LINE_AA, 4)
    if quads:
        level += marks * np.float32(strength / 255)
