"""The modern Hopfield network: closed forms against autograd, attention as torch has it, the paper's bounds."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd.functional import hessian, jacobian
from torch.nn.functional import scaled_dot_product_attention

from dlbench.seeding import generator
from dlbench.theory import hopfield

ROUNDING = 1e-10


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=generator(seed, "test"), dtype=torch.float64)


networks = st.builds(
    lambda count, dim, scale, seed: (scale * normal(count, dim, seed=seed), normal(7, dim, seed=seed + 1)),
    st.integers(1, 12),
    st.integers(1, 9),
    st.floats(0.05, 4),
    st.integers(0, 2**30),
)
betas = st.floats(0.01, 20)


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=ROUNDING, atol=ROUNDING)


@given(networks, betas)
def test_gradients_are_those_of_the_energies(network: tuple[Tensor, Tensor], beta: float) -> None:
    patterns, states = network
    for query in states:
        parts = (hopfield.convex_energy, hopfield.concave_energy, hopfield.energy)
        convex, concave, whole = (jacobian(lambda q, e=e: e(patterns, q, beta), query) for e in parts)
        close(convex, query)
        close(concave, -hopfield.update(patterns, query, beta))
        close(whole, hopfield.gradient(patterns, query, beta))


@given(networks, betas)
def test_jacobian_is_that_of_the_update_and_the_hessian_of_the_negative_concave_part(
    network: tuple[Tensor, Tensor], beta: float
) -> None:
    patterns, states = network
    matrices = hopfield.jacobian(patterns, states, beta)
    probabilities = hopfield.association(patterns, states, beta)
    for query, matrix, p in zip(states[:3], matrices, probabilities, strict=False):
        scale = 1 + beta * float(patterns.square().sum())
        written = beta * patterns.T @ (p.diag() - p.outer(p)) @ patterns
        of_energy = hessian(lambda q: -hopfield.concave_energy(patterns, q, beta), query)
        of_update = jacobian(lambda q: hopfield.update(patterns, q, beta), query)
        for other in (written, of_energy, of_update):
            assert (matrix - other).abs().max() <= ROUNDING * scale


def test_a2425_has_the_sign_of_the_convex_parts_hessian_wrong() -> None:
    """It writes H(-E1) = I; that is the Hessian of E1 itself."""
    patterns, query = normal(5, 4, seed=1), normal(4, seed=2)
    identity = torch.eye(4, dtype=torch.float64)
    close(hessian(lambda q: hopfield.convex_energy(patterns, q, 2.0), query), identity)
    close(hessian(lambda q: -hopfield.convex_energy(patterns, q, 2.0), query), -identity)


def test_hessian_of_the_negative_concave_part_has_no_negative_eigenvalue() -> None:
    """Over 6,000 states of 300 networks; and -E2 is convex along the lines between them."""
    for seed in range(300):
        count, dim = 1 + seed % 13, 1 + seed % 8
        beta = 10 ** (seed % 7 / 2 - 1.5)
        patterns, states = normal(count, dim, seed=seed), 3 * normal(20, dim, seed=seed + 1000)
        matrices = hopfield.jacobian(patterns, states, beta)
        largest = beta * float(patterns.square().sum())
        assert (matrices - matrices.mT).abs().amax() <= 1e-14 * largest
        assert torch.linalg.eigvalsh(matrices).amin() >= -1e-12 * max(1.0, largest)
        one, other = states, states.flip(0)
        ends = [-hopfield.concave_energy(patterns, end, beta) for end in (one, other)]
        between = -hopfield.concave_energy(patterns, (one + other) / 2, beta)
        assert (between <= sum(ends) / 2 + 1e-12 * max(1.0, largest)).all()


@given(networks, betas)
def test_energy_never_rises_and_falls_by_half_the_squared_step(network: tuple[Tensor, Tensor], beta: float) -> None:
    patterns, states = network
    path = hopfield.trajectory(patterns, 3 * states, beta, steps=30)
    energies = hopfield.energy(patterns, path, beta)
    assert energies.shape == (31, len(states))
    rounding = 1e-13 * float(1 + energies.abs().max() + patterns.square().sum())
    for (before, after), step in zip(pairwise(energies), path.diff(dim=0), strict=True):
        assert (after <= before - step.square().sum(dim=-1) / 2 + rounding).all()


@given(networks, betas)
def test_energy_lies_between_its_bounds(network: tuple[Tensor, Tensor], beta: float) -> None:
    patterns, states = network
    longest = patterns.norm(dim=-1).amax()
    energies, lengths = hopfield.energy(patterns, states, beta), states.norm(dim=-1)
    assert (energies >= (lengths - longest).square() / 2 - 1e-9).all()
    assert (energies <= (lengths + longest).square() / 2 + 1e-9).all()
    inside = states.new_tensor(range(7 * len(patterns))).reshape(7, -1).sin().softmax(dim=-1) @ patterns
    energies = hopfield.energy(patterns, inside, beta)
    assert (energies >= -1e-9).all()
    assert (energies <= 2 * longest.square() + 1e-9).all()


def test_energy_reaches_twice_the_square_of_the_longest_norm() -> None:
    """At -x, for one pattern: the upper bound cannot be lowered."""
    pattern = normal(1, 6, seed=3)
    assert float(hopfield.energy(pattern, -pattern[0], 3.0)) == pytest.approx(2 * float(pattern.square().sum()))


@given(networks)
def test_update_is_attention_with_one_head_and_identity_projections(network: tuple[Tensor, Tensor]) -> None:
    patterns, queries = network
    beta = 1 / math.sqrt(patterns.shape[1])
    attended = scaled_dot_product_attention(queries[None], patterns[None], patterns[None])[0]
    close(hopfield.update(patterns, queries, beta), attended)
    close(hopfield.update(patterns, queries[0], beta), attended[0])
    columns = patterns.T @ (beta * patterns @ queries.T).softmax(dim=0)
    close(columns, attended.T)


@given(networks, betas)
def test_a_state_that_retrieval_calls_converged_stands_still(network: tuple[Tensor, Tensor], beta: float) -> None:
    patterns, queries = network
    kept = queries.clone()
    found = hopfield.retrieve(patterns, queries, beta, tolerance=1e-8, max_steps=40)
    assert torch.equal(queries, kept)
    longest = patterns.norm(dim=-1).amax()
    still = hopfield.gradient(patterns, found.states, beta).norm(dim=-1)
    # One more step is at most as long as the last one times the Jacobian's norm.
    stretch = 1 + torch.linalg.matrix_norm(hopfield.jacobian(patterns, found.states, beta), 2)
    assert (still[found.converged] <= (1e-7 * longest * stretch)[found.converged]).all()
    assert (found.steps[~found.converged] == 40).all()
    assert ((found.steps >= 1) & (found.steps <= 40)).all()


@given(networks, betas)
def test_retrieval_of_many_is_that_of_each(network: tuple[Tensor, Tensor], beta: float) -> None:
    patterns, queries = network
    together = hopfield.retrieve(patterns, queries, beta, max_steps=25)
    path = hopfield.trajectory(patterns, queries, beta, steps=25)
    for place, query in enumerate(queries):
        alone = hopfield.retrieve(patterns, query[None], beta, max_steps=25)
        torch.testing.assert_close(alone.states[0], together.states[place], rtol=1e-5, atol=1e-5)
        close(path[together.steps[place], place], together.states[place])


def test_small_beta_averages_all_patterns_and_large_beta_retrieves_the_nearest() -> None:
    patterns = hopfield.sphere_patterns(20, 30, 1.0, generator(0, "patterns"))
    queries = patterns + 0.3 * normal(20, 30, seed=5)
    mean = hopfield.retrieve(patterns, queries, 1e-4, tolerance=1e-12)
    torch.testing.assert_close(mean.states, patterns.mean(0).expand(20, -1), rtol=0, atol=2e-3)
    found = hopfield.retrieve(patterns, queries, 10.0)
    assert found.converged.all()
    assert torch.equal(torch.cdist(found.states, patterns).argmin(dim=1), torch.arange(20))
    torch.testing.assert_close(found.states, patterns, rtol=0, atol=1e-9)


def test_what_is_not_a_number_never_converges() -> None:
    found = hopfield.retrieve(torch.eye(3), torch.tensor([[torch.nan, 0, 0], [1.0, 0, 0]]), 50.0, max_steps=4)
    assert found.converged.tolist() == [False, True]
    assert found.steps[0] == 4


@given(networks)
def test_separation_is_the_least_difference_of_products(network: tuple[Tensor, Tensor]) -> None:
    patterns, _ = network
    expected = [
        min((float(x @ x - x @ y) for j, y in enumerate(patterns) if j != i), default=math.inf)
        for i, x in enumerate(patterns)
    ]
    close(hopfield.separation(patterns), torch.tensor(expected, dtype=torch.float64))


@given(st.integers(2, 20), st.integers(2, 12), st.floats(0.1, 2), st.integers(0, 2**30))
def test_separated_patterns_are_stored(count: int, dim: int, scale: float, seed: int) -> None:
    """At the beta from which the condition holds, the ball around a pattern goes to one fixed point in that ball."""
    patterns = hopfield.sphere_patterns(count, dim, scale, generator(seed, "patterns"))
    longest, smallest = scale * math.sqrt(dim - 1), float(hopfield.separation(patterns).amin())
    beta = 1e-3
    while hopfield.sufficient_separation(count, beta, longest) > smallest or 2 * beta * longest**2 < 1:
        beta *= 1.3
    radius = 1 / (beta * count * longest)
    directions = torch.nn.functional.normalize(normal(count, dim, seed=seed), dim=-1)
    ends = [
        hopfield.retrieve(patterns, patterns + sign * radius * directions, beta, tolerance=1e-13, max_steps=500)
        for sign in (1, -1)
    ]
    for end in ends:
        assert ((end.states - patterns).norm(dim=-1) <= radius * (1 + 1e-9)).all()
        assert end.converged.all()
    assert (ends[0].states - ends[1].states).norm(dim=-1).amax() <= 1e-8 * longest
    stretch = torch.linalg.matrix_norm(hopfield.jacobian(patterns, ends[0].states, beta), 2)
    assert (stretch < 1).all()


@given(networks, betas, st.floats(0, 1))
def test_error_of_one_update_is_below_its_bound(network: tuple[Tensor, Tensor], beta: float, distance: float) -> None:
    patterns, states = network
    steps = torch.nn.functional.normalize(states, dim=-1)
    bound = hopfield.retrieval_error_bound(patterns, beta, distance)
    for step in steps:
        error = (hopfield.update(patterns, patterns + distance * step, beta) - patterns).norm(dim=-1)
        assert (error <= bound + 1e-9 * patterns.norm()).all()


@pytest.mark.parametrize(("beta", "radius", "dim", "base"), [(1, 3, 20, 3.1546), (1, 1, 75, 1.3718)])
def test_storage_bound_is_that_of_the_papers_examples(beta: float, radius: float, dim: int, base: float) -> None:
    bound = hopfield.storage_bound(dim, beta, radius, failure=0.001)
    assert math.floor(bound.base * 1e4) / 1e4 == base
    assert bound.holds
    assert bound.patterns == pytest.approx(math.sqrt(0.001) * bound.base ** ((dim - 1) / 4))


@given(st.integers(3, 2000), st.floats(0.01, 10), st.floats(0.1, 5), st.floats(1e-6, 0.5))
def test_storage_bound_holds_from_two_patterns_on(dim: int, beta: float, radius: float, failure: float) -> None:
    bound = hopfield.storage_bound(dim, beta, radius, failure)
    assert bound.holds == (bound.patterns >= 2) or bound.patterns == pytest.approx(2)


def test_so_many_patterns_as_the_theorem_promises_are_stored() -> None:
    """Many more are: it is a bound from below. All patterns lie on their sphere."""
    beta, radius, dim = 1.0, 3.0, 28
    bound = hopfield.storage_bound(dim, beta, radius, failure=0.001)
    count = math.floor(bound.patterns)
    assert bound.holds and count > 50
    for seed in range(20):
        patterns = hopfield.sphere_patterns(count, dim, radius, generator(seed, "patterns"))
        close(patterns.norm(dim=-1), torch.full((count,), radius * math.sqrt(dim - 1), dtype=torch.float64))
        needed = hopfield.sufficient_separation(count, beta, radius * math.sqrt(dim - 1))
        assert (hopfield.separation(patterns) >= needed).all()


@pytest.mark.parametrize("beta", [0.1, 20.0])
def test_a_pattern_that_is_alone_is_stored_whatever_its_separation(beta: float) -> None:
    assert hopfield.sufficient_separation(1, beta, 1.0) == -math.inf
    alone = normal(1, 5, seed=0)
    close(hopfield.update(alone, normal(3, 5, seed=1), beta), alone.expand(3, 5))


@pytest.mark.parametrize(
    ("dim", "failure", "named"),
    [(1, 0.1, "dim=1"), (0, 0.1, "dim=0"), (5, 0.0, "failure=0.0"), (5, 1.0, "failure=1.0")],
)
def test_storage_bound_names_what_the_theorem_does_not_cover(dim: int, failure: float, named: str) -> None:
    with pytest.raises(ValueError, match=f"^{named}:"):
        hopfield.storage_bound(dim, 1.0, 1.0, failure)
