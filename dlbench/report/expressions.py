"""The little language of statements and slips in report files: arithmetic, what networks cost, and what theory says.

Beside Python's arithmetic, comparisons, ``and``, ``or`` and ``not`` it knows the functions of `FUNCTIONS`. What takes
torch its time is kept from one report to the next. Expressions may be anybody's: their length, depth and numbers are
bounded, so that each comes to an end soon.
"""

import ast
import math
import operator
from collections.abc import Callable
from functools import cache, partial, wraps
from typing import Any

from hydra.errors import HydraException
from simpleeval import FunctionNotDefined, InvalidExpression, NameNotDefined, SimpleEval

from dlbench import files
from dlbench.cli import experiments
from dlbench.config import build, trusted
from dlbench.errors import ConfigError
from dlbench.paths import PACKAGE
from dlbench.terminal import nearest

Number = float | bool

LONGEST, DEEPEST, LARGEST, MOST_FACTORS = 500, 40, 2**1000, 1_000
"""Characters and depth of an expression, the largest number in it, and the factors of a ``factorial`` or ``comb``."""

BEYOND = "a number beyond 2**1000; write it with smaller ones"

MOST_LAYERS, LARGEST_SETTING = 1_000, 1_000_000
"""Bounds for a network's ``layers``, which are built one by one, and for its other settings and vocabularies."""


def evaluate(expression: str, **variables: float) -> Number:
    """What an expression is worth.

    Raises:
        ConfigError: It is no expression of the language, or has no finite value; the message names it.
    """
    names: dict[str, Number] = {"True": True, "False": False}
    names |= {name: int(value) if float(value).is_integer() else value for name, value in variables.items()}
    evaluator = SimpleEval(operators=OPERATORS, functions=FUNCTIONS, names=names)
    parsed = _parse(expression)
    try:
        value = evaluator.eval(expression, previously_parsed=parsed)
    except NameNotDefined as error:
        raise ConfigError(f"{expression}: {error.name}: no such name; {nearest(error.name, names)}") from error
    except FunctionNotDefined as error:
        name = error.func_name
        raise ConfigError(f"{expression}: {name}: no such function; {nearest(name, FUNCTIONS)}") from error
    except (ConfigError, InvalidExpression, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
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


_NODES = (
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Call, ast.keyword, ast.Constant, ast.Name),
    *(ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context),
)


def _parse(expression: str) -> ast.expr:
    """An expression's tree, of the language's parts alone, and within the bounds."""
    if len(expression) > LONGEST:
        raise ConfigError(f"{expression[:40]}...: has more than {LONGEST} characters; write it shorter")
    try:
        parsed = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(f"{expression}: no expression ({next(iter(error.args), 'nested too deep')})") from error
    level: list[ast.AST] = [parsed]
    for _ in range(DEEPEST):
        for node in level:
            if not isinstance(node, _NODES):
                raise ConfigError(f"{expression}: {type(node).__name__} is no part of the language")
            if isinstance(node, ast.Call) and not isinstance(node.func, ast.Name):
                raise ConfigError(f"{expression}: only functions that are named can be called")
            if isinstance(node, ast.Constant) and isinstance(node.value, int) and node.value > LARGEST:
                raise ConfigError(f"{expression}: {BEYOND}")
        level = [inner for node in level for inner in ast.iter_child_nodes(node)]
    if level:
        raise ConfigError(f"{expression}: is nested deeper than {DEEPEST}; write it flatter")
    return parsed


def _bounded(compute: Callable[..., Any]) -> Callable[..., Any]:
    """Arithmetic on numbers alone, none larger than `LARGEST`."""

    @wraps(compute)
    def within(*operands: Any) -> Any:
        for value in operands:
            if not isinstance(value, int | float):
                raise TypeError(f"{value!r} is no number")
        value = compute(*operands)
        for each in (*operands, value):
            if isinstance(each, int) and abs(each) > LARGEST:
                raise ValueError(BEYOND)
        return value

    return within


def _power(base: Number, exponent: Number) -> Any:
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * exponent > 2 * LARGEST.bit_length():
        raise ValueError(BEYOND)
    return base**exponent


def _factorial(n: int) -> int:
    if n > MOST_FACTORS:
        raise ValueError(f"factorial of more than {MOST_FACTORS:,}")
    return math.factorial(n)


def _comb(n: int, k: int) -> int:
    if min(k, n - k) > MOST_FACTORS:
        raise ValueError(f"comb of more than {MOST_FACTORS:,} factors")
    return math.comb(n, k)


