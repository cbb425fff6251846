"""What the statements of report files ask of `dlbench.theory`: each a number, computed over seeded draws.

An error is the largest deviation of a closed form from an independent way to it, in float64. N patterns of width D are
stored in Hopfield networks; H, W, M and N of convolutions are d2223's, L, D and K of attention e2324's.
`dlbench.report.expressions` imports this where it is needed only: torch takes its time.
"""

import inspect
import math
from collections.abc import Callable
from itertools import combinations_with_replacement

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, max_pool2d, normalize, scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

from dlbench.models.cost import count_parameters
from dlbench.seeding import generator
from dlbench.theory import hopfield
from dlbench.theory.attention_cost import softmax_attention
from dlbench.theory.convolution_matrix import pixel_attention, published_entry
from dlbench.theory.linear_attention import features, linear_attention

DIGITS = 12
"""What is beyond these decimals is the machine's rounding."""

DRAWS, UPDATES = 20, 10
STILL, UPDATES_TO_LIMIT = 1e-12, 2_000
BETA = 2.0


LARGEST_SIZE, LONGEST_SEQUENCE, MOST_TERMS = 64, 1_024, 5_000_000
"""Bounds for what is asked: sizes, what sums K terms of a series (L positions included), and all terms of it."""


def computed(name: str, *arguments: float | str) -> float:
    """The number that one of the functions here gives, to `DIGITS` decimals.

    Raises:
        ValueError: An argument is beyond the bounds.
    """
    function: Callable[..., float] = globals()[name]
    parameters = inspect.signature(function).parameters
    largest = LONGEST_SEQUENCE if "K" in parameters else LARGEST_SIZE
    for argument in arguments:
        if isinstance(argument, int | float) and not abs(argument) <= largest:
            raise ValueError(f"{name} is given {argument:g}, more than {largest:,}")
    given = dict(zip(parameters, arguments, strict=False))
    dim, terms = (int(given.get(size, 0)) for size in "DK")
    if min(dim, terms) > 0 and int(given.get("L", 1)) * math.comb(dim + terms - 1, dim) > MOST_TERMS:
        raise ValueError(f"{name} is given D={dim} and K={terms}, more than {MOST_TERMS:,} terms")
    value = function(*arguments)
    return value if isinstance(value, int) else round(value, DIGITS) + 0.0  # no -0


def _draws(*sizes: int) -> Tensor:
    return torch.randn(*sizes, generator=generator(0, "theory checks", *sizes), dtype=torch.float64)


def _patterns_and_states(N: int, D: int) -> tuple[Tensor, Tensor]:
    if N < 1 or D < 1:
        raise ValueError(f"{N} patterns of {D} neurons: there must be one or more of each")
    drawn = _draws(N + DRAWS, D) / D**0.25
    return drawn[:N], drawn[N:]


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


def convex_gradient_error(N: int, D: int) -> float:
    """The gradient of the energy's convex part, by autograd, against q."""
    patterns, states = _patterns_and_states(N, D)
    return _apart(torch.func.grad(lambda q: hopfield.convex_energy(patterns, q, BETA).sum())(states), states)


def concave_gradient_error(N: int, D: int) -> float:
    """The gradient of -lse, by autograd, against -X' softmax(beta X q)."""
    patterns, states = _patterns_and_states(N, D)
    found = torch.func.grad(lambda q: hopfield.concave_energy(patterns, q, BETA).sum())(states)
    return _apart(found, -(BETA * states @ patterns.T).softmax(dim=-1) @ patterns)


