"""Tools for drawing pictures with nothing but random bits and exact arithmetic.

Positions are fractions of the frame (row 0 on top), colours are red, green, blue from 0 to 1. A canvas has the shape
(3, rows, columns) and a colour (3, 1, 1), which keeps numpy's inner loops long. Only ``+ - * /``,
comparisons and table look-ups are used: IEEE 754 fixes their results, whereas sines, powers, normal variates and matrix
products may differ in the last bit from one machine to the next.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
Mask: TypeAlias = npt.NDArray[np.bool_]
Rgb: TypeAlias = tuple[float, float, float]
Point: TypeAlias = tuple[float, float]
"""Column and row."""

SIZE = 96
"""Side of the canvas: twice that of a picture, so that halving it smooths the edges."""

ROWS: Floats = ((np.arange(SIZE) + 0.5) / SIZE).astype(np.float32)[:, None]
COLS: Floats = ROWS.T


class Dice:
    """The random numbers of one picture."""

    def __init__(self, seed: int, *key: int) -> None:
        # PCG64 by name: numpy may change what its default generator is.
        self.rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))

    def between(self, low: float, high: float) -> float:
        """A number from the interval (numpy's own ``uniform`` may be compiled to a fused multiply-add)."""
        return low + (high - low) * self.rng.random()

    def whole(self, low: int, high: int) -> int:
        """An integer, both ends included."""
        return int(self.rng.integers(low, high, endpoint=True))

    def chance(self, probability: float) -> bool:
        """True this often."""
        return self.rng.random() < probability

    def colour(self, palette: Sequence[Rgb], spread: float = 0.06) -> Floats:
        """One of the palette, with its brightness and each channel moved a little."""
        base = rgb(palette[self.whole(0, len(palette) - 1)])
        return base * self.between(0.85, 1.15) + (self.field(3, 1, 1) - 0.5) * (2 * spread)

    def field(self, *shape: int) -> Floats:
        """Independent numbers from 0 to 1."""
        return self.rng.random(shape, dtype=np.float32)

    def noise(self, down: int, across: int) -> Floats:
        """Smooth noise over the canvas from 0 to 1: random values on a grid of cells, interpolated between."""
        grid = self.field(down + 1, across + 1)
        above, part = _cells(down)
        left, share = _cells(across)
        lines = grid[above] + part[:, None] * (grid[above + 1] - grid[above])
        start = lines[:, left]
        return start + share * (lines[:, left + 1] - start)

    def rough(self, down: int, across: int) -> Floats:
        """Noise with a coarse and a fine part, from 0 to 1."""
        return self.noise(down, across) * 0.65 + self.noise(down * 3, across * 3) * 0.35

    def ridge(self, level: float, height: float, roughness: float, peaks: int = 3) -> Floats:
        """A skyline, one row position per column: random peaks up to ``height`` above ``level``, displaced midpoints.

        ``peaks`` is 3 or 6 (96 columns halve evenly from there); a small ``roughness`` makes hills, 0.5 makes crags.
        """
        line = level - height * self.field(peaks + 1)
        spread = height * roughness
        while len(line) <= SIZE:
            middle = (line[1:] + line[:-1]) * 0.5 + (self.field(len(line) - 1) - 0.5) * spread
            line = np.append(np.stack([line[:-1], middle], axis=1).ravel(), line[-1:])
            spread *= 0.55
        return line[:SIZE]


@lru_cache(maxsize=256)
def _cells(count: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """For each canvas line: which of ``count`` cells it lies in, and how far (eased at both ends)."""
    place = np.arange(SIZE, dtype=np.int64) * count
    part = place % SIZE / SIZE
    return place // SIZE, (part * part * (3 - 2 * part)).astype(np.float32)


def rgb(colour: Rgb) -> Floats:
    """A colour in the shape that goes with a canvas."""
    return np.array(colour, dtype=np.float32)[:, None, None]


def blank() -> Floats:
    """A black canvas."""
    return np.zeros((3, SIZE, SIZE), dtype=np.float32)


def area(left: float, top: float, right: float, bottom: float) -> tuple[slice, slice]:
    """The canvas lines and columns a box covers (what lies outside the frame is cut off)."""
    rows, cols = ((max(0, int(a * SIZE)), max(0, int(b * SIZE))) for a, b in ((top, bottom), (left, right)))
    return slice(*rows), slice(*cols)


def paint(canvas: Floats, mask: Mask, colour: Floats) -> None:
    """Cover what the mask selects, with one colour or with the same places of a painted layer."""
    np.copyto(canvas, colour, where=mask)


def glaze(canvas: Floats, cover: Floats, colour: Floats) -> None:
    """Mix a colour in, as far as ``cover`` says (0 leaves the canvas, 1 hides it)."""
    canvas += np.clip(cover, 0, 1) * (colour - canvas)


def photograph(canvas: Floats, dice: Dice) -> npt.NDArray[np.uint8]:
    """The canvas as a camera may see it: framing, light, haze, faded colour, sensor noise; half the size, 8 bits."""
    canvas = _reframe(canvas, dice)
    lines = canvas[:, ::2] + canvas[:, 1::2]
    small = (lines[..., ::2] + lines[..., 1::2]) * 0.25
    rows, cols = ROWS[::2] - 0.5, COLS[:, ::2] - 0.5
    light = 1 + dice.between(-0.3, 0.3) * rows + dice.between(-0.3, 0.3) * cols
    small *= light * (dice.between(0.78, 1.2) * (0.92 + 0.16 * dice.field(3, 1, 1)))
    grey = small[0] * 0.3 + small[1] * 0.6 + small[2] * 0.1
    small += (grey - small) * dice.between(0, 0.35)
    small += (dice.colour([(0.75, 0.77, 0.8), (0.5, 0.5, 0.52)]) - small) * dice.between(0, 0.15)
    # Four random bytes added up are close enough to a normal variate, and whole numbers are the same everywhere.
    grain = dice.rng.integers(0, 256, (4, *small.shape), dtype=np.uint8).sum(axis=0, dtype=np.int64) - 510
    small += grain.astype(np.float32) * (dice.between(0.01, 0.04) / 148)
    return (np.clip(small, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0)


def _reframe(canvas: Floats, dice: Dice) -> Floats:
    """Zoom, shift, tilt and mirror."""
    zoom = dice.between(0.8, 1.0)
    top, left = dice.between(0, 1 - zoom), dice.between(0, 1 - zoom)
    tilt = dice.between(-0.06, 0.06)
    rows = (top + ROWS * zoom + (COLS - 0.5) * tilt) * SIZE
    cols = ((left + COLS * zoom) * SIZE).astype(np.int64)
    if dice.chance(0.5):
        cols = cols[:, ::-1]
    places = np.clip(rows, 0, SIZE - 1).astype(np.int64) * SIZE + cols
    framed: Floats = np.take(canvas.reshape(3, -1), places, axis=1)
    return framed
