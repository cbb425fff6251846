"""Decoding symbol by symbol: the likeliest (greedy), or drawn from a truncated distribution (nucleus, top-k)."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor
from torch.nn import functional

from dlbench.components import component
from dlbench.decoding.hypotheses import unroll
from dlbench.protocols import Hypotheses, StepModel
from dlbench.seeding import generator

Count = Annotated[int, Ge(1)]


@component("greedy", "1.0")
@dataclass
class Greedy:
    """The plain argmax over all outputs, specials included, as in the 2024/25 reports and d2223.

    Args:
        max_length: Most symbols of a hypothesis, EOS included.
    """

    max_length: Count = 50

    @torch.inference_mode()
    def __call__(self, model: StepModel, source: Tensor, lengths: Tensor, index: Tensor, seed: int) -> Hypotheses:
        """One hypothesis a source, with its attention if the model has any; ``index`` and ``seed`` play no part."""

        def choose(logits: Tensor, _rows: Tensor, _step: int) -> Tensor:
            return logits.argmax(dim=-1)

        state, count = model.encode(source, lengths), len(source)
        tokens, log_probs, attention = unroll(
            model, state, count, max_length=self.max_length, choose=choose, attend=True
        )
        return Hypotheses(tokens[:, None], log_probs[:, None], attention)


@dataclass(kw_only=True)
class Sampler:
    """Sampling from a truncated distribution; a subclass says what is kept of it.

    Args:
        temperature: Divides the logits before the distribution is truncated.
        samples: Sequences drawn for each source, independent of one another.
        max_length: Most symbols of a sequence, EOS included.
    """

    temperature: Annotated[float, Ge(1e-6)] = 1.0  # below, single-precision logits divided by it may overflow
    samples: Count = 3
    max_length: Count = 50

    @abstractmethod
    def truncate(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """What is kept of distributions (R, V), not renormalised: masses (R, K), falling, and their symbols."""

    @torch.inference_mode()
    def __call__(self, model: StepModel, source: Tensor, lengths: Tensor, index: Tensor, seed: int) -> Hypotheses:
        """``samples`` hypotheses a source, in the order drawn; their log-probabilities are the model's own."""
        numbers = uniforms(seed, index, self.samples, self.max_length).flatten(0, 1).to(source.device)

        def choose(logits: Tensor, rows: Tensor, step: int) -> Tensor:
            mass, symbols = self.truncate((logits.float() / self.temperature).softmax(dim=-1))
            return invert(mass, symbols, numbers[rows, step])

        encoded = model.encode(source, lengths)
        state = {name: value.repeat_interleave(self.samples, dim=0) for name, value in encoded.items()}
        tokens, log_probs, _ = unroll(model, state, len(numbers), max_length=self.max_length, choose=choose)
        shape = len(source), self.samples
        return Hypotheses(tokens.view(*shape, -1), log_probs.view(shape), None)


@component("nucleus", "1.0")
@dataclass
class Nucleus(Sampler):
    """Nucleus sampling (Holtzman et al., 2020): the smallest set of symbols whose probability mass reaches p.

    Args (beside those of `Sampler`):
        p: Mass to reach; 1 samples from the whole distribution.
    """

    p: Annotated[float, Gt(0), Le(1)] = 0.8

    def truncate(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """See `Sampler.truncate`; K is V, and what is dropped has mass 0."""
        mass, symbols = probabilities.double().sort(dim=-1, descending=True, stable=True)
        before = functional.pad(mass.cumsum(dim=-1)[:, :-1], (1, 0))
        # Rounding may let a part of the distribution sum to 1: p = 1 drops nothing all the same.
        return mass.masked_fill(before >= (self.p if self.p < 1 else math.inf), 0), symbols


@component("top_k", "1.0")
@dataclass
class TopK(Sampler):
    """Sampling from the k likeliest symbols (Fan et al., 2018).

    Args (beside those of `Sampler`):
        k: Symbols kept at every step.
    """

    k: Count = 5

    def truncate(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """See `Sampler.truncate`; K is k."""
        mass, symbols = probabilities.topk(min(self.k, probabilities.shape[-1]), dim=-1)
        return mass.double(), symbols


def uniforms(seed: int, index: Tensor, samples: int, steps: int) -> Tensor:
    """Numbers in [0, 1), (B, samples, steps) float64: those of a sample are one stream, (seed, example, sample)."""
    streams = ((example, sample) for example in index.tolist() for sample in range(samples))
    drawn = [torch.rand(steps, dtype=torch.float64, generator=generator(seed, "sampling", *at)) for at in streams]
    return torch.stack(drawn).view(len(index), samples, steps)


def invert(mass: Tensor, symbols: Tensor, uniform: Tensor) -> Tensor:
    """Symbols (R,) at which the cumulative mass (R, K), renormalised, first exceeds the given numbers (R,)."""
    cumulative = mass.cumsum(dim=-1)
    place = torch.searchsorted(cumulative, uniform[:, None] * cumulative[:, -1:], right=True)
    # Only NaN, from a model that diverged, can lie beyond the last place.
    return symbols.gather(1, place.clamp_(max=mass.shape[1] - 1))[:, 0]