def network(what: str, experiment: str, *overrides: str, **vocabularies: int) -> int:
    """What can be told of an experiment's network without training it.

    Args:
        what: ``parameters``, those trainable. Of a network that classifies pictures also ``flops``, the operations of
            a forward pass over one picture (see `dlbench.models.cost.count_flops`), and ``receptive_field``, the side
            in pixels of what one output of its convolutions and poolings sees.
        experiment: Its name.
        overrides: Of its configuration.
        vocabularies: The sizes of ``source`` and ``target``, which a network for symbols needs.

    Raises:
        ConfigError: There is no such experiment, its network cannot be built, or does not classify pictures.
    """
    settings = _settings(experiment, overrides)
    if what != "parameters" and not {"in_channels", "image_size"} <= settings.keys():
        raise ConfigError(f"{experiment}: classifies no pictures; of its network only parameters() is known")
    sizes = {f"{side}_symbols": size for side, size in vocabularies.items()}
    _check_sizes({**settings, **sizes})
    return int(files.kept(_measured, what, settings, sizes, code=files.code_hash("models")))


@cache
def _settings(experiment: str, overrides: tuple[str, ...]) -> dict[str, Any]:
    """The settings of an experiment's network."""
    if experiment not in experiments():
        raise ConfigError(f"{experiment}: no such experiment; {nearest(experiment, experiments())}")
    try:
        settings: dict[str, Any] = trusted(experiment, overrides)["model"]
    except HydraException as error:
        raise ConfigError(f"{experiment} {' '.join(overrides)}: {error}") from error
    return settings


def _check_sizes(value: Any, name: str = "model") -> None:
    """Refuse a network that it would take more than seconds to build."""
    most = MOST_LAYERS if name == "layers" else LARGEST_SETTING
    if isinstance(value, dict):
        for key, each in value.items():
            _check_sizes(each, key)
    elif isinstance(value, list | tuple):
        for each in value:
            _check_sizes(each, name)
    elif isinstance(value, int | float) and abs(value) > most:
        raise ConfigError(f"{name}={value:g} is more than {most:,}")


def _measured(what: str, settings: dict[str, Any], sizes: dict[str, int]) -> int:
    """Build the network without memory for its weights, and measure it."""
    import torch

    from dlbench.models import cost

    with torch.device("meta"):
        network = build("model", settings, **sizes)
    if what == "parameters":
        return cost.count_parameters(network)
    if what == "flops":
        return cost.count_flops(network, (settings["in_channels"], settings["image_size"], settings["image_size"]))
    return cost.receptive_field(network.features)


def _theory(name: str, *arguments: float | str) -> float:
    """What a function of `dlbench.report.theory_checks` gives."""
    code = files.code_hash("theory", "models", "report/theory_checks")
    return float(files.kept(_computed, name, arguments, code=code))


def _computed(name: str, arguments: tuple[float | str, ...]) -> float:
    from dlbench.report import theory_checks

    return theory_checks.computed(name, *arguments)


_CHECKS = ast.parse((PACKAGE / "report" / "theory_checks.py").read_text(encoding="utf-8")).body
_NAMES = [node.name for node in _CHECKS if isinstance(node, ast.FunctionDef)]
THEORY = tuple(name for name in _NAMES if not name.startswith("_") and name != "computed")
"""The functions of `dlbench.report.theory_checks`, read from its text: importing it would import torch."""

OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: _bounded(operator.add),
    ast.Sub: _bounded(operator.sub),
    ast.Mult: _bounded(operator.mul),
    ast.Div: _bounded(operator.truediv),
    ast.FloorDiv: _bounded(operator.floordiv),
    ast.Mod: _bounded(operator.mod),
    ast.Pow: _bounded(_power),
    ast.UAdd: _bounded(operator.pos),
    ast.USub: _bounded(operator.neg),
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Gt: operator.gt,
    ast.Lt: operator.lt,
    ast.GtE: operator.ge,
    ast.LtE: operator.le,
}

FUNCTIONS: dict[str, Callable[..., Number]] = {
    **{name: _bounded(getattr(math, name)) for name in ("floor", "ceil", "sqrt", "log", "exp")},
    **{"comb": _bounded(_comb), "factorial": _bounded(_factorial)},
    **{what: partial(network, what) for what in ("parameters", "flops", "receptive_field")},
    # What stacked convolutions of these kernel sizes and stride 1 see.
    "receptive_field_of": _bounded(lambda *kernels: 1 + sum(kernel - 1 for kernel in kernels)),
    # Weights and biases of a convolution, and of a fully connected layer.
    "conv": _bounded(lambda kernel, inputs, outputs: (kernel**2 * inputs + 1) * outputs),
    "linear": _bounded(lambda inputs, outputs: (inputs + 1) * outputs),
    **{name: partial(_theory, name) for name in THEORY},
    # The cache keeps numbers; this one is a statement by itself.
    "accepts": lambda *asked: bool(_theory("accepts", *asked)),
}
