"""Six kinds of landscape, drawn by chance: a small stand-in for photographs of scenes where those are not at hand.

The kinds share their parts, as photographs do: there is snow on mountains and on glaciers, mountains stand behind the
sea, trees along streets, and houses make up both a street and a picture of buildings.

A picture is a function of (seed, split, index) alone (see `dlbench.data.embedded.splits`). The drawing uses only
exactly specified arithmetic; the bytes are therefore the same on every machine with IEEE 754 floats as long as numpy
keeps what PCG64's ``random``, ``integers`` and ``permutation`` return, which it does not promise for ever.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from dlbench.data.embedded import scene_parts as parts
from dlbench.data.embedded import splits
from dlbench.data.embedded.drawing import COLS, ROWS, Dice, Floats, Point, blank, paint, photograph
from dlbench.data.image_files import PictureSet

CLASSES = ("buildings", "forest", "glacier", "mountain", "sea", "street")


def buildings(canvas: Floats, dice: Dice) -> None:
    """Houses in front view, or one corner with its walls running off to both sides; never a road into the depth."""
    horizon = dice.between(0.75, 1.0)
    parts.sky(canvas, dice, horizon)
    if dice.chance(0.25):
        parts.land(canvas, dice, dice.ridge(0.7, 0.3, 0.4), dice.colour(parts.ROCKS))
    if dice.chance(0.45):
        _corner(canvas, dice, horizon)
    else:
        for _ in range(dice.whole(2, 5)):
            left, top = dice.between(-0.2, 0.8), dice.between(-0.1, 0.6)
            parts.block(canvas, dice, (left, top), dice.between(0.2, 0.7), horizon)
    _foreground(canvas, dice, horizon)
    for _ in range(dice.whole(0, 2)):
        parts.tree(canvas, dice, (dice.between(0, 1), dice.between(horizon, 1.1)), dice.between(0.2, 0.5))
    if dice.chance(0.3):
        parts.car(canvas, dice, dice.between(0, 1), dice.between(0.9, 1.0), dice.between(0.12, 0.25))


def _corner(canvas: Floats, dice: Dice, horizon: float) -> None:
    """A house seen over its corner; both walls grow smaller with the distance from it."""
    edge, level = dice.between(0.2, 0.8), dice.between(0.6, 1.0) * horizon
    height, cell = dice.between(0.5, 1.2), dice.between(0.05, 0.12)
    for side in (-1, 1):
        away = (COLS - edge) * side
        scale = np.maximum(1 - away * dice.between(0.4, 1.4), 0.03)
        up = (level - ROWS) / scale
        layer = parts.wall(dice, away / scale / cell, up / cell + 20)
        seen = (away >= 0) & (up < height) & (horizon > ROWS)
        paint(canvas, seen, layer * (1.0 if side > 0 else dice.between(0.55, 0.9)))


def forest(canvas: Floats, dice: Dice) -> None:
    """Inside a wood among its trunks, or its edge with firs and crowns one behind the other."""
    leaf = dice.colour(parts.LEAVES)
    horizon = dice.between(0.1, 0.55)
    parts.sky(canvas, dice, horizon)
    if dice.chance(0.5):
        paint(canvas, dice.rough(8, 8) > dice.between(0.1, 0.5), leaf * (0.3 + 1.1 * dice.rough(16, 16)))
        _foreground(canvas, dice, dice.between(0.7, 1.0))
        bark = dice.colour(((0.25, 0.19, 0.14), (0.16, 0.14, 0.12), (0.42, 0.36, 0.30), (0.7, 0.7, 0.66)))
        for depth in np.linspace(0.3, 1.0, dice.whole(5, 14)).tolist():
            foot = 0.65 + depth * dice.between(0.1, 0.35)
            width = depth * dice.between(0.02, 0.09)
            parts.trunk(canvas, dice, (dice.between(0, 1), foot), width, bark)
        for _ in range(dice.whole(0, 5)):
            parts.crown(canvas, dice, (dice.between(0, 1), dice.between(0, 0.3)), dice.between(0.1, 0.25), leaf)
        return
    firs = dice.chance(0.5)
    for depth in np.linspace(0.0, 1.0, dice.whole(14, 24)).tolist():
        colour, x = leaf * dice.between(0.6, 1.2), dice.between(-0.05, 1.05)
        size = 0.2 + 0.3 * depth
        if firs:
            parts.conifer(canvas, dice, (x, horizon + 0.1 + 0.6 * depth), size * 1.5, colour)
        else:
            parts.crown(canvas, dice, (x, horizon + 0.6 * depth), size * 0.7, colour)


def glacier(canvas: Floats, dice: Dice) -> None:
    """An ice front over water, a tongue between mountains, or a field of crevasses."""
    horizon = dice.between(0.25, 0.5)
    low = parts.sky(canvas, dice, horizon)
    line = dice.ridge(horizon + 0.1, 0.35, 0.5)
    parts.mountains(canvas, dice, line, dice.colour(parts.ROCKS), dice.between(-0.1, 0.7))
    kind = dice.whole(0, 2)
    if kind == 0:
        shore = dice.between(0.65, 0.9)
        paint(canvas, dice.ridge(horizon + 0.15, 0.12, 0.6, peaks=6) <= ROWS, parts.ice(dice, 5, dice.whole(12, 24)))
        parts.water(canvas, dice, shore, low)
        parts.floes(canvas, dice, shore, dice.whole(0, 8), 0.12)
    elif kind == 1:
        bend, start = dice.between(-0.8, 0.8), dice.between(0.3, 0.7)
        down = np.maximum(ROWS - horizon, 0)
        middle = start + bend * down * (0.9 - down)
        tongue = np.abs(COLS - middle) < 0.08 + down * dice.between(0.3, 0.8) + (dice.noise(8, 4) - 0.5) * 0.12
        paint(canvas, tongue & (horizon <= ROWS), parts.ice(dice, dice.whole(10, 20), 6))
    else:
        edge = dice.ridge(horizon + 0.2, 0.15, 0.4)
        paint(canvas, edge <= ROWS, parts.ice(dice, dice.whole(5, 14), dice.whole(4, 9)))


def mountain(canvas: Floats, dice: Dice) -> None:
    """One to three ranges, the far ones paler, over a meadow, a lake, snow or the tops of trees."""
    horizon = dice.between(0.65, 0.95)
    low = parts.sky(canvas, dice, horizon)
    rock, snowline = dice.colour(parts.ROCKS), dice.between(-0.1, 0.7)
    ranges = dice.whole(1, 3)
    for index in range(ranges):
        near = (index + 1) / ranges
        line = dice.ridge(horizon - 0.25 + 0.25 * near, dice.between(0.4, 0.65), dice.between(0.2, 0.45))
        parts.mountains(canvas, dice, line, low + (rock - low) * (0.4 + 0.6 * near), snowline)
    _foreground(canvas, dice, horizon)
    if dice.chance(0.3):
        parts.water(canvas, dice, horizon, low, 0.5)
    for _ in range(dice.whole(0, 3)):
        parts.tree(canvas, dice, (dice.between(0, 1), dice.between(horizon, 1.0)), dice.between(0.1, 0.3))


def sea(canvas: Floats, dice: Dice) -> None:
    """Water up to the horizon; perhaps a coast behind, a beach in front, a boat, drifting ice."""
    horizon = dice.between(0.2, 0.65)
    low = parts.sky(canvas, dice, horizon)
    if dice.chance(0.4):
        line = dice.ridge(horizon + dice.between(-0.05, 0.1), dice.between(0.1, 0.35), 0.5)
        parts.mountains(canvas, dice, line, dice.colour(parts.ROCKS), dice.between(-0.4, 0.4))
    parts.water(canvas, dice, horizon, low, dice.between(0.6, 1.6))
    if dice.chance(0.4):
        shore = dice.between(0.7, 1.2) + (COLS[0] - 0.5) * dice.between(-0.8, 0.8)
        shore = np.maximum(shore + dice.ridge(0.04, 0.08, 0.3), horizon + 0.05)
        parts.land(canvas, dice, shore - 0.04, dice.colour(parts.SNOW))
        parts.land(canvas, dice, shore, dice.colour(parts.GROUNDS))
    if dice.chance(0.1):
        parts.floes(canvas, dice, horizon, dice.whole(1, 4), 0.12)
    if dice.chance(0.2):
        x, size = dice.between(0.1, 0.9), dice.between(0.08, 0.25)
        sail = (np.abs(COLS - x) * 2 < ROWS - horizon - 0.05 + size) & (horizon + 0.05 > ROWS)
        paint(canvas, sail, dice.colour(((0.9, 0.9, 0.88), (0.6, 0.2, 0.15))))


def street(canvas: Floats, dice: Dice) -> None:
    """A road that runs to its vanishing point between two rows of houses, with cars and trees."""
    x, y = dice.between(0.25, 0.75), dice.between(0.35, 0.65)
    parts.sky(canvas, dice, y)
    if dice.chance(0.3):
        parts.land(canvas, dice, dice.ridge(y, 0.3, 0.4), dice.colour(parts.ROCKS))
    width = dice.between(0.6, 1.6)
    parts.road(canvas, dice, x, y, width)
    for side in ((-1, 1), (-1, 1), (-1, 1), (1,))[dice.whole(0, 3)]:
        _row(canvas, dice, (x, y), side, width + dice.between(0.1, 0.6))
    for _ in range(dice.whole(0, 3)):
        near, side = dice.between(0.05, 0.35), 1 if dice.chance(0.5) else -1
        parts.tree(canvas, dice, (x + side * near * (width + 0.2), y + near), near * dice.between(1.5, 3))
    for _ in range(dice.whole(0, 3)):
        near = dice.between(0.05, 0.4)
        parts.car(canvas, dice, x + near * dice.between(-width, width) * 0.8, y + near, near * 0.6)


def _row(canvas: Floats, dice: Dice, point: Point, side: int, distance: float) -> None:
    """Houses along one side of a road; each has its own height, all lines run to the vanishing point."""
    away = np.maximum((COLS - point[0]) * side, 0.004)
    depth = distance / away
    up = (point[1] - ROWS) * depth
    ends = np.cumsum(1.5 + 3 * dice.field(6))
    heights = dice.between(0.6, 3.0) * (0.5 + dice.field(7))
    cells = dice.between(1.5, 4)
    layer = parts.wall(dice, depth * cells, up * cells + 50)
    tints = (0.5 + 0.6 * dice.field(7)) * (0.9 + 0.2 * dice.field(3, 1, 7))
    house = np.searchsorted(ends, depth[0])
    seen = (COLS * side > point[0] * side) & (up < heights[house]) & (up > -1)
    paint(canvas, seen, layer * tints[..., house])


def _foreground(canvas: Floats, dice: Dice, line: float) -> None:
    """Ground of any kind at the lower edge."""
    parts.land(canvas, dice, dice.ridge(line, 0.05, 0.5), dice.colour(parts.GROUNDS), 12)


SCENES: tuple[Callable[[Floats, Dice], None], ...] = (buildings, forest, glacier, mountain, sea, street)


def generate(seed: int = 0, sizes: Sequence[int] = (1200, 240, 480)) -> PictureSet:
    """Train, validation and test pictures, 48x48 RGB; in each, every class as often as any other, give or take one."""
    return splits.generate("scenes", CLASSES, _picture, seed, sizes)


def _picture(label: int, dice: Dice) -> npt.NDArray[np.uint8]:
    canvas = blank()
    SCENES[label](canvas, dice)
    return photograph(canvas, dice)
