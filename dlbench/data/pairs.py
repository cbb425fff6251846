"""Sequences in memory: pairs, what training has not seen of them, and batches as a function of (seed, epoch)."""

import hashlib
import unicodedata
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dlbench.components import component
from dlbench.data import Splits
from dlbench.data.datamodule import Batches, Data, Size, SuiteDataModule, batch_loader
from dlbench.data.vocabulary import EOS, PAD, SOS, SPECIALS, Vocabulary
from dlbench.seeding import generator


@dataclass(frozen=True, slots=True)
class Pair:
    """What is read and what is to be written, each as its symbols: phonemes or characters."""

    source: tuple[str, ...]
    target: tuple[str, ...]


@dataclass(frozen=True)
class PairSet(Splits[tuple[Pair, ...]]):
    """A data set of pairs; the joiners put a side's symbols together for people."""

    source_joiner: str = field(default=" ", kw_only=True)
    target_joiner: str = field(default="", kw_only=True)

    def fingerprint(self) -> str:
        """SHA-256 over the pairs of every split as text; wherever they were read from."""
        digest = hashlib.sha256()
        for split, pairs in self.splits().items():
            lines = ("\x1f".join(pair.source) + "\t" + "\x1f".join(pair.target) for pair in pairs)
            digest.update(f"{split} {len(pairs)}\n".encode() + "\n".join(lines).encode() + b"\n")
        return digest.hexdigest()


Vocabularies = Mapping[str, Vocabulary]
"""Of the sides of a pair, by name."""

_NAMED = 5
_ZERO_WIDTH = "\u200b\u2060\ufeff"


def is_space(symbol: str) -> bool:
    """Whether a symbol is nothing but white space, of no width too."""
    return all(character.isspace() or character in _ZERO_WIDTH for character in symbol)


def visible(symbol: str) -> str:
    """A symbol, or its code points where it cannot be seen, or not by itself: ``U+00A0 NO-BREAK SPACE``."""
    shown = all(char.isprintable() and not char.isspace() for char in symbol)
    if symbol and shown and not unicodedata.category(symbol[0]).startswith("M"):
        return symbol
    return " + ".join(f"U+{ord(char):04X} {unicodedata.name(char, '')}".strip() for char in symbol)


def unseen(splits: Mapping[str, Sequence[Pair]], vocabularies: Vocabularies) -> str | None:
    """A line that says what of validation and test training has not seen; None where it has seen all."""
    pairs = list(chain.from_iterable(splits.values()))
    found = {
        side: vocabulary.unknown(getattr(pair, side) for pair in pairs) for side, vocabulary in vocabularies.items()
    }
    if not any(found.values()):
        return None
    words = sum(any(not found[side].keys().isdisjoint(getattr(pair, side)) for side in found) for pair in pairs)
    listed = "; ".join(f"{len(counts):,} {side} ({_few(counts)})" for side, counts in found.items() if counts)
    return (
        f"{' and '.join(splits)} have symbols that training has not seen, {listed}: "
        f"{words:,} of {len(pairs):,} words contain one"
    )


def mostly_unseen(pairs: Iterable[Pair], vocabulary: Vocabulary) -> str | None:
    """How much of a split's sources training has not seen, if more than half of all occurrences."""
    sources = [pair.source for pair in pairs]
    unknown, total = vocabulary.unknown(sources), sum(map(len, sources))
    if 2 * unknown.total() <= total:
        return None
    return f"training has not seen {unknown.total():,} of {total:,} source symbols ({_few(unknown)})"


def _few(counts: Counter[str]) -> str:
    most = sorted(counts, key=lambda symbol: (-counts[symbol], symbol))
    return " ".join(map(visible, most[:_NAMED])) + " …" * (len(most) > _NAMED)


Place = tuple[int, Tensor]
"""An epoch, counted from 0, and the positions of a batch's pairs in their split."""


class PairBatch(NamedTuple):
    """B pairs, no wider than the longest among them; all int64 but for features.

    ``source`` (B, S) ends in padding after ``source_lengths`` (B,) symbols; of recordings it is (B, S, bands), float32
    features, and ends in zeros after so many frames. ``target`` (B, T) is SOS, the symbols, EOS and padding; ``index``
    (B,) is the position of each pair in its split.
    """

    source: Tensor
    source_lengths: Tensor
    target: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs here


Loader = DataLoader[PairBatch]


class Split(Dataset[PairBatch]):
    """A whole split of N examples, whose lengths decide how they are batched; an index gives a whole batch."""

    source_lengths: Tensor
    """(N,)."""
    target_lengths: Tensor
    """(N,), start and end included."""

    def __len__(self) -> int:
        return len(self.source_lengths)

    @abstractmethod
    def __getitem__(self, place: Place) -> PairBatch: ...


