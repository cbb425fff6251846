"""A small pre-norm transformer for transduction: what the recurrent encoder-decoder is held against."""

import math
from typing import Annotated

from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from dlbench.components import component
from dlbench.data.vocabulary import PAD
from dlbench.models.attention import KeysValues, MultiHeadAttention, causal_mask, sinusoids
from dlbench.models.dropout import Dropout
from dlbench.models.seq2seq import source_mask
from dlbench.protocols import State

MAX_TIMESCALE = 10_000
"""Of the positions (Vaswani et al. 2017)."""


@component("transformer", "1.1", uses=(Dropout,))
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
        self.encoder, self.decoder = (
            nn.ModuleList(Block(size, heads, feedforward, dropout, is_decoder=is_decoder) for _ in range(layers))
            for is_decoder in (False, True)
        )
        self.encoder_norm, self.decoder_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.dropout = Dropout(dropout)
        self.output = nn.Linear(size, target_symbols)
        self.output.weight = self.embedding.weight
        self.outputs, self.size = target_symbols, size

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        """Logits (B, T, target_symbols) of every next symbol; see `dlbench.models.seq2seq.Seq2Seq.forward`."""
        logits, _ = self._decode(target, self.encode(source, lengths))
        return logits

    def encode(self, source: Tensor, lengths: Tensor) -> State:
        """The state before the first step: the decoder's keys and values of the source, and the mask (B, S)."""
        mask = source_mask(lengths, source.shape[1])
        states = self._embed(self.source_embedding, source, 0)
        for block in self.encoder:
            states, _ = block(states, mask[:, None, None])
        memory = self.encoder_norm(states)
        state = {"mask": mask}
        for layer, block in enumerate(self.decoder):
            keys, values = block.cross.keys_and_values(memory)  # type: ignore[operator, union-attr]
            state |= {f"{layer}/memory_keys": keys, f"{layer}/memory_values": values}
        return state

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits (B, target_symbols) of what follows ``tokens`` (B,), and the state grown by one place."""
        logits, state = self._decode(tokens[:, None], state)
        return logits[:, 0], state

    def _decode(self, target: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits (B, T, target_symbols) for given symbols (B, T), and the state after them."""
        before = state["0/keys"].shape[2] if "0/keys" in state else 0
        states = self._embed(self.embedding, target, before)
        causal, padding = causal_mask(before, target.shape[1], target.device), state["mask"][:, None, None]
        state = dict(state)
        for layer, block in enumerate(self.decoder):
            known = (state[f"{layer}/keys"], state[f"{layer}/values"]) if before else None
            memory = state[f"{layer}/memory_keys"], state[f"{layer}/memory_values"]
            states, (state[f"{layer}/keys"], state[f"{layer}/values"]) = block(states, causal, known, memory, padding)
        return self.output(self.decoder_norm(states)), state

    def _embed(self, embedding: nn.Embedding, symbols: Tensor, first: int) -> Tensor:
        places = sinusoids(first + symbols.shape[1], self.size, MAX_TIMESCALE).to(embedding.weight)[first:]
        embedded: Tensor = self.dropout(embedding(symbols) * math.sqrt(self.size) + places)
        return embedded


class Block(nn.Module):
    """x + attention(norm(x)), in a decoder the same over the source, then x + feed-forward(norm(x)) with ReLU."""

    def __init__(self, size: int, heads: int, feedforward: int, dropout: float, *, is_decoder: bool) -> None:
        super().__init__()
        self.self_norm, self.attention = nn.LayerNorm(size), MultiHeadAttention(size, heads)
        self.norm = nn.LayerNorm(size)
        self.feedforward = nn.Sequential(nn.Linear(size, feedforward), nn.ReLU(), nn.Linear(feedforward, size))
        self.dropout = Dropout(dropout)
        if is_decoder:
            self.cross_norm, self.cross = nn.LayerNorm(size), MultiHeadAttention(size, heads)

    def forward(
        self,
        states: Tensor,
        mask: Tensor,
        before: KeysValues | None = None,
        memory: KeysValues | None = None,
        memory_mask: Tensor | None = None,
    ) -> tuple[Tensor, KeysValues]:
        """States (B, T, H) from states (B, T, H), and keys and values of these and of the places ``before``.

        A decoder is given keys and values of the encoder's outputs as ``memory``, and where the source is no padding,
        (B, 1, 1, S). For ``mask`` see `MultiHeadAttention.forward`.
        """
        normed = self.self_norm(states)
        known = self.attention.keys_and_values(normed, before)
        states = states + self.dropout(self.attention(normed, known, mask)[0])
        if memory is not None:
            states = states + self.dropout(self.cross(self.cross_norm(states), memory, memory_mask)[0])
        return states + self.dropout(self.feedforward(self.norm(states))), known
