"""Linear attention against the series it comes from, the kernel written out, softmax attention, and what it costs."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

from dlbench.seeding import generator
from dlbench.theory import attention_cost, linear_attention

terms_of = st.integers(1, 6)
odd = st.sampled_from([1, 3, 5])
dims = st.integers(1, 5)
seeds = st.integers(0, 2**30)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=generator(seed, "test"), dtype=torch.float64)


@given(terms_of, dims, seeds)
def test_products_of_features_are_the_truncated_series(terms: int, dim: int, seed: int) -> None:
    queries, keys = normal(2, 6, dim, seed=seed)
    products = linear_attention.features(queries, terms) @ linear_attention.features(keys, terms).T
    exponents = queries @ keys.T
    series = sum(exponents**n / math.factorial(n) for n in range(terms))
    scale = linear_attention.truncated_exp(queries.norm(dim=1).outer(keys.norm(dim=1)), terms)
    assert ((products - series).abs() <= 1e-10 * scale).all()
    assert ((linear_attention.truncated_exp(exponents, terms) - series).abs() <= 1e-10 * scale).all()


@given(terms_of, dims, seeds)
def test_features_are_the_weighted_monomials(terms: int, dim: int, seed: int) -> None:
    """Powers listed one by one; the order within a degree is left open."""
    point = normal(dim, seed=seed)
    expected = [
        math.prod(float(x) ** power / math.sqrt(math.factorial(power)) for x, power in zip(point, powers, strict=True))
        for powers in itertools.product(range(terms), repeat=dim)
        if sum(powers) < terms
    ]
    found = linear_attention.features(point, terms)
    assert len(found) == linear_attention.feature_dimension(terms, dim)
    np.testing.assert_allclose(np.sort(found), np.sort(expected), rtol=1e-12)


@given(st.integers(1, 9), st.integers(1, 40))
def test_feature_dimension_is_the_sum_over_degrees_and_not_what_e2324_has(terms: int, dim: int) -> None:
    dimension = linear_attention.feature_dimension(terms, dim)
    assert dimension == sum(math.comb(dim + n - 1, n) for n in range(terms))
    if terms == 3:
        assert dimension == 1 + dim + dim * (dim + 1) // 2 == math.comb(dim + 2, 2)
        assert dimension - (1 + dim + dim * (dim - 1) // 2) == dim  # e2324 leaves out the squares
        assert dimension > dim**2 / 2  # and says M is much less than D
        if dim > 1:
            assert dimension != 1 + math.factorial(dim) // math.factorial(dim - 1)  # its closed form, 1 + D


@given(odd, dims, st.tuples(st.integers(1, 30), st.integers(1, 30)), st.integers(1, 12), st.booleans())
def test_linear_form_equals_the_quadratic_one(
    terms: int, dim: int, lengths: tuple[int, int], chunk: int, causal: bool
) -> None:
    """There may be more queries than keys, and the other way round, unless each place attends to those before it."""
    length, attended = lengths[0], lengths[0 if causal else 1]
    width = 2
    queries, keys = normal(2, 3, length, dim, seed=length), normal(2, 3, attended, dim, seed=attended + 40)
    values = normal(2, 3, attended, width, seed=chunk + 80)
    for scale in (None, 0.3):
        fast = linear_attention.linear_attention(queries, keys, values, terms, scale=scale, causal=causal, chunk=chunk)
        slow = linear_attention.quadratic_attention(queries, keys, values, terms, scale=scale, causal=causal)
        assert fast.shape == (2, 3, length, width)
        torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("causal", [False, True])
def test_gradients_are_those_of_the_quadratic_form(causal: bool) -> None:
    inputs = [normal(9, 3, seed=seed).requires_grad_() for seed in range(3)]
    upstream = normal(9, 3, seed=4)
    fast = linear_attention.linear_attention(*inputs, 3, causal=causal, chunk=4)
    slow = linear_attention.quadratic_attention(*inputs, 3, causal=causal)
    for one, other in zip(
        torch.autograd.grad((fast * upstream).sum(), inputs),
        torch.autograd.grad((slow * upstream).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("causal", [False, True])
def test_many_terms_are_softmax_attention(causal: bool) -> None:
    queries, keys, values = normal(3, 40, 3, seed=7)
    exact = scaled_dot_product_attention(queries, keys, values, is_causal=causal)
    close = linear_attention.linear_attention(queries, keys, values, 25, causal=causal, chunk=16)
    torch.testing.assert_close(close, exact, rtol=1e-8, atol=1e-8)


def test_causal_form_does_not_see_later_places() -> None:
    queries, keys, values = normal(3, 20, 4, seed=8)
    before = linear_attention.linear_attention(queries, keys, values, 3, causal=True, chunk=6)
    for changed in (queries, keys, values):
        changed[13:] = 5.0
    after = linear_attention.linear_attention(queries, keys, values, 3, causal=True, chunk=6)
    assert torch.equal(before[:13], after[:13])
    assert (before[13:] != after[13:]).any()


@given(terms_of, dims, st.floats(0, 1.5), seeds)
def test_error_stays_below_its_bound(terms: int, dim: int, reach: float, seed: int) -> None:
    queries, keys, values = (torch.nn.functional.normalize(one, dim=-1) for one in normal(3, 12, dim, seed=seed))
    exact = scaled_dot_product_attention(queries, keys, values, scale=reach)
    bound = linear_attention.error_bound(reach, terms)
    if bound < math.inf:
        error = linear_attention.quadratic_attention(queries, keys, values, terms, scale=reach) - exact
        assert error.norm(dim=-1).amax() <= bound + 1e-12


def test_error_bound_is_infinite_where_it_says_nothing() -> None:
    for reach in (3.0, 1000.0, 1e300):
        assert linear_attention.error_bound(reach, 2) == math.inf
    assert linear_attention.error_bound(0.0, 1) == 0


@pytest.mark.parametrize("dim", [1, 4, 32])
def test_error_falls_with_terms_and_grows_with_the_scale(dim: int) -> None:
    by_terms = [linear_attention.approximation_error(terms, dim, 0.3) for terms in (1, 2, 3, 5, 7)]
    assert by_terms == sorted(by_terms, reverse=True)
    by_scale = [linear_attention.approximation_error(3, dim, spread) for spread in (0.1, 0.3, 1.0, 2.0)]
    assert by_scale == sorted(by_scale)


def test_error_of_e2324s_three_terms() -> None:
    """With logits as spread as those of normal queries and keys, three terms are far from softmax attention."""
    assert linear_attention.approximation_error(3, 64, 0.1) < 1e-3
    assert linear_attention.approximation_error(3, 64, 1.0) > 0.3


@pytest.mark.parametrize("terms", [1, 3, 5, 7, 9])
def test_an_odd_number_of_terms_keeps_the_kernel_positive(terms: int) -> None:
    minimum = linear_attention.kernel_minimum(terms)
    assert minimum > 0
    points = torch.linspace(-20, 20, 40_001, dtype=torch.float64)
    assert float(linear_attention.truncated_exp(points, terms).amin()) == pytest.approx(minimum, rel=1e-6)
    with pytest.raises(ValueError, match="no real root"):
        linear_attention.kernel_root(terms)


@pytest.mark.parametrize("terms", [2, 4, 6, 8, 10])
def test_an_even_number_of_terms_has_one_root(terms: int) -> None:
    root = linear_attention.kernel_root(terms)
    coefficients = [1 / math.factorial(n) for n in reversed(range(terms))]
    real = [float(one.real) for one in np.roots(coefficients) if abs(one.imag) < 1e-6]
    assert real == pytest.approx([root])
    below, above = root + torch.tensor([-1e-6, 1e-6], dtype=torch.float64)
    assert linear_attention.truncated_exp(below, terms) < 0 < linear_attention.truncated_exp(above, terms)
    with pytest.raises(ValueError, match="no minimum"):
        linear_attention.kernel_minimum(terms)


@given(odd, dims, st.floats(0, 5), seeds)
def test_with_an_odd_number_of_terms_attention_is_a_mean_of_values(
    terms: int, dim: int, spread: float, seed: int
) -> None:
    queries, keys, values = normal(3, 15, dim, seed=seed)
    attended = linear_attention.linear_attention(queries, keys, values, terms, scale=spread)
    assert (attended <= values.amax(dim=0) + 1e-9).all()
    assert (attended >= values.amin(dim=0) - 1e-9).all()


def test_with_an_even_number_of_terms_attention_can_leave_the_values() -> None:
    """1 + q'k is -1 and 4: weights that add up to 3, one of them negative."""
    query, keys, values = torch.tensor([[1.0]]), torch.tensor([[-2.0], [3.0]]), torch.tensor([[0.0], [1.0]])
    attended = linear_attention.linear_attention(query, keys, values, 2, scale=1.0)
    assert float(attended) == pytest.approx(4 / 3)
    assert 0 < float(linear_attention.linear_attention(query, keys, values, 3, scale=1.0)) < 1


