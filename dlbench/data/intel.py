"""Intel scenes, 48x48 RGB, six classes (REPORTS section 1), or drawn stand-ins where the real pictures are not."""

import warnings
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import pytorch_lightning as pl
import torch
from annotated_types import Gt
from torch import Tensor
from torch.utils.data import DataLoader

from dlbench.data import intel_files
from dlbench.data.batches import Layout, PictureTensors, loader, shift, to_network
from dlbench.data.embedded import scenes
from dlbench.data.fingerprint import fingerprint
from dlbench.data.folders import cache_folder, data_folder
from dlbench.data.notice import EmbeddedDataNotice
from dlbench.data.pictures import Pictures, PictureSet
from dlbench.errors import DataError

Loader = DataLoader[tuple[Tensor, Tensor]]
Source = Literal["auto", "npz", "folder", "embedded"]
FETCH = "get the real ones with: python -m dlbench.data fetch intel"


class IntelDataModule(pl.LightningDataModule):
    """The Intel scenes in memory: 117 MB for the real set, batches gathered by index.

    Args:
        source: ``npz`` (the course's keys), ``folder`` (official seg_train/seg_test), ``embedded`` (drawn scenes), or
            ``auto``: real pictures if the data folder has them, else embedded ones with a notice.
        layout: ``chw`` (correct) or ``scrambled`` (as published; see `dlbench.data.batches.to_network`).
        batch_size: Pictures a training step.
        eval_batch_size: Pictures a validation or test step.
        embedded_sizes: Pictures to draw for train, val and test when the source is ``embedded``.
        folder: The data folder; default: see `dlbench.data.folders.data_folder`.
        cache: Where resized pictures are kept; default: see `dlbench.data.folders.cache_folder`.
        seed: The run's seed, from which the order of training pictures comes.
    """

    def __init__(
        self,
        *,
        source: Source = "auto",
        layout: Layout = "chw",
        batch_size: Annotated[int, Gt(0)] = 8,
        eval_batch_size: Annotated[int, Gt(0)] = 250,
        embedded_sizes: Sequence[int] = (1200, 240, 480),
        folder: str | None = None,
        cache: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.source = source
        self.layout: Layout = layout
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
        if self.source == "embedded":
            return _draw(tuple(self.embedded_sizes))
        found = intel_files.find(self.folder, None if self.source == "auto" else self.source)
        if found is None and self.source == "auto":
            notice = f"no Intel pictures in {self.folder}: using embedded (drawn) scenes; {FETCH}"
            warnings.warn(notice, EmbeddedDataNotice, stacklevel=2)
            return _draw(tuple(self.embedded_sizes))
        if found is None:
            raise DataError(f"data.source={self.source}: no such Intel pictures in {self.folder}; {FETCH}")
        if self.cache.resolve().is_relative_to(self.folder.resolve()):
            raise DataError(f"{self.cache}: the cache may not lie in the data folder; set DLBENCH_CACHE to another one")
        kind, path = found
        return _read_npz(path, path.stat().st_mtime_ns) if kind == "npz" else intel_files.load_folder(path, self.cache)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The six classes, in the order of their labels."""
        return self.pictures.classes

    def describe(self) -> dict[str, Any]:
        """What a record says of the data: where from, how trusted, how many, and the fingerprint; no folders."""
        return {
            "name": "intel",
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
        """A split, moved by whole pixels if asked for, in the network's layout."""
        pictures: Pictures = self.pictures.splits()[split]
        images = torch.from_numpy(pictures.images)
        if down or right:
            images = shift(images, down, right)
        return PictureTensors(to_network(images, self.layout), torch.from_numpy(pictures.labels))

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


# The runs of a sweep share a process, and its pictures with it.
@lru_cache(maxsize=1)
def _draw(sizes: tuple[int, ...]) -> PictureSet:
    return scenes.generate(sizes=sizes)


@lru_cache(maxsize=1)
def _read_npz(path: Path, _changed_ns: int) -> PictureSet:
    return intel_files.load_npz(path)
