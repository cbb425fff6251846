"""A linear layer with more weights than a CPU's caches hold, and the SGD that never writes its gradient.

With small batches such a layer waits for memory alone. In a plain step memory is passed over six times: the weights are
read forward and backward; their gradient, as large as they are, is written and read again; and SGD reads and writes the
weights. But the gradient of a batch of B is G'X, the product of (B, outputs) and (B, inputs), of rank B. `WideLinear`
leaves the two factors to `WideSGD`, which adds their product right into the weights: four times remain.
"""

import weakref
from collections.abc import Iterable
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.optim import SGD
from torch.utils.weak import WeakTensorKeyDictionary

from dlbench.components import component

WIDE = 2**20
"""From so many weights (4 MB) on, a layer is wide."""

_takers: Any = WeakTensorKeyDictionary()
"""A weak reference to the `WideSGD` that takes a weight's factors, by weight."""


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer, wide if it has many weights."""
    return (WideLinear if inputs * outputs >= WIDE else nn.Linear)(inputs, outputs)


@component("wide_linear", "1.0")
class WideLinear(nn.Linear):
    """As `torch.nn.Linear`; trained in full precision on a CPU, it lets `WideSGD` do without its weights' gradient."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, inputs) to (B, outputs)."""
        is_usual = inputs.dim() == 2 and self.bias is not None and inputs.device.type == "cpu"
        is_special = torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling()
        if not self.training or not is_usual or is_special:
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
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors
        needs_inputs, needs_weight, needs_bias = ctx.needs_input_grad
        if needs_weight and (optimizer := _taker(weight)):
            optimizer.factors.append((weight, gradient, inputs.detach()))
            needs_weight = False
        return (
            gradient @ weight if needs_inputs else None,
            gradient.t() @ inputs if needs_weight else None,
            gradient.sum(0) if needs_bias else None,
        )


def _taker(weight: Tensor) -> "WideSGD | None":
    """The optimiser that takes a weight's factors; none if a hook wants its gradient."""
    if weight._backward_hooks or weight._post_accumulate_grad_hooks:
        return None
    reference = _takers.get(weight)
    return reference() if reference else None


class WideSGD(SGD):
    """Stochastic gradient descent; for wide layers without gradients, once it is told that nobody else needs them.

    Made without momentum and weight decay, which need gradients.
    """

    factors: list[tuple[Tensor, Tensor, Tensor]]
    """Weights, and the two factors of a gradient of theirs."""

    def use_factors(self) -> None:
        """From now on leave wide weights without a ``grad``, but for those that have a hook on it.

        Only for a training in which nothing else reads or changes gradients: clipping would not see them.
        """
        self.factors = []
        self.register_step_post_hook(_add_products)
        for weight in self._weights():
            _takers[weight] = weakref.ref(self)

    def write_gradients(self) -> None:
        """The end of `use_factors`."""
        for weight in self._weights():
            _takers.pop(weight, None)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget gradients and factors."""
        super().zero_grad(set_to_none)
        self.factors = []

    def _weights(self) -> Iterable[Tensor]:
        return chain.from_iterable(group["params"] for group in self.param_groups)


@torch.no_grad()
def _add_products(optimizer: Any, *_: Any) -> None:
    rates = {id(weight): group["lr"] for group in optimizer.param_groups for weight in group["params"]}
    for weight, gradient, inputs in optimizer.factors:
        # As ``addmm_``, which torch's counter of operations, and with it the benchmark, does not see.
        torch.addmm(weight, gradient.t(), inputs, alpha=-rates[id(weight)], out=weight)
