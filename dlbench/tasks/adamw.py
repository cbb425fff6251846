"""AdamW, apart from `dlbench.tasks.optimizers`, on whose source every older record depends."""

from collections.abc import Iterable

from torch.nn import Parameter
from torch.optim import AdamW, Optimizer

from dlbench.components import component
from dlbench.tasks.optimizers import Momentum, NonNegative, Positive


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
