"""Splits of drawn pictures: a picture is a function of (seed, split, index) alone, its class dealt in rounds.

So a larger split begins with the smaller one, and in each every class is as frequent as any other, give or take one.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from dlbench.data.embedded.drawing import Dice
from dlbench.data.embedded.sizes import check
from dlbench.data.image_files import Pictures, PictureSet

Draw = Callable[[int, Dice], npt.NDArray[np.uint8]]
"""A picture (height, width, channels) of a class, by chance."""


def generate(of: str, classes: tuple[str, ...], draw: Draw, seed: int, sizes: Sequence[int]) -> PictureSet:
    """Training, validation and test pictures.

    Args:
        of: What they are of, in the plural, for messages.
        classes: The classes' names.
        draw: Draws one picture.
        seed: From 0 up.
        sizes: How many there are in each split.

    Raises:
        DataError: The seed or the sizes are not whole numbers, or not positive.
    """
    check(of, seed, sizes)
    train, val, test = (_split(len(classes), draw, seed, number, size) for number, size in enumerate(sizes))
    return PictureSet(train, val, test, classes, source="embedded", provenance="embedded")


def _split(classes: int, draw: Draw, seed: int, split: int, size: int) -> Pictures:
    """The first ``size`` pictures of a split; its labels are dealt in rounds, each a shuffle of all classes."""
    rounds = -(-size // classes)
    order = [Dice(seed, split, 0, number).rng.permutation(classes) for number in range(rounds)]
    labels = np.concatenate(order)[:size].astype(np.int64)
    images = [draw(label, Dice(seed, split, 1, index)) for index, label in enumerate(labels.tolist())]
    return Pictures(np.ascontiguousarray(np.stack(images)), labels)
