"""A small pre-norm transformer for transduction: what the recurrent encoder-decoder is held against."""

import math
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from dlbench.components import component
from dlbench.models.attention import MultiHeadAttention, sinusoids
from dlbench.models.seq2seq import PAD, State, source_mask

MAX_TIMESCALE = 10_000
"""Of the positions (Vaswani et al. 2017)."""


@component("transformer", "1.0")
class Transformer(nn.Module):
    """Pre-norm encoder and decoder blocks (Vaswani et al. 2017; Xiong et al. 2020) with sinusoidal positions.

    Embeddings are drawn from N(0, 1 / size) and scaled by sqrt(size); the output layer shares the decoder's, with a
    bias of its own. With the defaults and the vocabularies of the course's P2G data it has 328,413 parameters, about as
    many as the LSTM with additive attention.

    Args:
        source_symbols: Size of the source vocabulary.
        target_symbols: Size of the target vocabulary.
        size: Width H of embeddings and blocks.
        heads: Heads of every attention.
        feedforward: Width of the feed-forward layers.
        layers: Blocks of encoder and decoder each.
        dropout: Dropout of embeddings and of every residual branch.

    Raises:
        ValueError: ``size`` is odd or no multiple of ``heads``.
    """

    def __init__(
        self,
        *,
        source_symbols: int,
        target_symbols: int,
        size: Annotated[int, Gt(0)] = 80,
        heads: Annotated[int, Gt(0)] = 4,
        feedforward: Annotated[int, Gt(0)] = 240,
        layers: Annotated[int, Gt(0)] = 2,
        dropout: Annotated[float, Ge(0), Lt(1)] = 0.1,
    ) -> None:
        super().__init__()
        if size % heads or size % 2:
            raise ValueError(f"size={size} must be even and a multiple of heads={heads}")
        self.source_embedding = nn.Embedding(source_symbols, size, padding_idx=PAD)
        self.embedding = nn.Embedding(target_symbols, size)
        for embedding in (self.source_embedding, self.embedding):
            nn.init.normal_(embedding.weight, std=size**-0.5)
        self.encoder = nn.ModuleList(EncoderBlock(size, heads, feedforward, dropout) for _ in range(layers))
        self.decoder = nn.ModuleList(DecoderBlock(size, heads, feedforward, dropout) for _ in range(layers))
        self.encoder_norm, self.decoder_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(size, target_symbols)
        self.output.weight = self.embedding.weight
        self.outputs, self.size = target_symbols, size

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        """Logits (B, T, target_symbols) of every next symbol; see `dlbench.models.seq2seq.Seq2Seq.forward`."""
        logits, _ = self._decode(target, self.encode(source, lengths))
        return logits

    def encode(self, source: Tensor, lengths: Tensor) -> State:
        """The state before the first step: the decoder's keys and values of the source, and the mask."""
        mask = source_mask(lengths, source.shape[1])
        states = self._embed(self.source_embedding, source, 0)
        for block in self.encoder:
            states = block(states, mask[:, None, None])
        memory = self.encoder_norm(states)
        state = {"mask": mask}
        for layer, block in enumerate(self.decoder):
            state |= block.remember(memory, f"{layer}/")  # type: ignore[operator]
        return state

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits (B, target_symbols) of what follows ``tokens`` (B,), and the state grown by one place."""
        logits, state = self._decode(tokens[:, None], state)
        return logits[:, 0], state

    def _decode(self, target: Tensor, state: State) -> tuple[Tensor, State]:
        before = state["0/keys"].shape[2] if "0/keys" in state else 0
        states = self._embed(self.embedding, target, before)
        places = torch.arange(before + target.shape[1], device=target.device)
        causal = places <= places[before:, None]
        state = dict(state)
        for layer, block in enumerate(self.decoder):
            states = block(states, causal, state, f"{layer}/")
        return self.output(self.decoder_norm(states)), state

    def _embed(self, embedding: nn.Embedding, symbols: Tensor, first: int) -> Tensor:
        places = sinusoids(first + symbols.shape[1], self.size, MAX_TIMESCALE).to(embedding.weight)[first:]
        embedded: Tensor = self.dropout(embedding(symbols) * math.sqrt(self.size) + places)
        return embedded


class Block(nn.Module):
    """What encoder and decoder blocks share: self-attention before all else, a feed-forward network after it."""

    def __init__(self, size: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.self_norm, self.attention = nn.LayerNorm(size), MultiHeadAttention(size, heads)
        self.norm = nn.LayerNorm(size)
        self.feedforward = nn.Sequential(nn.Linear(size, feedforward), nn.ReLU(), nn.Linear(feedforward, size))
        self.dropout = nn.Dropout(dropout)

    def feed(self, states: Tensor) -> Tensor:
        """x + feed-forward(norm(x))."""
        fed: Tensor = states + self.dropout(self.feedforward(self.norm(states)))
        return fed


class EncoderBlock(Block):
    """x + attention(norm(x)), then the feed-forward network."""

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Encode (B, S, H) under a mask (B, 1, 1, S)."""
        normed = self.self_norm(states)
        attended, _ = self.attention(normed, self.attention.keys_and_values(normed), mask)
        return self.feed(states + self.dropout(attended))


class DecoderBlock(Block):
    """x + attention(norm(x)) over what is written, the same over the source, then the feed-forward network."""

    def __init__(self, size: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__(size, heads, feedforward, dropout)
        self.cross_norm, self.cross = nn.LayerNorm(size), MultiHeadAttention(size, heads)

    def remember(self, memory: Tensor, prefix: str) -> State:
        """Keys and values of the encoder's outputs (B, S, H)."""
        keys, values = self.cross.keys_and_values(memory)
        return {f"{prefix}memory_keys": keys, f"{prefix}memory_values": values}

    def forward(self, states: Tensor, causal: Tensor, state: State, prefix: str) -> Tensor:
        """Decode (B, T, H) after what ``state`` holds of earlier places, and add these places to it."""
        normed = self.self_norm(states)
        keys, values = self.attention.keys_and_values(normed)
        if f"{prefix}keys" in state:
            keys = torch.cat([state[f"{prefix}keys"], keys], dim=2)
            values = torch.cat([state[f"{prefix}values"], values], dim=2)
        state[f"{prefix}keys"], state[f"{prefix}values"] = keys, values
        attended, _ = self.attention(normed, (keys, values), causal)
        states = states + self.dropout(attended)
        memory = state[f"{prefix}memory_keys"], state[f"{prefix}memory_values"]
        attended, _ = self.cross(self.cross_norm(states), memory, state["mask"][:, None, None])
        return self.feed(states + self.dropout(attended))
