"""Measuring in turns, and what the ratios of the pairs say."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

RESAMPLES = 10_000
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ratio:
    """A ratio of two measured things.

    ``value`` is the estimate, ``low`` and ``high`` its 95% bootstrap interval, ``pairs`` the ratio of each pair.
    """

    value: float
    low: float
    high: float
    pairs: tuple[float, ...]


@dataclass(frozen=True)
class Target:
    """A bound that a number should keep."""

    kind: Literal["at least", "at most", "below"]
    bound: float

    def is_met(self, value: float) -> bool:
        """Whether a number keeps it."""
        if self.kind == "below":
            return value < self.bound
        return value >= self.bound if self.kind == "at least" else value <= self.bound

    def verdict(self, value: float, low: float, high: float) -> str:
        """``yes`` or ``no``; ``not surely`` where the interval crosses the bound."""
        word = "yes" if self.is_met(value) else "no"
        return word if self.is_met(low) == self.is_met(high) else f"{word}, not surely"


def in_turns(rounds: int, measures: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Each measure once a round, in order A B ... and back in the next, so that a drift of the machine cancels."""
    taken: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(rounds):
        for name in list(measures) if number % 2 == 0 else reversed(list(measures)):
            taken[name].append(measures[name]())
    return taken


def median_ratio(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """The median of the pairs' ratios, for pairs that were taken one right after the other."""
    return _bootstrap(above, below, lambda tops, bottoms: np.median(tops / bottoms, axis=-1))


def ratio_of_medians(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """The ratio of the medians, for things that vary much from one time to the next, like the start of a process."""
    return _bootstrap(above, below, lambda tops, bottoms: np.median(tops, axis=-1) / np.median(bottoms, axis=-1))


def _bootstrap(above: Sequence[float], below: Sequence[float], estimate: Callable[[Floats, Floats], Any]) -> Ratio:
    """Percentile interval over resampled pairs, from a fixed seed."""
    tops, bottoms = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    chosen = np.random.default_rng(0).integers(len(tops), size=(RESAMPLES, len(tops)))
    low, high = np.percentile(estimate(tops[chosen], bottoms[chosen]), (2.5, 97.5))
    return Ratio(float(estimate(tops, bottoms)), float(low), float(high), tuple((tops / bottoms).tolist()))
