"""The little language of statements and slips in report files: arithmetic, and what networks cost and see.

Beside Python's arithmetic, comparisons, ``and``, ``or`` and ``not`` it knows the functions of `FUNCTIONS`.
"""

import ast
import math
from collections.abc import Callable
from functools import cache
from typing import Any

from hydra.errors import HydraException
from simpleeval import (
    DEFAULT_OPERATORS,
    FunctionNotDefined,
    InvalidExpression,
    NameNotDefined,
    SimpleEval,
)

from dlbench.cli import experiments
from dlbench.composition import composed
from dlbench.errors import ConfigError
from dlbench.messages import nearest
from dlbench.settings import build

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
    except (ConfigError, InvalidExpression, ArithmeticError, TypeError, ValueError) as error:
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


@cache
def _settings(experiment: str, overrides: tuple[str, ...]) -> dict[str, Any]:
    """The settings of an experiment's network."""
    if experiment not in experiments():
        raise ConfigError(f"{experiment}: no such experiment; {nearest(experiment, experiments())}")
    try:
        settings: dict[str, Any] = composed(experiment, overrides)["model"]
    except HydraException as error:
        raise ConfigError(f"{experiment} {' '.join(overrides)}: {error}") from error
    return settings


@cache
def _network(experiment: str, overrides: tuple[str, ...], **vocabularies: int) -> Any:
    """An experiment's network, without memory for its weights."""
    import torch

    with torch.device("meta"):
        return build("model", _settings(experiment, overrides), **vocabularies)


def parameters(experiment: str, *overrides: str, **vocabularies: int) -> int:
    """Trainable parameters; a network for symbols needs the sizes of its vocabularies, ``source`` and ``target``."""
    from dlbench.models.cost import count_parameters

    return count_parameters(
        _network(experiment, overrides, **{f"{side}_symbols": size for side, size in vocabularies.items()})
    )


def _flops(experiment: str, *overrides: str) -> int:
    """Operations of a forward pass over one picture (see `dlbench.models.cost.count_flops`)."""
    from dlbench.models.cost import count_flops

    channels, size = _picture(experiment, overrides)
    return count_flops(_network(experiment, overrides), (channels, size, size))


def _receptive_field(experiment: str, *overrides: str) -> int:
    """Side in pixels of what one output of an image network's convolutions and poolings sees."""
    from dlbench.models.cost import receptive_field

    _picture(experiment, overrides)
    return receptive_field(_network(experiment, overrides).features)


def _picture(experiment: str, overrides: tuple[str, ...]) -> tuple[int, int]:
    """The channels and the side of the pictures that an experiment's network classifies."""
    settings = _settings(experiment, overrides)
    if not {"in_channels", "image_size"} <= settings.keys():
        raise ConfigError(f"{experiment}: classifies no pictures; of its network only parameters() is known")
    return settings["in_channels"], settings["image_size"]


def _receptive_field_of(*kernels: int) -> int:
    """What stacked convolutions of these kernel sizes and stride 1 see."""
    return 1 + sum(kernel - 1 for kernel in kernels)


def _conv(kernel: int, inputs: int, outputs: int) -> int:
    """Weights and biases of a convolution."""
    return (kernel**2 * inputs + 1) * outputs


def _linear(inputs: int, outputs: int) -> int:
    """Weights and biases of a fully connected layer."""
    return (inputs + 1) * outputs


FUNCTIONS: dict[str, Callable[..., Value]] = {
    "comb": math.comb,
    "factorial": math.factorial,
    "floor": math.floor,
    "ceil": math.ceil,
    "sqrt": math.sqrt,
    "log": math.log,
    "exp": math.exp,
    "parameters": parameters,
    "flops": _flops,
    "receptive_field": _receptive_field,
    "receptive_field_of": _receptive_field_of,
    "conv": _conv,
    "linear": _linear,
}
