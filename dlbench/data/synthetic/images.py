"""Synthetic pictures: colours and textures for Intel's scenes, glyphs for Kuzushiji-MNIST, layers for OctMNIST.

The classes are easy to tell for a person and made of what networks differ in. A scene has a texture and colours, and in
part of the pictures the colours are those of another class; a glyph is moved, stretched and slanted; a scan shows its
sign at any place, in speckle.

Pictures are drawn in blocks of `BLOCK`, each a function of (seed, split, number of the block) alone, with every class
as often as any other. So a larger split begins with the smaller one, and classes are as frequent as each other, give or
take one.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from dlbench.data.image_files import Pictures, PictureSet
from dlbench.data.synthetic import stream

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Rng = np.random.Generator

BLOCK = 60
"""Pictures drawn at once: whole rounds of four, six or ten classes, few enough for the processor's cache."""

# Colour of the ground from 0 to 255; waves across and down the picture, and of a second pattern.
SCENES = {
    "buildings": ((255, 60, 20), (6, 0), (0, 6)),
    "forest": ((0, 170, 0), (8, 0), (0, 0)),
    "glacier": ((255, 255, 255), (5, 5), (0, 0)),
    "mountain": ((50, 30, 20), (3, -3), (0, 0)),
    "sea": ((0, 50, 255), (0, 8), (0, 0)),
    "street": ((255, 230, 0), (5, -5), (5, 5)),
}
BORROWED = 0.12
"""Part of the scenes whose colour is that of any class."""

# Cells of five rows, light (#) or dark.
GLYPHS = {
    "hook": ".##.. #..#. ...#. ..#.. .####",
    "cross": "..#.. ..#.. ##### ..#.. ..#..",
    "loop": ".###. #...# #...# #...# .###.",
    "fork": "#...# #...# .#.#. ..#.. ..#..",
    "wave": "##... .##.. ..#.. ..##. ...##",
    "gate": "##### #...# #...# #...# #...#",
    "ladder": "#...# ##### #...# ##### #...#",
    "star": "#.#.# .###. ##### .###. #.#.#",
    "arch": "..#.. .#.#. #...# #...# #...#",
    "bolt": "...## ..##. .###. .##.. ##...",
}
SCANS = ("CNV", "DME", "drusen", "normal")


def scenes(seed: int = 0, sizes: Sequence[int] = (1200, 240, 480)) -> PictureSet:
    """Train, validation and test pictures like the Intel scenes, (N, 48, 48, 3)."""
    return _generate("scenes", tuple(SCENES), _draw_scenes, seed, sizes)


def glyphs(seed: int = 0, sizes: Sequence[int] = (4000, 500, 1000)) -> PictureSet:
    """Train, validation and test pictures like Kuzushiji-MNIST, (N, 28, 28, 1), light on dark."""
    return _generate("glyphs", tuple(GLYPHS), _draw_glyphs, seed, sizes)


def scans(seed: int = 0, sizes: Sequence[int] = (4000, 500, 1000)) -> PictureSet:
    """Train, validation and test pictures like OctMNIST: layers of a retina, (N, 28, 28, 1)."""
    return _generate("scans", SCANS, _draw_scans, seed, sizes)


