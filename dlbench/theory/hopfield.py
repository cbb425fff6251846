"""The modern, continuous Hopfield network (Ramsauer et al. 2021, "Hopfield Networks is All You Need").

N patterns of width D are the rows of a matrix X, (N, D); a state q, also called a query, is a point of R^D, and all
functions take states with any leading dimensions, (..., D). beta > 0 is the inverse temperature, p = softmax(beta X q)
how much a state takes from each pattern, M the norm of the longest pattern. The energy

    E(q) = q'q / 2 + log(N) / beta + M^2 / 2 - lse(beta, X q),    lse(beta, z) = log(sum_i exp(beta z_i)) / beta

is a convex part (the first three terms) plus a concave one. The convex-concave procedure (Yuille and Rangarajan 2003)
puts the gradient of the convex part at the new state against that of the concave part at the old one: q <- X'p.
"""

import math
import sys
from collections.abc import Callable
from typing import NamedTuple

import torch
from scipy.special import wrightomega
from torch import Tensor
from torch.nn.functional import normalize


class Retrieval(NamedTuple):
    """Where each of Q states of width D ended."""

    states: Tensor
    """(Q, D)."""
    steps: Tensor
    """How often each was mapped, (Q,) int64; the last step, which shows that it stands still, counts."""
    converged: Tensor
    """(Q,), false where the steps ran out first."""


def iterate(step: Callable[[Tensor], Tensor], states: Tensor, tolerance: float, max_steps: int) -> Retrieval:
    """Map each state (Q, D) until a step is no longer than the tolerance (Euclidean), at most ``max_steps`` times.

    ``step`` maps states (any number, D), each for itself; one that stands still is left out.
    """
    states = states.clone()
    steps = torch.zeros(len(states), dtype=torch.int64, device=states.device)
    moving = torch.arange(len(states), device=states.device)
    for _ in range(max_steps):
        if not len(moving):
            break
        before = states[moving]
        after = step(before)
        states[moving] = after
        steps[moving] += 1
        # Written so that what is not a number never counts as standing still.
        moving = moving[~((after - before).norm(dim=-1) <= tolerance)]
    converged = torch.ones_like(steps, dtype=torch.bool)
    converged[moving] = False
    return Retrieval(states, steps, converged)


def association(patterns: Tensor, states: Tensor, beta: float) -> Tensor:
    """p = softmax(beta X q), (..., N)."""
    return (beta * states @ patterns.T).softmax(dim=-1)


def convex_energy(patterns: Tensor, states: Tensor, beta: float) -> Tensor:
    """q'q / 2 + log(N) / beta + M^2 / 2, (...); its gradient is q, its Hessian the identity."""
    largest = patterns.square().sum(dim=-1).amax()
    return states.square().sum(dim=-1) / 2 + math.log(len(patterns)) / beta + largest / 2


def concave_energy(patterns: Tensor, states: Tensor, beta: float) -> Tensor:
    """-lse(beta, X q), (...)."""
    return -(beta * states @ patterns.T).logsumexp(dim=-1) / beta


def energy(patterns: Tensor, states: Tensor, beta: float) -> Tensor:
    """The energy of states, (...): at least (|q| - M)^2 / 2, and at most (|q| + M)^2 / 2.

    So it lies between 0 and 2 M^2 wherever |q| <= M, the hull of the patterns included (Ramsauer et al., appendix A).
    """
    return convex_energy(patterns, states, beta) + concave_energy(patterns, states, beta)


def gradient(patterns: Tensor, states: Tensor, beta: float) -> Tensor:
    """The gradient of the energy, q - X'p, (..., D): an update is a step of gradient descent with step size 1."""
    return states - update(patterns, states, beta)


def jacobian(patterns: Tensor, states: Tensor, beta: float) -> Tensor:
    """The Jacobian of the update, beta X'(diag(p) - pp')X, (..., D, D).

    It is the Hessian of lse, the negative concave part, and beta times the covariance of a pattern drawn with
    probabilities p: so it is symmetric and has no negative eigenvalue.
    """
    weights = association(patterns, states, beta)
    centred = patterns - (weights @ patterns)[..., None, :]
    return beta * centred.mT @ (weights[..., None] * centred)


def update(patterns: Tensor, states: Tensor, beta: float) -> Tensor:
    """One step of the convex-concave procedure, X'p, (..., D); the energy falls by half the squared step, at least.

    For rows of queries it is attention, softmax(beta Q X') X, with keys and values X; for queries that are columns
    (Q', as the papers on Hopfield networks write them) the same, transposed: X' softmax(beta X Q').
    """
    return association(patterns, states, beta) @ patterns


