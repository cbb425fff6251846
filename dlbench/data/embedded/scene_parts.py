"""What the embedded scenes are put together from: sky, land, plants, water, ice, walls and roads."""

from typing import TypeAlias

import numpy as np

from dlbench.data.embedded.drawing import COLS, ROWS, SIZE, Dice, Floats, Mask, Point, Rgb, area, glaze, paint, rgb

Palette: TypeAlias = tuple[Rgb, ...]

SKIES: tuple[tuple[Rgb, Rgb], ...] = (
    ((0.22, 0.42, 0.78), (0.72, 0.83, 0.94)),  # clear
    ((0.35, 0.55, 0.85), (0.60, 0.76, 0.92)),  # clear, further down
    ((0.30, 0.50, 0.80), (0.80, 0.86, 0.92)),  # clear, hazy
    ((0.55, 0.58, 0.63), (0.80, 0.81, 0.83)),  # overcast
    ((0.84, 0.86, 0.88), (0.93, 0.93, 0.93)),  # white
    ((0.28, 0.28, 0.48), (0.95, 0.62, 0.38)),  # sunset
    ((0.16, 0.18, 0.32), (0.55, 0.42, 0.48)),  # dusk
)
GREENS: Palette = ((0.16, 0.32, 0.12), (0.28, 0.42, 0.16), (0.10, 0.22, 0.12), (0.40, 0.48, 0.20))
LEAVES: Palette = (*GREENS, *GREENS, (0.62, 0.38, 0.12), (0.70, 0.55, 0.18), (0.48, 0.24, 0.12), (0.62, 0.66, 0.68))
ROCKS: Palette = ((0.40, 0.36, 0.33), (0.32, 0.34, 0.38), (0.50, 0.40, 0.30), (0.28, 0.36, 0.26), (0.45, 0.48, 0.54))
SNOW: Palette = ((0.90, 0.92, 0.95), (0.80, 0.86, 0.93), (0.88, 0.86, 0.86))
ICE: Palette = ((0.66, 0.80, 0.90), (0.78, 0.86, 0.92), (0.60, 0.76, 0.88), (0.82, 0.84, 0.85))
WATERS: Palette = ((0.12, 0.30, 0.48), (0.20, 0.48, 0.58), (0.36, 0.46, 0.52), (0.10, 0.24, 0.36), (0.16, 0.40, 0.62))
GROUNDS: Palette = ((0.36, 0.44, 0.20), (0.46, 0.40, 0.28), (0.70, 0.62, 0.48), (0.86, 0.88, 0.90), (0.42, 0.41, 0.40))
WALLS: Palette = (
    (0.62, 0.56, 0.48),
    (0.56, 0.30, 0.22),
    (0.78, 0.74, 0.66),
    (0.46, 0.50, 0.54),
    (0.85, 0.85, 0.83),
    (0.34, 0.42, 0.50),
    (0.74, 0.60, 0.36),
)
PANES: Palette = ((0.14, 0.16, 0.20), (0.26, 0.32, 0.40), (0.55, 0.68, 0.80), (0.90, 0.80, 0.50))
TARMACS: Palette = ((0.30, 0.30, 0.31), (0.42, 0.41, 0.40), (0.22, 0.22, 0.24), (0.55, 0.50, 0.45))
CARS: Palette = ((0.70, 0.12, 0.10), (0.85, 0.85, 0.85), (0.10, 0.10, 0.12), (0.15, 0.25, 0.50), (0.80, 0.65, 0.10))


def sky(canvas: Floats, dice: Dice, horizon: float) -> Floats:
    """Fill the canvas with a sky that is palest at the horizon, clouds in it; return the colour down there."""
    high, low = (rgb(colour) for colour in SKIES[dice.whole(0, len(SKIES) - 1)])
    canvas[:] = (low - high) * np.minimum(ROWS / max(horizon, 0.05), 1) + high
    if dice.chance(0.6):
        cover = (dice.rough(dice.whole(3, 6), dice.whole(2, 3)) - dice.between(0.4, 0.6)) * dice.between(2, 6)
        glaze(canvas, cover, low * 0.4 + dice.between(0.35, 0.6))
    return low


def land(canvas: Floats, dice: Dice, line: Floats, colour: Floats, grain: int = 9) -> None:
    """Everything below a skyline, in one rough colour."""
    paint(canvas, line <= ROWS, colour * (0.7 + 0.6 * dice.rough(grain, grain)))


