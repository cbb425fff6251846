"""What is asked of a generator: a seed, and how many to make for each split."""

from collections.abc import Sequence

import numpy as np

from dlbench.errors import DataError


def check(of: str, seed: int, sizes: Sequence[int]) -> None:
    """See that a seed and sizes can be used.

    Args:
        of: What is made, in the plural, for messages.
        seed: From 0 up.
        sizes: How many for train, val and test.

    Raises:
        DataError: The seed or the sizes are not whole numbers, or not positive.
    """
    if not _is_whole(seed) or seed < 0:
        raise DataError(f"the seed of embedded {of} must be a whole number from 0 up, not {seed!r}")
    if not isinstance(sizes, Sequence) or len(sizes) != 3 or not all(_is_whole(size) and size > 0 for size in sizes):
        raise DataError(f"data.embedded_sizes must be three positive whole numbers (train, val, test), not {sizes!r}")


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