def _hessian(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """That of a function of vectors (D,), for many of them at once: of (points, D) it is (points, D, D).

    `torch.func.hessian` has the same values, but goes by what torch calls deprecated, in a warning.
    """
    return torch.func.vmap(torch.func.jacrev(torch.func.jacrev(function)))


def _hessians(N: int, D: int) -> tuple[Tensor, Tensor]:
    """The Hessian of lse at each state, by autograd and by its closed form, (states, D, D)."""
    patterns, states = _patterns_and_states(N, D)
    hessian = _hessian(lambda q: -hopfield.concave_energy(patterns, q, BETA))
    return hessian(states), hopfield.jacobian(patterns, states, BETA)


def hessian_error(N: int, D: int) -> float:
    """The Hessian of lse, by autograd, against beta X'(diag(p) - pp')X."""
    return _apart(*_hessians(N, D))


def smallest_eigenvalue(N: int, D: int) -> float:
    """Of the Hessian of lse, by autograd, over all states."""
    return float(torch.linalg.eigvalsh(_hessians(N, D)[0]).min())


def energy_rise(N: int, D: int) -> float:
    """The most that the energy rises in one of ten updates of each state; negative where it always falls."""
    patterns, states = _patterns_and_states(N, D)
    path = hopfield.trajectory(patterns, states, BETA, UPDATES)
    return float(hopfield.energy(patterns, path, BETA).diff(dim=0).max())


def argmin_error(N: int, D: int) -> float:
    """The minimiser of the convex part plus the concave part linearised at q, by a Newton step, against the update."""
    patterns, states = _patterns_and_states(N, D)
    slopes = torch.func.grad(lambda q: hopfield.concave_energy(patterns, q, BETA).sum())(states)
    starts = _draws(DRAWS, D)

    def linearised(q: Tensor, slope: Tensor) -> Tensor:
        return hopfield.convex_energy(patterns, q, BETA) + slope @ q

    gradients = torch.func.vmap(torch.func.grad(linearised))(starts, slopes)
    # Where the Hessian is not positive definite it has no such factor: then there is no minimum.
    factors = torch.linalg.cholesky(_hessian(linearised)(starts, slopes))
    newton = starts - torch.cholesky_solve(gradients[..., None], factors)[..., 0]
    return _apart(newton, hopfield.update(patterns, states, BETA))


def _limits(N: int, D: int, beta: float) -> tuple[Tensor, Tensor]:
    """The patterns, and where each state stands still."""
    patterns, states = _patterns_and_states(N, D)
    found = hopfield.retrieve(patterns, states, beta, tolerance=STILL, max_steps=UPDATES_TO_LIMIT)
    return patterns, found.states


def gradient_at_limit(N: int, D: int, beta: float) -> float:
    """The largest norm of the energy's gradient, by autograd, where states that are updated come to stand still."""
    patterns, limits = _limits(N, D, beta)
    gradients = torch.func.grad(lambda q: hopfield.energy(patterns, q, beta).sum())(limits)
    return float(gradients.norm(dim=-1).max())


def curvature_at_limit(N: int, D: int, beta: float) -> float:
    """The smallest eigenvalue of the energy's Hessian, by autograd, over those limits; a minimum has none below 0."""
    patterns, limits = _limits(N, D, beta)
    hessians = _hessian(lambda q: hopfield.energy(patterns, q, beta))(limits)
    return float(torch.linalg.eigvalsh(hessians).min())


def curvature_between_opposites(beta: float) -> float:
    """The same where a state comes to stand still that begins as far from a pattern of length 1 as from its opposite.

    There no update leaves the middle, which is a saddle of the energy where beta is greater than 1.
    """
    pattern, state = torch.eye(4, dtype=torch.float64)[:1], torch.tensor([[0.0, 1.0, 2.0, -1.0]], dtype=torch.float64)
    patterns = torch.cat([pattern, -pattern])
    limit = hopfield.retrieve(patterns, state, beta, tolerance=STILL, max_steps=UPDATES_TO_LIMIT).states
    return float(torch.linalg.eigvalsh(_hessian(lambda q: hopfield.energy(patterns, q, beta))(limit)).min())


def attention_error(N: int, D: int) -> float:
    """The update with beta = 1 / sqrt(D) against torch's attention with the patterns for keys and values."""
    patterns, states = _patterns_and_states(N, D)
    attended = scaled_dot_product_attention(states[None], patterns[None], patterns[None])[0]
    return _apart(hopfield.update(patterns, states, D**-0.5), attended)


def transpose_error(N: int, D: int) -> float:
    """X' softmax(beta X Q') for queries as columns against the transpose of torch's attention for rows."""
    patterns, states = _patterns_and_states(N, D)
    columns = patterns.T @ (D**-0.5 * patterns @ states.T).softmax(dim=0)
    return _apart(columns, scaled_dot_product_attention(states[None], patterns[None], patterns[None])[0].T)


def convolved_length(H: int, M: int) -> int:
    """Rows of what torch's convolution makes of H rows with a filter of M."""
    return conv2d(_draws(1, 1, H, H), _draws(1, 1, M, M)).shape[-2]


def entry_formula_error(H: int, W: int, M: int, N: int) -> float:
    """T vec(x), with T by d2223's formula, against vec(z) of torch's convolution, column after column."""
    image, kernel = _draws(H, W), _draws(M, N)
    i, j = np.ix_(range(1, (H - M + 1) * (W - N + 1) + 1), range(1, H * W + 1))
    matrix = torch.from_numpy(published_entry(i, j, kernel.numpy(), H))
    return _apart(matrix @ image.T.flatten(), conv2d(image[None, None], kernel[None, None])[0, 0].T.flatten())


def three_class_parameters(H: int, W: int, M: int, N: int, is_connected: bool) -> int:
    """Weights of d2223's network of a filter, 2x2 pooling and three classes, or fully connected with as many units."""
    with torch.device("meta"):
        convolution, pooling = nn.Conv2d(1, 1, (M, N), bias=False), nn.MaxPool2d(2)
        hidden = pooling(convolution(torch.empty(1, 1, H, W))).numel()
        first = nn.Linear(H * W, hidden, bias=False) if is_connected else convolution
        return count_parameters(nn.Sequential(first, nn.Linear(hidden, 3, bias=False)))


def convolution_shift_error(H: int, M: int) -> float:
    """Torch's convolution of a picture moved by a pixel, down or right, against its convolution moved, off the rim."""
    picture, kernel = _draws(1, 1, H, H), _draws(1, 1, M, M)
    found = conv2d(picture, kernel)
    moved = [(conv2d(picture.roll(1, axis), kernel), found.roll(1, axis)) for axis in (-2, -1)]
    return max(_apart(one[..., 1:, 1:], other[..., 1:, 1:]) for one, other in moved)


def pooling_shift_change(H: int) -> float:
    """The most that 2x2 max pooling changes, off the rim, where the picture moves by a pixel, down or right."""
    picture = _draws(1, 1, H, H)
    found = max_pool2d(picture, 2)
    moved = [max_pool2d(picture.roll(1, axis), 2) for axis in (-2, -1)]
    return max(_apart(one[..., 1:, 1:], found[..., 1:, 1:]) for one in moved)


def accepts(layer: str, trained: int, given: int) -> bool:
    """Whether a 3x3 convolution, pooled 2x2, or a fully connected layer made for one size of pictures takes another."""
    with torch.device("meta"):
        layers = {
            "convolution": nn.Sequential(nn.Conv2d(1, 1, 3), nn.MaxPool2d(2)),
            "connected": nn.Sequential(nn.Flatten(), nn.Linear(trained**2, 1)),
        }
        picture = torch.empty(1, 1, given, given)
    if layer not in layers:
        raise ValueError(f"{layer}: no such layer; must be {' or '.join(layers)}")
    try:
        layers[layer](picture)
    except RuntimeError:
        return False
    return True


def pixel_attention_error(H: int, W: int) -> float:
    """softmax(vec(x) vec(x)') vec(x) against torch's attention over single pixels, unit projections, scale 1."""
    image = _draws(H, W)
    pixels = image.flatten()[None, :, None]
    attended = scaled_dot_product_attention(pixels, pixels, pixels, scale=1.0)
    return _apart(pixel_attention(image).flatten(), attended.flatten())


def feature_error(D: int, K: int) -> float:
    """phi(q)'phi(k) against the first K terms of the series of exp(q'k), summed one by one."""
    queries, keys = _draws(2, DRAWS, D) / D**0.25
    exponents = queries @ keys.T
    series = sum((exponents**n / math.factorial(n) for n in range(1, K)), exponents**0)
    return _apart(features(queries, K) @ features(keys, K).T, series)


def attention_operations(L: int, D: int, K: int) -> int:
    """Operations of the matrix products of attention over L positions, counted by torch; K = 0: softmax attention."""
    queries, keys, values = _draws(3, L, D)
    with FlopCounterMode(display=False) as counter:
        if K:
            linear_attention(queries, keys, values, K)
        else:
            softmax_attention(queries, keys, values)
    return int(counter.get_total_flops())


def approximation_error(L: int, D: int, K: int, scale: float) -> float:
    """Linear attention with K terms against softmax attention, neither scaled; queries and keys have the norm given."""
    queries, keys, values = _draws(3, L, D)
    queries, keys = scale * normalize(queries, dim=-1), scale * normalize(keys, dim=-1)
    exact = scaled_dot_product_attention(queries, keys, values, scale=1.0)
    return _apart(linear_attention(queries, keys, values, K, scale=1.0), exact)


def row_sum_error(L: int, D: int, K: int) -> float:
    """The row sums of D^-1 Phi(Q) Phi(K)', which is linear attention of the unit vectors, against one."""
    queries, keys = _draws(2, L, D) / D**0.25
    weights = linear_attention(queries, keys, torch.eye(L, dtype=torch.float64), K, scale=1.0)
    return _apart(weights.sum(dim=-1), torch.ones(L, dtype=torch.float64))


def monomials(D: int, K: int) -> int:
    """Monomials of D variables with a degree below K, counted one by one."""
    return sum(1 for degree in range(K) for _ in combinations_with_replacement(range(D), degree))
