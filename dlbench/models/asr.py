"""Speech recognition with an attention encoder and an LSTM or an attention decoder (report e2324)."""

from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.nn import functional

from dlbench.components import component
from dlbench.models.attention import KeysValues, MultiHeadAttention, causal_mask, sinusoids
from dlbench.models.seq2seq import source_mask
from dlbench.protocols import State

MAX_TIMESCALE = 3000
"""Of the encoder's positions (report e2324)."""


@component("speech_recognizer", "1.0")
class SpeechRecognizer(nn.Module):
    """Log-mel features in, symbols out: 1,471,235 parameters with the LSTM decoder, 1,329,835 with attention.

    Residuals are x + f(LN(x)), key projections have no bias, there is no dropout. Both decoders attend to the encoder's
    outputs in the same way; one reads the symbols so far with an LSTM, the other with masked self-attention over
    embeddings with learned positions. The state keeps all keys and values, so a step computes its own symbol alone.

    Args:
        mels: Mel bands of a frame.
        symbols: Size of the vocabulary.
        decoder: ``lstm`` or ``attention``.
        size: Width H of all layers.
        heads: Heads of every attention.
        feedforward: Width of the feed-forward layers.
        layers: Blocks of the encoder.
        positions: The most symbols the attention decoder can read, the start included.
        mask_padding: Leave padded frames out of every attention and convolution, so that an utterance's output does not
            depend on what it is batched with; False, as published: they are treated like sound.

    Raises:
        ValueError: ``size`` is odd or no multiple of ``heads``.
    """

    def __init__(
        self,
        *,
        mels: int,
        symbols: int,
        decoder: Literal["lstm", "attention"],
        size: Annotated[int, Gt(0)] = 200,
        heads: Annotated[int, Gt(0)] = 2,
        feedforward: Annotated[int, Gt(0)] = 400,
        layers: Annotated[int, Ge(0)] = 2,
        positions: Annotated[int, Gt(0)] = 98,
        mask_padding: bool = False,
    ) -> None:
        super().__init__()
        if size % heads or size % 2:
            raise ValueError(f"size={size} must be even and a multiple of heads={heads}")
        self.mask_padding, self.outputs, self.size = mask_padding, symbols, size
        self.most_symbols = positions if decoder == "attention" else None
        self.first_convolution = nn.Conv1d(mels, size, 3, padding=1)
        self.second_convolution = nn.Conv1d(size, size, 3, stride=2, padding=1)
        self.encoder = nn.ModuleList(Block(size, heads, feedforward) for _ in range(layers))
        self.encoder_norm = nn.LayerNorm(size)
        self.embedding = nn.Embedding(symbols, size)
        self.reader: LstmReader | AttentionReader
        self.reader = LstmReader(size) if decoder == "lstm" else AttentionReader(size, heads, positions)
        self.cross = Block(size, heads, feedforward)
        self.decoder_norm = nn.LayerNorm(size)
        self.output = nn.Linear(size, symbols)

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        """Logits (B, T, symbols) of every next symbol, from features (B, F, mels) and the symbols before, (B, T)."""
        state = self.encode(source, lengths)
        states, _ = self.reader(self.embedding(target), state)
        states, _ = self.cross(states, _memory(state), _mask(state))
        return self._logits(states)

    def encode(self, source: Tensor, lengths: Tensor) -> State:
        """The state before the first step, from features (B, F, mels) and their lengths (B,) in frames.

        It holds the cross-attention's keys and values (B, heads, S, H / heads) of S = ceil(F / 2) places and, with
        ``mask_padding``, a mask (B, S), beside what the decoder begins with.
        """
        state: State = {}
        features = functional.gelu(self.first_convolution(source.transpose(1, 2)))
        if self.mask_padding:
            state["mask"] = source_mask((lengths + 1) // 2, (source.shape[1] + 1) // 2)
            features = features * source_mask(lengths, source.shape[1])[:, None]
        states = functional.gelu(self.second_convolution(features)).transpose(1, 2)
        states = states + sinusoids(states.shape[1], self.size, MAX_TIMESCALE).to(states)
        for block in self.encoder:
            states, _ = block(states, None, _mask(state))
        memory = self.encoder_norm(states)
        state["memory_keys"], state["memory_values"] = self.cross.attention.keys_and_values(memory)
        return state | self.reader.start(memory)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits (B, symbols) of what follows ``tokens`` (B,), and the new state.

        Its ``attention`` (B, S) is the mean over the heads.
        """
        states, state = self.reader(self.embedding(tokens[:, None]), state)
        states, attention = self.cross(states, _memory(state), _mask(state), weigh=True)
        return self._logits(states)[:, 0], state | {"attention": attention[:, 0]}

    def _logits(self, states: Tensor) -> Tensor:
        logits: Tensor = self.output(self.decoder_norm(states))
        return logits


class LstmReader(nn.Module):
    """LN -> LSTM over the embedded symbols; the state is (B, 1, H) each of ``hidden`` and ``cell``."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm, self.lstm = nn.LayerNorm(size), nn.LSTM(size, size, batch_first=True)

    def start(self, memory: Tensor) -> State:
        """Zeros, whatever was encoded."""
        zeros = memory.new_zeros(len(memory), 1, self.lstm.hidden_size)
        return {"hidden": zeros, "cell": zeros}

    def forward(self, embedded: Tensor, state: State) -> tuple[Tensor, State]:
        """Outputs (B, T, H) for embedded symbols (B, T, H), and the state after them."""
        before = (state["hidden"].transpose(0, 1).contiguous(), state["cell"].transpose(0, 1).contiguous())
        outputs, (hidden, cell) = self.lstm(self.norm(embedded), before)
        return outputs, state | {"hidden": hidden.transpose(0, 1), "cell": cell.transpose(0, 1)}


class AttentionReader(nn.Module):
    """Learned positions, then x + attention(LN(x)) over the symbols so far, whose keys and values the state keeps."""

    def __init__(self, size: int, heads: int, positions: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.empty(positions, size).normal_())
        self.norm, self.attention = nn.LayerNorm(size), MultiHeadAttention(size, heads, key_bias=False)

    def start(self, memory: Tensor) -> State:
        """Nothing: no symbol has been read."""
        return {}

    def forward(self, embedded: Tensor, state: State) -> tuple[Tensor, State]:
        """Outputs (B, T, H) for embedded symbols (B, T, H), and the state after them.

        Raises:
            ValueError: There are more symbols than positions.
        """
        known = (state["keys"], state["values"]) if "keys" in state else None
        before, count = known[0].shape[2] if known else 0, embedded.shape[1]
        if before + count > len(self.positions):
            raise ValueError(f"a sequence of {before + count} symbols; model.positions={len(self.positions)}")
        states = embedded + self.positions[before : before + count]
        normed = self.norm(states)
        keys, values = self.attention.keys_and_values(normed, known)
        attended, _ = self.attention(normed, (keys, values), causal_mask(before, count, embedded.device))
        return states + attended, state | {"keys": keys, "values": values}


class Block(nn.Module):
    """x + attention(LN(x)), then x + feed-forward(LN(x)) with GELU."""

    def __init__(self, size: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(size), MultiHeadAttention(size, heads, key_bias=False)
        self.feedforward = nn.Sequential(
            nn.LayerNorm(size), nn.Linear(size, feedforward), nn.GELU(), nn.Linear(feedforward, size)
        )

    def forward(
        self, states: Tensor, memory: KeysValues | None, mask: Tensor | None, weigh: bool = False
    ) -> tuple[Tensor, Tensor]:
        """(B, T, H) for (B, T, H), and the weights of `MultiHeadAttention.forward`; memory None: self-attention."""
        normed = self.norm(states)
        attended, weights = self.attention(normed, memory or self.attention.keys_and_values(normed), mask, weigh)
        states = states + attended
        return states + self.feedforward(states), weights


def _memory(state: State) -> KeysValues:
    return state["memory_keys"], state["memory_values"]


def _mask(state: State) -> Tensor | None:
    return state["mask"][:, None, None] if "mask" in state else None
