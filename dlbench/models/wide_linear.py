"""A linear layer with more weights than a CPU's caches hold, and the SGD that never writes its gradient.

With small batches such a layer waits for memory alone. In a plain step its weights W pass seven times: they are read
forward and backward; their gradient, as large as they are, is written and read again; and SGD reads and writes them.
But the gradient of a batch of B is G'X, the product of (B, outputs) and (B, inputs), of rank B: `WideLinear` leaves the
two factors beside its weights, and `WideSGD` adds their product right into them.
"""

from collections.abc import Iterable
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import Parameter
from torch.optim import SGD

from dlbench.components import component

WIDE = 2**20
"""From so many weights (4 MB) on, a layer is wide."""


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer, wide if it has many weights."""
    return (WideLinear if inputs * outputs >= WIDE else nn.Linear)(inputs, outputs)


@component("wide_linear", "1.0")
class WideLinear(nn.Linear):
    """As `torch.nn.Linear`; in training in full precision on a CPU, with fewer passes over its weights."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, inputs) to (B, outputs)."""
        if not self.training or inputs.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return super().forward(inputs)
        outputs: Tensor = _Linear.apply(inputs, self.weight, self.bias)
        return outputs


class _Linear(torch.autograd.Function):
    """inputs @ weight.T + bias, the weights as the left operand: as the right one they are copied before."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        return torch.addmm(bias[:, None], weight, inputs.t()).t()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        inputs, weight = ctx.saved_tensors
        is_hooked = weight._backward_hooks or weight._post_accumulate_grad_hooks
        factors = None if is_hooked else getattr(weight, "factors", None)
        if factors is not None:
            factors.append((gradient, inputs))
        return gradient @ weight, gradient.t() @ inputs if factors is None else None, gradient.sum(0)


class WideSGD(SGD):
    """Plain stochastic gradient descent: no momentum, no weight decay.

    Args:
        parameters: Parameters.
        lr: Learning rate.
    """

    def __init__(self, parameters: Iterable[Parameter], lr: float) -> None:
        super().__init__(parameters, lr=lr)
        self.register_step_post_hook(WideSGD._add_products)

    def use_factors(self) -> None:
        """From now on leave wide weights without a ``grad``, but for those that have a hook on their gradient.

        Only for a training in which nothing else reads or changes gradients: clipping, say, would not see them.
        """
        for weight in self._weights():
            weight.factors = []

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget gradients and factors."""
        super().zero_grad(set_to_none)
        for weight in self._weights():
            getattr(weight, "factors", []).clear()

    def _weights(self) -> Iterable[Any]:
        return chain.from_iterable(group["params"] for group in self.param_groups)

    @torch.no_grad()
    def _add_products(self, *_: Any) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                for gradient, inputs in getattr(weight, "factors", ()):
                    # As ``addmm_``, which torch's counter of operations does not know.
                    torch.addmm(weight, gradient.t(), inputs, alpha=-group["lr"], out=weight)
