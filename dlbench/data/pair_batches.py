"""Batches of sequence pairs out of memory: one gather each, bucketed by length, as a function of (seed, epoch)."""

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from dlbench.components import component
from dlbench.data.pairs import Pair
from dlbench.data.vocabulary import EOS, PAD, SOS, SPECIALS, Vocabulary
from dlbench.randomness import derive_seed, generator

Batch = TypeVar("Batch")
Loader = DataLoader[Batch]
Place = tuple[int, Tensor]
"""An epoch, counted from 0, and the positions of a batch's pairs in their split."""


class Split(Dataset[Batch]):
    """A whole split of N examples, whose lengths decide how they are batched; an index gives a whole batch."""

    source_lengths: Tensor
    """(N,)."""
    target_lengths: Tensor
    """(N,), start and end included."""

    def __len__(self) -> int:
        return len(self.source_lengths)

    @abstractmethod
    def __getitem__(self, place: Place) -> Batch: ...


class PairBatch(NamedTuple):
    """B pairs, all int64, no wider than the longest among them.

    ``source`` (B, S) ends in padding after ``source_lengths`` (B,) symbols; ``target`` (B, T) is SOS, the symbols, EOS
    and padding; ``index`` (B,) is the position of each pair in its split.
    """

    source: Tensor
    source_lengths: Tensor
    target: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs here


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


class PairTensors(Split["PairBatch"]):
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
        if self.noise == 0:
            return self.source
        if self._noisy[0] != epoch:
            # Drawn for the split at once: what happens to a pair does not depend on the batch it comes in.
            stream, shape = generator(self.seed, "noise", epoch), self.source.shape
            struck = (torch.rand(shape, generator=stream) < self.noise) & (self.source != PAD)
            others = torch.randint(len(SPECIALS), self.known, shape, generator=stream)
            self._noisy = epoch, torch.where(struck, others, self.source)
        return self._noisy[1]


@component("sequence_batches", "1.0")
class BatchOrder(Sampler[Place]):
    """The batches of an epoch.

    With a seed, pairs are shuffled; pools of ``bucket_batches`` batches are each sorted by (source, target) length and
    cut into batches; the batches are shuffled. So pairs of like length come together, yet in other company each epoch.
    What does not fill a batch is set aside after the first shuffle, before any sorting, and comes last. A pool of one
    batch therefore gives plain random batches. Without a seed: all pairs sorted by length, the same in every epoch.

    Lightning announces the epoch through `set_epoch`, also on resuming.
    """

    def __init__(self, data: Split[Any], batch_size: int, bucket_batches: int = 1, seed: int | None = None) -> None:
        self.lengths = data.source_lengths * (int(data.target_lengths.max()) + 1) + data.target_lengths
        self.batch_size, self.bucket_batches, self.seed = batch_size, bucket_batches, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0, whose batches are drawn next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(len(self.lengths) / self.batch_size)

    def __iter__(self) -> Iterator[Place]:
        # A generator, so that the order is drawn with the first batch: on resuming, Lightning asks for the iterator
        # before it announces the epoch.
        epoch = self.epoch
        for positions in self._sorted() if self.seed is None else self._bucketed(self.seed, epoch):
            yield epoch, positions

    def _sorted(self) -> tuple[Tensor, ...]:
        return torch.split(self.lengths.argsort(stable=True), self.batch_size)

    def _bucketed(self, seed: int, epoch: int) -> list[Tensor]:
        stream = generator(seed, "order", epoch)
        order = torch.randperm(len(self.lengths), generator=stream)
        filled = len(order) // self.batch_size * self.batch_size
        whole, rest = order[:filled], order[filled:]
        pools = torch.split(whole, self.batch_size * self.bucket_batches) if filled else ()
        sorted_pools = (pool[self.lengths[pool].argsort(stable=True)] for pool in pools)
        batches = [batch for pool in sorted_pools for batch in torch.split(pool, self.batch_size)]
        dealt = [batches[number] for number in torch.randperm(len(batches), generator=stream).tolist()]
        return [*dealt, rest] if len(rest) else dealt


def loader(data: Split[Batch], batch_size: int, bucket_batches: int = 1, seed: int | None = None) -> Loader[Batch]:
    """A DataLoader whose every batch is one gather a side; with a seed, shuffled (see `BatchOrder`).

    Its own generator keeps the base seed that DataLoader draws out of the global stream.
    """
    private = torch.Generator().manual_seed(derive_seed(seed or 0, "loader"))
    order = BatchOrder(data, batch_size, bucket_batches, seed)
    return DataLoader(data, batch_size=None, sampler=order, generator=private)