def mountains(canvas: Floats, dice: Dice, line: Floats, rock: Floats, snowline: float) -> None:
    """A rocky skyline with a lit and a shaded side; above ``snowline`` (a row position) snow lies on it."""
    folds = dice.rough(5, 8)
    # A slope that rises to the right lies in the light, one that falls in the shade; further down folds hide that.
    rise = np.zeros(SIZE, dtype=np.float32)
    rise[4:-4] = np.clip((line[:-8] - line[8:]) * 10, -1, 1)
    depth = ROWS - line
    light = 0.8 + 0.3 * rise * np.clip(1 - depth * 3, 0, 1) + 0.7 * (folds - 0.5)
    layer = rock * light
    # In the shade and on steep folds the snow ends further up.
    paint(layer, snowline + 0.15 * rise + 0.5 * (folds - 0.5) > ROWS, dice.colour(SNOW, 0.02) * (0.5 + 0.5 * light))
    paint(canvas, depth >= 0, layer)


def conifer(canvas: Floats, dice: Dice, place: Point, height: float, colour: Floats) -> None:
    """A fir that stands at ``place``: a triangle of drooping tiers."""
    x, foot = place
    half = height * dice.between(0.17, 0.28)
    rows, cols = area(x - half, foot - height, x + half, foot)
    down = (ROWS[rows] - (foot - height)) / height
    tier = (down * dice.whole(3, 6)) % 1
    spread = half * (0.65 * down + 0.35 * tier * np.minimum(1, 2 * down))
    shape = np.abs(COLS[:, cols] - x) < spread
    paint(canvas[:, rows, cols], shape, colour * (0.6 + 0.6 * dice.field(*shape.shape)))


def crown(canvas: Floats, dice: Dice, centre: Point, radius: float, colour: Floats) -> None:
    """A leafy ball, ragged at the rim, lighter on top."""
    x, y = centre
    rows, cols = area(x - radius, y - radius, x + radius, y + radius)
    down, across = (ROWS[rows] - y) / radius, (COLS[:, cols] - x) / radius
    ragged = dice.field(*np.broadcast_shapes(down.shape, across.shape))
    shape = down * down + across * across < 0.45 + 0.55 * ragged
    paint(canvas[:, rows, cols], shape, colour * ((1 - 0.3 * down) * (0.6 + 0.6 * ragged)))


def trunk(canvas: Floats, dice: Dice, place: Point, width: float, colour: Floats) -> None:
    """A stem from ``place`` up to some height; it leans a little and is darker on one side."""
    x, foot = place
    rows, cols = area(x - width - 0.04, dice.between(-0.6, 0.3), x + width + 0.04, foot)
    lean = dice.between(-0.08, 0.08)
    across = (COLS[:, cols] - x - lean * (ROWS[rows] - 0.5)) / width
    bark = 0.8 - 0.8 * across + 0.4 * (dice.field(len(across), 1) - 0.5)
    paint(canvas[:, rows, cols], np.abs(across) < 0.5, colour * bark)


def tree(canvas: Floats, dice: Dice, place: Point, height: float) -> None:
    """A single tree of some kind, as it stands along streets, shores and meadows."""
    colour = dice.colour(LEAVES)
    x, foot = place
    if dice.chance(0.35):
        conifer(canvas, dice, place, height, colour)
        return
    rows, cols = area(x - height * 0.05, foot - height * 0.6, x + height * 0.05, foot)
    canvas[:, rows, cols] = rgb((0.24, 0.18, 0.13))
    for _ in range(3):
        away = height * 0.18
        centre = x + dice.between(-away, away), foot - height * 0.7 + dice.between(-away, away)
        crown(canvas, dice, centre, height * dice.between(0.22, 0.34), colour)


