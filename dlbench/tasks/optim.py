"""Optimisers and learning-rate schedules as the configurations name them."""

from collections.abc import Iterable
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from torch.nn import Parameter
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from dlbench.components import component
from dlbench.models.wide_linear import WideSGD

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Momentum = Annotated[float, Ge(0), Lt(1)]


@component("sgd", "1.0")
def sgd(
    parameters: Iterable[Parameter], lr: Positive, momentum: Momentum = 0.0, weight_decay: NonNegative = 0.0
) -> Optimizer:
    """Stochastic gradient descent."""
    if momentum == weight_decay == 0:
        return WideSGD(parameters, lr=lr)
    return SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay)


@component("adam", "1.1")
def adam(
    parameters: Iterable[Parameter],
    lr: Positive,
    beta1: Momentum = 0.9,
    beta2: Momentum = 0.999,
    weight_decay: NonNegative = 0.0,
) -> Optimizer:
    """Adam (Kingma and Ba, 2015)."""
    return Adam(parameters, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay, fused=True)


@component("adamw", "1.1")
def adamw(
    parameters: Iterable[Parameter],
    lr: Positive,
    beta1: Momentum = 0.9,
    beta2: Momentum = 0.999,
    weight_decay: NonNegative = 0.01,
) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""
    return AdamW(parameters, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay, fused=True)


Factor = Annotated[float, Gt(0), Le(1)]


@component("warmup_and_decay", "1.0")
def warmup_and_decay(
    optimizer: Optimizer,
    epochs: Annotated[int, Gt(0)],
    warmup_epochs: Annotated[int, Ge(0)] = 2,
    start_factor: Factor = 0.01,
    end_factor: Factor = 0.01,
) -> LambdaLR:
    """Linearly from ``start_factor`` of the learning rate up to all of it, then linearly down to ``end_factor``.

    With the defaults, 15 epochs and a learning rate of 1e-3: 1e-5, 5.05e-4, 1e-3, then down to 1e-5 in the last epoch
    (report e2324).

    Args:
        optimizer: Its learning rates are those of the peak.
        epochs: The epoch, counted from 1, that has ``end_factor``; later ones keep it.
        warmup_epochs: Epochs before the one with the whole learning rate.
        start_factor: Of the first epoch, if there is a warm-up.
        end_factor: Of the last epoch.

    Raises:
        ValueError: The warm-up does not end before the last epoch.
    """
    if warmup_epochs >= epochs - 1:
        raise ValueError(
            f"scheduler.warmup_epochs={warmup_epochs} leaves scheduler.epochs={epochs} nothing to decay in"
        )
    places, factors = [0, warmup_epochs, epochs - 1], [start_factor, 1.0, end_factor]
    if warmup_epochs == 0:
        places, factors = places[1:], factors[1:]
    return LambdaLR(optimizer, lambda epoch: float(np.interp(epoch, places, factors)))
