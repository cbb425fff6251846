"""Dropout whose mask costs little on a CPU."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dlbench.components import component

LEVELS = 2**16
"""Values of the numbers a mask is drawn from: a probability is rounded to a multiple of 1 / 65,536."""


@component("dropout", "1.0")
class Dropout(nn.Module):
    """Drop single elements with a probability, and scale up the others (Srivastava et al. 2014).

    On a CPU `torch.nn.Dropout` spends most of its time on drawing. Here an element takes 16 bits of an SFC64 stream,
    whose seed is one draw of torch's global generator: so whatever seeds that decides the mask too. On other devices,
    and compiled, it is `torch.nn.functional.dropout`.

    Args:
        p: The probability, from 0 to 1.

    Raises:
        ValueError: It is not.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"a dropout probability must be from 0 to 1, not {p}")
        self.p = p

    def forward(self, inputs: Tensor) -> Tensor:
        """The inputs, some of them dropped in training."""
        if not self.training or self.p == 0 or inputs.numel() == 0:
            return inputs
        if inputs.device.type != "cpu" or self.p == 1 or torch.compiler.is_compiling():
            return functional.dropout(inputs, self.p)
        return inputs * _mask(inputs, self.p)

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}"


def _mask(like: Tensor, p: float) -> Tensor:
    """0 with probability ``p``, else what keeps the mean at 1; drawn in the order in which ``like`` lies in memory."""
    dropped = min(round(p * LEVELS), LEVELS - 1)
    seed = int(torch.empty((), dtype=torch.int64).random_())
    words = np.random.SFC64(seed).random_raw(-(-like.numel() // 4))
    numbers = torch.from_numpy(words).view(torch.int16)[: like.numel()]  # signed, so from -LEVELS / 2
    mask = torch.empty_like(like)
    kept = numbers >= dropped - LEVELS // 2
    return mask.copy_(kept.as_strided(mask.shape, mask.stride())).mul_(LEVELS / (LEVELS - dropped))
