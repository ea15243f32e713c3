"""People, cars, two-wheelers and large vehicles as a thermal camera sees them from above, drawn from simple solids.

Sizes are metres. Levels follow HIT-UAV: people 170 to 250 on ground of 65 to 180; a car's roof, open to the cold sky,
about 50, its edges and running engine up to 235; parked two-wheelers darker than the ground by about 65.
"""

import numpy as np

from eyas.data.synthetic_paint import Box, Canvas, Points, Pose

Random = np.random.Generator


def paint_person(canvas: Canvas, pose: Pose, owner: int, ground: float, rng: Random) -> None:
    """Somebody who stands, walks or sits."""
    height = rng.uniform(1.5, 1.85)
    stride, swing = rng.uniform(0.05, 0.4), rng.uniform(0.0, 0.45)
    hot = min(float(rng.uniform(215, 252)), 255.0)
    if rng.random() < 0.03:  # a cold jacket or umbrella on warm ground
        hot = ground - rng.uniform(40, 80)
    cloth = hot - rng.choice([0, 10, 35, 60], p=[0.45, 0.25, 0.2, 0.1])
    if rng.random() < 0.12:  # sitting
        height *= 0.7
    hip, shoulder = 0.5 * height, 0.82 * height
    lean = rng.uniform(-0.08, 0.12)
    for side in (-1, 1):
        leg = [[side * stride, side * 0.1, 0.05], [0.0, side * 0.09, hip]]
        canvas.line(pose.place(np.array(leg)), rng.uniform(0.16, 0.24), cloth - rng.uniform(0, 25), owner)
    torso = [[lean * 0.3, 0.0, hip], [lean, 0.0, shoulder]]
    canvas.line(pose.place(np.array(torso)), rng.uniform(0.38, 0.52), cloth, owner)
    for side in (-1, 1):
        hand = [[lean, side * 0.2, shoulder], [-side * swing, side * rng.uniform(0.24, 0.36), hip]]
        canvas.line(pose.place(np.array(hand)), 0.12, hot, owner)
    canvas.ball(pose.place(np.array([[lean + 0.05, 0.0, 0.94 * height]]))[0], rng.uniform(0.13, 0.17), hot, owner)


def paint_bicycle(canvas: Canvas, pose: Pose, owner: int, ground: float, rng: Random) -> None:
    """A bicycle or scooter, sometimes with its rider (one object together)."""
    length = rng.uniform(1.65, 2.1)
    cold = max(25.0, ground - rng.uniform(35, 95))
    if ground < 90:
        cold = ground + rng.uniform(20, 60)
    scooter = rng.random() < 0.65
    lean = rng.uniform(-0.12, 0.12)
    half = length / 2
    for end in (-1, 1):
        x = end * (half - 0.28)
        rim = [[x - 0.27, 0, 0.3], [x, lean * 0.2, 0.57], [x + 0.27, 0, 0.3], [x, 0, 0.03]]
        canvas.hull(pose.place(np.array(rim)), cold - rng.uniform(-8, 8), owner)
        canvas.line(pose.place(np.array([[x - 0.25, 0, 0.3], [x + 0.25, 0, 0.3]])), 0.12, cold, owner)
    width = rng.uniform(0.38, 0.62) if scooter else rng.uniform(0.1, 0.2)
    body = Box((-half * 0.85, half * 0.35), (-width / 2, width / 2), (0.3, 0.78), 0.08, 0.05)
    corners = pose.box(body)
    canvas.hull(corners, cold, owner)
    canvas.polygon(corners[4:], cold - rng.uniform(0, 18), owner)
    front = half - 0.45
    canvas.line(pose.place(np.array([[front - 0.2, 0, 0.6], [front, lean, 1.02]])), width * 0.8, cold + 5, owner)
    canvas.line(pose.place(np.array([[front, lean - 0.36, 1.0], [front, lean + 0.36, 1.0]])), 0.13, cold - 6, owner)
    if rng.random() < 0.15:  # a warm motor or battery
        spot = np.array([[rng.uniform(-half, 0.2), rng.uniform(-0.15, 0.15), 0.4]])
        canvas.ball(pose.place(spot)[0], rng.uniform(0.1, 0.2), min(ground + rng.uniform(20, 70), 240.0), owner)
    if rng.random() < 0.1:
        _paint_rider(canvas, pose, owner, rng)


