"""The recurrent encoder-decoder of the reports (the 2024/25 reports and d2223), with or without attention."""

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Lt, MultipleOf
from torch import Tensor, nn

from dlbench.components import component
from dlbench.data.vocabulary import EOS, PAD
from dlbench.models.attention import Attention
from dlbench.models.dropout import Dropout
from dlbench.models.recurrent import States, lstm
from dlbench.protocols import State

Probability = Annotated[float, Ge(0), Lt(1)]
DENSE_SHARE = 0.75
"""From this share of real symbols on, torch's own LSTM, which computes padding too, is the faster one on a CPU."""

Place = Literal["before_attention", "after_attention"]


def source_mask(lengths: Tensor, longest: int) -> Tensor:
    """(B, longest), true before each row's length."""
    return torch.arange(longest, device=lengths.device) < lengths[:, None]


class Encoder(nn.Module):
    """Embedding -> dropout -> LSTM -> dropout on its outputs; of two directions each has half of the width."""

    def __init__(
        self,
        symbols: int,
        size: int,
        layers: int,
        *,
        directions: int,
        embedding_dropout: float,
        between_dropout: float,
        output_dropout: float,
    ) -> None:
        super().__init__()
        self.directions = directions
        self.embedding = nn.Embedding(symbols, size, padding_idx=PAD)
        self.lstm = nn.LSTM(
            size,
            size // directions,
            layers,
            batch_first=True,
            bidirectional=directions == 2,
            dropout=between_dropout if layers > 1 else 0.0,
        )
        self.embedding_dropout, self.output_dropout = Dropout(embedding_dropout), Dropout(output_dropout)

    def forward(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs (B, S, H), 0 at padding, and the final hidden and cell states (layers, B, H), directions joined."""
        embedded = self.embedding_dropout(self.embedding(source))
        memory, (hidden, cell) = lstm(self.lstm, embedded, lengths)
        hidden, cell = (
            state.view(-1, self.directions, *state.shape[1:]).transpose(1, 2).flatten(2) for state in (hidden, cell)
        )
        return self.output_dropout(memory), hidden, cell


@component("seq2seq", "1.1", uses=(Dropout,))
class Seq2Seq(nn.Module):
    """An LSTM encoder, an LSTM decoder that starts from its final states, and attention if there is any.

    The output layer shares its weights with the decoder's embedding, unless told otherwise, and has a bias of its own.
    For the vocabularies of the course this gives, without attention, 257,117 parameters (107 and 93 symbols) and
    240,162 (34 and 34); with additive attention 322,781, with bilinear 289,442.

    Args:
        source_symbols: Size of the source vocabulary.
        target_symbols: Size of the target vocabulary.
        size: Width H of embeddings and states.
        layers: Layers of encoder and decoder.
        attention: Makes the attention from H; None: the decoder sees the source only through its initial state.
        encoder_dropout: Dropout of the encoder's embedding and outputs, and between its layers.
        decoder_dropout: Dropout of the decoder's embedding, and between its layers.
        output_dropout: Dropout of what the output layer reads.
        embedding_dropout: Dropout of the encoder's embedding alone; None: ``encoder_dropout``.
        encoder_output_dropout: Dropout of the encoder's outputs alone; None: ``encoder_dropout``.
        output_dropout_place: Where ``output_dropout`` stands: on the decoder's LSTM outputs, *before* attention reads
            them (d2223; nothing is dropped after it), or on what comes *after* attention, right before the output layer
            (the reports of 2024/25). Without attention the two are the same.
        bidirectional: The encoder reads forward and backward; else forward alone, with all of H.
        tied_output: The output layer has the weights of the decoder's embedding.
    """

    def __init__(
        self,
        *,
        source_symbols: int,
        target_symbols: int,
        size: Annotated[int, Gt(0), MultipleOf(2)] = 128,
        layers: Annotated[int, Gt(0)] = 1,
        attention: Callable[[int], Attention] | None = None,
        encoder_dropout: Probability = 0.3,
        decoder_dropout: Probability = 0.3,
        output_dropout: Probability = 0.3,
        embedding_dropout: Probability | None = None,
        encoder_output_dropout: Probability | None = None,
        output_dropout_place: Place = "after_attention",
        bidirectional: bool = True,
        tied_output: bool = True,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(
            source_symbols,
            size,
            layers,
            directions=2 if bidirectional else 1,
            embedding_dropout=encoder_dropout if embedding_dropout is None else embedding_dropout,
            between_dropout=encoder_dropout,
            output_dropout=encoder_dropout if encoder_output_dropout is None else encoder_output_dropout,
        )
        self.embedding = nn.Embedding(target_symbols, size)
        self.lstm = nn.LSTM(size, size, layers, batch_first=True, dropout=decoder_dropout if layers > 1 else 0.0)
        self.attention = attention(size) if attention is not None else None
        self.decoder_dropout, self.output_dropout = Dropout(decoder_dropout), Dropout(output_dropout)
        self.output = nn.Linear(size, target_symbols)
        if tied_output:
            self.output.weight = self.embedding.weight
        self.drops_before_attention = output_dropout_place == "before_attention"
        self.outputs = target_symbols

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        """Logits of every next symbol, by teacher forcing.

        Args:
            source: (B, S), padded.
            lengths: (B,), the sources' lengths.
            target: (B, T), beginning with SOS.

        Returns:
            (B, T, target_symbols); place t predicts what follows ``target[:, : t + 1]``. From a row's EOS on, after
            which there is only padding, the values mean nothing.
        """
        read = ((target != EOS) & (target != PAD)).sum(1)
        order = read.argsort(stable=True)
        source, lengths, target, read = (each[order] for each in (source, lengths, target, read))
        state = self.encode(source, lengths)
        embedded = self.decoder_dropout(self.embedding(target))
        if target.device.type == "cpu" and int(read.sum()) < DENSE_SHARE * target.numel():
            outputs, _ = lstm(self.lstm, embedded, read, _states(state))
        else:  # it reads padding too, behind all that counts
            outputs, _ = self._read(embedded, _states(state))

        def attend(attention: Attention, queries: Tensor) -> Tensor:
            return attention.in_parts(queries, state["memory"], state["keys"], state["mask"], read)

        return self._logits(outputs, attend)[order.argsort()]

    def encode(self, source: Tensor, lengths: Tensor) -> State:
        """The state before the first step; every tensor's first dimension is the batch."""
        memory, hidden, cell = self.encoder(source, lengths)
        state = {"hidden": hidden.transpose(0, 1), "cell": cell.transpose(0, 1)}
        if self.attention is None:
            return state
        return state | {
            "memory": memory,
            "keys": self.attention.keys(memory),
            "mask": source_mask(lengths, source.shape[1]),
        }

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits (B, target_symbols) of what follows ``tokens`` (B,), and the new state, attention (B, S) included."""
        outputs, (hidden, cell) = self._read(self.decoder_dropout(self.embedding(tokens[:, None])), _states(state))
        state = state | {"hidden": hidden.transpose(0, 1), "cell": cell.transpose(0, 1)}

        def attend(attention: Attention, queries: Tensor) -> Tensor:
            attended: Tensor
            attended, weights = attention(queries, state["memory"], state["keys"], state["mask"])
            state["attention"] = weights[:, 0]
            return attended

        return self._logits(outputs, attend)[:, 0], state

    def _read(self, embedded: Tensor, start: States) -> tuple[Tensor, States]:
        """The decoder's LSTM as torch has it; not every CPU has one of 16 bits."""
        with torch.autocast("cpu", enabled=False):
            outputs: tuple[Tensor, States] = self.lstm(embedded, start)
        return outputs

    def _logits(self, outputs: Tensor, attend: Callable[[Attention, Tensor], Tensor]) -> Tensor:
        """Logits (B, T, target_symbols) of the decoder's LSTM outputs (B, T, H)."""
        if self.drops_before_attention:
            outputs = self.output_dropout(outputs)
        if self.attention is not None:
            outputs = attend(self.attention, outputs)
        logits: Tensor = self.output(outputs if self.drops_before_attention else self.output_dropout(outputs))
        return logits


def _states(state: State) -> States:
    """The decoder's states as its LSTM takes them, (layers, B, H) each."""
    return state["hidden"].transpose(0, 1).contiguous(), state["cell"].transpose(0, 1).contiguous()
