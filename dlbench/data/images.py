"""Pictures as tensors: their layouts, and batches as a function of (seed, epoch)."""

import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from dlbench.components import component
from dlbench.seeding import derive_seed, generator

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
class BatchOrder(Sampler[Tensor]):
    """Positions of each batch: all of them, in order, or shuffled anew every epoch when a seed is given.

    Lightning announces the epoch through `set_epoch`, also on resuming. The last batch may be smaller.
    """

    def __init__(self, size: int, batch_size: int, seed: int | None = None) -> None:
        self.size, self.batch_size, self.seed = size, batch_size, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0, whose order is drawn next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(self.size / self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        # A generator, so that the order is drawn with the first batch: on resuming, Lightning asks for the iterator
        # before it announces the epoch.
        if self.seed is None:
            order = torch.arange(self.size)
        else:
            order = torch.randperm(self.size, generator=generator(self.seed, "order", self.epoch))
        yield from torch.split(order, self.batch_size)


def loader(data: PictureTensors, batch_size: int, seed: int | None = None) -> DataLoader[tuple[Tensor, Tensor]]:
    """A DataLoader whose every batch is one gather; with a seed, shuffled (see `BatchOrder`).

    Its own generator keeps the base seed that DataLoader draws out of the global stream.
    """
    private = torch.Generator().manual_seed(derive_seed(seed or 0, "loader"))
    return DataLoader(data, batch_size=None, sampler=BatchOrder(len(data), batch_size, seed), generator=private)