def water(canvas: Floats, dice: Dice, top: float, sheen: Floats, swell: float = 1.0) -> None:
    """Everything below ``top``: the sky's ``sheen`` far away, waves that grow towards the viewer, glints."""
    colour = dice.colour(WATERS)
    near = np.clip((ROWS - top) / max(1 - top, 0.05), 0, 1)
    waves = dice.noise(32, 5) * (1 - near) + dice.noise(13, 4) * near - 0.5
    layer = (sheen - colour) * (0.55 * (1 - near) + swell * 0.5 * waves) + colour
    glints = dice.field(SIZE // 2, SIZE // 4).repeat(2, axis=0).repeat(4, axis=1) + waves * 0.4
    glaze(layer, (glints > dice.between(0.97, 1.15)) * np.float32(0.7), sheen * 0.3 + 0.7)
    paint(canvas, np.broadcast_to(top <= ROWS, (SIZE, SIZE)), layer)


def ice(dice: Dice, down: int, across: int) -> Floats:
    """A layer of broken ice: pale ridges, blue cracks; the two counts give the direction the cracks run in."""
    body = dice.colour(ICE, 0.03)
    lumps = dice.rough(down, across)
    layer = body * (0.75 + 0.45 * lumps)
    # Cracks follow a contour of noise, hence wander and branch.
    cracks = 1 - np.abs(dice.noise(down, across) - 0.5) * dice.between(9, 16)
    glaze(layer, cracks * dice.between(0.4, 0.9), body * rgb((0.35, 0.6, 0.78)))
    glaze(layer, (lumps - 0.62) * 4, dice.colour(SNOW, 0.02))
    return layer


def floes(canvas: Floats, dice: Dice, line: float, count: int, size: float) -> None:
    """Blocks of ice that float below ``line``."""
    for _ in range(count):
        y, x = dice.between(line, 1), dice.between(0, 1)
        half = size * (0.3 + y - line) * dice.between(0.5, 1.5)
        rows, cols = area(x - half, y - half * 0.7, x + half, y)
        outline = np.abs(COLS[:, cols] - x) / half + (y - ROWS[rows]) / half * dice.between(0.6, 1.4)
        light = 0.8 + 0.3 * dice.field(*outline.shape)
        paint(canvas[:, rows, cols], outline < 0.9, dice.colour(ICE, 0.03) * light)


def wall(dice: Dice, across: Floats, up: Floats) -> Floats:
    """A layer with the front of a house: windows in a grid on the coordinates given, one cell to a whole number."""
    plaster, pane = dice.colour(WALLS), dice.colour(PANES)
    wide, tall = dice.between(0.3, 0.75), dice.between(0.35, 0.75)
    if dice.chance(0.15):  # bands of glass from end to end
        wide = 1.0
    column, storey = np.floor(across), np.floor(up)
    window = (np.abs(across - column - 0.5) < wide / 2) & (np.abs(up - storey - 0.5) < tall / 2)
    # Each window in its own light: a cheap hash of the cell, in whole numbers small enough to be exact.
    lit = (column * 37 + storey * 59 + (column * storey) % 23 * 11) % 17 / 17
    layer = plaster * (0.9 + 0.15 * dice.noise(6, 6))
    paint(layer, window, pane * (0.7 + 0.6 * lit))
    ledge = (up - storey > 0.9) & dice.chance(0.4)
    paint(layer, ledge, plaster * dice.between(0.6, 1.2))
    return layer


def block(canvas: Floats, dice: Dice, corner: Point, width: float, foot: float) -> None:
    """A house seen from the front, from its upper left corner down to ``foot``; its roof is flat or pitched."""
    left, top = corner
    right = left + width
    cell = dice.between(0.035, 0.11)
    layer = wall(dice, (COLS - left) / cell, (foot - ROWS) / (cell * dice.between(0.9, 1.6)))
    inside = (left < COLS) & (right > COLS)
    paint(canvas, inside & (top < ROWS) & (foot > ROWS), layer)
    if dice.chance(0.3):
        middle, half = left + width / 2, width / 2 + 0.02
        pitch = dice.between(0.4, 1.0)
        roof = (half - np.abs(COLS - middle)) * pitch > top - ROWS
        paint(canvas, roof & (top >= ROWS) & (np.abs(COLS - middle) < half), dice.colour(((0.45, 0.2, 0.15), *ROCKS)))


def road(canvas: Floats, dice: Dice, x: float, y: float, width: float) -> None:
    """The ground below the vanishing point ``(x, y)``: tarmac ``width`` wide on either side, kerbs, lane marks."""
    below = np.maximum(ROWS - y, 0.002)
    aside = (COLS - x) / below
    ahead = 0.6 / below
    ground: Mask = np.broadcast_to(y < ROWS, (SIZE, SIZE))
    paint(canvas, ground, dice.colour(GROUNDS) * (0.85 + 0.25 * dice.noise(12, 12)))
    paint(canvas, ground & (np.abs(aside) < width), dice.colour(TARMACS) * (0.9 + 0.2 * dice.noise(24, 8)))
    paint(canvas, ground & (np.abs(np.abs(aside) - width) < 0.06), dice.colour(((0.65, 0.64, 0.62), (0.8, 0.8, 0.78))))
    if dice.chance(0.6):
        dashes = (ahead % 1 < 0.55) | dice.chance(0.3)
        marks = np.abs(aside - dice.between(-0.2, 0.2)) < 0.05
        paint(canvas, ground & marks & dashes, dice.colour(((0.9, 0.9, 0.88), (0.85, 0.7, 0.25))))


def car(canvas: Floats, dice: Dice, x: float, foot: float, width: float) -> None:
    """A car from behind or from the front: its shadow and wheels, body, cabin, window."""
    body = dice.colour(CARS)
    boxes = (  # half width, top and bottom (in widths), colour
        (0.42, 0.15, 0.0, rgb((0.05, 0.05, 0.06))),
        (0.50, 0.50, 0.08, body),
        (0.38, 0.80, 0.50, body * 0.9),
        (0.32, 0.74, 0.50, rgb((0.25, 0.30, 0.36))),
    )
    for half, top, bottom, colour in boxes:
        rows, cols = area(x - half * width, foot - top * width, x + half * width, foot - bottom * width)
        canvas[:, rows, cols] = colour