def _paint_rider(canvas: Canvas, pose: Pose, owner: int, rng: Random) -> None:
    hot = rng.uniform(205, 248)
    for side in (-1, 1):
        leg = [[0.2, side * 0.2, 0.35], [-0.1, side * 0.16, 0.85]]
        canvas.line(pose.place(np.array(leg)), 0.18, hot - 15, owner)
        arm = [[0.0, side * 0.2, 1.3], [0.45, side * 0.28, 1.05]]
        canvas.line(pose.place(np.array(arm)), 0.12, hot, owner)
    canvas.line(pose.place(np.array([[-0.15, 0, 0.85], [0.05, 0, 1.35]])), 0.44, hot - rng.uniform(0, 30), owner)
    canvas.ball(pose.place(np.array([[0.12, 0, 1.6]]))[0], 0.15, hot, owner)


def paint_car(canvas: Canvas, pose: Pose, owner: int, ground: float, rng: Random) -> None:
    """A parked or running car: flanks, bonnet, boot, and over them the cabin, mostly one dark patch."""
    length, width, height = rng.uniform(4.1, 5.0), rng.uniform(1.72, 1.92), rng.uniform(1.42, 1.72)
    half, side = length / 2, width / 2
    cold = rng.uniform(0.28, 0.62) * ground  # the roof mirrors the sky
    warm = rng.random() < 0.2  # sun on the paint, or a ride that has warmed it all
    body = min(225.0, ground + rng.uniform(15, 70)) if warm else ground + rng.uniform(-55, 12)
    flank = min(235.0, ground + rng.uniform(10, 85)) if rng.random() < 0.55 else body * rng.uniform(0.85, 1.1)
    lower = _rounded(half, side, 0.42)
    canvas.hull(pose.place(np.concatenate([_at(lower, 0.25), _at(lower * 0.99, 0.78)])), flank, owner)
    canvas.polygon(pose.place(_at(lower * np.array([0.97, 0.93]), 0.82)), body, owner)
    nose = rng.uniform(0.14, 0.22) * length
    _paint_bonnet(canvas, pose, owner, (nose, half, side), body, rng)
    if rng.random() < 0.25:
        _closed(canvas, pose.place(_at(lower * 0.97, 0.82)), 0.08, min(235.0, ground + rng.uniform(15, 75)), owner)

    roof = min(225.0, ground + rng.uniform(0, 50)) if warm else cold
    glass = ground * rng.uniform(0.4, 0.7) if warm else cold + rng.normal(0, 14)
    tail = rng.uniform(-0.95, -0.62) * half  # hatchback to saloon
    middle, reach = (tail + nose) / 2, (nose - tail) / 2
    sill = _rounded(reach, side * 0.92, 0.3) + np.array([middle, 0])
    top = pose.place(_at(_rounded(reach - 0.3, side * 0.8, 0.25) + np.array([middle - 0.1, 0]), height))
    canvas.hull(np.concatenate([pose.place(_at(sill, 0.82)), top]), max(glass, 12.0), owner)
    canvas.polygon(top, roof, owner)
    if rng.random() < 0.25:
        _closed(canvas, top, 0.05, min(235.0, roof + rng.uniform(20, 110)), owner)
    if rng.random() < 0.4:  # a sliding roof, or what the sun left
        centre = top.mean(axis=0) + rng.normal(0, 0.2, 3)
        canvas.polygon(
            centre + (top - centre) * rng.uniform(0.3, 0.7), min(235.0, roof * rng.uniform(0.75, 1.4)), owner
        )


