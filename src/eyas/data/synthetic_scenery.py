"""What stands about in a drawn scene and is no object: trees, posts, buildings. It hides what lies behind it."""

import numpy as np

from eyas.data.synthetic_paint import Box, Canvas, Points, Pose

Random = np.random.Generator


def paint_tree(canvas: Canvas, pose: Pose, owner: int, ground: float, rng: Random) -> None:
    """A crown of many leaf clumps over a trunk, its lobes lighter on top; it hides what is under it."""
    level = ground + rng.uniform(-55, 15)
    radius, top = rng.uniform(0.8, 2.6), rng.uniform(2.0, 5.0)
    x, y = pose.x, pose.y
    canvas.line(np.array([[x, y, 0.0], [x, y, top]]), 0.25, level + 15, owner)
    lobes = rng.normal(0, radius * 0.42, (int(4 + radius * 3), 3)) * np.array([1, 1, 0.4])
    count = int(16 + radius * 34)
    offsets = lobes[rng.integers(0, len(lobes), count)] + rng.normal(0, radius * 0.2, (count, 3))
    offsets = offsets[np.argsort(offsets[:, 2], kind="stable")]
    levels = np.clip(level + offsets[:, 2] / radius * 22 + rng.normal(0, 4, count), 12, 225)
    canvas.balls(np.array([x, y, top]) + offsets, rng.uniform(0.07, 0.26, count), levels, owner)


def paint_bare_tree(canvas: Canvas, pose: Pose, owner: int, ground: float, rng: Random) -> None:
    """Twigs without leaves: thin lines that fork."""
    level = ground + rng.choice([-1.0, 1.0]) * rng.uniform(20, 50)
    tips = [(np.array([pose.x, pose.y, 0.0]), np.array([0.0, 0.0, 2.5]))]
    for width in (0.22, 0.12, 0.08):
        grown: list[tuple[Points, Points]] = []
        for root, limb in tips:
            end = root + limb
            canvas.line(np.array([root, end]), width, level, owner)
            for _ in range(3):
                grown.append((end, limb * 0.6 + rng.normal(0, 0.9, 3) * np.array([1, 1, 0.3])))
        tips = grown


def paint_post(canvas: Canvas, pose: Pose, owner: int, ground: float, rng: Random) -> None:
    """A lamp or sign post: a thin pole with arms and small dark or bright heads."""
    x, y = pose.x, pose.y
    level = rng.uniform(0.2, 0.6) * ground
    top = rng.uniform(3, 8)
    canvas.line(np.array([[x, y, 0.0], [x, y, top]]), 0.16, level, owner)
    angle = rng.uniform(0, 2 * np.pi)
    for turn in range(int(rng.integers(1, 3))):
        arm = Pose(x, y, angle + turn * np.pi)
        canvas.line(arm.place(np.array([[0, 0, top], [1.1, 0, top]])), 0.12, level, owner)
        head = arm.box(Box((0.8, rng.uniform(1.2, 1.8)), (-0.3, 0.3), (top, top + 0.1)))
        canvas.polygon(head[4:], level - 12 if rng.random() < 0.8 else 225, owner)


def paint_building(canvas: Canvas, pose: Pose, owner: int, ground: float, rng: Random) -> None:
    """A block with a ribbed or plain roof and rows of windows."""
    level = float(np.clip(ground + rng.uniform(-50, 40), 30, 200))
    half, side, height = rng.uniform(6, 14), rng.uniform(4, 9), rng.uniform(3, 12)
    corners = pose.box(Box((-half, half), (-side, side), (0.0, height)))
    canvas.hull(corners, level, owner)
    window = level + rng.uniform(-45, 45)
    for z in np.arange(1.2, height - 1.2, 2.8):
        for x in np.arange(-half + 1, half - 1.5, 2.6):
            pane = np.array([[x, -side, z], [x + 1.3, -side, z], [x + 1.3, -side, z + 1.3], [x, -side, z + 1.3]])
            canvas.polygon(pose.place(pane), window, owner)
    roof = level * rng.uniform(0.3, 0.8)
    canvas.polygon(corners[4:], roof, owner)
    if rng.random() < 0.6:
        for x in np.arange(-half + 0.5, half, 0.8):
            canvas.line(pose.place(np.array([[x, -side, height], [x, side, height]])), 0.12, roof + 22, owner)
    canvas.line(np.concatenate([corners[4:], corners[4:5]]), 0.3, level + 25, owner)
