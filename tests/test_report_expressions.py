"""The language of statements and slips: arithmetic as Python's, networks as they are built, mistakes in one line."""

import math
import re
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from dlbench import files
from dlbench.config import build
from dlbench.errors import ConfigError
from dlbench.models.cost import count_flops, count_parameters, receptive_field
from dlbench.report import theory_checks
from dlbench.report.expressions import THEORY, evaluate, operands
from dlbench.theory import hopfield


@given(a=st.integers(1, 99), b=st.integers(1, 9), c=st.integers(1, 9).map(lambda value: value / 2))
def test_arithmetic_is_pythons(a: int, b: int, c: float) -> None:
    assert evaluate("(a - b) // c + a % b * c**2 / 2", a=a, b=b, c=c) == (a - b) // c + a % b * c**2 / 2
    assert evaluate("a < b <= c or not a == b and True", a=a, b=b, c=c) is (a < b <= c or a != b)
    assert evaluate("comb(a + b, b) * factorial(b)", a=float(a), b=float(b)) == math.perm(a + b, b)
    assert evaluate("floor(c) == ceil(c - 0.5)", c=c) is True
    assert evaluate("log(exp(b)) + sqrt(a)", a=a, b=b) == pytest.approx(b + math.sqrt(a))


@given(
    kernels=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    inputs=st.integers(1, 5),
    outputs=st.integers(1, 5),
)
def test_layers_are_torchs(kernels: list[int], inputs: int, outputs: int) -> None:
    convolutions = [nn.Conv2d(inputs, outputs, kernel) for kernel in kernels]
    assert evaluate(f"receptive_field_of({', '.join(map(str, kernels))})") == receptive_field(convolutions)
    assert evaluate("conv(k, i, o)", k=kernels[0], i=inputs, o=outputs) == count_parameters(convolutions[0])
    assert evaluate("linear(i, o)", i=inputs, o=outputs) == count_parameters(nn.Linear(inputs, outputs))


@pytest.mark.parametrize(
    ("expression", "parameters"),
    [
        ('parameters("cnn_vanilla")', 5_340_742),
        ('parameters("cnn_bn_gap")', 755_718),
        ('parameters("cnn_bn_gap", "model.hidden_bn=[true,true]")', 756_742),
        ('parameters("cnn_bn_gap", "model.classes=null")', 752_640),
        ('parameters("cnn_bn_gap", "model.classes=null", "model.gap=false")', 5_340_160),
        ('parameters("p2g_lstm", source=107, target=93)', 257_117),
        ('parameters("p2g_attention", source=107, target=93)', 322_781),
        ('parameters("translit_lstm", source=34, target=34)', 240_162),
        ('parameters("translit_attention", source=34, target=34)', 289_442),
    ],
)
def test_networks_have_the_parameters_of_the_protocols(expression: str, parameters: int) -> None:
    assert evaluate(expression) == parameters


@pytest.mark.parametrize("experiment", ["cnn_vanilla", "cnn_kernel5", "cnn_no_pooling"])
def test_networks_cost_and_see_what_an_evaluation_says(experiment: str, compose: Callable[..., dict]) -> None:
    network = build("model", compose(f"+experiment={experiment}")["model"])
    assert evaluate(f'flops("{experiment}")') == count_flops(network, (3, 48, 48))
    assert evaluate(f'receptive_field("{experiment}")') == receptive_field(network.features)
    assert evaluate(f'flops("{experiment}", "model.image_size=24") < flops("{experiment}") / 3') is True


def test_counting_draws_no_random_number() -> None:
    before = torch.get_rng_state()
    evaluate('parameters("cnn_vanilla", "model.hidden=[64,32]")')
    assert torch.equal(before, torch.get_rng_state())


def test_what_theory_is_asked_is_what_the_checks_are() -> None:
    for name in THEORY:
        assert getattr(theory_checks, name).__module__ == theory_checks.__name__


