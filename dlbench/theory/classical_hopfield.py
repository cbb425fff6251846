"""The classical, binary Hopfield network (Hopfield 1982), and how many patterns it holds.

N patterns of D signs (+1 or -1) are stored in the sum of their outer products, W = X'X with a diagonal of zeros (Hebb).
The factor 1 / D that is often put before it changes no update; without it all fields are integers, and exact: in
float32 while N D < 2^24. The load is N / D. For random patterns and D without bound, retrieval breaks down at a load of
0.138 (Amit, Gutfreund and Sompolinsky 1985; here `critical_load` solves their equations).
"""

import math
from collections.abc import Sequence
from functools import cache

import torch
from scipy.optimize import brentq, minimize_scalar
from scipy.special import erf, erfinv
from torch import Tensor

from dlbench.seeding import generator
from dlbench.theory.hopfield import Retrieval, iterate


def weights(patterns: Tensor) -> Tensor:
    """W = X'X with a diagonal of zeros, (D, D), of patterns (N, D), signs as floating-point numbers."""
    return (patterns.T @ patterns).fill_diagonal_(0)


def energy(weights: Tensor, states: Tensor) -> Tensor:
    """-s'Ws / 2 of states (..., D), (...)."""
    return -((states @ weights) * states).sum(dim=-1) / 2


def synchronous_update(weights: Tensor, states: Tensor) -> Tensor:
    """Every neuron takes the sign of its field Ws at once, or keeps its own where that is 0, (Q, D)."""
    fields = states @ weights
    return torch.where(fields == 0, states, fields.sign())


def asynchronous_update(weights: Tensor, states: Tensor) -> Tensor:
    """The neurons take the signs of their fields one after the other, each once, (Q, D); no step raises the energy.

    A neuron may also be 0, unknown, as where a part of a query is masked.
    """
    states = states.clone()
    fields = states @ weights
    for neuron, row in enumerate(weights):
        own = states[:, neuron]
        new = fields[:, neuron].sign()
        changed = ((new != own) & (new != 0)).nonzero()[:, 0]
        if len(changed):
            fields.index_add_(0, changed, (new - own)[changed, None] * row)
            own[changed] = new[changed]
    return states


def retrieve(weights: Tensor, queries: Tensor, *, synchronous: bool = False, max_steps: int = 100) -> Retrieval:
    """Update each of the queries (Q, D), signs, until it stands still, by weights (D, D).

    All neurons at once (``synchronous``) may end in a cycle of two states, which has then not converged; one after the
    other ends in a fixed point if ``max_steps`` updates of all neurons suffice.
    """
    update = synchronous_update if synchronous else asynchronous_update
    return iterate(lambda states: update(weights, states), queries, tolerance=0, max_steps=max_steps)


def overlap_after_retrieval(loads: Sequence[float], dim: int, seeds: Sequence[int], *, probes: int = 32) -> Tensor:
    """How much of a random pattern is left if retrieval starts at it: x's / D, 1 if all is, about 0 by chance.

    For loads N / D of at least 1 / D. Each seed draws patterns of its own, of which at most ``probes`` are retrieved;
    returned are means over these, (seeds, loads).
    """

    def overlap(count: int, seed: int) -> float:
        draws = generator(seed, "classical Hopfield network", count, dim)
        patterns = torch.randint(0, 2, (count, dim), generator=draws).mul(2).sub(1).double()
        stored = patterns[:probes]
        return float((retrieve(weights(patterns), stored).states * stored).mean())

    return torch.tensor([[overlap(round(load * dim), seed) for load in loads] for seed in seeds], dtype=torch.float64)


_ALL_RIGHT = 6.0
"""From this y on erf(y) is 1 in floating point."""


def _load(y: float) -> float:
    """The load at which the overlap's equation is solved by erf(y)."""
    return float((erf(y) / y - 2 / math.sqrt(math.pi) * math.exp(-(y**2))) ** 2 / 2)


@cache
def critical_load() -> tuple[float, float]:
    """The load at which retrieval breaks down, and the overlap just before (Amit et al. 1985): 0.1379 and 0.967.

    At temperature 0 their equations for the overlap m come down to one, y (sqrt(2 load) + 2 exp(-y^2) / sqrt(pi)) =
    erf(y) with m = erf(y); the greatest load that has a solution with m > 0 is the critical one.
    """
    y = float(minimize_scalar(lambda y: -_load(y), bounds=(0.5, 5), method="bounded", options={"xatol": 1e-12}).x)
    return _load(y), float(erf(y))


def mean_field_overlap(load: float) -> float:
    """The overlap that is left at this load where D has no bound; 0 above the critical load (Amit et al. 1985)."""
    critical, overlap = critical_load()
    if math.isclose(load, critical, rel_tol=1e-12):
        return overlap
    if load > critical:
        return 0.0
    if load <= _load(_ALL_RIGHT):
        return 1.0
    return float(erf(brentq(lambda y: _load(y) - load, float(erfinv(overlap)), _ALL_RIGHT)))
