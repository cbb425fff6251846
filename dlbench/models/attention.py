"""Attention: of a recurrent decoder over an encoder's outputs, and of several heads as transformers have it."""

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from dlbench.components import component

PARTS = 4
"""In how many parts `Attention.in_parts` computes a batch."""


class Attention(nn.Module):
    """Weigh the encoder's outputs by a score, and join their mean with the query.

    The output replaces the query for predicting the next symbol; it is not fed back into the decoder's LSTM, so with
    teacher forcing all steps are computed at once (the 2024/25 reports).

    Args:
        size: Width H of queries and of the encoder's outputs.
        output_bias: A bias in W_out.
        layer_norm: Normalise the output (c2425's variant).
    """

    def __init__(self, size: int, *, output_bias: bool = True, layer_norm: bool = False) -> None:
        super().__init__()
        self.output = nn.Linear(2 * size, size, bias=output_bias)
        self.norm = nn.LayerNorm(size) if layer_norm else nn.Identity()

    def keys(self, memory: Tensor) -> Tensor:
        """What can be computed of the encoder's outputs (B, S, H) once for all steps, (B, S, H); as they are."""
        return memory

    @abstractmethod
    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """Scores (B, T, S) of queries (B, T, H) against keys (B, S, H)."""

    def join(self, query: Tensor, context: Tensor) -> Tensor:
        """What W_out is applied to, (B, T, 2H): [q; c]."""
        return torch.cat([query, context], dim=-1)

    def forward(self, query: Tensor, memory: Tensor, keys: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (B, T, H) and weights (B, T, S), 0 where the mask (B, S) is false, at padding.

        Queries are (B, T, H), the memory (B, S, H); ``keys`` are `keys` of the memory.
        """
        scores = self.scores(query, keys).masked_fill(~mask[:, None], -torch.inf)
        weights = scores.softmax(dim=-1)
        joined: Tensor = self.norm(self.output(self.join(query, weights @ memory)).tanh())
        return joined, weights

    def in_parts(self, query: Tensor, memory: Tensor, keys: Tensor, mask: Tensor, read: Tensor) -> Tensor:
        """The outputs (B, T, H) of `forward` alone, on a CPU in parts of the batch that compute less padding.

        ``read`` (B,) tells how many queries of each row are no padding, rising from row to row; what the others give is
        left open.
        """
        count = min(PARTS, len(query)) if query.device.type == "cpu" else 1
        parts = zip(*(each.tensor_split(count) for each in (query, memory, keys, mask, read)), strict=True)
        attended = []
        for queries, memories, their_keys, seen, places in parts:
            longest, symbols = int(places[-1]), int(seen.sum(1).max())
            part, _ = self(queries[:, :longest], memories[:, :symbols], their_keys[:, :symbols], seen[:, :symbols])
            attended.append(functional.pad(part, (0, 0, 0, query.shape[1] - longest)))
        return torch.cat(attended)


@component("additive_attention", "1.1")
class AdditiveAttention(Attention):
    """e = v' tanh(W_s s + W_h h); the output is tanh(W_out [c; s]) (Bahdanau et al. 2015; the 2024/25 reports).

    Args (beside those of `Attention`):
        bias: Biases in W_s and W_h (v never has one: softmax would not feel it).
        v_std: Draw v from N(0, v_std^2); None: as `torch.nn.Linear` does. c2425's variant is 0.01.
    """

    def __init__(
        self,
        size: int,
        *,
        bias: bool = False,
        output_bias: bool = False,
        layer_norm: bool = False,
        v_std: float | None = None,
    ) -> None:
        super().__init__(size, output_bias=output_bias, layer_norm=layer_norm)
        self.query = nn.Linear(size, size, bias=bias)
        self.key = nn.Linear(size, size, bias=bias)
        self.v = nn.Linear(size, 1, bias=False)
        if v_std is not None:
            nn.init.normal_(self.v.weight, std=v_std)

    def keys(self, memory: Tensor) -> Tensor:
        """2 W_h h."""
        keys: Tensor = 2 * self.key(memory)
        return keys

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """v' tanh(W_s s + W_h h); on a CPU less the sum of v, which softmax does not feel.

        There tanh(z) is computed as 2 sigmoid(2 z) - 1, which takes a third of the time, and is most of the work. With
        16 bits the sum would cost digits.
        """
        doubled = 2 * self.query(query)[:, :, None] + keys[:, None]
        if doubled.device.type == "cpu" and doubled.dtype in (torch.float32, torch.float64):
            return 2 * torch.squeeze(self.v(doubled.sigmoid_()), -1)
        return torch.squeeze(self.v((doubled / 2).tanh()), -1)

    def join(self, query: Tensor, context: Tensor) -> Tensor:
        """[c; s]."""
        return torch.cat([context, query], dim=-1)


@component("dot_attention", "1.0")
class DotAttention(Attention):
    """s = q' h; the output is tanh(W_o [q; c]) (Luong et al. 2015, "dot"). Arguments: see `Attention`."""

    def scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """The product of query and key."""
        return query @ keys.transpose(1, 2)


@component("bilinear_attention", "1.0")
class BilinearAttention(DotAttention):
    """s = q' W h; the output is tanh(W_o [q; c]) (Luong et al. 2015, "general"; report d2223).

    Args (beside those of `Attention`):
        bias: A bias in W.
    """

    def __init__(self, size: int, *, bias: bool = False, output_bias: bool = True, layer_norm: bool = False) -> None:
        super().__init__(size, output_bias=output_bias, layer_norm=layer_norm)
        self.key = nn.Linear(size, size, bias=bias)

    def keys(self, memory: Tensor) -> Tensor:
        """W h."""
        keys: Tensor = self.key(memory)
        return keys


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

    def keys_and_values(self, memory: Tensor, before: KeysValues | None = None) -> KeysValues:
        """Keys and values (B, heads, S, H / heads) of (B, S, H), behind those of earlier places, if there are any."""
        if self.key_bias:
            keys, values = self.key_value(memory).chunk(2, dim=-1)
        else:
            keys, values = self.key(memory), self.value(memory)
        keys, values = self._split(keys), self._split(values)
        return (torch.cat([before[0], keys], 2), torch.cat([before[1], values], 2)) if before else (keys, values)

    def forward(
        self, query: Tensor, memory: KeysValues, mask: Tensor | None, weigh: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Outputs (B, T, H) of queries (B, T, H), and with ``weigh`` the weights (B, T, S), else nothing (0,).

        Weights, which the fused operation does not give, are the mean over the heads. The mask is true where to look,
        and broadcasts to (B, heads, T, S); None: everywhere.
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


def causal_mask(before: int, count: int, device: torch.device) -> Tensor:
    """(count, before + count), true where a place may look: at itself and what came earlier."""
    places = torch.arange(before + count, device=device)
    return places <= places[before:, None]


def sinusoids(count: int, size: int, longest: float) -> Tensor:
    """Sinusoidal positions (count, size): sines, then cosines, with timescales from 1 to ``longest`` places."""
    rates = torch.exp(torch.arange(size // 2) * (-math.log(longest) / max(size // 2 - 1, 1)))
    angles = torch.arange(count)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
