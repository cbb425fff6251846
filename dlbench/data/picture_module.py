"""What every data set of labelled pictures shares: splits in memory as tensors, batches gathered by index."""

import warnings
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from dlbench.data.batches import PictureTensors, loader, shift, to_network
from dlbench.data.fingerprint import fingerprint
from dlbench.data.folders import cache_folder, data_folder
from dlbench.data.notice import EmbeddedDataNotice
from dlbench.data.pictures import Pictures, PictureSet
from dlbench.errors import DataError

Loader = DataLoader[tuple[Tensor, Tensor]]
Transform = Callable[[Tensor], Tensor]
"""Of pictures (N, height, width, channels) of uint8 into others."""


class PictureDataModule(pl.LightningDataModule):
    """A data set of labelled pictures; a subclass says where they are and how they are read, drawn and arranged.

    Args:
        source: Where the pictures come from: ``embedded`` ones are drawn; ``auto`` takes real ones if the data folder
            has them, else embedded ones with a notice; what else there is, a subclass says.
        batch_size: Pictures a training step.
        eval_batch_size: Pictures a validation or test step.
        embedded_sizes: Pictures to draw for train, val and test when the source is ``embedded``.
        folder: The data folder; default: see `dlbench.data.folders.data_folder`.
        cache: Where derived files are kept; default: see `dlbench.data.folders.cache_folder`.
        seed: The run's seed, from which the order of training pictures comes.
    """

    name: str
    """The data set's name in the registry."""

    title: ClassVar[str]
    """The data set's name, for people."""

    drawn: ClassVar[str]
    """What embedded pictures are of."""

    generate: ClassVar[Callable[..., PictureSet]]
    """Draws embedded pictures of the ``sizes`` of train, val and test; a static method."""

    shown: ClassVar[tuple[str, int]] = "val", 0
    """Split and position of the picture whose activation maps are shown."""

    def __init__(
        self,
        *,
        source: str,
        batch_size: int,
        eval_batch_size: int,
        embedded_sizes: Sequence[int],
        folder: str | None,
        cache: str | None = None,
        seed: int,
    ) -> None:
        super().__init__()
        self.source = source
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.embedded_sizes = embedded_sizes
        self.folder = data_folder(folder)
        self.cache = Path(cache).expanduser() if cache else cache_folder()
        self.seed = seed

    @cached_property
    def pictures(self) -> PictureSet:
        """The pictures, read, or drawn, once.

        Raises:
            DataError: They are missing, altered in structure, or cannot be read.
        """
        sizes = tuple(self.embedded_sizes)
        if self.source == "embedded":
            return self.draw(sizes)
        found = self.find()
        if found is not None:
            return self.load(found)
        if self.source != "auto":
            raise DataError(
                f"data.source={self.source}: no such {self.title} pictures in {self.folder}; {self.remedy()}"
            )
        notice = f"no {self.title} pictures in {self.folder}: using embedded (drawn) {self.drawn}; {self.remedy()}"
        warnings.warn(notice, EmbeddedDataNotice, stacklevel=2)
        return self.draw(sizes)

    @abstractmethod
    def find(self) -> Any:
        """Where in the data folder the pictures of the chosen source lie; None if they are not there.

        Raises:
            DataError: See `dlbench.data.folders.require`.
        """

    @abstractmethod
    def load(self, found: Any) -> PictureSet:
        """The pictures that lie where `find` found them."""

    def draw(self, sizes: tuple[int, ...]) -> PictureSet:
        """Embedded pictures for train, val and test."""
        return _drawn(type(self).generate, sizes)

    def remedy(self) -> str:
        """How the real pictures are had."""
        return f"get the real ones with: python -m dlbench.data fetch {self.name}"

    def arrange(self, pictures: Tensor) -> Tensor:
        """Pictures (N, height, width, channels) as the network takes them, (N, channels, height, width)."""
        return to_network(pictures, "chw")

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of their labels."""
        return self.pictures.classes

    def describe(self) -> dict[str, Any]:
        """What a record says of the data: where from, how trusted, how many, and the fingerprint; no folders."""
        return {
            "name": self.name,
            "source": self.pictures.source,
            "provenance": self.pictures.provenance,
            "fingerprint": fingerprint(self.pictures),
            "sizes": {name: len(split) for name, split in self.pictures.splits().items()},
            "files": self.pictures.files,
        }

    def model_arguments(self) -> dict[str, Any]:
        """What the data decides of a network: nothing; its configuration says how many classes it has."""
        return {}

    def tensors(self, split: str, down: int = 0, right: int = 0) -> PictureTensors:
        """A split, moved by whole pixels if asked for, as the network takes it."""
        return self._tensors(split, lambda pictures: shift(pictures, down, right) if down or right else pictures)

    def example(self) -> tuple[Tensor, Tensor]:
        """The picture whose activation maps are shown.

        Returns:
            As a person sees it, (height, width, channels) of uint8, and as the network gets it,
            (1, channels, height, width).
        """
        split, position = self.shown
        pictures = self.pictures.splits()[split]
        picture = torch.from_numpy(pictures.images[min(position, len(pictures) - 1)])
        only = PictureTensors(self.arrange(picture[None]), torch.zeros(1, dtype=torch.int64))
        return picture, only[torch.tensor([0])][0]

    def train_dataloader(self) -> Loader:
        """Shuffled by (seed, epoch)."""
        return loader(self.tensors("train"), self.batch_size, self.seed)

    def val_dataloader(self) -> Loader:
        """In order."""
        return self.evaluation_dataloader("val")

    def test_dataloader(self) -> Loader:
        """In order."""
        return self.evaluation_dataloader("test")

    def evaluation_dataloader(self, split: str, down: int = 0, right: int = 0) -> Loader:
        """A split in order, moved by whole pixels if asked for."""
        return loader(self.tensors(split, down, right), self.eval_batch_size)

    def transformed_dataloader(self, split: str, transform: Transform) -> Loader:
        """A split in order, its pictures transformed as a person sees them, before they are arranged."""
        return loader(self._tensors(split, transform), self.eval_batch_size)

    def _tensors(self, split: str, transform: Transform) -> PictureTensors:
        pictures: Pictures = self.pictures.splits()[split]
        images = self.arrange(transform(torch.from_numpy(pictures.images)))
        return PictureTensors(images, torch.from_numpy(pictures.labels))


# The runs of a sweep share a process, and its pictures with it.
@lru_cache(maxsize=3)
def _drawn(generate: Callable[..., PictureSet], sizes: tuple[int, ...]) -> PictureSet:
    return generate(sizes=sizes)
