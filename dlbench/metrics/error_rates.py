"""Error rates between predicted and true sequences of symbols, 0 if all is right; insertions can bring them above 1.

A sequence is a string, taken character by character, or a sequence of symbols. Distances are Levenshtein's (insertion,
deletion and substitution cost 1 each). An empty reference counts as one symbol long where it would be divided by: so an
empty hypothesis has error rate 0 against it, one of three symbols 3.
"""

from collections.abc import Iterable, Sequence
from itertools import starmap
from typing import Annotated, NamedTuple

import jiwer
import torch
from annotated_types import Ge
from rapidfuzz.distance import Levenshtein
from torch import Tensor
from torchmetrics import Metric

from dlbench.components import component

Symbols = str | Sequence[str]


FIRST = 0x10000
"""The first of the million characters that stand for symbols in `edits`."""


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
    """The edit operations of all examples, by jiwer; of several shortest ways to correct a hypothesis one is counted.

    Every symbol counts as it is, spaces too; a symbol may be a whole word.

    Raises:
        ValueError: There are not as many hypotheses as references.
    """
    pairs = list(zip(hypotheses, references, strict=True))
    numbers: dict[str, int] = {}

    def coded(symbols: Symbols) -> str:
        return "".join(chr(FIRST + numbers.setdefault(symbol, len(numbers))) for symbol in symbols)

    guesses, truths = [coded(guess) for guess, _ in pairs], [coded(truth) for _, truth in pairs]
    as_it_is = jiwer.ReduceToListOfListOfChars()
    found = jiwer.process_characters(truths, guesses, reference_transform=as_it_is, hypothesis_transform=as_it_is)
    return Edits(found.substitutions, found.deletions, found.insertions, sum(map(len, truths)))


class _Rate(Metric):
    """A ratio of two sums, so that batches, and processes, add up."""

    full_state_update = False
    higher_is_better = False
    is_differentiable = False

    errors: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("errors", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def _add(self, errors: float, total: int) -> None:
        self.errors += errors
        self.total += total

    def compute(self) -> Tensor:
        """The rate, () float64."""
        return self.errors / self.total.clamp(min=1)


@component("cer", "1.0")
class CharacterErrorRate(_Rate):
    """Micro average: all edit operations over the summed length of the references (REPORTS section 2)."""

    def update(self, hypotheses: Iterable[Symbols], references: Iterable[Symbols]) -> None:
        """Add examples.

        Raises:
            ValueError: There are not as many hypotheses as references (so in all metrics here).
        """
        pairs = list(zip(hypotheses, references, strict=True))
        self._add(sum(starmap(Levenshtein.distance, pairs)), sum(len(truth) for _, truth in pairs))


@component("wer", "1.0")
class WordErrorRate(_Rate):
    """Share of examples that are not exactly equal to their reference; a word is one example (REPORTS section 2)."""

    def update(self, hypotheses: Iterable[Symbols], references: Iterable[Symbols]) -> None:
        """Add examples."""
        wrong = [tuple(guess) != tuple(truth) for guess, truth in zip(hypotheses, references, strict=True)]
        self._add(sum(wrong), len(wrong))


@component("wer_at_k", "1.0")
class WordErrorRateAtK(_Rate):
    """WER@k: share of examples none of whose first k samples equals the reference (REPORTS section 2).

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
class MacroErrorRate(_Rate):
    """Mean over examples of edit distance / reference length (REPORTS section 4).

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