def retrieve(
    patterns: Tensor, queries: Tensor, beta: float, *, tolerance: float = 1e-6, max_steps: int = 100
) -> Retrieval:
    """Update each of the queries (Q, D) until it stands still: see `iterate`; the tolerance is a share of M."""
    longest = float(patterns.norm(dim=-1).amax())
    return iterate(lambda states: update(patterns, states, beta), queries, tolerance * longest, max_steps)


def trajectory(patterns: Tensor, queries: Tensor, beta: float, steps: int) -> Tensor:
    """The queries (Q, D) and what they become by each update, (steps + 1, Q, D)."""
    states = [queries]
    for _ in range(steps):
        states.append(update(patterns, states[-1], beta))
    return torch.stack(states)


def separation(patterns: Tensor) -> Tensor:
    """Delta_i = min over j != i of x_i'x_i - x_i'x_j, (N,): how far each pattern is from the one most like it.

    It is infinite for a pattern that is alone.
    """
    products = patterns @ patterns.T
    own = products.diagonal().clone()
    return own - products.fill_diagonal_(-torch.inf).amax(dim=-1)


def sufficient_separation(count: int, beta: float, longest: float) -> float:
    """A separation from which on a pattern is stored (Ramsauer et al., appendix A), for N patterns no longer than M.

    It is 2 / (beta N) + log(2 (N-1) N beta M^2) / beta. With it, by `retrieval_error_bound`, an update maps the ball of
    radius 1 / (beta N M) around x_i into itself, and there its Jacobian's norm is below 1: the ball holds one fixed
    point, to which all its points converge. A pattern that is alone needs none: -inf.
    """
    if count == 1:
        return -math.inf
    return 2 / (beta * count) + math.log(2 * (count - 1) * count * beta * longest**2) / beta


def retrieval_error_bound(patterns: Tensor, beta: float, distance: float | Tensor) -> Tensor:
    """How far from x_i an update ends at most that starts this far from x_i, (N,).

    It is 2 M (N-1) exp(-beta (Delta_i - 2 M distance)), exponentially small in the separation (Ramsauer et al., Theorem
    5): |X'p - x_i| <= 2 M (1 - p_i), and each other pattern has at most exp(-beta (x_i - x_j)'q) of x_i's weight.
    """
    longest = patterns.norm(dim=-1).amax()
    exponent = -beta * (separation(patterns) - 2 * longest * distance)
    bound: Tensor = 2 * longest * (len(patterns) - 1) * exponent.exp()
    return bound


class StorageBound(NamedTuple):
    """So many random patterns can be stored, with the probability asked for."""

    base: float
    """c: the number grows as c^((D-1)/4)."""
    smallest_base: float
    """The theorem holds if c is at least (2 / sqrt(p))^(4/(D-1)), that is, for two patterns or more."""
    log_patterns: float
    """log(sqrt(p) c^((D-1)/4))."""

    @property
    def patterns(self) -> float:
        """sqrt(p) c^((D-1)/4); infinite where that is beyond floating point."""
        return math.exp(self.log_patterns) if self.log_patterns < math.log(sys.float_info.max) else math.inf

    @property
    def holds(self) -> bool:
        """Whether the theorem's condition does."""
        return self.base >= self.smallest_base


def storage_bound(dim: int, beta: float, radius: float, failure: float) -> StorageBound:
    """How many patterns drawn uniformly from a sphere can be stored (Ramsauer et al., Theorem 3).

    ``radius`` is K, for a sphere of radius M = K sqrt(D-1), ``failure`` the probability p that they cannot be stored.

    Raises:
        ValueError: D is less than 2, or p is not between 0 and 1.
    """
    if dim < 2:
        raise ValueError(f"dim={dim}: the theorem needs at least 2")
    if not 0 < failure < 1:
        raise ValueError(f"failure={failure}: the theorem needs a probability between 0 and 1")
    a = 2 / (dim - 1) * (1 + math.log(2 * beta * radius**2 * failure * (dim - 1)))
    b = 2 * radius**2 * beta / 5
    base = b / float(wrightomega(a + math.log(b)))  # wrightomega(x) = W0(exp(x)), Lambert's W, without overflow
    return StorageBound(
        base,
        smallest_base=(2 / math.sqrt(failure)) ** (4 / (dim - 1)),
        log_patterns=math.log(failure) / 2 + math.log(base) * (dim - 1) / 4,
    )


def sphere_patterns(count: int, dim: int, radius: float, generator: torch.Generator) -> Tensor:
    """Patterns drawn uniformly from the sphere of radius K sqrt(D-1), (N, D) float64."""
    drawn = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    return radius * math.sqrt(dim - 1) * normalize(drawn, dim=-1)
