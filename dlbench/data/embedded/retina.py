"""Sections through a retina as optical coherence tomography shows them, drawn by chance: a stand-in for OctMNIST.

All have the same layers, at any height, tilt and bend, in speckle: the dark vitreous body, the banded retina with its
pit, the bright pigment epithelium, the choroid fading below. New vessels (CNV) lift the epithelium in one irregular
bright mound with fluid above it; macular oedema (DME) thickens the retina around dark pockets; drusen raise small
mounds; a normal one has none of this. As in patients the signs may be faint, and a little of one may go with another.
The bytes are the same on every machine, as those of `dlbench.data.embedded.scenes`.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dlbench.data.embedded import splits
from dlbench.data.embedded.drawing import Dice, Floats
from dlbench.data.image_files import PictureSet

SIDE = 28
CLASSES = ("CNV", "DME", "drusen", "normal")
_FINE = 2 * SIDE
_ROWS: Floats = ((np.arange(_FINE) + 0.5) / _FINE).astype(np.float32)[:, None]
_COLS: Floats = _ROWS.T

BANDS = (0.62, 0.42, 0.5, 0.3, 0.38, 0.24)
"""Brightness of the retina's layers, from the nerve fibres down."""


def generate(seed: int = 0, sizes: Sequence[int] = (4000, 500, 1000)) -> PictureSet:
    """Train, validation and test pictures, (N, 28, 28, 1); every class as often as any other.

    Raises:
        DataError: See `dlbench.data.embedded.splits.generate`.
    """
    return splits.generate("scans", CLASSES, _picture, seed, sizes)


def _picture(label: int, dice: Dice) -> npt.NDArray[np.uint8]:
    name = CLASSES[label]
    epithelium = _line(dice, dice.between(0.55, 0.7))
    thickness = dice.between(0.22, 0.3) * (dice.between(1.2, 1.6) if name == "DME" else 1.0)
    pit = dice.between(0.0, 0.5) * _bump(dice.between(0.3, 0.7), dice.between(0.15, 0.3))
    surface = epithelium - thickness * (1 - pit)
    raised = np.zeros_like(epithelium)
    if name == "CNV":
        raised = raised + _mound(dice, dice.between(0.12, 0.26), dice.between(0.18, 0.4))
    for _ in range(dice.whole(3, 6) if name == "drusen" else dice.whole(0, 2) // 2):
        raised = raised + _mound(dice, dice.between(0.05, 0.1), dice.between(0.05, 0.1))
    lifted = epithelium - raised
    surface = np.minimum(surface, lifted - 0.1) - raised * 0.3

    scan = _layers(surface, lifted, epithelium, dice)
    if name == "CNV":
        fluid = (lifted - dice.between(0.03, 0.09) * (raised > 0.03) < _ROWS) & (lifted > _ROWS)
        scan = np.where(fluid, np.float32(0.06), scan)
    for _ in range(dice.whole(2, 5) if name == "DME" else dice.whole(0, 3) // 3):
        scan = _pocket(scan, dice, surface, lifted)
    return _speckled(scan, dice)


def _line(dice: Dice, level: float) -> Floats:
    """A bent and tilted boundary, one row position per column, (1, columns)."""
    aside = _COLS - np.float32(dice.between(0.3, 0.7))
    tilt, bend = np.float32(dice.between(-0.15, 0.15)), np.float32(dice.between(-0.4, 0.3))
    return np.add(aside * tilt + aside * aside * bend, np.float32(level))


def _bump(centre: float, half: float) -> Floats:
    """From 1 at the centre smoothly down to 0 at half the width, (1, columns)."""
    aside = (_COLS - np.float32(centre)) / np.float32(half)
    inside: Floats = np.maximum(1 - aside * aside, np.float32(0))
    return np.square(inside)


def _mound(dice: Dice, height: float, half: float) -> Floats:
    """A mound anywhere, of two bumps, so that it may be lopsided."""
    centre = dice.between(0.1, 0.9)
    shoulder = centre + dice.between(-0.6, 0.6) * half
    narrower = half * dice.between(0.3, 0.7)
    return np.float32(0.7 * height) * _bump(centre, half) + np.float32(0.4 * height) * _bump(shoulder, narrower)


def _layers(surface: Floats, lifted: Floats, epithelium: Floats, dice: Dice) -> Floats:
    """The bands between the boundaries, (rows, columns) of brightness; what lies in a mound is fairly bright."""
    depth = (_ROWS - surface) / (lifted - surface)
    band = np.clip(depth * len(BANDS), 0, len(BANDS) - 1).astype(np.int64)
    brightness = np.array(BANDS, dtype=np.float32) * (0.8 + 0.4 * dice.field(len(BANDS)))
    scan = brightness[band]
    below = _ROWS - epithelium
    choroid = dice.between(0.35, 0.55) * np.clip(1 - below * dice.between(1.5, 3.5), 0, 1)
    scan = np.where(lifted <= _ROWS, np.where(below > 0, choroid, dice.between(0.3, 0.6)), scan)
    lining = np.float32(dice.between(0.025, 0.045))
    scan = np.where((lifted - lining < _ROWS) & (lifted + lining > _ROWS), dice.between(0.8, 1.0), scan)
    return np.where(depth < 0, np.float32(0.05), scan).astype(np.float32)


def _pocket(scan: Floats, dice: Dice, surface: Floats, lifted: Floats) -> Floats:
    """The scan with a dark oval of fluid between retina and epithelium."""
    column = dice.between(0.15, 0.85)
    nearest = int(column * _FINE)
    top, bottom = float(surface[0, nearest]), float(lifted[0, nearest])
    row = top + (bottom - top) * dice.between(0.3, 0.7)
    tall = (bottom - top) * dice.between(0.15, 0.35)
    wide = tall * dice.between(0.8, 1.8)
    down, across = (_ROWS - np.float32(row)) / np.float32(tall), (_COLS - np.float32(column)) / np.float32(wide)
    return np.where(down * down + across * across < 1, np.float32(dice.between(0.03, 0.15)), scan)


def _speckled(scan: Floats, dice: Dice) -> npt.NDArray[np.uint8]:
    """The scan at half its size in multiplicative noise, with the detector's own, at some exposure; 8 bits."""
    grain = dice.field(2, _FINE, _FINE)
    noisy = scan * (0.25 + 1.5 * grain[0]) + 0.1 * grain[1] * dice.between(0.2, 1.5)
    lines = noisy[::2] + noisy[1::2]
    small = (lines[:, ::2] + lines[:, 1::2]) * np.float32(0.25)
    exposed = small * dice.between(0.9, 1.5)
    picture: npt.NDArray[np.uint8] = (np.clip(exposed, 0, 1) * 255 + 0.5).astype(np.uint8)[..., None]
    return picture
