"""What is where in a drawn scene: parked rows, traffic, racks of two-wheelers, groups of people, trees."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from eyas.data.synthetic_ground import Layout, Strip
from eyas.data.synthetic_objects import paint_bicycle, paint_car, paint_large_vehicle, paint_person
from eyas.data.synthetic_paint import Box, Camera, Canvas, Points, Pose
from eyas.data.synthetic_scenery import paint_bare_tree, paint_building, paint_post, paint_tree

Random = np.random.Generator
Painter = Callable[[Canvas, Pose, int, float, Random], None]

PAINTERS: dict[str, Painter] = {
    "Person": paint_person,
    "Car": paint_car,
    "Bicycle": paint_bicycle,
    "OtherVehicle": paint_large_vehicle,
    "tree": paint_tree,
    "bare tree": paint_bare_tree,
    "post": paint_post,
    "building": paint_building,
}

_SMOOTH = ("asphalt", "paving")
_RADIUS = {"Person": 0.35, "Car": 2.2, "Bicycle": 0.6, "OtherVehicle": 4.5, "building": 9.0, "post": 0.5}
_SIDE_BY_SIDE = {"Person": 0.6, "Car": 2.4, "Bicycle": 0.6}  # metres between the middles of two of a kind
_CAR_MARK = Box((-2.3, 2.3), (-0.95, 0.95), (0.0, 0.1))


@dataclass(frozen=True)
class Item:
    """One thing to paint: a key of PAINTERS and where it stands."""

    kind: str
    pose: Pose


@dataclass
class Plan:
    """A scene before it is painted; it fills up while it is made."""

    camera: Camera
    layout: Layout
    items: list[Item] = field(default_factory=list)
    road_marks: list[Points] = field(default_factory=list)
    soft_marks: list[tuple[Pose, Box, float]] = field(default_factory=list)

    def anchor(self, kinds: tuple[str, ...], rng: Random) -> tuple[Strip, float, float] | None:
        """(strip, metres along, across) of a random visible place on a strip of these kinds, None if it finds none."""
        height, width = self.camera.size_hw
        for _ in range(6):
            x, y, _ = self.camera.ground(np.array([rng.uniform(0.02, 0.98) * width, rng.uniform(0.02, 0.98) * height]))
            strip, along, across = self.layout.to_strip(x, y)
            if strip.kind in kinds:
                return strip, along, across
        return None

    def add(self, kind: str, along: float, across: float, turn: float) -> bool:
        """Put something there, `turn` radians from the direction of the strips, unless the place is taken."""
        x, y = self.layout.to_ground(along, across)
        for item in self.items:
            room = _RADIUS.get(kind, 0.8) + _RADIUS.get(item.kind, 0.0)
            if item.kind == kind:
                room = _SIDE_BY_SIDE.get(kind, room)
            if (item.pose.x - x) ** 2 + (item.pose.y - y) ** 2 < room**2:
                return False
        self.items.append(Item(kind, Pose(x, y, self.layout.heading + turn)))
        return True

    def mark(self, along: float, across: float, turn: float, strength: float) -> None:
        """Warmer or colder ground in the shape of a car."""
        pose = Pose(*self.layout.to_ground(along, across), self.layout.heading + turn)
        self.soft_marks.append((pose, _CAR_MARK, strength))


def make_plan(camera: Camera, layout: Layout, rng: Random) -> Plan:
    """A scene with one or more themes: cars, people, two-wheelers."""
    plan = Plan(camera, layout)
    cars, people, wheels = (rng.random(3) < [0.6, 0.65, 0.35]).tolist()
    if rng.random() < 0.18:
        _add_building(plan, rng)
    if rng.random() < 0.12:
        _add_singles(plan, "OtherVehicle", _SMOOTH, int(rng.integers(1, 3)), rng)
    if cars or not (people or wheels):
        for _ in range(int(rng.integers(0, 4))):
            _add_parked_row(plan, rng)
        _add_singles(plan, "Car", ("asphalt", "paving"), int(rng.integers(1, 5)), rng)
    if wheels:
        for _ in range(int(rng.integers(1, 4))):
            _add_rack(plan, rng)
        _add_singles(plan, "Bicycle", (*_SMOOTH, "lawn"), int(rng.integers(0, 5)), rng)
    if people:
        for _ in range(int(rng.integers(1, 4))):
            _add_group(plan, rng)
        _add_singles(plan, "Person", (*_SMOOTH, "lawn"), int(rng.integers(0, 9)), rng)
    _add_scenery(plan, rng)
    _add_road_marks(plan, rng)
    return plan


def _add_parked_row(plan: Plan, rng: Random) -> None:
    """Cars side by side or in a queue; some bays are empty and keep a cold or warm patch."""
    found = plan.anchor((*_SMOOTH, "lawn"), rng)
    if found is None:
        return
    strip, along, across = found
    if rng.random() < 0.7:
        across = rng.choice([strip.low + 3, strip.high - 3]) if strip.high - strip.low < 25 else across
    abreast = rng.random() < 0.65
    step = rng.uniform(2.5, 3.1) if abreast else rng.uniform(5.6, 7.5)
    turn = np.pi / 2 + rng.choice([0.0, 0.0, 0.5, -0.5]) if abreast else 0.0
    taken, glow = rng.uniform(0.3, 0.95), rng.choice([rng.uniform(-60, -20), rng.uniform(10, 30)])
    for place in range(int(rng.integers(3, 13))):
        here = along + place * step
        facing = turn + (np.pi if rng.random() < 0.5 else 0.0) + rng.normal(0, 0.03)
        if rng.random() < taken:
            if plan.add("Car", here, across + rng.normal(0, 0.25), facing) and rng.random() < 0.7:
                plan.mark(here + 0.3, across, facing, glow)
        elif rng.random() < 0.6:
            plan.mark(here, across, facing, glow * rng.uniform(0.6, 1.4))
        if abreast and glow > 0 and strip.kind in _SMOOTH:
            _add_line(plan, (here - step / 2, across - 2.4), (here - step / 2, across + 2.4))


def _add_rack(plan: Plan, rng: Random) -> None:
    """Two-wheelers side by side, leaning the same way more or less."""
    found = plan.anchor(_SMOOTH if rng.random() < 0.8 else ("lawn",), rng)
    if found is None:
        return
    strip, along, across = found
    if rng.random() < 0.6:
        across = rng.choice([strip.low + 1.2, strip.high - 1.2])
    step, turn, mess = rng.uniform(0.7, 1.5), np.pi / 2 + rng.uniform(-0.7, 0.7), rng.uniform(0.02, 0.3)
    for place in range(int(rng.integers(3, 22))):
        if rng.random() < 0.85:
            plan.add("Bicycle", along + place * step, across + rng.normal(0, 0.2), turn + rng.normal(0, mess))


def _add_group(plan: Plan, rng: Random) -> None:
    """People who stand or walk together."""
    found = plan.anchor((*_SMOOTH, "lawn"), rng)
    if found is None:
        return
    _, along, across = found
    spread, heading = rng.uniform(1.0, 6.0), rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.integers(2, 12))):
        turn = heading + rng.normal(0, 0.5) if rng.random() < 0.6 else rng.uniform(0, 2 * np.pi)
        plan.add("Person", along + rng.normal(0, spread), across + rng.normal(0, spread), turn)


def _add_singles(plan: Plan, kind: str, where: tuple[str, ...], count: int, rng: Random) -> None:
    """One by one: vehicles along the strip, people and two-wheelers any way."""
    for _ in range(count):
        found = plan.anchor(where, rng)
        if found is None:
            continue
        driving = kind in ("Car", "OtherVehicle")
        turn = rng.choice([0.0, np.pi]) + rng.normal(0, 0.08) if driving else rng.uniform(0, 2 * np.pi)
        if plan.add(kind, *found[1:], turn) and kind == "Car":
            plan.mark(*found[1:], turn, rng.uniform(-35, 10))


def _add_building(plan: Plan, rng: Random) -> None:
    """A building at an edge of the picture, its windows towards the camera."""
    height, width = plan.camera.size_hw
    pixel = np.array([rng.choice([0.05, 0.5, 0.95]) * width, rng.uniform(0.0, 0.15) * height])
    x, y, _ = plan.camera.ground(pixel)
    plan.items.append(Item("building", Pose(float(x), float(y), rng.uniform(-0.5, 0.5))))


def _add_scenery(plan: Plan, rng: Random) -> None:
    kind = "bare tree" if rng.random() < 0.3 else "tree"
    for _ in range(int(rng.integers(0, 26))):
        found = plan.anchor(("lawn", "hedge"), rng)
        if found is not None:
            plan.add(kind, *found[1:], 0.0)
    for _ in range(int(rng.integers(0, 5))):
        found = plan.anchor((*_SMOOTH, "lawn"), rng)
        if found is not None:
            plan.add("post", *found[1:], 0.0)


def _add_road_marks(plan: Plan, rng: Random) -> None:
    """Dashes along the middle of a road, or a zebra crossing."""
    found = plan.anchor(("asphalt",), rng)
    if found is None or rng.random() < 0.4:
        return
    strip, along, _ = found
    middle = (strip.low + strip.high) / 2
    for place in range(-12, 13):
        _add_line(plan, (along + place * 6.0, middle), (along + place * 6.0 + 3.0, middle))
    if rng.random() < 0.35:
        for across in np.arange(strip.low + 0.6, min(strip.high, strip.low + 14) - 0.6, 1.0):
            _add_line(plan, (along, float(across)), (along + 4.0, float(across)), 0.22)


def _add_line(plan: Plan, start: tuple[float, float], end: tuple[float, float], half: float = 0.08) -> None:
    """A painted line on the ground between two places (along, across), 2 * `half` metres wide."""
    (a0, c0), (a1, c1) = start, end
    da, dc = (0.0, half) if abs(a1 - a0) > abs(c1 - c0) else (half, 0.0)
    rim = [(a0 - da, c0 - dc), (a1 - da, c1 - dc), (a1 + da, c1 + dc), (a0 + da, c0 + dc)]
    plan.road_marks.append(np.array([[*plan.layout.to_ground(*place), 0.0] for place in rim]))
