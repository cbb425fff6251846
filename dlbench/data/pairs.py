"""Sequences in memory: pairs, what training has not seen of them, and batches as a function of (seed, epoch)."""

import hashlib
import math
import unicodedata
import warnings
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Protocol

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from dlbench.components import component
from dlbench.data.vocabulary import EOS, PAD, SOS, SPECIALS, Vocabulary
from dlbench.errors import DataError, SyntheticDataNotice
from dlbench.seeding import derive_seed, generator


@dataclass(frozen=True, slots=True)
class Pair:
    """What is read and what is to be written, each as its symbols: phonemes or characters."""

    source: tuple[str, ...]
    target: tuple[str, ...]


@dataclass(frozen=True)
class PairSet:
    """A data set in its three splits, and where it came from.

    ``source`` is the kind of source (``files``, ``synthetic``); ``provenance`` tells people what it is (``verified``:
    every file has a registered SHA-256; ``user copy``: right in form, unknown in content; ``synthetic``: generated
    here); ``files`` maps paths below the data folder to SHA-256. The joiners put a side's symbols together for people;
    ``notices`` are lines for them about what looks odd.
    """

    train: tuple[Pair, ...]
    val: tuple[Pair, ...]
    test: tuple[Pair, ...]
    source: str
    provenance: str
    files: dict[str, str] = field(default_factory=dict)
    source_joiner: str = " "
    target_joiner: str = ""
    notices: tuple[str, ...] = ()

    def splits(self) -> dict[str, tuple[Pair, ...]]:
        """The splits by name, in the order train, val, test."""
        return {"train": self.train, "val": self.val, "test": self.test}

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
    """The most frequent."""
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
class BatchOrder(Sampler[Place]):
    """The batches of an epoch.

    With a seed, pairs are shuffled; pools of ``bucket_batches`` batches are each sorted by (source, target) length and
    cut into batches; the batches are shuffled. So pairs of like length come together, yet in other company each epoch.
    What does not fill a batch is set aside after the first shuffle, before any sorting, and comes last. A pool of one
    batch therefore gives plain random batches. Without a seed: all pairs sorted by length, the same in every epoch.

    Lightning announces the epoch through `set_epoch`, also on resuming.
    """

    def __init__(self, data: Split, batch_size: int, bucket_batches: int = 1, seed: int | None = None) -> None:
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
        for positions in batches:
            yield epoch, positions


def loader(data: Split, batch_size: int, bucket_batches: int = 1, seed: int | None = None) -> Loader:
    """A DataLoader whose every batch is one gather a side; with a seed, shuffled (see `BatchOrder`).

    Its own generator keeps the base seed that DataLoader draws out of the global stream.
    """
    private = torch.Generator().manual_seed(derive_seed(seed or 0, "loader"))
    order = BatchOrder(data, batch_size, bucket_batches, seed)
    return DataLoader(data, batch_size=None, sampler=order, generator=private)


class Files(Protocol):
    """Files of a data set, which may be there or not."""

    @property
    def remedy(self) -> str:
        """How they are had."""

    @property
    def is_own(self) -> bool:
        """Whether the user named them: then nothing takes their place."""

    def are_in(self, folder: Path) -> bool:
        """Whether they are in a data folder."""

    def absence(self, folder: Path) -> str:
        """A clause: what was looked for in a data folder, and what is there instead."""


class SequenceDataModule(pl.LightningDataModule):
    """What data sets of sequences share; a subclass says how a split becomes tensors."""

    source: str
    folder: Path
    batch_size: int
    eval_batch_size: int
    bucket_batches: int
    seed: int

    def choose_synthetic(self, files: Files, wanted: str, instead: str) -> bool:
        """Whether synthetic data is to be used: as asked for, or, with a notice, where the files are not there.

        Args:
            files: Those to look for in the data folder.
            wanted: What would be in them.
            instead: What the synthetic data is.

        Raises:
            DataError: Files are asked for, or named by the user, and are not there.
        """
        if self.source == "synthetic":
            return True
        if files.are_in(self.folder):
            return False
        where, hints = f"no {wanted} in {self.folder}", f"{files.absence(self.folder)}; {files.remedy}"
        if files.is_own:
            raise DataError(f"{where}; {hints}, or take synthetic {instead} with data.source=synthetic")
        if self.source == "files":
            raise DataError(f"data.source=files: {where}; {hints}")
        warnings.warn(f"{where}: using synthetic {instead}; {hints}", SyntheticDataNotice, stacklevel=3)
        return True

    @abstractmethod
    def tensors(self, split: str) -> Split:
        """A split, ready for batches."""

    def train_tensors(self) -> Split:
        """The training split as training gets it."""
        return self.tensors("train")

    def train_dataloader(self) -> Loader:
        """In batches of like length, or random ones, by (seed, epoch)."""
        return loader(self.train_tensors(), self.batch_size, self.bucket_batches, self.seed)

    def val_dataloader(self) -> Loader:
        """By length."""
        return self.evaluation_dataloader("val")

    def test_dataloader(self) -> Loader:
        """By length."""
        return self.evaluation_dataloader("test")

    def evaluation_dataloader(self, split: str) -> Loader:
        """A split by length; each batch's ``index`` says where its examples stand in the split."""
        return loader(self.tensors(split), self.eval_batch_size)
