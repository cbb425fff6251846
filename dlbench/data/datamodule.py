"""What the suite's LightningDataModules share: real data or synthetic, and batches as a function of (seed, epoch)."""

import math
import warnings
from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, TypeVar

import pytorch_lightning as pl
import torch
from annotated_types import Gt, Len
from torch.utils.data import DataLoader, Dataset, Sampler

from dlbench import paths
from dlbench.data import Splits
from dlbench.errors import DataError, OddDataNotice, SyntheticDataNotice
from dlbench.files import stamp
from dlbench.seeding import derive_seed

Index = TypeVar("Index")
Batch = TypeVar("Batch")
Data = TypeVar("Data", bound=Splits[Any])
Size = Annotated[int, Gt(0)]
Sizes = Annotated[Sequence[Size], Len(3, 3)]
"""Of train, val and test."""


class Batches(Sampler[Index]):
    """The batches of ``size`` examples in an epoch; a subclass draws them. The last batch may be smaller.

    Lightning announces the epoch through `set_epoch`, also on resuming.
    """

    def __init__(self, size: int, batch_size: int, seed: int | None = None) -> None:
        self.size, self.batch_size, self.seed = size, batch_size, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0, whose batches are drawn next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(self.size / self.batch_size)

    def __iter__(self) -> Iterator[Index]:
        # A generator, so that the order is drawn with the first batch: on resuming, Lightning asks for the iterator
        # before it announces the epoch.
        yield from self.draw(self.epoch)

    @abstractmethod
    def draw(self, epoch: int) -> Iterable[Index]:
        """The batches of an epoch."""


class Share(Batches[Index]):
    """One device's share of an order of batches, where ``count`` devices take turns.

    Where they do not come out even, the first ones of the epoch come again at its end, as torch's DistributedSampler
    has it.

    Args:
        order: Of all batches.
        rank: Which device, from 0.
        count: How many there are.
    """

    def __init__(self, order: Batches[Index], rank: int, count: int) -> None:
        super().__init__(order.size, order.batch_size, order.seed)
        self.order, self.rank, self.count = order, rank, count

    def __len__(self) -> int:
        return math.ceil(len(self.order) / self.count)

    def draw(self, epoch: int) -> Iterable[Index]:
        """The device's batches of an epoch."""
        batches = list(self.order.draw(epoch))
        return [batches[place % len(batches)] for place in range(self.rank, len(self) * self.count, self.count)]


def batch_loader(data: Dataset[Batch], order: Batches[Any]) -> DataLoader[Batch]:
    """A DataLoader of data whose index gives a whole batch.

    Its own generator keeps the base seed that DataLoader draws out of the global stream.
    """
    private = torch.Generator().manual_seed(derive_seed(order.seed or 0, "loader"))
    return DataLoader(data, batch_size=None, sampler=order, generator=private)


# The runs of a sweep share a process, and its data with it.
@lru_cache(maxsize=3)
def _remembered(load: Callable[..., Any], arguments: tuple[Hashable, ...], _stamps: tuple[Hashable, ...]) -> Any:
    return load(*arguments)


def read_once(load: Callable[..., Data], files: Iterable[Path], *arguments: Hashable) -> Data:
    """What ``load`` makes of its arguments, read again only where one of the files has changed.

    Raises:
        DataError: A file cannot be read; or see ``load``.
    """
    try:
        stamps = tuple(stamp(path.stat()) for path in files)
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}); make it a readable file") from error
    return _remembered(load, arguments, stamps)  # type: ignore[no-any-return]


def cache_outside(folder: Path, given: str | None) -> Path:
    """The cache folder, given or the default one, outside the data folder.

    Raises:
        DataError: It lies inside, or no home folder is known.
    """
    cache = paths.cache_folder(given)
    paths.check_cache(cache, folder)
    return cache


@dataclass(kw_only=True, eq=False)
class SuiteDataModule(pl.LightningDataModule, Generic[Data]):
    """Real data, or synthetic data in its place; a subclass reads it and makes batches of it.

    Args:
        source: Where the data comes from: ``synthetic`` data is generated; ``auto`` takes real data if the data folder
            has it, else synthetic data with a notice; what else there is, a subclass says.
        batch_size: Examples a training step.
        eval_batch_size: Examples a validation or test step.
        synthetic_sizes: Examples to generate for train, val and test when the source is ``synthetic``.
        folder: The data folder; default: see `dlbench.paths.data_folder`.
        seed: The run's seed, on which the order of training examples depends, and whatever else of them is random.
    """

    source: str
    batch_size: Size = 8
    eval_batch_size: Size = 250
    synthetic_sizes: Sizes
    folder: str | None = None
    seed: int = 0

    name: str = field(init=False, repr=False)
    """The data set's name."""

    real: str = field(init=False, repr=False)
    """What the real data is called, for people."""

    drawn: ClassVar[str]
    """What the synthetic data is called, for people."""

    generate: ClassVar[Callable[..., Any]]
    """Makes synthetic data of a seed and the sizes of train, val and test; a static method."""

    is_own: bool = field(default=False, init=False)
    """Whether the user named the real data's files, which are none of the suite's: then nothing takes their place."""

    def __post_init__(self) -> None:
        super().__init__()
        self.data_folder = paths.data_folder(self.folder)

    def load(self) -> Data:
        """The real data or the synthetic, as chosen.

        Raises:
            DataError: The real data is missing, altered in structure, or cannot be read; the data folder does not exist
                and is not just the default.
        """
        if self.source != "synthetic":
            paths.require(self.data_folder)
            if (found := self.read()) is not None:
                for notice in found.notices:
                    warnings.warn(notice, OddDataNotice, stacklevel=3)
                return found
            where, hints = f"{self.real} in {self.data_folder}", self.hints()
            if self.is_own:
                raise DataError(f"no {where}; {hints}, or take synthetic {self.drawn} with data.source=synthetic")
            if self.source != "auto":
                raise DataError(f"data.source={self.source}: no such {where}; {hints}")
            warnings.warn(f"no {where}: using synthetic {self.drawn}; {hints}", SyntheticDataNotice, stacklevel=3)
        made: Data = read_once(self.generate, (), 0, tuple(self.synthetic_sizes))
        return made

    @abstractmethod
    def read(self) -> Data | None:
        """The real data of the chosen source; None if it is not in the data folder.

        Raises:
            DataError: It is altered in structure, or cannot be read.
        """

    @abstractmethod
    def hints(self) -> str:
        """Clauses: what was looked for, what is there instead, and how the real data is had."""

    def facts(self, data: Data) -> dict[str, Any]:
        """What a record says of any data: where from, how trusted, how much, and the fingerprint; no folders."""
        return {
            "name": self.name,
            "source": data.source,
            "provenance": data.provenance,
            "fingerprint": data.fingerprint(),
            "sizes": {name: len(split) for name, split in data.splits().items()},
            "files": data.files,
        }

    @abstractmethod
    def evaluation_dataloader(self, split: str) -> DataLoader[Any]:
        """A split, in the same order in every epoch."""

    def val_dataloader(self) -> DataLoader[Any]:
        """See `evaluation_dataloader`."""
        return self.evaluation_dataloader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """See `evaluation_dataloader`."""
        return self.evaluation_dataloader("test")
