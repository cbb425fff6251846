"""The classical Hopfield network: its energy, its two ways to update, and its capacity."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dlbench.seeding import generator
from dlbench.theory import classical_hopfield


def signs(count: int, dim: int, seed: int) -> Tensor:
    return torch.randint(0, 2, (count, dim), generator=generator(seed, "test")).mul(2).sub(1).double()


networks = st.builds(
    lambda count, dim, seed: (signs(count, dim, seed), signs(6, dim, seed + 1)),
    st.integers(1, 9),
    st.integers(2, 24),
    st.integers(0, 2**30),
)


@given(networks)
def test_weights_are_the_sum_of_outer_products(network: tuple[Tensor, Tensor]) -> None:
    patterns, _ = network
    dim = patterns.shape[1]
    expected = sum(np.outer(x, x) for x in patterns.numpy()) * (1 - np.eye(dim))
    np.testing.assert_array_equal(classical_hopfield.weights(patterns), expected)


@given(networks)
def test_neurons_are_updated_one_after_the_other(network: tuple[Tensor, Tensor]) -> None:
    patterns, states = network
    states[:3, ::2] = 0  # unknown
    weights = classical_hopfield.weights(patterns)
    updated = classical_hopfield.asynchronous_update(weights, states)
    for state, after in zip(states.clone(), updated, strict=True):
        for neuron, row in enumerate(weights):
            energy = classical_hopfield.energy(weights, state)
            if field := float(row @ state):
                state[neuron] = math.copysign(1, field)
            assert classical_hopfield.energy(weights, state) <= energy
        assert torch.equal(state, after)


@given(networks)
def test_asynchronous_retrieval_ends_in_a_fixed_point(network: tuple[Tensor, Tensor]) -> None:
    patterns, states = network
    weights = classical_hopfield.weights(patterns)
    found = classical_hopfield.retrieve(weights, states)
    assert found.converged.all()
    assert torch.equal(classical_hopfield.asynchronous_update(weights, found.states), found.states)
    assert torch.equal(classical_hopfield.synchronous_update(weights, found.states), found.states)


@given(networks)
def test_synchronous_retrieval_ends_in_a_fixed_point_or_a_cycle_of_two(network: tuple[Tensor, Tensor]) -> None:
    patterns, states = network
    weights = classical_hopfield.weights(patterns)
    found = classical_hopfield.retrieve(weights, states, synchronous=True)
    once = classical_hopfield.synchronous_update(weights, found.states)
    assert torch.equal((once == found.states).all(dim=1), found.converged)
    assert torch.equal(classical_hopfield.synchronous_update(weights, once), found.states)


def test_two_neurons_that_differ_swap_for_ever_when_updated_at_once() -> None:
    weights = classical_hopfield.weights(torch.ones(1, 2))
    found = classical_hopfield.retrieve(weights, torch.tensor([[1.0, -1.0]]), synchronous=True, max_steps=7)
    assert found.states.tolist() == [[-1.0, 1.0]]
    assert found.steps.tolist() == [7]
    assert found.converged.tolist() == [False]
    assert classical_hopfield.retrieve(weights, torch.tensor([[1.0, -1.0]])).states.tolist() == [[-1.0, -1.0]]


@pytest.mark.parametrize("synchronous", [False, True])
def test_few_patterns_are_retrieved_from_damaged_queries(synchronous: bool) -> None:
    patterns = signs(10, 400, 1)
    queries = patterns.clone()
    queries[:, :60] *= -1
    found = classical_hopfield.retrieve(classical_hopfield.weights(patterns), queries, synchronous=synchronous)
    assert torch.equal(found.states, patterns)


def test_critical_load_is_that_of_amit_gutfreund_and_sompolinsky() -> None:
    load, overlap = classical_hopfield.critical_load()
    assert load == pytest.approx(0.137906, abs=1e-6)
    assert overlap == pytest.approx(0.967, abs=5e-4)


@given(st.floats(0.005, 0.1379))
def test_mean_field_overlap_solves_the_equations_it_was_made_from(load: float) -> None:
    """m = erf(m / sqrt(2 load r)), r = 1 / (1 - C)^2, C = sqrt(2 / (pi load r)) exp(-m^2 / (2 load r))."""
    m = classical_hopfield.mean_field_overlap(load)
    assert 0.96 < m <= 1
    r = 1.0
    for _ in range(20_000):
        noise = 2 * load * r
        r = 1 / (1 - 2 / math.sqrt(math.pi * noise) * math.exp(-(m**2) / noise)) ** 2
        if abs(2 * load * r - noise) < 1e-15:
            break
    assert m == pytest.approx(math.erf(m / math.sqrt(2 * load * r)), abs=1e-3)


def test_mean_field_overlap_is_zero_above_the_critical_load() -> None:
    assert classical_hopfield.mean_field_overlap(0.138) == 0
    assert classical_hopfield.mean_field_overlap(0.13) > 0.97


def test_mean_field_overlap_at_the_critical_load_is_the_critical_overlap() -> None:
    load, overlap = classical_hopfield.critical_load()
    for near in (math.nextafter(load, 0), load, math.nextafter(load, 1)):
        assert classical_hopfield.mean_field_overlap(near) == overlap
    assert classical_hopfield.mean_field_overlap(load * (1 - 1e-9)) == pytest.approx(overlap, abs=1e-4)


@given(st.floats(0, 0.137), st.floats(0, 0.137))
def test_mean_field_overlap_falls_from_one(one: float, other: float) -> None:
    low, high = sorted((one, other))
    overlaps = classical_hopfield.mean_field_overlap(low), classical_hopfield.mean_field_overlap(high)
    assert 1 >= overlaps[0] >= overlaps[1] - 1e-9 > 0.96


@pytest.mark.parametrize("load", [0.0, 1e-9, 1e-4, 1.389e-4])
def test_mean_field_overlap_is_one_at_tiny_loads(load: float) -> None:
    assert classical_hopfield.mean_field_overlap(load) == 1


def test_overlap_depends_on_the_seed_alone_and_falls_with_the_load() -> None:
    loads = (0.02, 0.1, 0.3)
    overlaps = classical_hopfield.overlap_after_retrieval(loads, 200, (0, 1))
    assert overlaps.shape == (2, 3)
    assert torch.equal(overlaps[1:], classical_hopfield.overlap_after_retrieval(loads, 200, (1,)))
    assert (overlaps.mean(dim=0).diff() < 0).all()
    assert overlaps[:, 0].amin() > 0.999


@pytest.mark.slow
def test_retrieval_breaks_down_near_the_critical_load() -> None:
    """Just below it, it is as the theory of infinitely many neurons has it; well above it, little is left."""
    below, above = classical_hopfield.overlap_after_retrieval((0.11, 0.2), 1000, range(4)).mean(dim=0).tolist()
    assert below == pytest.approx(classical_hopfield.mean_field_overlap(0.11), abs=0.02)
    assert above < 0.6