@pytest.mark.parametrize(
    ("asked", "module", "name", "wrong"),
    [
        ("convex_gradient_error(3, 8)", hopfield, "convex_energy", lambda x, q, beta: 1.001 * q.square().sum(-1) / 2),
        ("concave_gradient_error(3, 8)", hopfield, "concave_energy", lambda x, q, beta: (q @ x.T).logsumexp(-1)),
        ("hessian_error(3, 8)", hopfield, "jacobian", lambda x, q, beta: torch.zeros(8, 8, dtype=q.dtype)),
        ("-smallest_eigenvalue(9, 4)", hopfield, "concave_energy", lambda x, q, beta: (q @ x.T).logsumexp(-1)),
        ("energy_rise(3, 8)", hopfield, "update", lambda x, q, beta: 2 * q),
        ("attention_error(3, 8)", hopfield, "update", lambda x, q, beta: q),
        ("argmin_error(3, 8)", hopfield, "update", lambda x, q, beta: q),
        ("argmin_error(3, 8)", hopfield, "convex_energy", lambda x, q, beta: 1.001 * q.square().sum(-1) / 2),
        ("gradient_at_limit(3, 8, 2)", hopfield, "update", lambda x, q, beta: q / 2),
        ("gradient_at_limit(3, 8, 2)", hopfield, "concave_energy", lambda x, q, beta: -(q @ x.T).logsumexp(-1)),
        (
            "entry_formula_error(6, 5, 3, 2)",
            theory_checks,
            "published_entry",
            lambda i, j, kernel, height: 0.0 * (i + j),
        ),
        ("pixel_attention_error(4, 3)", theory_checks, "pixel_attention", lambda image: image),
        ("convolution_shift_error(9, 3)", theory_checks, "conv2d", lambda image, kernel: image * torch.arange(9)),
        ("feature_error(4, 3)", theory_checks, "features", lambda points, terms: points),
        (
            "approximation_error(16, 8, 12, 0.5)",
            theory_checks,
            "linear_attention",
            lambda q, k, v, terms, scale: q @ k.mT @ v,
        ),
        ("row_sum_error(8, 4, 3)", theory_checks, "linear_attention", lambda q, k, v, terms, scale: q @ k.mT @ v),
    ],
)
def test_a_wrong_formula_is_found(
    asked: str, module: ModuleType, name: str, wrong: Callable[..., torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "kept", lambda compute, *arguments, code: compute(*arguments))
    assert evaluate(f"{asked} < 1e-10") is True
    monkeypatch.setattr(module, name, wrong)
    assert evaluate(f"{asked} < 1e-10") is False


@pytest.mark.parametrize(("count", "dim"), [(3, 8), (20, 5), (50, 16)])
@pytest.mark.parametrize("beta", [0.5, 2.0, 8.0])
def test_states_come_to_stand_still_in_minima_of_the_energy(count: int, dim: int, beta: float) -> None:
    patterns, states = theory_checks._patterns_and_states(count, dim)
    for _ in range(2_000):
        states = (beta * states @ patterns.T).softmax(-1) @ patterns
    weights = (beta * states @ patterns.T).softmax(-1)
    covariances = torch.stack([torch.cov(patterns.T, correction=0, aweights=one) for one in weights])
    largest = float(beta * torch.linalg.eigvalsh(covariances).max())
    assert theory_checks.gradient_at_limit(count, dim, beta) < 1e-8
    assert theory_checks.curvature_at_limit(count, dim, beta) == pytest.approx(1 - largest, abs=1e-6)
    assert largest < 1


def test_the_energy_of_one_pattern_alone_is_as_curved_as_its_convex_part() -> None:
    assert theory_checks.curvature_at_limit(1, 8, 8.0) == pytest.approx(1)
    assert 0.99 < theory_checks.curvature_at_limit(2, 8, 8.0) < 1


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0, 8.0])
def test_between_opposite_patterns_states_end_where_the_curvature_is_1_less_beta(beta: float) -> None:
    """The Hessian there is 1 - beta along the patterns, and 1 across them."""
    assert theory_checks.curvature_between_opposites(beta) == pytest.approx(1 - beta)


