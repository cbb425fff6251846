"""Labelled pictures as LightningDataModules: their layouts, batches by (seed, epoch), and the data sets."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dlbench.components import component
from dlbench.data import image_files, intel_files, registry
from dlbench.data.datamodule import Batches, Size, Sizes, SuiteDataModule, batch_loader, cache_outside, read_once
from dlbench.data.image_files import PictureSet, TestCut
from dlbench.data.image_folders import load_image_folder, thumbnail
from dlbench.data.synthetic import images
from dlbench.errors import DataError
from dlbench.seeding import generator

Loader = DataLoader[tuple[Tensor, Tensor]]
Transform = Callable[[Tensor], Tensor]
"""Of pictures (N, height, width, channels) of uint8 into others."""


Layout = Literal["chw", "scrambled"]

PIXEL_SCALE = 1 / 256
"""The reports divide pixels by 256, not 255."""


def to_network(pictures: Tensor, layout: Layout) -> Tensor:
    """Pictures (N, height, width, channels) as a network takes them, (N, channels, height, width).

    ``chw`` transposes. ``scrambled`` only reshapes, as the course code did with its H x W x C file: it deals colours
    and places out anew, so that a "channel" holds a third of the picture's rows with the colours interleaved.
    """
    n, height, width, channels = pictures.shape
    if layout == "scrambled":
        return pictures.reshape(n, channels, height, width)
    return pictures.permute(0, 3, 1, 2)


def shift(pictures: Tensor, down: int, right: int) -> Tensor:
    """Pictures (N, height, width, channels) moved by whole pixels; the rim repeats the nearest pixel."""
    if not down and not right:
        return pictures
    rows = (torch.arange(pictures.shape[1]) - down).clamp(0, pictures.shape[1] - 1)
    columns = (torch.arange(pictures.shape[2]) - right).clamp(0, pictures.shape[2] - 1)
    return pictures[:, rows][:, :, columns]


def pixel_order(pixels: int) -> Tensor:
    """Which pixel comes to each place, (pixels,): a function of their number alone, the same in every run."""
    return torch.randperm(pixels, generator=generator(0, "pixels"))


def permute_pixels(pictures: Tensor) -> Tensor:
    """Pictures (N, channels, height, width) with their pixels in `pixel_order`, in every channel alike."""
    return pictures.flatten(2)[..., pixel_order(pictures[0, 0].numel())].reshape(pictures.shape)


class PictureTensors(Dataset[tuple[Tensor, Tensor]]):
    """Whole splits as tensors; an index is a vector of positions and gives a whole batch.

    Args:
        images: uint8, (N, channels, height, width).
        labels: int64, (N,).
    """

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor) -> tuple[Tensor, Tensor]:
        return self.images[index].float().mul_(PIXEL_SCALE), self.labels[index]


@component("picture_batches", "1.0")
class BatchOrder(Batches[Tensor]):
    """Positions of each batch: all of them, in order, or shuffled anew every epoch when a seed is given."""

    def draw(self, epoch: int) -> Iterable[Tensor]:
        """The batches of an epoch."""
        if self.seed is None:
            order = torch.arange(self.size)
        else:
            order = torch.randperm(self.size, generator=generator(self.seed, "order", epoch))
        return torch.split(order, self.batch_size)


def loader(data: PictureTensors, batch_size: int, seed: int | None = None) -> Loader:
    """A DataLoader whose every batch is one gather; with a seed, shuffled (see `BatchOrder`)."""
    return batch_loader(data, BatchOrder(len(data), batch_size, seed))


@dataclass(kw_only=True, eq=False)
class PictureDataModule(SuiteDataModule[PictureSet]):
    """Labelled pictures; a subclass says where they are and how they are read, drawn and arranged."""

    source: str = "auto"
    synthetic_sizes: Sizes = (4000, 500, 1000)

    side: ClassVar[int]
    """Pixels a side of a picture."""

    mode: ClassVar[Literal["RGB", "L"]] = "RGB"
    """In colours, or grey (``L``)."""

    shown: ClassVar[tuple[str, int]] = "train", 4
    """Split and position of the picture whose activation maps are shown."""

    @cached_property
    def pictures(self) -> PictureSet:
        """The pictures, read, or drawn, once; see `SuiteDataModule.load`."""
        return self.load()

    def hints(self) -> str:
        """What was looked for, what is there instead, and how the real pictures are had."""
        return f"{self.absence()}; {registry.fetching(self.name)}"

    def absence(self) -> str:
        """A clause: what was looked for, and what is there instead."""
        return registry.get(self.name).absence(self.data_folder)

    def arrange(self, pictures: Tensor) -> Tensor:
        """Pictures (N, height, width, channels) as the network takes them, (N, channels, height, width)."""
        return to_network(pictures, "chw")

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of their labels."""
        return self.pictures.classes

    def describe(self) -> dict[str, Any]:
        """See `SuiteDataModule.facts`; ``classes`` are their names, in the order of labels."""
        return {**self.facts(self.pictures), "classes": list(self.class_names)}

    def model_arguments(self) -> dict[str, Any]:
        """What the data decides of a network: nothing; its configuration says how many classes it has."""
        return {}

    def tensors(self, split: str, transform: Transform | None = None) -> PictureTensors:
        """A split as the network takes it, its pictures transformed if asked for."""
        pictures = self.pictures.splits()[split]
        images = torch.from_numpy(pictures.images)
        images = self.arrange(transform(images) if transform else images)
        return PictureTensors(images, torch.from_numpy(pictures.labels))

    def read_picture(self, file: Path) -> npt.NDArray[np.uint8]:
        """A picture of anybody's as if it were one of the set, (side, side, channels).

        Raises:
            DataError: It cannot be read, or not without loss.
        """
        return thumbnail(file, file.parent, self.side, self.mode)

    def batches(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> Loader:
        """Pictures (side, side, channels) as the network takes them, in order; their labels say nothing."""
        images = self.arrange(torch.from_numpy(np.stack(pictures)))
        return loader(PictureTensors(images, torch.zeros(len(images), dtype=torch.int64)), self.eval_batch_size)

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

    def evaluation_dataloader(self, split: str, transform: Transform | None = None) -> Loader:
        """A split in order, its pictures transformed, if asked for, as a person sees them, before they are arranged."""
        return loader(self.tensors(split, transform), self.eval_batch_size)


picture_component = partial(
    component,
    outside=("source", "synthetic_sizes"),
    former={"embedded_sizes": ("synthetic_sizes",)},
    uses=(BatchOrder,),
)


@picture_component("intel", "1.0")
@dataclass(kw_only=True, eq=False)
class IntelDataModule(PictureDataModule):
    """The Intel scenes in memory: 117 MB for the real set, batches gathered by index.

    Args:
        source: ``npz`` (the course's keys), ``folder`` (official seg_train/seg_test), ``synthetic`` (drawn scenes), or
            ``auto``: real pictures if the data folder has them, else synthetic ones with a notice.
        layout: ``chw`` (correct) or ``scrambled`` (as published; see `to_network`).
        cache: Where resized pictures are kept; default: see `dlbench.paths.cache_folder`.

    The others are those of `SuiteDataModule`.
    """

    source: Literal["auto", "npz", "folder", "synthetic"] = "auto"
    layout: Layout = "chw"
    synthetic_sizes: Sizes = (1200, 240, 480)
    cache: str | None = None

    name, real, drawn, side = "intel", "Intel pictures", "scenes", intel_files.SIDE
    generate = staticmethod(images.scenes)
    shown = "val", 0

    def read(self) -> PictureSet | None:
        """See `dlbench.data.intel_files`; the cache may not lie in the data folder."""
        found = intel_files.find(self.data_folder, self.source if self.source in ("npz", "folder") else None)
        if found is None:
            return None
        cache = cache_outside(self.data_folder, self.cache)
        kind, path = found
        return read_once(intel_files.load_npz, [path], path) if kind == "npz" else intel_files.load_folder(path, cache)

    def absence(self) -> str:
        """What was looked for of the sources chosen, and what is there instead."""
        names = {"npz": ("intel",), "folder": ("intel_folder",)}.get(self.source, ("intel", "intel_folder"))
        sets = [registry.get(name) for name in names]
        found = [place for each in sets for place in each.similar(self.data_folder)]
        return registry.absence([part for each in sets for part in each.parts], list(dict.fromkeys(found)))

    def arrange(self, pictures: Tensor) -> Tensor:
        """Pictures (N, height, width, channels) in the layout chosen, (N, channels, height, width)."""
        return to_network(pictures, self.layout)


@picture_component("image_folder", "1.0", outside=("root",))
@dataclass(kw_only=True, eq=False)
class ImageFolderDataModule(PictureDataModule):
    """Anybody's pictures, in folders of their classes; see `dlbench.data.image_folders.load_image_folder`.

    Args:
        root: Their folder, absolute or below the data folder or the working folder.
        side: To how many pixels a side they are resized.
        cache: Where resized pictures are kept; default: see `dlbench.paths.cache_folder`.

    The others are those of `SuiteDataModule`.
    """

    root: str
    side: Size = 48  # type: ignore[misc]
    cache: str | None = None
    source: str = field(default="folder", init=False)
    synthetic_sizes: Sizes = field(default=(), init=False)

    shown = "val", 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.name = registry.data_name(f"{self.root.rstrip('/')}/train")

    def read(self) -> PictureSet:
        """See `dlbench.data.image_folders.load_image_folder`."""
        if (found := registry.find(self.root, self.data_folder)) is None:
            places = " and ".join(map(str, registry.places(self.root, self.data_folder)))
            raise DataError(f"data.root={self.root}: no such folder; looked for {places}")
        return load_image_folder(found, self.side, cache_outside(self.data_folder, self.cache))


@picture_component("kmnist", "1.0")
@dataclass(kw_only=True, eq=False)
class KmnistDataModule(PictureDataModule):
    """Kuzushiji-MNIST in memory: 55 MB for the real set.

    Args:
        source: ``idx`` (the official files in the published split), ``test10k`` (the official test pictures alone in a
            split of their own: see `dlbench.data.image_files.load_kmnist`), ``synthetic`` (drawn glyphs), or ``auto``:
            the published split if the training pictures are there, else synthetic ones with a notice.
        permute_pixels: Whether the network gets all pixels in one fixed random order.

    The others are those of `SuiteDataModule`.
    """

    source: Literal["auto", "idx", "test10k", "synthetic"] = "auto"
    permute_pixels: bool = False

    name, real, drawn = "kmnist", "Kuzushiji-MNIST pictures", "glyphs"
    side, mode = image_files.SIDE, "L"
    generate = staticmethod(images.glyphs)

    def absence(self) -> str:
        """What was looked for first, and what is there instead."""
        part = "t10k" if self.source == "test10k" else "train"
        return registry.get("kmnist").absence(self.data_folder, image_files.registered_kmnist(part)[0])

    def read(self) -> PictureSet | None:
        """See `dlbench.data.image_files.find_kmnist` and `load_kmnist` there."""
        parts: tuple[image_files.KmnistPart, ...] = ("t10k",) if self.source == "test10k" else ("train", "t10k")
        found = image_files.find_kmnist(self.data_folder, *parts)
        return read_once(image_files.load_kmnist, found, *found) if found else None

    def hints(self) -> str:
        """Whether the pictures of the other split are there, too."""
        hints = super().hints()
        with suppress(DataError):
            if self.source == "auto" and image_files.find_kmnist(self.data_folder, "t10k"):
                hints += "; the test pictures are there: data.source=test10k splits them"
        return hints

    def arrange(self, pictures: Tensor) -> Tensor:
        """See `PictureDataModule.arrange`; pixels are permuted if that is asked for."""
        arranged = super().arrange(pictures)
        return permute_pixels(arranged) if self.permute_pixels else arranged


@picture_component("octmnist", "1.0")
@dataclass(kw_only=True, eq=False)
class OctmnistDataModule(PictureDataModule):
    """OctMNIST in memory: 86 MB for the real set.

    Args:
        source: ``npz`` (MedMNIST's file), ``synthetic`` (drawn scans), or ``auto``: the real pictures if they are
            there, else synthetic ones with a notice.
        test_cut: ``course529`` (529 of the test pictures: see `dlbench.data.image_files.COURSE_CUT`) or ``official``
            (all 1000). Synthetic pictures are not cut.

    The others are those of `SuiteDataModule`.
    """

    source: Literal["auto", "npz", "synthetic"] = "auto"
    test_cut: TestCut = "course529"

    name, real, drawn = "octmnist", "OctMNIST pictures", "scans"
    side, mode = image_files.SIDE, "L"
    generate = staticmethod(images.scans)

    def read(self) -> PictureSet | None:
        """See `dlbench.data.image_files.load_octmnist`."""
        found = image_files.OCTMNIST.find(self.data_folder)
        return read_once(image_files.load_octmnist, [found], found, self.test_cut) if found else None
