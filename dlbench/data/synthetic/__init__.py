"""Synthetic data, for machines without the real one: the same on every machine, as far as numpy keeps its streams.

Only random bits and exact arithmetic make it. IEEE 754 fixes what ``+ - * /`` and comparisons of floats give; sines,
powers, normal variates, sums of floats and matrix products may differ in the last bit between machines. Numpy does not
promise for ever what PCG64's ``random`` and ``integers`` return, but has kept it so far.
"""

from collections.abc import Sequence

import numpy as np

from dlbench.errors import DataError


def check(of: str, seed: int, sizes: Sequence[int]) -> None:
    """Check what is asked of a generator.

    Args:
        of: What is made, in the plural, for messages.
        seed: From 0 up.
        sizes: How many to make for train, val and test.

    Raises:
        DataError: The seed or the sizes are not whole numbers, or not positive.
    """
    if not _is_whole(seed) or seed < 0:
        raise DataError(f"the seed of synthetic {of} must be a whole number from 0 up, not {seed!r}")
    if not isinstance(sizes, Sequence) or len(sizes) != 3 or not all(_is_whole(size) and size > 0 for size in sizes):
        raise DataError(f"data.synthetic_sizes must be three positive whole numbers (train, val, test), not {sizes!r}")


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def stream(seed: int, *key: int) -> np.random.Generator:
    """The random numbers that belong to a seed and a key."""
    # PCG64 by name: numpy may change what its default generator is.
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """A number from the interval (numpy's own ``uniform`` may be compiled to a fused multiply-add)."""
    return low + (high - low) * rng.random()
