"""The little language of statements and slips in report files: arithmetic, what networks cost, and what theory says.

Beside Python's arithmetic, comparisons, ``and``, ``or`` and ``not`` it knows the functions of `FUNCTIONS`. What takes
torch its time is kept from one report to the next.
"""

import ast
import functools
import hashlib
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from simpleeval import DEFAULT_OPERATORS, FunctionNotDefined, InvalidExpression, NameNotDefined, SimpleEval

from dlbench import files
from dlbench.cli import experiments
from dlbench.config import build, trusted
from dlbench.errors import ConfigError
from dlbench.terminal import nearest

Number = float | bool


def evaluate(expression: str, **variables: float) -> Number:
    """What an expression is worth.

    Raises:
        ConfigError: It is no expression of the language, or has no finite value; the message names it.
    """
    names: dict[str, Number] = {"True": True, "False": False}
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
    return int(files.kept(_measured, what, settings, sizes, code=_code_hash("models")))


@functools.cache
def _settings(experiment: str, overrides: tuple[str, ...]) -> dict[str, Any]:
    """The settings of an experiment's network."""
    if experiment not in experiments():
        raise ConfigError(f"{experiment}: no such experiment; {nearest(experiment, experiments())}")
    try:
        settings: dict[str, Any] = trusted(experiment, overrides)["model"]
    except HydraException as error:
        raise ConfigError(f"{experiment} {' '.join(overrides)}: {error}") from error
    return settings


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


@functools.cache
def _code_hash(*places: str) -> str:
    """The SHA-256 of modules or all modules of packages of the suite: other code's answers are not this code's."""
    digest, root = hashlib.sha256(), Path(__file__).parents[1]
    for place in places:
        for path in sorted((root / place).glob("*.py")) or [root / f"{place}.py"]:
            digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _theory(name: str, *arguments: float | str) -> float:
    """What a function of `dlbench.report.theory_checks` gives."""
    code = _code_hash("theory", "models", "report/theory_checks")
    return files.kept(_computed, name, arguments, code=code)


def _computed(name: str, arguments: tuple[float | str, ...]) -> float:
    from dlbench.report import theory_checks

    return theory_checks.computed(name, *arguments)


THEORY = (
    "convex_gradient_error",
    "concave_gradient_error",
    "hessian_error",
    "smallest_eigenvalue",
    "energy_rise",
    "argmin_error",
    "gradient_at_limit",
    "curvature_at_limit",
    "attention_error",
    "transpose_error",
    "convolved_length",
    "entry_formula_error",
    "three_class_parameters",
    "convolution_shift_error",
    "pooling_shift_change",
    "accepts",
    "pixel_attention_error",
    "feature_error",
    "attention_operations",
    "approximation_error",
    "row_sum_error",
    "monomials",
)
"""The functions of `dlbench.report.theory_checks`, told without importing torch."""

FUNCTIONS: dict[str, Callable[..., Number]] = {
    **{name: getattr(math, name) for name in ("comb", "factorial", "floor", "ceil", "sqrt", "log", "exp")},
    **{what: partial(network, what) for what in ("parameters", "flops", "receptive_field")},
    # What stacked convolutions of these kernel sizes and stride 1 see.
    "receptive_field_of": lambda *kernels: 1 + sum(kernel - 1 for kernel in kernels),
    # Weights and biases of a convolution, and of a fully connected layer.
    "conv": lambda kernel, inputs, outputs: (kernel**2 * inputs + 1) * outputs,
    "linear": lambda inputs, outputs: (inputs + 1) * outputs,
    **{name: partial(_theory, name) for name in THEORY},
    # The cache keeps numbers; this one is a statement by itself.
    "accepts": lambda *asked: bool(_theory("accepts", *asked)),
}
