"""Small models to decode: an encoder-decoder with attention, and a table of probabilities that can be enumerated."""

import math
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from dlbench.data.vocabulary import EOS, PAD, SOS

SYMBOLS = 9


class Recurrent(nn.Module):
    """GRU encoder, GRU decoder, dot-product attention, random weights; sources end after some symbols of their own."""

    outputs = SYMBOLS

    def __init__(self, seed: int = 0, width: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, width, padding_idx=PAD)
        self.encoder = nn.GRU(width, width, batch_first=True)
        self.cell = nn.GRUCell(width, width)
        self.output = nn.Linear(2 * width, SYMBOLS)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for values in self.parameters():
                values.normal_(0, 0.6, generator=generator)

    def encode(self, source: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        packed = pack_padded_sequence(self.embedding(source), lengths, batch_first=True, enforce_sorted=False)
        memory, last = self.encoder(packed)
        memory, _ = pad_packed_sequence(memory, batch_first=True, total_length=source.shape[1])
        return {"memory": memory, "padding": source == PAD, "hidden": last[0]}

    def step(self, tokens: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        hidden = self.cell(self.embedding(tokens), state["hidden"])
        scores = (state["memory"] @ hidden[:, :, None])[..., 0].masked_fill(state["padding"], -torch.inf)
        weights = scores.softmax(dim=-1)
        context = (weights[:, None] @ state["memory"])[:, 0]
        return self.output(torch.cat([hidden, context], dim=1)), state | {"hidden": hidden, "attention": weights}


class Markov:
    """Logits of the next symbol from a table by the source's first symbol and the last two target symbols."""

    def __init__(self, seed: int, outputs: int = 5) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.outputs = outputs
        self.logits = 2 * torch.randn(SYMBOLS, outputs, outputs, outputs, generator=generator)

    def encode(self, source: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        return {"table": self.logits[source[:, 0]], "previous": torch.full_like(lengths, SOS)}

    def step(self, tokens: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        logits = state["table"][torch.arange(len(tokens)), state["previous"], tokens]
        return logits, state | {"previous": tokens}

    def ranking(self, first: int, max_length: int, alpha: float) -> list[tuple[float, float, tuple[int, ...]]]:
        """(score, log-probability, tokens) of all there can be, best first: whole ones, and those cut off."""
        table = self.logits[first].double().log_softmax(dim=-1).tolist()
        found = []
        for length in range(1, max_length + 1):
            for tokens in product(range(self.outputs), repeat=length):
                if EOS not in tokens[:-1] and (tokens[-1] == EOS or length == max_length):
                    trigrams = zip((SOS, SOS, *tokens), (SOS, *tokens), tokens, strict=False)
                    log_prob = math.fsum(table[before][last][following] for before, last, following in trigrams)
                    found.append((log_prob / length**alpha, log_prob, tokens))
        return sorted(found, reverse=True)


def sources(count: int, seed: int = 0, longest: int = 7) -> tuple[Tensor, Tensor]:
    """Random sources (count, longest), padded, and their lengths; one is of full length."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, longest + 1, (count,), generator=generator)
    lengths[0] = longest
    symbols = torch.randint(4, SYMBOLS, (count, longest), generator=generator)
    return symbols.masked_fill(torch.arange(longest) >= lengths[:, None], PAD), lengths


def trimmed(tokens: Tensor) -> list[int]:
    """A hypothesis up to its EOS."""
    found = tokens.tolist()
    return found[: found.index(EOS) + 1] if EOS in found else found