def _paint_bonnet(
    canvas: Canvas, pose: Pose, owner: int, front: tuple[float, float, float], body: float, rng: Random
) -> None:
    """The front from the windscreen on (`front`: its x, half length, half width); hot and patchy when it ran."""
    nose, half, side = front
    running = rng.random() < 0.35
    level = rng.uniform(185, 238) if running else body + rng.uniform(-25, 20)
    rim = [[nose, side * 0.92], [half - 0.4, side * 0.92], [half * 0.98, side * 0.5]]
    outline = np.array([*rim, *([x, -y] for x, y in reversed(rim))])
    canvas.polygon(pose.place(_at(outline, 0.85)), level, owner)
    patches = int(rng.integers(1, 5)) if running else int(rng.integers(0, 2))
    spots = np.column_stack([rng.uniform(nose, half, patches), rng.uniform(-side, side, patches) * 0.6])
    canvas.balls(
        pose.place(_at(spots, 0.87)),
        rng.uniform(0.1, 0.35, patches),
        np.clip(level + rng.uniform(-55, 25, patches), 15, 242),
        owner,
    )
    if rng.random() < 0.12:
        lamps = np.array([[half * 0.93, -side * 0.72], [half * 0.93, side * 0.72]])
        canvas.balls(pose.place(_at(lamps, 0.7)), np.full(2, 0.12), np.full(2, 238.0), owner)


def paint_large_vehicle(canvas: Canvas, pose: Pose, owner: int, ground: float, rng: Random) -> None:
    """A lorry with a cab and a load, or a bus or van in one piece."""
    length, width, height = rng.uniform(5.5, 10.0), rng.uniform(2.1, 2.5), rng.uniform(2.3, 3.2)
    half, side = length / 2, width / 2
    bright = rng.random() < 0.35
    roof = rng.uniform(190, 238) if bright else rng.uniform(0.25, 0.5) * ground
    walls = min(225.0, ground + rng.choice([-1.0, 1.0]) * rng.uniform(15, 40))
    lorry = rng.random() < 0.6
    front = half - (2.0 if lorry else 0.0)
    if lorry:
        cab = pose.box(Box((front + 0.15, half), (-side * 0.92, side * 0.92), (0.5, height * 0.82), 0.2, 0.1))
        canvas.hull(cab, walls, owner)
        canvas.polygon(cab[4:], rng.uniform(0.3, 0.7) * ground, owner)
        canvas.line(cab[[1, 2]], 0.25, rng.uniform(185, 235), owner)
    load = pose.box(Box((-half, front), (-side, side), (0.6, height)))
    canvas.hull(load, walls, owner)
    canvas.polygon(load[4:], roof, owner)
    if rng.random() < 0.6:
        _closed(canvas, load[4:], 0.12, min(240.0, ground + 55) if not bright else roof - 40, owner)
    if lorry and rng.random() < 0.7:  # the ribs of a tarpaulin
        for x in np.arange(-half + 0.6, front - 0.3, 0.9):
            rib = np.array([[x, -side * 0.9, height], [x, side * 0.9, height]])
            canvas.line(pose.place(rib), 0.1, roof + (-45 if bright else 18), owner)


def _rounded(half: float, side: float, cut: float) -> Points:
    """A rectangle [8, 2] of half length and half width with its corners cut off."""
    x, y = half, side
    corner = [
        [x, y - cut],
        [x - cut, y],
        [cut - x, y],
        [-x, y - cut],
        [-x, cut - y],
        [cut - x, -y],
        [x - cut, -y],
        [x, cut - y],
    ]
    return np.array(corner)


def _at(outline: Points, z: float) -> Points:
    return np.column_stack([outline, np.full(len(outline), z)])


def _closed(canvas: Canvas, points: Points, width_m: float, level: float, owner: int) -> None:
    canvas.line(np.concatenate([points, points[:1]]), width_m, level, owner)
