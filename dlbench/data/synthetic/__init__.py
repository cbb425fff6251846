"""Synthetic data, for machines without the real one: the same on every machine, as far as numpy keeps its streams.

Only random bits and exact arithmetic make it. IEEE 754 fixes what ``+ - * /`` and comparisons of floats give; sines,
powers, normal variates, sums of floats and matrix products may differ in the last bit between machines. Numpy does not
promise for ever what PCG64's ``random`` and ``integers`` return, but has kept it so far.

A generator takes a seed, from 0 up, and how many examples to make for train, val and test; a larger split begins with
the smaller one.
"""

import numpy as np


def stream(seed: int, *key: int) -> np.random.Generator:
    """The random numbers that belong to a seed and a key."""
    # PCG64 by name: numpy may change what its default generator is.
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))