def test_a_saddle_between_two_patterns_is_no_minimum(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = patterns = theory_checks._patterns_and_states(2, 8)[0]
    monkeypatch.setattr(hopfield, "update", lambda x, q, beta: x.mean(0).expand_as(q))
    share = torch.sigmoid(8 * (first - second) @ patterns.mean(0))
    expected = 1 - 8 * share * (1 - share) * (first - second).square().sum()
    assert theory_checks.curvature_at_limit(2, 8, 8.0) == pytest.approx(float(expected))
    assert expected < 0


@pytest.mark.parametrize(
    ("weights", "change"), [((0.0, 0.0), 0.0), ((0.0, 1.0), 1.0), ((3.0, 1.0), 3.0), ((1.0, 3.0), 3.0)]
)
def test_a_pooled_slope_changes_by_what_it_rises_in_a_pixel(
    weights: tuple[float, float], change: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, columns = torch.meshgrid(torch.arange(9.0), torch.arange(9.0), indexing="ij")
    slope = weights[0] * rows + weights[1] * columns
    monkeypatch.setattr(theory_checks, "_draws", lambda *sizes: slope.reshape(sizes))
    assert theory_checks.pooling_shift_change(9) == change


def test_pooling_changes_by_the_most_that_any_window_does() -> None:
    rows = theory_checks._draws(1, 1, 9, 9)[0, 0].tolist()

    def pooled(i: int, j: int) -> float:
        return max(rows[i][j], rows[i + 1][j], rows[i][j + 1], rows[i + 1][j + 1])

    corners = [(i, j) for i in (2, 4, 6) for j in (2, 4, 6)]
    changes = [abs(pooled(i - di, j - dj) - pooled(i, j)) for i, j in corners for di, dj in ((1, 0), (0, 1))]
    assert theory_checks.pooling_shift_change(9) == max(changes) > 0.1


@pytest.mark.parametrize(
    ("asked", "accepted"),
    [
        ('accepts("convolution", 28, 28)', True),
        ('accepts("convolution", 28, 20)', True),
        ('accepts("convolution", 28, 48)', True),
        ('accepts("convolution", 28, 4)', True),
        ('accepts("convolution", 28, 3)', False),  # one pixel is left, and nothing when that is pooled
        ('accepts("connected", 28, 28)', True),
        ('accepts("connected", 28, 20)', False),
        ('accepts("connected", 28, 48)', False),
    ],
)
def test_what_a_layer_accepts(asked: str, accepted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLBENCH_CACHE", str(tmp_path))
    for _ in ("computed", "kept"):
        assert evaluate(asked) is accepted


@pytest.mark.parametrize("terms", [1, 2, 3, 4])
@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_linear_attention_is_as_far_from_softmax_as_both_written_out(terms: int, scale: float) -> None:
    queries, keys, values = theory_checks._draws(3, 6, 4)
    exponents = scale**2 * torch.cosine_similarity(queries[:, None], keys, dim=-1)
    kernel = sum(exponents**n / math.factorial(n) for n in range(terms))
    exact, series = (one / one.sum(-1, keepdim=True) @ values for one in (exponents.exp(), kernel))
    found = theory_checks.approximation_error(6, 4, terms, scale)
    assert found == pytest.approx(float((exact - series).abs().max()), rel=1e-6) and found > 1e-6


@pytest.mark.parametrize(("dim", "terms", "count"), [(2, 3, 6), (1, 5, 5), (4, 2, 5), (3, 4, 20), (4, 1, 1)])
def test_monomials_are_as_many_as_their_exponents(dim: int, terms: int, count: int) -> None:
    exponents = [powers for powers in product(range(terms), repeat=dim) if sum(powers) < terms]
    assert theory_checks.monomials(dim, terms) == len(exponents) == count


def test_arithmetic_does_without_torch() -> None:
    code = (
        "import sys; from dlbench.report.expressions import evaluate as e; e('1 + 1'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_theory_is_computed_without_warnings() -> None:
    calls = "t.hessian_error(3, 4), t.smallest_eigenvalue(3, 4), t.argmin_error(3, 4), t.curvature_at_limit(3, 4, 1.0)"
    code = f"from dlbench.report import theory_checks as t; {calls}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("1 +", "no expression (invalid syntax)"),
        ("", "no expression"),
        ("a = 1", "no expression"),
        ("1; 2", "no expression"),
        ("widht * 2", "widht: no such name; did you mean width?"),
        ("flor(2.5)", "flor: no such function; did you mean floor"),
        ("1 / 0", "division by zero"),
        ("sqrt(-1)", ""),
        ("hessian_error(0, 3)", "0 patterns of 3 neurons: there must be one or more of each"),
        ("argmin_error(3, 0)", "3 patterns of 0 neurons: there must be one or more of each"),
        ("exp(10000)", "math range error"),
        ("(-1) ** 0.5", "it must be a finite number"),
        ("'a'", "is 'a'; it must be a finite number, or true or false"),
        ("comb(2)", "missing 1 required positional argument"),
        ("linear(1)", "missing 1 required positional argument"),
        ('accepts("conected", 8, 8)', "conected: no such layer; must be convolution or connected"),
        ('accepts("connected", 8)', "missing 1 required positional argument"),
        ("[1, 2]", "List is no part of the language"),
        ("width.real.x", ""),
        ("(lambda: 1)()", ""),
        ('parameters("cnn_vanila")', "cnn_vanila: no such experiment; did you mean cnn_vanilla"),
        ('parameters("cnn_vanilla", "model.gapp=true")', "cnn_vanilla model.gapp=true: Could not override"),
        ('parameters("cnn_vanilla", "model.kernel_size=4")', "model: kernel_size must be odd"),
        ('parameters("p2g_lstm")', "source_symbols"),
        ('parameters("cnn_vanilla", source=3)', "source_symbols"),
        ('flops("p2g_lstm")', "p2g_lstm: classifies no pictures; of its network only parameters() is known"),
        ('receptive_field("p2g_lstm")', "p2g_lstm: classifies no pictures"),
    ],
)
def test_what_is_wrong_in_an_expression_is_named_in_one_line(expression: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"{expression}: ") + f".*{re.escape(message)}") as raised:
        evaluate(expression, width=3)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("expression", "bound"),
    [
        ("factorial(10**7)", "factorial of more than 1,000"),
        ("factorial(factorial(6))", "2**1000"),
        ("comb(10**9, 5 * 10**8)", "comb of more than 1,000 factors"),
        ("2**10**9", "2**1000"),
        ("9**9**9**9", "2**1000"),
        ("-(-7)**10**9", "2**1000"),
        ("(2**999)**999", "2**1000"),
        ("2**999 * 2**999", "2**1000"),
        ("conv(2**600, 1, 1)", "2**1000"),
        (f"1{'0' * 400} > 1", "2**1000"),
        ("'x' * 10**9", "'x' is no number"),
        ("'%1000000000d' % 1", "is no number"),
        ("'x'.zfill(10**9) == 'x'", "only functions that are named can be called"),
        ("f'{1:1000000000}' == 'x'", "JoinedStr is no part of the language"),
        ("1 << 10**9", "LShift"),
        ("hessian_error(10000, 10000)", "hessian_error is given 10000, more than 64"),
        ("hessian_error(3, 1e300)", "more than 64"),
        ("monomials(64, 64)", "D=64 and K=64, more than 5,000,000 terms"),
        ("row_sum_error(2, 30, 30)", "more than 5,000,000 terms"),
        ("parameters('p2g_lstm', 'model.layers=1000000000', source=9, target=9)", "layers=1e+09 is more than 1,000"),
        ("parameters('p2g_lstm', source=10**12, target=9)", "source_symbols=1e+12 is more than 1,000,000"),
        ("-" * 100 + "1", "nested deeper than 40"),
        ("(" * 250 + ")" * 250, "no expression"),
        ("1 + " * 1000 + "1", "more than 500 characters"),
    ],
)
def test_an_expression_that_would_never_end_is_refused_at_once(expression: str, bound: str) -> None:
    began = time.monotonic()
    with pytest.raises(ConfigError, match=re.escape(bound)) as raised:
        evaluate(expression)
    assert str(raised.value).startswith(expression[:40])
    assert len(str(raised.value).splitlines()) == 1
    assert time.monotonic() - began < 10


@given(
    st.recursive(
        st.integers(-(10**30), 10**30).map(str) | st.floats(allow_nan=False, allow_infinity=False).map(str),
        lambda inner: (
            st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%", "**"]), inner).map(" ".join)
            | st.tuples(st.sampled_from(["factorial", "floor", "exp", "-"]), inner).map(
                lambda pair: f"{pair[0]}({pair[1]})"
            )
            | st.tuples(inner, inner).map(lambda pair: f"comb({pair[0]}, {pair[1]})")
        ),
        max_leaves=8,
    )
)
def test_arithmetic_ends_in_a_finite_number_or_an_error(expression: str) -> None:
    try:
        assert math.isfinite(evaluate(expression))
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize(
    ("statement", "compared"),
    [
        ("a + 1 < 2 * b", ["a + 1", "2 * b"]),
        ("a < b == c", ["a", "b", "c"]),
        ("a < b and b < c", []),
        ("a", []),
    ],
)
def test_what_a_statement_compares(statement: str, compared: list[str]) -> None:
    assert operands(statement) == compared
