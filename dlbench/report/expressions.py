"""The little language of statements and slips in report files: arithmetic, what networks cost, and what theory says.

Beside Python's arithmetic, comparisons, ``and``, ``or`` and ``not`` it knows the functions of `FUNCTIONS`.
"""

import ast
import hashlib
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

from simpleeval import (
    DEFAULT_OPERATORS,
    FunctionNotDefined,
    InvalidExpression,
    NameNotDefined,
    SimpleEval,
)

from dlbench import files
from dlbench.errors import ConfigError
from dlbench.report import networks
from dlbench.terminal import nearest

Value = float | bool


def evaluate(expression: str, **variables: float) -> Value:
    """What an expression is worth.

    Raises:
        ConfigError: It is no expression of the language, or has no finite value; the message names it.
    """
    names: dict[str, Value] = {"True": True, "False": False}
    names |= {name: int(value) if float(value).is_integer() else value for name, value in variables.items()}
    evaluator = SimpleEval(operators=DEFAULT_OPERATORS, functions=FUNCTIONS, names=names)
    try:
        value = evaluator.eval(expression, previously_parsed=_parse(expression))
    except NameNotDefined as error:
        raise ConfigError(f"{expression}: {error.name}: no such name; {nearest(error.name, names)}") from error
    except FunctionNotDefined as error:
        name = error.func_name
        raise ConfigError(f"{expression}: {name}: no such function; {nearest(name, FUNCTIONS)}") from error
    except (ConfigError, InvalidExpression, ArithmeticError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(f"{expression}: {' '.join(str(error).split())}") from error
    if isinstance(value, bool):
        return value
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{expression}: is {value!r}; it must be a finite number, or true or false")
    return value


def operands(statement: str) -> list[str]:
    """The expressions that a statement compares; none where it is no comparison, or made of several.

    Raises:
        ConfigError: It is no expression.
    """
    parsed = _parse(statement)
    return [ast.unparse(node) for node in (parsed.left, *parsed.comparators)] if isinstance(parsed, ast.Compare) else []


def _parse(expression: str) -> ast.expr:
    try:
        return ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"{expression}: no expression ({error.args[0]})") from error


def _receptive_field_of(*kernels: int) -> int:
    """What stacked convolutions of these kernel sizes and stride 1 see."""
    return 1 + sum(kernel - 1 for kernel in kernels)


def _conv(kernel: int, inputs: int, outputs: int) -> int:
    """Weights and biases of a convolution."""
    return (kernel**2 * inputs + 1) * outputs


def _linear(inputs: int, outputs: int) -> int:
    """Weights and biases of a fully connected layer."""
    return (inputs + 1) * outputs


def _theory(name: str, *arguments: float) -> float:
    """What a function of `dlbench.report.theory_checks` gives; kept from one report to the next."""
    code = Path(__file__).with_name("theory_checks.py").read_bytes()
    source = f"{networks.code_hash('theory')} {networks.code_hash('models')} {hashlib.sha256(code).hexdigest()}"
    return files.kept(_computed, name, arguments, code=source)


def _computed(name: str, arguments: tuple[float, ...]) -> float:
    from dlbench.report import theory_checks

    return theory_checks.computed(name, *arguments)


THEORY = (
    "convex_gradient_error",
    "concave_gradient_error",
    "hessian_error",
    "smallest_eigenvalue",
    "energy_rise",
    "attention_error",
    "transpose_error",
    "convolved_length",
    "entry_formula_error",
    "three_class_parameters",
    "pixel_attention_error",
    "feature_error",
    "attention_operations",
)
"""The functions of `dlbench.report.theory_checks`, told without importing torch."""

FUNCTIONS: dict[str, Callable[..., Value]] = {
    "comb": math.comb,
    "factorial": math.factorial,
    "floor": math.floor,
    "ceil": math.ceil,
    "sqrt": math.sqrt,
    "log": math.log,
    "exp": math.exp,
    "parameters": networks.parameters,
    "flops": networks.flops,
    "receptive_field": networks.receptive_field,
    "receptive_field_of": _receptive_field_of,
    "conv": _conv,
    "linear": _linear,
    **{name: partial(_theory, name) for name in THEORY},
}
