"""What the transformer and the speech recogniser share: attention of several heads, and sinusoidal positions."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

KeysValues = tuple[Tensor, Tensor]


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention of several heads, keys and values given (Vaswani et al. 2017).

    Args:
        size: Width H of inputs and outputs.
        heads: How many; they divide ``size``.
        key_bias: Whether keys have a bias, which moves no weight. With it keys and values are one projection.
    """

    def __init__(self, size: int, heads: int, *, key_bias: bool = True) -> None:
        super().__init__()
        self.heads, self.key_bias = heads, key_bias
        if key_bias:
            self.query, self.key_value, self.output = (nn.Linear(size, width * size) for width in (1, 2, 1))
        else:
            self.query, self.value, self.output = (nn.Linear(size, size) for _ in range(3))
            self.key = nn.Linear(size, size, bias=False)

    def keys_and_values(self, memory: Tensor) -> KeysValues:
        """Keys and values (B, heads, S, H / heads) of (B, S, H)."""
        if self.key_bias:
            keys, values = self.key_value(memory).chunk(2, dim=-1)
        else:
            keys, values = self.key(memory), self.value(memory)
        return self._split(keys), self._split(values)

    def forward(
        self, query: Tensor, memory: KeysValues, mask: Tensor | None, weigh: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Attend.

        Args:
            query: (B, T, H).
            memory: See `keys_and_values`.
            mask: True where to look, broadcasts to (B, heads, T, S); None: everywhere.
            weigh: Compute the weights, too, which the fused operation does not give.

        Returns:
            Outputs (B, T, H), and with ``weigh`` the weights (B, T, S), the mean over the heads, else nothing (0,).
        """
        queries, (keys, values) = self._split(self.query(query)), memory
        weights = query.new_empty(0)
        if weigh:
            scores = queries @ keys.transpose(2, 3) / math.sqrt(queries.shape[-1])
            each = (scores if mask is None else scores.masked_fill(~mask, -torch.inf)).softmax(dim=-1)
            attended, weights = each @ values, each.mean(dim=1)
        else:
            attended = functional.scaled_dot_product_attention(queries, keys, values, mask)
        return self.output(attended.transpose(1, 2).flatten(2)), weights

    def _split(self, states: Tensor) -> Tensor:
        batch, places, size = states.shape
        return states.view(batch, places, self.heads, size // self.heads).transpose(1, 2)


def sinusoids(count: int, size: int, longest: float) -> Tensor:
    """Sinusoidal positions (count, size): sines, then cosines, with timescales from 1 to ``longest`` places."""
    rates = torch.exp(torch.arange(size // 2) * (-math.log(longest) / max(size // 2 - 1, 1)))
    angles = torch.arange(count)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
