"""Ten invented glyphs, written by chance with a brush: a small stand-in for Kuzushiji-MNIST (28x28, light on dark).

A glyph is a few strokes, each a smooth curve along its points. Every writing moves the points, distorts the whole by an
affine map, presses the brush more or less, lets it fade along a stroke, and at times drops a stray stroke. The bytes
are the same on every machine, as those of `dlbench.data.embedded.scenes`.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from dlbench.data.embedded import splits
from dlbench.data.embedded.drawing import Dice, Floats
from dlbench.data.image_files import PictureSet

SIDE = 28
GLYPHS = {
    "hook": "32 36 58 87 84",
    "cross": "14 54 84, 51 46 48",
    "loop": "31 37 69 75 43 25 48 88",
    "fork": "51 56 58, 12 34 55, 92 74 55",
    "wave": "16 21 47 63 68 85",
    "gate": "31 26 38, 23 51 73, 72 77 68",
    "ladder": "31 34 38, 71 74 78, 33 73, 36 76",
    "star": "51 58, 23 47 77, 73 55 27",
    "arch": "18 20 80 88, 36 45 66",
    "bolt": "71 25 74 28",
}
"""The strokes of each, and the points of a stroke: column and row in tenths of the frame."""

CLASSES = tuple(GLYPHS)
_SEGMENTS = 10
"""Into so many straight pieces every stroke is cut."""

_ALONG = (np.arange(_SEGMENTS) + 0.5) / _SEGMENTS
_PLACES: Floats = ((np.arange(SIDE) + 0.5) / SIDE).astype(np.float32)
Floats64 = npt.NDArray[np.float64]


def generate(seed: int = 0, sizes: Sequence[int] = (4000, 500, 1000)) -> PictureSet:
    """Train, validation and test pictures, (N, 28, 28, 1); every glyph as often as any other.

    Raises:
        DataError: See `dlbench.data.embedded.splits.generate`.
    """
    return splits.generate("glyphs", CLASSES, _picture, seed, sizes)


def _picture(label: int, dice: Dice) -> npt.NDArray[np.uint8]:
    points, weights = _strokes(label)
    jitter = dice.rng.random(points.shape) - 0.5
    points = points + jitter * 0.16
    points[-1] = dice.rng.random(2) + jitter[-1] * 0.3  # the stray stroke, short and anywhere
    strokes = len(points) - (not dice.chance(0.25))
    stretch, slant = 0.65 + dice.rng.random(2) * 0.45, (dice.rng.random(2) - 0.5) * (0.8, 0.6)
    own = points[:strokes] - 0.5
    placed = own * stretch + own[..., ::-1] * slant + 0.5 + (dice.rng.random(2) - 0.5) * 0.16
    curves = np.zeros((strokes, _SEGMENTS + 1, 2))
    for point in range(placed.shape[1]):
        curves += weights[:strokes, :, point, None] * placed[:, None, point]
    ends = dice.between(0.025, 0.06) * (0.6 + 0.6 * dice.rng.random((2, strokes, 1)))
    ink = _ink(curves, ends[0] + (ends[1] - ends[0]) * _ALONG)
    grey = ink * (dice.between(0.75, 1.0) + 0.3 * (dice.field(SIDE, SIDE) - 0.5))
    return (np.clip(grey, 0, 1) * 255 + 0.5).astype(np.uint8)[..., None]


@cache
def _strokes(label: int) -> tuple[Floats64, Floats64]:
    """A glyph's strokes and a stray one: points (strokes, points, 2), and their weights in each place of the curve.

    Strokes of fewer points are filled up with points of no weight.
    """
    strokes = [
        [[int(digit) / 10 for digit in point] for point in text.split()] for text in GLYPHS[CLASSES[label]].split(",")
    ]
    strokes.append([[0.0, 0.0]] * 2)
    most = max(map(len, strokes))
    points = np.array([[*stroke, *[[0.0, 0.0]] * (most - len(stroke))] for stroke in strokes])
    weights = np.zeros((len(strokes), _SEGMENTS + 1, most))
    for stroke, own in zip(strokes, weights, strict=True):
        own[:, : len(stroke)] = _curve(np.eye(len(stroke)))
    return points, weights


def _curve(points: Floats64) -> Floats64:
    """A smooth curve from the first point to the last, (`_SEGMENTS` + 1, ...): corners are cut twice (Chaikin 1974)."""
    for _ in range(2):
        start, end = points[:-1], points[1:]
        cut = np.stack([start * 0.75 + end * 0.25, start * 0.25 + end * 0.75], axis=1).reshape(-1, points.shape[1])
        points = np.concatenate([points[:1], cut, points[-1:]])
    place = np.arange(_SEGMENTS + 1) * (len(points) - 1) / _SEGMENTS
    before = np.minimum(place.astype(np.int64), len(points) - 2)
    curve: Floats64 = points[before] + (points[before + 1] - points[before]) * (place - before)[:, None]
    return curve


def _ink(curves: Floats64, widths: Floats64) -> Floats:
    """How far strokes cover each pixel, (28, 28) from 0 to 1.

    Args:
        curves: (strokes, `_SEGMENTS` + 1, 2).
        widths: Half the brush's width at each segment, (strokes, `_SEGMENTS`).
    """
    start, step = (part.reshape(-1, 2).astype(np.float32) for part in (curves[:, :-1], np.diff(curves, axis=1)))
    half = widths.reshape(-1, 1, 1).astype(np.float32)
    across = _PLACES - start[:, :1]
    down = _PLACES - start[:, 1:]
    x, y = step[:, :1], step[:, 1:]
    # The nearest point of each segment, as a part of its length; segments of no length are points.
    length = np.maximum(x * x + y * y, np.float32(1e-9))
    along = np.clip((across * (x / length))[:, None, :] + (down * (y / length))[:, :, None], 0, 1)
    right = across[:, None, :] - along * x[:, None]
    below = down[:, :, None] - along * y[:, None]
    reach = half + np.float32(0.5 / SIDE)
    # Squared distances need no root; the rim of a stroke is soft over about a pixel.
    cover = (reach * reach - right * right - below * below) / (2 * reach * np.float32(1 / SIDE))
    ink: Floats = np.clip(cover.max(axis=0), 0, 1)
    return ink
