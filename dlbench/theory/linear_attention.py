"""Attention in time linear in the length, by a Taylor series of the exponential (e2324's theory question).

Softmax attention weighs each of the L values by exp(s q'k) and costs O(L^2 D). The first K terms of the series,

    T(t) = sum over n < K of t^n / n!,    T(q'k) = phi(q)'phi(k),

are a product of features: phi(x) holds every monomial of degree below K, x^a / sqrt(a!) with a! = a_1! ... a_D!, by the
multinomial theorem. So the sums over the keys are taken once for all queries, in O(L M D) with M = C(D+K-1, K-1)
features (Katharopoulos et al. 2020 for the sums).

Queries are (..., L, D), keys (..., S, D) and values (..., S, V); s is the scale, 1 / sqrt(D) where None is given.
"""

import math
from functools import cache

import torch
from scipy.optimize import brentq
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from dlbench.seeding import generator

CHUNK, CAUSAL_CHUNK = 512, 256
"""Positions whose features are held at a time: memory is O(CHUNK M + M D), whatever the length.

That is besides the output and what is as large as the inputs, and without gradients: for those the features of all
positions are kept, O(L M).

The causal form takes fewer: it has the kernel within each chunk to work out as well.
"""


def feature_dimension(terms: int, dim: int) -> int:
    """M = C(D+K-1, K-1), the number of monomials of D variables with a degree below K.

    For three terms 1 + D + D(D+1)/2 = C(D+2, 2): more than D^2 / 2, so never much less than D.
    """
    return math.comb(dim + terms - 1, terms - 1)


def truncated_exp(exponents: Tensor, terms: int) -> Tensor:
    """The first K terms of the series of exp, of each element (Horner's rule)."""
    sums = torch.ones_like(exponents)
    for degree in range(terms - 1, 0, -1):
        sums = 1 + exponents * sums / degree
    return sums


def _kept(degree: int, dim: int) -> list[int]:
    """For each variable i: how many monomials of this degree have none before i; with the order here, the last ones."""
    return [math.comb(dim - i + degree - 1, degree) for i in range(dim)]