@pytest.mark.parametrize(("length", "dim", "terms", "chunk"), [(64, 8, 3, 16), (50, 5, 4, 16), (30, 6, 2, 64)])
def test_operations_are_those_that_torch_counts(length: int, dim: int, terms: int, chunk: int) -> None:
    inputs = torch.randn(3, 1, length, dim)

    def counted(form: attention_cost.Form) -> int:
        with FlopCounterMode(display=False) as counter:
            form(*inputs)
        return counter.get_total_flops()

    assert counted(attention_cost.softmax_attention) == attention_cost.softmax_operations(length, dim)
    for causal in (False, True):
        expected = attention_cost.linear_operations(length, dim, terms, causal=causal, chunk=chunk)
        form = lambda q, k, v, c=causal: linear_attention.linear_attention(q, k, v, terms, causal=c, chunk=chunk)  # noqa: E731
        assert counted(form) == expected


@given(st.integers(1, 128), st.integers(1, 5))
def test_operations_cross_where_they_are_equal(dim: int, terms: int) -> None:
    length = attention_cost.crossing_by_operations(dim, terms)
    assert length > linear_attention.feature_dimension(terms, dim)
    for shorter in (True, False):
        near = math.ceil(length) - 1 if shorter else math.floor(length) + 1
        linear, softmax = (
            attention_cost.linear_operations(near, dim, terms),
            attention_cost.softmax_operations(near, dim),
        )
        assert (linear > softmax) == shorter or near == 0


