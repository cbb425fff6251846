"""The yardstick for sequences: what a course group wrote in plain PyTorch. Slow on purpose; do not improve it.

Lists of id tensors, random batches padded by a collate function, a decoder that is called one step at a time in
training too, and decoding one word at a time (REPORTS section 2; the shape of PyTorch's own translation tutorial).
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader

from dlbench.data.vocabulary import EOS, PAD, SOS
from dlbench.models.attention import AdditiveAttention
from dlbench.models.seq2seq import Seq2Seq

IdPair = tuple[Tensor, Tensor]
"""Source symbols (S,); SOS, target symbols and EOS (T,)."""

Batch = tuple[Tensor, Tensor, Tensor]
"""Sources (B, S), padded; their lengths (B,); targets (B, T), padded."""

State = tuple[Tensor, Tensor]
"""The decoder's hidden and cell state, (1, B, H) each."""


class PlainEncoder(nn.Module):
    """Embedding, dropout, packed bidirectional LSTM, dropout."""

    def __init__(self, symbols: int, size: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, size, padding_idx=PAD)
        self.lstm = nn.LSTM(size, size // 2, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, State]:
        """Outputs (B, S, H) and the final states of both directions, joined."""
        embedded = self.dropout(self.embedding(source))
        packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        outputs, (hidden, cell) = self.lstm(packed)
        outputs, _ = pad_packed_sequence(outputs, batch_first=True)
        hidden = torch.cat([hidden[0], hidden[1]], dim=1).unsqueeze(0)
        cell = torch.cat([cell[0], cell[1]], dim=1).unsqueeze(0)
        return self.dropout(outputs), (hidden, cell)


class PlainAttention(nn.Module):
    """Additive attention of one decoder step."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.query = nn.Linear(size, size, bias=False)
        self.key = nn.Linear(size, size, bias=False)
        self.v = nn.Linear(size, 1, bias=False)
        self.output = nn.Linear(2 * size, size, bias=False)

    def forward(self, state: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """From the LSTM's output (B, 1, H), the encoder's (B, S, H) and what is no padding (B, S): (B, 1, H)."""
        scores = self.v(torch.tanh(self.query(state) + self.key(memory))).squeeze(2)
        scores = scores.masked_fill(~mask, float("-inf"))
        weights = torch.softmax(scores, dim=1).unsqueeze(1)
        context = torch.bmm(weights, memory)
        return torch.tanh(self.output(torch.cat([context, state], dim=2)))


class PlainSeq2Seq(nn.Module):
    """The network of `dlbench.models.seq2seq.Seq2Seq` with one layer and additive attention, by its layers' names."""

    def __init__(
        self,
        *,
        source_symbols: int,
        target_symbols: int,
        size: int,
        encoder_dropout: float,
        decoder_dropout: float,
        output_dropout: float,
    ) -> None:
        super().__init__()
        self.encoder = PlainEncoder(source_symbols, size, encoder_dropout)
        self.embedding = nn.Embedding(target_symbols, size)
        self.decoder_dropout = nn.Dropout(decoder_dropout)
        self.lstm = nn.LSTM(size, size, batch_first=True)
        self.attention = PlainAttention(size)
        self.output_dropout = nn.Dropout(output_dropout)
        self.output = nn.Linear(size, target_symbols)
        self.output.weight = self.embedding.weight

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        """Logits (B, T, V) of what follows each symbol of ``target`` (B, T), by teacher forcing."""
        memory, state = self.encoder(source, lengths)
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
        output = self.attention(output, memory, mask)
        return self.output(self.output_dropout(output)).squeeze(1), state


def like(ours: Seq2Seq) -> PlainSeq2Seq:
    """The plain network with the sizes, dropouts and weights of ours.

    Raises:
        ValueError: Ours is of another kind: more layers, another attention, biases or a norm in it.
    """
    source_symbols, size = ours.encoder.embedding.weight.shape
    plain = PlainSeq2Seq(
        source_symbols=source_symbols,
        target_symbols=ours.outputs,
        size=size,
        encoder_dropout=ours.encoder.dropout.p,
        decoder_dropout=ours.decoder_dropout.p,
        output_dropout=ours.output_dropout.p,
    )
    if not isinstance(ours.attention, AdditiveAttention) or plain.state_dict().keys() != ours.state_dict().keys():
        raise ValueError("the plain network has one layer and additive attention without biases and norm")
    plain.load_state_dict(ours.state_dict())
    return plain


def collate(pairs: Sequence[IdPair]) -> Batch:
    """Pad a list of pairs."""
    lengths = torch.tensor([len(source) for source, _ in pairs])
    source = pad_sequence([source for source, _ in pairs], batch_first=True, padding_value=PAD)
    target = pad_sequence([target for _, target in pairs], batch_first=True, padding_value=PAD)
    return source, lengths, target


def loss_of(model: PlainSeq2Seq, batch: Batch) -> Tensor:
    """Cross-entropy over the symbols of a batch, without padding."""
    source, lengths, target = batch
    logits = model(source, lengths, target[:, :-1])
    return nn.functional.cross_entropy(logits.reshape(-1, logits.size(2)), target[:, 1:].reshape(-1), ignore_index=PAD)


def train(
    model: PlainSeq2Seq, pairs: Sequence[IdPair], *, lr: float = 0.003, batch_size: int = 64
) -> Iterator[tuple[float, int]]:
    """Train without end, epoch after epoch, and yield each step's loss and its symbols read and written.

    Threads are torch's default.

    Args:
        model: Trained in place.
        pairs: The training pairs.
        lr: Learning rate of Adam.
        batch_size: Pairs a step.
    """
    loader: DataLoader[Batch] = DataLoader(list(pairs), batch_size=batch_size, shuffle=True, collate_fn=collate)  # type: ignore[arg-type]
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    model.train()
    while True:
        for batch in loader:
            optimizer.zero_grad()
            loss = loss_of(model, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            yield loss.item(), int(batch[1].sum() + (batch[2][:, 1:] != PAD).sum())


@torch.no_grad()
def greedy(model: PlainSeq2Seq, source: Tensor, max_length: int = 50) -> list[int]:
    """The likeliest next symbol until EOS, for one source (S,)."""
    memory, state = model.encoder(source.unsqueeze(0), torch.tensor([len(source)]))
    mask = torch.ones(1, len(source), dtype=torch.bool)
    symbol = torch.tensor([SOS])
    written: list[int] = []
    for _ in range(max_length):
        logits, state = model.step(symbol, state, memory, mask)
        symbol = logits.argmax(dim=1)
        if symbol.item() == EOS:
            break
        written.append(int(symbol.item()))
    return written


@torch.no_grad()
def nucleus(model: PlainSeq2Seq, source: Tensor, p: float = 0.8, max_length: int = 50) -> list[int]:
    """One sample by top-p for one source (S,)."""
    memory, state = model.encoder(source.unsqueeze(0), torch.tensor([len(source)]))
    mask = torch.ones(1, len(source), dtype=torch.bool)
    symbol = torch.tensor([SOS])
    written: list[int] = []
    for _ in range(max_length):
        logits, state = model.step(symbol, state, memory, mask)
        probabilities, symbols = torch.sort(torch.softmax(logits[0], dim=0), descending=True)
        before = torch.cumsum(probabilities, dim=0) - probabilities
        probabilities[before >= p] = 0
        symbol = symbols[torch.multinomial(probabilities, 1)]
        if symbol.item() == EOS:
            break
        written.append(int(symbol.item()))
    return written
