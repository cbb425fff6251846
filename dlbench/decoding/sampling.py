"""Sampling from a truncated distribution: nucleus (top-p) and top-k.

Samples are functions of (seed, example, sample): whatever else is in the batch, and whatever was sampled before, they
stay the same. So a further, separate pass is one sample more.
"""

import math
from typing import Annotated, Protocol

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor
from torch.nn import functional

from dlbench.components import component
from dlbench.decoding.hypotheses import Hypotheses, StepModel, unroll
from dlbench.randomness import generator

Count = Annotated[int, Ge(1)]
Temperature = Annotated[float, Gt(0)]


@component("nucleus", "1.0")
class Nucleus:
    """Nucleus sampling (Holtzman et al., 2020): the smallest set of symbols whose probability mass reaches p.

    Args:
        p: Mass to reach; 1 samples from the whole distribution.
        temperature: Divides the logits before the set is chosen.
        samples: Sequences drawn for each source, independent of one another.
        max_length: Most symbols of a sequence, EOS included.
    """

    def __init__(
        self,
        p: Annotated[float, Gt(0), Le(1)] = 0.8,
        temperature: Temperature = 1.0,
        samples: Count = 3,
        max_length: Count = 50,
    ) -> None:
        self.p = p
        self.temperature, self.samples, self.max_length = temperature, samples, max_length

    @torch.inference_mode()
    def __call__(self, model: StepModel, source: Tensor, lengths: Tensor, index: Tensor, seed: int) -> Hypotheses:
        """``samples`` hypotheses a source, in the order drawn; their log-probabilities are the model's own."""
        return _sample(self, model, source, lengths, uniforms(seed, index, self.samples, self.max_length))

    def truncate(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """What is kept of distributions (R, V), not renormalised: masses (R, V), falling, 0 if dropped, and symbols."""
        mass, symbols = probabilities.double().sort(dim=-1, descending=True, stable=True)
        before = functional.pad(mass.cumsum(dim=-1)[:, :-1], (1, 0))
        # Rounding may let a part of the distribution sum to 1: p = 1 drops nothing all the same.
        return mass.masked_fill(before >= (self.p if self.p < 1 else math.inf), 0), symbols


@component("top_k", "1.0")
class TopK:
    """Sampling from the k likeliest symbols (Fan et al., 2018).

    Args:
        k: Symbols kept at every step.
        temperature: Divides the logits.
        samples: Sequences drawn for each source, independent of one another.
        max_length: Most symbols of a sequence, EOS included.
    """

    def __init__(
        self, k: Count = 5, temperature: Temperature = 1.0, samples: Count = 3, max_length: Count = 50
    ) -> None:
        self.k = k
        self.temperature, self.samples, self.max_length = temperature, samples, max_length

    @torch.inference_mode()
    def __call__(self, model: StepModel, source: Tensor, lengths: Tensor, index: Tensor, seed: int) -> Hypotheses:
        """``samples`` hypotheses a source, in the order drawn; their log-probabilities are the model's own."""
        return _sample(self, model, source, lengths, uniforms(seed, index, self.samples, self.max_length))

    def truncate(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """What is kept of distributions (R, V), not renormalised: masses (R, k), falling, and their symbols."""
        mass, symbols = probabilities.topk(min(self.k, probabilities.shape[-1]), dim=-1)
        return mass.double(), symbols


class _Sampler(Protocol):
    temperature: float
    samples: int
    max_length: int

    def truncate(self, probabilities: Tensor) -> tuple[Tensor, Tensor]: ...


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


def _sample(sampler: _Sampler, model: StepModel, source: Tensor, lengths: Tensor, numbers: Tensor) -> Hypotheses:
    def choose(logits: Tensor, rows: Tensor, step: int) -> Tensor:
        mass, symbols = sampler.truncate((logits.float() / sampler.temperature).softmax(dim=-1))
        return invert(mass, symbols, numbers[rows, step])

    samples = sampler.samples
    numbers = numbers.flatten(0, 1).to(source.device)
    state = {name: value.repeat_interleave(samples, dim=0) for name, value in model.encode(source, lengths).items()}
    tokens, log_probs, _ = unroll(model, state, len(numbers), max_length=sampler.max_length, choose=choose)
    return Hypotheses(tokens.view(len(source), samples, -1), log_probs.view(len(source), samples), None)
