"""Error rates and similarities between predicted and true sequences of symbols.

A sequence is a string, taken character by character, or a sequence of symbols.

Error rates are 0 if all is right; insertions can bring them above 1. Distances are Levenshtein's (insertion, deletion
and substitution cost 1 each). An empty reference counts as one symbol long where it would be divided by: so an empty
hypothesis has error rate 0 against it, one of three symbols 3.

Similarities lie between 0 and 1, as textdistance normalises them, and are means over examples (report e2324). Two
empty sequences are equal: 1. An empty one is nothing like any other: 0.
"""

import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import starmap
from typing import Annotated, Any, NamedTuple

import torch
from annotated_types import Ge
from rapidfuzz.distance import OSA, Levenshtein
from torch import Tensor
from torchmetrics import Metric

from dlbench.components import component

Symbols = str | Sequence[Any]


class Edits(NamedTuple):
    """How many edit operations of each kind correct the hypotheses, and how many symbols the references have."""

    substitutions: int
    deletions: int
    insertions: int
    symbols: int

    @property
    def rate(self) -> float:
        """The error rate (micro)."""
        return (self.substitutions + self.deletions + self.insertions) / max(self.symbols, 1)

    def named(self, name: str) -> dict[str, float]:
        """The operations a reference symbol, which add up to the rate: ``NAME_substitutions`` and so on."""
        return {f"{name}_{kind}": getattr(self, kind) / max(self.symbols, 1) for kind in self._fields[:3]}


def edits(hypotheses: Iterable[Symbols], references: Iterable[Symbols]) -> Edits:
    """The edit operations of all examples; of several shortest ways to correct a hypothesis one is counted.

    Every symbol counts as it is, spaces too; a symbol may be a whole word.

    Raises:
        ValueError: There are not as many hypotheses as references.
    """
    pairs = list(zip(hypotheses, references, strict=True))
    found = Counter(edit.tag for guess, truth in pairs for edit in Levenshtein.editops(truth, guess))
    return Edits(found["replace"], found["delete"], found["insert"], sum(len(symbols) for _, symbols in pairs))


class _Ratio(Metric):
    """A ratio of two sums, () float64, so that batches, and processes, add up; 0 without examples."""

    full_state_update = False
    higher_is_better = False
    is_differentiable = False

    sum: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("sum", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def _add(self, summed: float, total: int) -> None:
        self.sum += summed
        self.total += total

    def compute(self) -> Tensor:
        """The ratio."""
        return self.sum / self.total.clamp(min=1)


@component("cer", "1.0")
class CharacterErrorRate(_Ratio):
    """Micro average: all edit operations over the summed length of the references (the 2024/25 reports)."""

    def update(self, hypotheses: Iterable[Symbols], references: Iterable[Symbols]) -> None:
        """Add examples.

        Raises:
            ValueError: There are not as many hypotheses as references (so in all metrics here).
        """
        pairs = list(zip(hypotheses, references, strict=True))
        self._add(sum(starmap(Levenshtein.distance, pairs)), sum(len(truth) for _, truth in pairs))


@component("wer", "1.0")
class WordErrorRate(_Ratio):
    """Share of examples that are not exactly equal to their reference; a word is one example (the 2024/25 reports)."""

    def update(self, hypotheses: Iterable[Symbols], references: Iterable[Symbols]) -> None:
        """Add examples."""
        wrong = [tuple(guess) != tuple(truth) for guess, truth in zip(hypotheses, references, strict=True)]
        self._add(sum(wrong), len(wrong))


@component("wer_at_k", "1.0")
class WordErrorRateAtK(_Ratio):
    """WER@k: share of examples none of whose first k samples equals the reference (the 2024/25 reports).

    Args:
        k: Samples that count.
    """

    def __init__(self, k: Annotated[int, Ge(1)] = 3) -> None:
        super().__init__()
        self.k = k

    def update(self, samples: Iterable[Sequence[Symbols]], references: Iterable[Symbols]) -> None:
        """Add examples, each with k samples or more.

        Raises:
            ValueError: An example has fewer.
        """
        pairs = list(zip(samples, references, strict=True))
        if (fewest := min((len(guesses) for guesses, _ in pairs), default=self.k)) < self.k:
            raise ValueError(f"WER@{self.k} needs {self.k} samples an example, not {fewest}")
        wrong = [tuple(truth) not in map(tuple, guesses[: self.k]) for guesses, truth in pairs]
        self._add(sum(wrong), len(wrong))


@component("macro_error_rate", "1.0")
class MacroErrorRate(_Ratio):
    """Mean over examples of edit distance / reference length (report d2223).

    Args:
        drop_last_symbol: Drop each hypothesis's last symbol first. It is for hypotheses that still hold their EOS, as
            d2223's are: one that reached EOS loses just that, one cut off at the longest length a symbol of its own.
    """

    def __init__(self, drop_last_symbol: bool = False) -> None:
        super().__init__()
        self.drop_last_symbol = drop_last_symbol

    def update(self, hypotheses: Iterable[Symbols], references: Iterable[Symbols]) -> None:
        """Add examples."""
        end = -1 if self.drop_last_symbol else None
        rates = [
            Levenshtein.distance(guess[:end], truth) / max(len(truth), 1)
            for guess, truth in zip(hypotheses, references, strict=True)
        ]
        self._add(sum(rates), len(rates))


class Similarity(_Ratio):
    """The mean over examples of a similarity of two sequences."""

    higher_is_better = True

    @staticmethod
    @abstractmethod
    def of(first: Symbols, second: Symbols) -> float:
        """The similarity of two sequences, not both empty."""

    def update(self, hypotheses: Iterable[Symbols], references: Iterable[Symbols]) -> None:
        """Add examples."""
        pairs = list(zip(hypotheses, references, strict=True))
        self._add(math.fsum(self.of(*pair) if any(pair) else 1.0 for pair in pairs), len(pairs))


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