def test_peak_memory_of_softmax_attention_is_twice_its_weights() -> None:
    """Logits, and the weights made from them, at once: 2 L^2 numbers. The fused form holds no more than its result."""
    inputs = torch.randn(3, 1, 1, 300, 8)
    assert attention_cost.peak_bytes(attention_cost.softmax_attention, *inputs) == 2 * 4 * 300**2
    compared = attention_cost.forms(3)
    assert attention_cost.peak_bytes(compared["fused softmax"], *inputs) <= 2 * 4 * 300 * 8


@pytest.mark.parametrize("causal", [False, True])
def test_memory_of_linear_attention_does_not_hold_all_features(causal: bool) -> None:
    """Beyond a chunk, it grows by a few vectors of width D a position, and not by M."""
    dim, terms = 16, 3
    form = attention_cost.forms(terms, causal=causal)["linear"]
    short, long = (attention_cost.peak_bytes(form, *torch.randn(3, 1, 1, length, dim)) / 4 for length in (2048, 8192))
    assert (long - short) / (8192 - 2048) < 6 * (dim + 1) < linear_attention.feature_dimension(terms, dim)


def test_forms_compute_attention() -> None:
    inputs = 0.1 * normal(3, 1, 1, 50, 4, seed=3)
    for causal in (False, True):
        exact = scaled_dot_product_attention(*inputs, is_causal=causal)
        for form in attention_cost.forms(5, causal=causal).values():
            torch.testing.assert_close(form(*inputs), exact, rtol=1e-6, atol=1e-6)


def test_costs_are_measured_for_every_form_and_length() -> None:
    costs = attention_cost.measure(attention_cost.forms(3), (16, 32), 4, repeats=1)
    assert list(costs) == ["softmax", "fused softmax", "linear"]
    for measured in costs.values():
        assert len(measured) == 2
        assert all(cost.seconds > 0 and cost.peak_bytes > 0 for cost in measured)


@given(st.floats(0.1, 3), st.floats(0.5, 1), st.floats(1.5, 2.5), st.floats(10, 1e4))
def test_crossing_of_power_laws_is_exact(scale: float, slow: float, fast: float, length: float) -> None:
    lengths = [2.0**k for k in range(2, 16)]
    first = [scale * (one / length) ** fast for one in lengths]
    second = [scale * (one / length) ** slow for one in lengths]
    assert attention_cost.crossing(lengths, first, second) == pytest.approx(length)


def test_crossing_is_the_last_one() -> None:
    assert attention_cost.crossing([1, 2, 4], [1, 1, 1], [2, 2, 2]) is None
    assert attention_cost.crossing([1, 2, 4], [2, 2, 2], [1, 1, 1]) == 1
    assert attention_cost.crossing([1, 2, 4, 8], [2, 1, 1, 2], [1, 2, 2, 1]) == pytest.approx(math.sqrt(32))
    assert attention_cost.crossing([1, 2, 4], [1, 2, 1], [2, 1, 2]) is None
