"""The yardstick: what a course group wrote in plain PyTorch. It is slow on purpose; do not improve it.

Pictures: fp32, NCHW, a `DataLoader` over a `TensorDataset`. Sequences: lists of id tensors, random batches padded by a
collate function, a decoder that is called one step at a time in training too, and decoding one word at a time (REPORTS
section 2; the shape of PyTorch's own translation tutorial).
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.optim import Optimizer
from torch.utils.data import TensorDataset

from dlbench.data.image_datamodules import PIXEL_SCALE, PictureTensors
from dlbench.data.pair_datamodule import TransductionDataModule
from dlbench.data.vocabulary import EOS, PAD, SOS
from dlbench.models.attention import AdditiveAttention
from dlbench.models.dropout import Dropout
from dlbench.models.seq2seq import Seq2Seq

IdPair = tuple[Tensor, Tensor]
"""Source symbols (S,); SOS, target symbols and EOS (T,)."""

Batch = tuple[Tensor, Tensor, Tensor]
"""Sources (B, S), padded; their lengths (B,); targets (B, T), padded."""

State = tuple[Tensor, Tensor]
"""The decoder's hidden and cell state, (1, B, H) each."""


def train(
    model: nn.Module, batches: Any, optimizer: Optimizer, loss_of: Callable[[Any, Any], Tensor]
) -> Iterator[tuple[float, Any]]:
    """Train ``model`` in place without end, epoch after epoch; yield each step's loss and its batch.

    Threads and memory order are torch's defaults.
    """
    model.train()
    while True:
        for batch in batches:
            optimizer.zero_grad()
            loss = loss_of(model, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            yield loss.item(), batch


# pictures


def as_floats(pictures: PictureTensors) -> TensorDataset:
    """A split as the scripts held it: fp32 (N, channels, height, width) in that memory order, scaled to 0-1."""
    images = pictures.images.to(torch.float32, memory_format=torch.contiguous_format) * PIXEL_SCALE
    return TensorDataset(images, pictures.labels)


def use_torch_dropout(model: nn.Module) -> None:
    """Put `torch.nn.Dropout` in the places of ours."""
    for name, layer in list(model.named_modules()):
        if isinstance(layer, Dropout):
            model.set_submodule(name, nn.Dropout(layer.p))


def picture_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Cross-entropy of a batch: images (N, channels, height, width) and labels (N,)."""
    images, labels = batch
    return nn.functional.cross_entropy(model(images), labels)


# sequences


def id_pairs(data: TransductionDataModule, split: str) -> list[IdPair]:
    """A split as the scripts held it: a list of tensors."""
    sources, targets = data.source_vocabulary, data.target_vocabulary
    return [
        (torch.tensor(sources.encode(pair.source)), torch.tensor([SOS, *targets.encode(pair.target), EOS]))
        for pair in data.pairs(split)
    ]


def collate(pairs: Sequence[IdPair]) -> Batch:
    """Pad a list of pairs."""
    lengths = torch.tensor([len(source) for source, _ in pairs])
    source = pad_sequence([source for source, _ in pairs], batch_first=True, padding_value=PAD)
    target = pad_sequence([target for _, target in pairs], batch_first=True, padding_value=PAD)
    return source, lengths, target


class PlainSeq2Seq(nn.Module):
    """A copy of our network's layers, with torch's dropout, called as the scripts called theirs.

    Raises:
        ValueError: Ours is of another kind: more layers, one direction, another attention, biases or a norm in it,
            dropout before it, an output of its own.
    """

    def __init__(self, ours: Seq2Seq) -> None:
        super().__init__()
        if (
            not isinstance(ours.attention, AdditiveAttention)
            or any(name.endswith("bias") for name, _ in ours.attention.named_parameters())  # a norm has one too
            or (ours.lstm.num_layers, ours.encoder.directions) != (1, 2)
            or ours.drops_before_attention
            or ours.output.weight is not ours.embedding.weight
        ):
            raise ValueError(
                "the plain network has one layer, two directions, a tied output and additive attention without biases "
                "and norm, dropped out after it"
            )
        layers: Any = copy.deepcopy(ours)
        use_torch_dropout(layers)
        self.encoder, self.attention = layers.encoder, layers.attention
        self.embedding, self.lstm, self.output = layers.embedding, layers.lstm, layers.output
        self.decoder_dropout, self.output_dropout = layers.decoder_dropout, layers.output_dropout

    def encode(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, State]:
        """Outputs (B, S, H) and the final states of both directions, joined."""
        encoder = self.encoder
        embedded = encoder.embedding_dropout(encoder.embedding(source))
        packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        outputs, states = encoder.lstm(packed)
        outputs, _ = pad_packed_sequence(outputs, batch_first=True)
        hidden, cell = (torch.cat([*state], dim=1).unsqueeze(0) for state in states)
        return encoder.output_dropout(outputs), (hidden, cell)

    def attend(self, output: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """From the LSTM's output (B, 1, H), the encoder's (B, S, H) and what is no padding (B, S): (B, 1, H)."""
        attention = self.attention
        scores = attention.v(torch.tanh(attention.query(output) + attention.key(memory))).squeeze(2)
        scores = scores.masked_fill(~mask, float("-inf"))
        weights = torch.softmax(scores, dim=1).unsqueeze(1)
        context = torch.bmm(weights, memory)
        return torch.tanh(attention.output(torch.cat([context, output], dim=2)))

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        """Logits (B, T, V) of what follows each symbol of ``target`` (B, T), by teacher forcing."""
        memory, state = self.encode(source, lengths)
        mask = source != PAD
        logits = []
        for place in range(target.size(1)):
            step, state = self.step(target[:, place], state, memory, mask)
            logits.append(step)
        return torch.stack(logits, dim=1)

    def step(self, symbol: Tensor, state: State, memory: Tensor, mask: Tensor) -> tuple[Tensor, State]:
        """Logits (B, V) of what follows ``symbol`` (B,), and the new state."""
        embedded = self.decoder_dropout(self.embedding(symbol.unsqueeze(1)))
        output, state = self.lstm(embedded, state)
        output = self.attend(output, memory, mask)
        return self.output(self.output_dropout(output)).squeeze(1), state


def sequence_loss(model: PlainSeq2Seq, batch: Batch) -> Tensor:
    """Cross-entropy over the symbols of a batch, without padding."""
    source, lengths, target = batch
    logits = model(source, lengths, target[:, :-1])
    return nn.functional.cross_entropy(logits.reshape(-1, logits.size(2)), target[:, 1:].reshape(-1), ignore_index=PAD)


@torch.no_grad()
def decode(model: PlainSeq2Seq, source: Tensor, choose: Callable[[Tensor], Tensor], max_length: int = 50) -> list[int]:
    """What a network in evaluation mode writes for one source (S,), symbol by symbol, until EOS.

    ``choose`` takes logits (1, V) and gives the next symbol (1,): `greedy` or `nucleus`.
    """
    memory, state = model.encode(source.unsqueeze(0), torch.tensor([len(source)]))
    mask = torch.ones(1, len(source), dtype=torch.bool)
    symbol = torch.tensor([SOS])
    written: list[int] = []
    for _ in range(max_length):
        logits, state = model.step(symbol, state, memory, mask)
        symbol = choose(logits)
        if symbol.item() == EOS:
            break
        written.append(int(symbol.item()))
    return written


def greedy(logits: Tensor) -> Tensor:
    """The likeliest symbol."""
    return logits.argmax(dim=1)


def nucleus(logits: Tensor, p: float = 0.8) -> Tensor:
    """One sample by top-p."""
    probabilities, symbols = torch.sort(torch.softmax(logits[0], dim=0), descending=True)
    before = torch.cumsum(probabilities, dim=0) - probabilities
    probabilities[before >= p] = 0
    return symbols[torch.multinomial(probabilities, 1)]
