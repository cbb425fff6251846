"""The yardstick: the training loop a course group wrote in plain PyTorch. It is slow on purpose; do not improve it."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from dlbench.data.images import PIXEL_SCALE, PictureTensors


def as_floats(pictures: PictureTensors) -> TensorDataset:
    """A split as the scripts held it: fp32 (N, channels, height, width) in that memory order, scaled to 0-1."""
    images = pictures.images.to(torch.float32, memory_format=torch.contiguous_format) * PIXEL_SCALE
    return TensorDataset(images, pictures.labels)


def train(model: nn.Module, dataset: TensorDataset, *, lr: float = 0.01, batch_size: int = 8) -> Iterator[float]:
    """Train without end, epoch after epoch, and yield each step's loss; threads and memory order are torch's defaults.

    Args:
        model: The network, in fp32; trained in place.
        dataset: Images (N, channels, height, width) and labels (N,).
        lr: Learning rate of SGD without momentum.
        batch_size: Pictures a step.
    """
    loader: DataLoader[tuple[Tensor, ...]] = DataLoader(dataset, batch_size=batch_size, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    criterion = nn.CrossEntropyLoss()
    model.train()
    while True:
        for images, labels in loader:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            yield loss.item()