@cache
def _factorials(degree: int, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of the monomials of one degree, in the order of `features`: first variable, its power, and a!, float64."""
    if not degree:
        return torch.tensor([-1]), torch.tensor([0]), torch.ones(1, dtype=torch.float64)
    parts = []
    for i, count in enumerate(_kept(degree - 1, dim)):
        first, power, factorial = (one[-count:] for one in _factorials(degree - 1, dim))
        power = torch.where(first == i, power + 1, 1)
        parts.append((torch.full_like(first, i), power, factorial * power))
    first, power, factorial = (torch.cat(part) for part in zip(*parts, strict=True))
    return first, power, factorial


def features(points: Tensor, terms: int) -> Tensor:
    """phi, the weighted monomials of a degree below K, by degree and then in the order of their variables.

    Points are (..., D), features (..., M); K is at least 1.
    """
    dim = points.shape[-1]
    monomials = torch.ones_like(points[..., :1])
    weighted = [monomials]
    for degree in range(1, terms):
        # Those that begin with x_i are x_i times those of one degree less that have no variable before it.
        kept = enumerate(_kept(degree - 1, dim))
        monomials = torch.cat([points[..., i, None] * monomials[..., -count:] for i, count in kept], dim=-1)
        weighted.append(monomials * _factorials(degree, dim)[2].rsqrt().to(monomials))
    return torch.cat(weighted, dim=-1)


def quadratic_attention(
    queries: Tensor, keys: Tensor, values: Tensor, terms: int, *, scale: float | None = None, causal: bool = False
) -> Tensor:
    """Attention with the truncated series for a kernel, written out, (..., L, V): O(L^2 D) as softmax attention is."""
    kernel = truncated_exp(_scale(queries, scale) * queries @ keys.mT, terms)
    if causal:
        kernel = kernel.tril()
    return kernel @ values / kernel.sum(dim=-1, keepdim=True)


def linear_attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    terms: int,
    *,
    scale: float | None = None,
    causal: bool = False,
    chunk: int | None = None,
) -> Tensor:
    """The same in O(L M D), by features, (..., L, V).

    Args:
        queries: (..., L, D).
        keys: (..., S, D).
        values: (..., S, V).
        terms: K. An odd number: with an even one weights can be negative and their sum 0.
        scale: s; it must not be negative.
        causal: Each query attends to the keys at its own place and before it (L = S). The sums up to a chunk are
            carried from chunk to chunk; within a chunk the kernel is written out.
        chunk: Positions taken at a time; None: `CHUNK`, or `CAUSAL_CHUNK` if causal.
    """
    chunk = chunk or (CAUSAL_CHUNK if causal else CHUNK)
    root = math.sqrt(_scale(queries, scale))
    queries, keys = root * queries, root * keys
    # A column of ones beside the values sums the weights.
    counted = pad(values, (0, 1), value=1.0)
    parts = list(zip(torch.split(keys, chunk, dim=-2), torch.split(counted, chunk, dim=-2), strict=True))
    sums = counted.new_zeros(*keys.shape[:-2], feature_dimension(terms, keys.shape[-1]), counted.shape[-1])
    if not causal:
        for key, value in parts:
            sums += features(key, terms).mT @ value
        split = torch.split(queries, chunk, dim=-2)
        return torch.cat([_mean(features(query, terms) @ sums) for query in split], dim=-2)
    attended = []
    for query, (key, value) in zip(torch.split(queries, chunk, dim=-2), parts, strict=True):
        within = truncated_exp(query @ key.mT, terms).tril()
        attended.append(_mean(features(query, terms) @ sums + within @ value))
        sums = sums + features(key, terms).mT @ value  # not in place: the gradient needs what it was
    return torch.cat(attended, dim=-2)


def _scale(queries: Tensor, scale: float | None) -> float:
    return 1 / math.sqrt(queries.shape[-1]) if scale is None else scale


def _mean(sums: Tensor) -> Tensor:
    """Weighted sums of values over the sum of the weights, which stands last."""
    return sums[..., :-1] / sums[..., -1:]


def error_bound(reach: float, terms: int) -> float:
    """How far approximated and softmax attention are apart at most, for values no longer than 1, if |s q'k| <= reach.

    The series' remainder is at most e = reach^K exp(reach) / K! times the exponential (Lagrange), each normalised
    weight then at most 2 e / (1 - e) times itself off; infinite where e >= 1.
    """
    logarithm = reach + terms * math.log(reach) - math.lgamma(terms + 1) if reach else -math.inf
    error = math.exp(min(logarithm, 0.0))  # from 1 on its size does not matter, and would overflow
    return 2 * error / (1 - error) if error < 1 else math.inf


def approximation_error(terms: int, dim: int, spread: float, *, length: int = 256, seed: int = 0) -> float:
    """The approximation's relative error for random queries, keys and values: |approximated - softmax| / |softmax|.

    It is the quadratic evaluation that is measured: the same up to rounding, and M can be anything. ``spread`` is the
    standard deviation of s q'k; with s = 1 / sqrt(D), that of queries' and keys' elements, squared.
    """
    draws = generator(seed, "linear attention", dim, length)
    queries, keys, values = torch.randn(3, length, dim, generator=draws, dtype=torch.float64)
    scale = spread / math.sqrt(dim)
    exact = scaled_dot_product_attention(queries, keys, values, scale=scale)
    approximated = quadratic_attention(queries, keys, values, terms, scale=scale)
    return float((approximated - exact).norm() / exact.norm())


def kernel_root(terms: int) -> float:
    """The one real t at which an even number of terms is 0; below it the kernel is negative.

    T of even degree has no real root: its derivative is T less its last term t^n / n!, so at a minimum T is t^n / n!,
    which is positive, for T(0) = 1. T of odd degree therefore has a positive derivative, and exactly one root.

    Raises:
        ValueError: The number of terms is odd.
    """
    if terms % 2:
        raise ValueError(f"an odd number of terms, {terms}, has no real root")
    # No root of T is further from 0 than its degree (Eneström and Kakeya).
    return brentq(lambda t: float(truncated_exp(torch.tensor(t, dtype=torch.float64), terms)), -terms, 0.0)


def kernel_minimum(terms: int) -> float:
    """The smallest value on R of an odd number of terms, positive; see `kernel_root`.

    Raises:
        ValueError: The number of terms is even: it falls without bound.
    """
    if not terms % 2:
        raise ValueError(f"an even number of terms, {terms}, has no minimum")
    degree = terms - 1
    return float(kernel_root(degree) ** degree / math.factorial(degree)) if degree else 1.0
