"""Error rates between predicted and true sequences of symbols, 0 if all is right; insertions can bring them above 1.

A sequence is a string, taken character by character, or a sequence of symbols. Distances are Levenshtein's (insertion,
deletion and substitution cost 1 each). An empty reference counts as one symbol long where it would be divided by: so an
empty hypothesis has error rate 0 against it, one of three symbols 3.
"""

from collections.abc import Iterable, Sequence
from itertools import starmap
from typing import Annotated

import torch
from annotated_types import Ge
from rapidfuzz.distance import Levenshtein
from torch import Tensor
from torchmetrics import Metric

from dlbench.components import component

Symbols = str | Sequence[str]


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
