"""Pictures as tensors: their layouts, and batches as a function of (seed, epoch)."""

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dlbench.components import component
from dlbench.data.datamodule import Batches, batch_loader
from dlbench.seeding import generator

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


def loader(data: PictureTensors, batch_size: int, seed: int | None = None) -> DataLoader[tuple[Tensor, Tensor]]:
    """A DataLoader whose every batch is one gather; with a seed, shuffled (see `BatchOrder`)."""
    return batch_loader(data, BatchOrder(len(data), batch_size, seed))
