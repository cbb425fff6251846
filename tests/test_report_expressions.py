"""The language of statements and slips: arithmetic as Python's, networks as they are built, mistakes in one line."""

import math
import re
import subprocess
import sys
from collections.abc import Callable

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
    ("asked", "name", "wrong"),
    [
        ("convex_gradient_error(3, 8)", "convex_energy", lambda x, q, beta: 1.001 * q.square().sum(-1) / 2),
        ("concave_gradient_error(3, 8)", "concave_energy", lambda x, q, beta: (q @ x.T).logsumexp(-1)),
        ("hessian_error(3, 8)", "jacobian", lambda x, q, beta: torch.zeros(8, 8, dtype=q.dtype)),
        ("-smallest_eigenvalue(9, 4)", "concave_energy", lambda x, q, beta: (q @ x.T).logsumexp(-1)),
        ("energy_rise(3, 8)", "update", lambda x, q, beta: 2 * q),
        ("attention_error(3, 8)", "update", lambda x, q, beta: q),
    ],
)
def test_a_wrong_formula_of_hopfield_networks_is_found(
    asked: str, name: str, wrong: Callable[..., torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "kept", lambda compute, *arguments, code: compute(*arguments))
    assert evaluate(f"{asked} < 1e-10") is True
    monkeypatch.setattr(hopfield, name, wrong)
    assert evaluate(f"{asked} < 1e-10") is False


@pytest.mark.parametrize(
    ("asked", "name", "wrong"),
    [
        ("entry_formula_error(6, 5, 3, 2)", "published_entry", lambda i, j, kernel, height: 0.0 * (i + j)),
        ("pixel_attention_error(4, 3)", "pixel_attention", lambda image: image),
        ("feature_error(4, 3)", "features", lambda points, terms: points),
    ],
)
def test_a_wrong_formula_of_convolution_and_attention_is_found(
    asked: str, name: str, wrong: Callable[..., torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "kept", lambda compute, *arguments, code: compute(*arguments))
    assert evaluate(f"{asked} < 1e-10") is True
    monkeypatch.setattr(theory_checks, name, wrong)
    assert evaluate(f"{asked} < 1e-10") is False


def test_arithmetic_does_without_torch() -> None:
    code = (
        "import sys; from dlbench.report.expressions import evaluate as e; e('1 + 1'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


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
        ("exp(10000)", "math range error"),
        ("(-1) ** 0.5", "it must be a finite number"),
        ("'a'", "is 'a'; it must be a finite number, or true or false"),
        ("comb(2)", "comb expected 2 arguments"),
        ("linear(1)", "missing 1 required positional argument"),
        ("[1, 2]", "List"),
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