def _generate(
    of: str, classes: tuple[str, ...], draw: Callable[[Labels, Rng], Floats], seed: int, sizes: Sequence[int]
) -> PictureSet:
    """Splits of pictures that ``draw`` draws for labels, (N, height, width, channels) of 0 to 255 before rounding."""
    splits = []
    for split, size in enumerate(sizes):
        labels, images = [], []
        for block in range(-(-size // BLOCK)):
            rng = stream(seed, split, block)
            # Dealt in rounds, each a shuffle of all classes.
            labels.append(rng.random((BLOCK // len(classes), len(classes))).argsort(axis=1, kind="stable").ravel())
            images.append(np.clip(draw(labels[-1], rng) + 0.5, 0, 255).astype(np.uint8))
        splits.append(Pictures(np.concatenate(images)[:size], np.concatenate(labels)[:size].astype(np.int64)))
    train, val, test = splits
    return PictureSet(train, val, test, source="synthetic", provenance="synthetic", classes=classes)


def _each(rng: Rng, low: float, high: float, shape: tuple[int, ...] = (1, 1)) -> Floats:
    """Numbers from the interval for each picture of a block, (N, *shape)."""
    return low + (high - low) * rng.random((BLOCK, *shape))


def _places(side: int) -> tuple[Floats, Floats]:
    """Row and column of each pixel, from 0 to 1."""
    places = (np.arange(side) + 0.5) / side
    return places[:, None], places


def _triangles(phase: Floats) -> Floats:
    """A wave from 0 to 1 and back to 0 with every whole number."""
    return np.abs(phase % 1 * 2 - 1)


def _draw_scenes(labels: Labels, rng: Rng) -> Floats:
    """A sky above a texture of waves."""
    row, column = _places(48)
    palette = np.array([scene[0] for scene in SCENES.values()], dtype=float)
    waves = np.array([scene[1:] for scene in SCENES.values()], dtype=float)[labels][..., None, None]
    waves = waves * _each(rng, 0.85, 1.2, (2, 2, 1, 1)) + _each(rng, -0.8, 0.8, (2, 2, 1, 1))
    first, second = (_triangles(waves[:, i, 0] * column + waves[:, i, 1] * row + _each(rng, 0, 1)) for i in range(2))
    light = 0.7 + 0.35 * first + 0.2 * second
    colour = palette[np.where(rng.random(BLOCK) < BORROWED, rng.integers(0, len(SCENES), BLOCK), labels)]
    ground = (colour + _each(rng, -30, 30, (3,))) * _each(rng, 0.8, 1.15, (1,))
    picture = ground[:, None, None] * light[..., None]
    sky = _each(rng, 140, 255, (1, 1, 3))
    horizon = _each(rng, 0, 0.2) + _each(rng, -0.2, 0.2) * (column - 0.5)
    picture = np.where((row < horizon)[..., None], sky, picture)
    return picture + rng.integers(-30, 31, picture.shape)


def _draw_glyphs(labels: Labels, rng: Rng) -> Floats:
    """Cells of a glyph under an affine map, a few of them wrong."""
    row, column = _places(28)
    cells = np.array([[[cell == "#" for cell in line] for line in text.split()] for text in GLYPHS.values()])[labels]
    cells ^= rng.random(cells.shape) < 0.03
    cells = np.pad(cells, ((0, 0), (1, 1), (1, 1)))  # dark around
    down = row - 0.5 + _each(rng, -0.12, 0.12)
    across = column - 0.5 + _each(rng, -0.12, 0.12)
    cell_row = (down + _each(rng, -0.3, 0.3) * across) * _each(rng, 6.5, 9) + 3.5
    cell_column = (across + _each(rng, -0.3, 0.3) * down) * _each(rng, 6.5, 9) + 3.5
    at = (np.clip(each, 0, 6).astype(np.int64) for each in (cell_row, cell_column))
    ink = cells[np.arange(BLOCK)[:, None, None], *at]
    picture: Floats = ink * _each(rng, 120, 230) + rng.integers(-40, 61, ink.shape)
    return picture[..., None]


def _draw_scans(labels: Labels, rng: Rng) -> Floats:
    """Dark above, then the retina on its bright lining, then tissue that fades downwards, all in speckle.

    New vessels (CNV) raise the lining in one large mound, drusen in small ones; an oedema (DME) thickens the retina
    around dark pockets.
    """
    row, column = _places(28)
    is_cnv, is_dme, is_drusen = ((labels == number)[:, None, None] for number in range(3))
    aside = column - 0.5
    lining = _each(rng, 0.6, 0.75) + aside * _each(rng, -0.2, 0.2) + aside * aside * _each(rng, -0.4, 0.4)
    # Up to four mounds, (N, 4, 1, columns).
    large, small = _each(rng, 0.15, 0.35), _each(rng, 0.03, 0.12, (4, 1))
    height = np.where(is_cnv, large * [[1], [0], [0], [0]], np.where(is_drusen, small, 0))[..., None]
    width = np.where(is_cnv, 0.3, 0.09)[..., None] * _each(rng, 0.7, 1.3, (4, 1, 1))
    distance = (column - _each(rng, 0.15, 0.85, (4, 1, 1))) / width
    raised = lining - (height * np.maximum(1 - distance * distance, 0)).max(axis=1)
    thickness = _each(rng, 0.15, 0.25) * np.where(is_dme, 2.8, 1)
    surface = np.minimum(lining - thickness, raised - 0.1)
    depth = (row - surface) / (raised - surface)
    choroid = np.where(is_cnv, 10, np.where(is_drusen, 240, 90)) * _each(rng, 0.7, 1.3)
    picture = np.where(depth < 1, 150 + 90 * _triangles(2.5 * depth), choroid * np.clip(1.6 - depth * 0.5, 0, 1))
    for _ in range(3):
        down, across = row - lining + thickness * _each(rng, 0.3, 0.7), column - _each(rng, 0.15, 0.85)
        size = _each(rng, 0.04, 0.1)
        inside = down * down * 4 + across * across < size * size
        picture = np.where(inside & is_dme, 15, picture)
    picture = np.where(np.abs(row - raised) < 0.035, 220, np.where(depth < 0, 12, picture))
    speckled = picture * _each(rng, 0.5, 1.6, picture.shape[1:]) * _each(rng, 0.8, 1.25)
    return (speckled + rng.integers(0, 30, picture.shape))[..., None]
