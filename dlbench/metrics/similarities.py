"""Similarities of predicted and true sequences of symbols, from 0 to 1, as textdistance normalises them.

All are means over examples (REPORTS section 6). Two empty sequences are equal: 1. An empty one is nothing like any
other: 0.
"""

import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from rapidfuzz.distance import OSA
from torch import Tensor
from torchmetrics import Metric

from dlbench.components import component

Symbols = str | Sequence[Any]


class Similarity(Metric):
    """The mean over examples of a similarity of two sequences."""

    full_state_update = False
    higher_is_better = True
    is_differentiable = False

    sum: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("sum", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    @staticmethod
    @abstractmethod
    def of(first: Symbols, second: Symbols) -> float:
        """The similarity of two sequences, not both empty."""

    def update(self, hypotheses: Iterable[Symbols], references: Iterable[Symbols]) -> None:
        """Add examples.

        Raises:
            ValueError: There are not as many hypotheses as references.
        """
        pairs = list(zip(hypotheses, references, strict=True))
        self.sum += math.fsum(self.of(*pair) if any(pair) else 1.0 for pair in pairs)
        self.count += len(pairs)

    def compute(self) -> Tensor:
        """The mean, () float64; 0 without examples."""
        return self.sum / self.count.clamp(min=1)


@component("jaccard", "1.0")
class Jaccard(Similarity):
    """Symbols in common over symbols in either, counted as often as they occur; their order does not matter."""

    @staticmethod
    def of(first: Symbols, second: Symbols) -> float:
        """See the class."""
        common = _common(first, second)
        return common / (len(first) + len(second) - common)


@component("cosine", "1.0")
class Cosine(Similarity):
    """Symbols in common over the geometric mean of the lengths, which textdistance calls cosine."""

    @staticmethod
    def of(first: Symbols, second: Symbols) -> float:
        """See the class."""
        return _common(first, second) / math.sqrt(max(len(first) * len(second), 1))


@component("damerau_levenshtein", "1.0")
class DamerauLevenshtein(Similarity):
    """1 - d / the longer length, d the restricted distance (optimal string alignment): no symbol is moved twice."""

    @staticmethod
    def of(first: Symbols, second: Symbols) -> float:
        """See the class."""
        return OSA.normalized_similarity(first, second)


def _common(first: Symbols, second: Symbols) -> int:
    """The size of the intersection of two multisets."""
    return (Counter(first) & Counter(second)).total()
