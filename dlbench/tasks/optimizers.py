"""Optimisers as the configurations name them: torch's own, with the ranges of their settings checked by name."""

from collections.abc import Iterable
from typing import Annotated

from annotated_types import Ge, Gt, Lt
from torch.nn import Parameter
from torch.optim import SGD, Adam, AdamW, Optimizer

from dlbench.components import component

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Momentum = Annotated[float, Ge(0), Lt(1)]


@component("sgd", "1.0")
def sgd(
    parameters: Iterable[Parameter], lr: Positive, momentum: Momentum = 0.0, weight_decay: NonNegative = 0.0
) -> Optimizer:
    """Stochastic gradient descent."""
    return SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay)


@component("adam", "1.0")
def adam(
    parameters: Iterable[Parameter],
    lr: Positive,
    beta1: Momentum = 0.9,
    beta2: Momentum = 0.999,
    weight_decay: NonNegative = 0.0,
) -> Optimizer:
    """Adam (Kingma and Ba, 2015)."""
    return Adam(parameters, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay)


@component("adamw", "1.0")
def adamw(
    parameters: Iterable[Parameter],
    lr: Positive,
    beta1: Momentum = 0.9,
    beta2: Momentum = 0.999,
    weight_decay: NonNegative = 0.01,
) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""
    return AdamW(parameters, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay)
