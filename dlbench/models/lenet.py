"""The small convolutional classifiers of the reports d2223 and e2324, after LeNet-5."""

from collections.abc import Sequence
from typing import Annotated, Literal

from annotated_types import Ge
from torch import Tensor, nn

from dlbench.components import component
from dlbench.models.dropout import Dropout
from dlbench.models.mlp import Width, fully_connected
from dlbench.models.wide_linear import WideLinear


@component("lenet", "1.2", uses=(Dropout, WideLinear))
class LeNet(nn.Module):
    """Convolution -> ReLU -> max-pool blocks, each with a kernel size and padding of its own, then a classifier.

    With the defaults this is d2223's network for Kuzushiji-MNIST (420,906 parameters); ``kernel_sizes=(3, 3),
    paddings=(1, 0), hidden=(320, 120), hidden_dropout=(0.7, 0.0), classes=4`` is e2324's for OctMNIST (224,892), with
    pooling and without. LeNet-5: LeCun et al., "Gradient-based learning applied to document recognition", 1998.

    Args:
        in_channels: Channels of a picture.
        image_size: Height and width of a picture in pixels.
        channels: Output channels of each convolution.
        kernel_sizes: Kernel size of each convolution.
        paddings: Zero padding of each convolution, in pixels on every side.
        pooling: Pooling of 2x2 with stride 2, or ``none``: the convolutions take stride 2 instead.
        hidden: Widths of the fully connected hidden layers.
        hidden_dropout: For each fully connected hidden layer, dropout probability after its ReLU.
        classes: Width of the output layer.

    Raises:
        ValueError: Lists of unequal length, or a picture too small for the blocks.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        image_size: int = 28,
        channels: Sequence[Width] = (8, 16),
        kernel_sizes: Sequence[Width] = (5, 3),
        paddings: Sequence[Annotated[int, Ge(0)]] = (2, 0),
        pooling: Literal["max", "none"] = "max",
        hidden: Sequence[Width] = (600, 120),
        hidden_dropout: Sequence[float] = (0.3, 0.0),
        classes: Width = 10,
    ) -> None:
        super().__init__()
        if not len(channels) == len(kernel_sizes) == len(paddings) > 0:
            raise ValueError("channels, kernel_sizes and paddings must be of equal length, one entry a convolution")
        stride = 2 if pooling == "none" else 1
        blocks: list[nn.Module] = []
        side = image_size
        for source, target, kernel, padding in zip(
            (in_channels, *channels), channels, kernel_sizes, paddings, strict=False
        ):
            blocks += [nn.Conv2d(source, target, kernel, stride=stride, padding=padding)]
            side = (side + 2 * padding - kernel) // stride + 1
            if pooling == "max":
                blocks.append(nn.MaxPool2d(2))
                side //= 2
            blocks.append(nn.ReLU())  # after a maximum: the same values and gradients, a quarter of the elements
            if side < 1:
                raise ValueError(f"image_size={image_size} is too small for these kernel_sizes and paddings")
        self.features = nn.Sequential(*blocks)
        self.flatten = nn.Flatten()
        self.head = fully_connected(channels[-1] * side**2, hidden, hidden_dropout, classes)
        self.outputs = classes

    def forward(self, images: Tensor) -> Tensor:
        """Logits of shape (batch, classes) for images of shape (batch, in_channels, image_size, image_size)."""
        logits: Tensor = self.head(self.flatten(self.features(images)))
        return logits