def pad(sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """N sequences as one int64 tensor (N, longest), filled up with ``PAD``, and their lengths (N,)."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    padded = torch.full((len(sequences), int(lengths.max())), PAD)
    padded[torch.arange(padded.shape[1]) < lengths[:, None]] = torch.tensor(list(chain.from_iterable(sequences)))
    return padded, lengths


def subset(pairs: Sequence[Pair], fraction: float, seed: int) -> tuple[Pair, ...]:
    """A random part of the pairs, in their order; a smaller fraction is a part of every larger one."""
    count = max(1, round(len(pairs) * fraction))
    chosen = torch.randperm(len(pairs), generator=generator(seed, "fraction"))[:count]
    return tuple(pairs[position] for position in chosen.sort().values.tolist())


class PairTensors(Split):
    """A whole split as padded tensors; an index is an epoch and a vector of positions and gives a whole batch.

    Args:
        pairs: N of them.
        source_vocabulary: Numbers the source symbols.
        target_vocabulary: Numbers the target symbols.
        reverse_source: Whether source symbols come last first (Sutskever et al. 2014).
        noise: The probability with which a source symbol is replaced by a random known one, anew in every epoch.
        seed: What the noise depends on, beside the epoch and the pair's position.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        source_vocabulary: Vocabulary,
        target_vocabulary: Vocabulary,
        *,
        reverse_source: bool = False,
        noise: float = 0.0,
        seed: int = 0,
    ) -> None:
        step = -1 if reverse_source else 1
        self.source, self.source_lengths = pad([source_vocabulary.encode(pair.source[::step]) for pair in pairs])
        self.target, self.target_lengths = pad([[SOS, *target_vocabulary.encode(pair.target), EOS] for pair in pairs])
        self.known = len(source_vocabulary)
        self.noise, self.seed = noise, seed
        self._noisy: tuple[int, Tensor] = (-1, self.source)

    def __getitem__(self, place: Place) -> PairBatch:
        epoch, index = place
        lengths, longest = self.source_lengths[index], int(self.target_lengths[index].max())
        source = self.source_of(epoch)[index, : int(lengths.max())]
        return PairBatch(source, lengths, self.target[index, :longest], index)

    def source_of(self, epoch: int) -> Tensor:
        """The whole split's source (N, longest) in an epoch, with that epoch's noise if there is any."""
        if self.noise and self._noisy[0] != epoch:
            # Drawn for the split at once: what happens to a pair does not depend on the batch it comes in.
            stream, shape = generator(self.seed, "noise", epoch), self.source.shape
            struck = (torch.rand(shape, generator=stream) < self.noise) & (self.source != PAD)
            others = torch.randint(len(SPECIALS), self.known, shape, generator=stream)
            self._noisy = epoch, torch.where(struck, others, self.source)
        return self._noisy[1]


@component("sequence_batches", "1.0")
class BatchOrder(Batches[Place]):
    """The batches of an epoch.

    With a seed, pairs are shuffled; pools of ``bucket_batches`` batches are each sorted by (source, target) length and
    cut into batches; the batches are shuffled. So pairs of like length come together, yet in other company each epoch.
    What does not fill a batch is set aside after the first shuffle, before any sorting, and comes last. A pool of one
    batch therefore gives plain random batches. Without a seed: all pairs sorted by length, the same in every epoch.
    """

    def __init__(self, data: Split, batch_size: int, bucket_batches: int = 1, seed: int | None = None) -> None:
        super().__init__(len(data), batch_size, seed)
        self.lengths = data.source_lengths * (int(data.target_lengths.max()) + 1) + data.target_lengths
        self.bucket_batches = bucket_batches

    def draw(self, epoch: int) -> Iterable[Place]:
        """The batches of an epoch."""
        if self.seed is None:
            batches = list(torch.split(self.lengths.argsort(stable=True), self.batch_size))
        else:
            stream = generator(self.seed, "order", epoch)
            order = torch.randperm(len(self.lengths), generator=stream)
            filled = len(order) // self.batch_size * self.batch_size
            whole, rest = order[:filled], order[filled:]
            pools = torch.split(whole, self.batch_size * self.bucket_batches) if filled else ()
            sorted_pools = (pool[self.lengths[pool].argsort(stable=True)] for pool in pools)
            bucketed = [batch for pool in sorted_pools for batch in torch.split(pool, self.batch_size)]
            batches = [bucketed[number] for number in torch.randperm(len(bucketed), generator=stream).tolist()]
            batches += [rest] if len(rest) else []
        return [(epoch, positions) for positions in batches]


def loader(data: Split, batch_size: int, bucket_batches: int = 1, seed: int | None = None) -> Loader:
    """A DataLoader whose every batch is one gather a side; with a seed, shuffled (see `BatchOrder`)."""
    return batch_loader(data, BatchOrder(data, batch_size, bucket_batches, seed))


@dataclass(kw_only=True, eq=False)
class SequenceDataModule(SuiteDataModule[Data]):
    """Sequences; a subclass says where they are, and how a split becomes tensors."""

    bucket_batches: Size

    @abstractmethod
    def tensors(self, split: str) -> Split:
        """A split, ready for batches."""

    def train_tensors(self) -> Split:
        """The training split as training gets it."""
        return self.tensors("train")

    def train_dataloader(self) -> Loader:
        """In batches of like length, or random ones, by (seed, epoch)."""
        return loader(self.train_tensors(), self.batch_size, self.bucket_batches, self.seed)

    def evaluation_dataloader(self, split: str) -> Loader:
        """A split by length; each batch's ``index`` says where its examples stand in the split."""
        return loader(self.tensors(split), self.eval_batch_size)
